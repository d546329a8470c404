"""A GGUF file behind an embedded llama.cpp server, in a process of its own that ends with ours."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path

from synalign_jax.llm.protocol import Misconfigured

_CHILD = Path(__file__).with_name("_llamacpp_child.py")
_GRACE = 5.0  # seconds that the server gets to end by itself


class LlamaCppServer:
    """Starts xllamacpp's OpenAI-compatible server on a free loopback port; a context manager.

    ```python
    with LlamaCppServer("model.gguf", slots=8) as server:
        llm = OpenAIChat(server.base_url, api_key_env=None)
    ```

    The server is a child process: what goes wrong in native code does not take this process with it. It ends
    when the block ends, and when this process dies by whatever signal; Ctrl-C does not reach it, so answers
    that are under way can still be recorded.

    Args:
        model: path of the GGUF file.
        slots: answers generated at the same time.
        context: tokens of prompt and answer that each slot can hold.
        threads: CPU threads; by default all cores but one, and at least one.
        gpu_layers: layers put on a GPU, -1 for as many as fit; without a GPU it means nothing.
        start_timeout: seconds that loading may take.

    Raises:
        Misconfigured: xllamacpp is not installed, the file is missing or is no model, or loading hangs.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        slots: int = 8,
        context: int = 2048,
        threads: int | None = None,
        gpu_layers: int = -1,
        start_timeout: float = 300.0,
    ) -> None:
        self._model = os.fspath(model)
        self._settings = [str(slots), str(context), str(threads or _free_cores()), str(gpu_layers)]
        self._start_timeout = start_timeout
        self._child: subprocess.Popen[bytes] | None = None
        self.base_url = ""

    def __enter__(self) -> LlamaCppServer:
        if not os.path.isfile(self._model):
            raise Misconfigured(f"{self._model}: no such file; name a GGUF model file")
        with tempfile.TemporaryFile() as log:
            self._child = subprocess.Popen(  # noqa: S603 - our own file, run by our own interpreter
                [sys.executable, "-P", str(_CHILD), self._model, *self._settings],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                # Threads that spin at a barrier starve one another as soon as the cores are shared: with a
                # few busy neighbours a two-thread server made less than a token a second, and 40 without.
                env={"OMP_WAIT_POLICY": "passive", **os.environ},
            )
            said = self._first_line(self._child)
            if not said.startswith("http://"):
                self.close()
                log.seek(0)
                tail = log.read()[-500:].decode("utf-8", "replace").strip()
                raise Misconfigured(
                    f"{self._model}: the llama.cpp server did not start: {said} {tail}".rstrip()
                )
        self.base_url = f"{said}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server; answers under way are lost."""
        child, self._child = self._child, None
        if child is None:
            return
        try:
            child.communicate(timeout=_GRACE)  # closes its standard input, which ends it
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()

    def _first_line(self, child: subprocess.Popen[bytes]) -> str:
        assert child.stdout is not None
        ready, _, _ = select.select([child.stdout], [], [], self._start_timeout)
        if not ready:
            child.kill()
            return f"no sign of life within {self._start_timeout:g} s"
        line = child.stdout.readline().decode("utf-8", "replace").strip()
        return line or f"it ended with status {child.wait()}"


def _free_cores() -> int:
    # llama.cpp's threads wait for one another at every layer: with one of two cores taken, one thread wrote
    # 89 tokens/s where two wrote 70. One core is left to the process that asks.
    return max(1, (os.cpu_count() or 1) - 1)
