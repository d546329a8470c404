"""A signal that comes in a block that must be whole is heard at its end, whichever thread takes it."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from synalign_jax.pipeline.together import interrupted_later


def test_a_ctrl_c_waits_for_the_end_of_the_block() -> None:
    usual = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    done = []

    def work() -> None:
        with interrupted_later():
            other = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))
            other.start()
            other.join()
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == usual


def test_a_polite_kill_waits_too() -> None:
    code = """
import os, signal
from synalign_jax.pipeline.together import interrupted_later
with interrupted_later():
    os.kill(os.getpid(), signal.SIGTERM)
    print("whole", flush=True)
print("never")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.returncode) == ("whole\n", -signal.SIGTERM)


def test_beside_the_main_thread_the_block_runs_as_it_is() -> None:
    done = []

    def work() -> None:
        with interrupted_later():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
