"""Processes that tests start, and addresses at which they meet."""

import random
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def child(*arguments, **options) -> Iterator[subprocess.Popen]:
    """A process that ends with the block; `with Popen` alone waits for it, in a failing test for ever."""
    with subprocess.Popen(*arguments, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def free_address() -> str:
    """Host and port at which nobody listens, nor will by chance.

    A port that the system gave and took back may be another connection's before it is used; those below
    32768 are given to none.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return f"127.0.0.1:{port}"
