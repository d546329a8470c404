"""The processes, on one machine or many, that share a command's numbers."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from jax.sharding import Mesh


@dataclass(frozen=True)
class Machines:
    """This process among those that were started together.

    Attributes:
        index: of this process, from 0.
        count: of processes.
        mesh: all their devices; None where there is one process with one device.
    """

    index: int = 0
    count: int = 1
    mesh: Mesh | None = None

    @property
    def first(self) -> bool:
        """Whether this process writes the results, and talks."""
        return self.index == 0

    def part(self, rows: int) -> slice:
        """The rows that are this process's to compute, where each is computed once."""
        size = -(-rows // self.count)
        return slice(min(self.index * size, rows), min((self.index + 1) * size, rows))

    def gathered(self, own: np.ndarray, rows: int) -> np.ndarray:
        """(rows, ...) every process's `part`, in every process.

        Args:
            own: the rows of `part(rows)`.
        """
        if self.count == 1:
            return own
        import numpy as np
        from jax.experimental import multihost_utils

        size = -(-rows // self.count)
        padded = np.zeros((size, *own.shape[1:]), own.dtype)
        padded[: len(own)] = own
        parts = np.asarray(multihost_utils.process_allgather(padded))
        return parts.reshape(-1, *own.shape[1:])[:rows]

    def told(self, value: Any) -> list[Any]:
        """What every process calls this with, in their order: what JSON can hold."""
        return [json.loads(one) for one in self._exchanged(json.dumps(value).encode())]

    def of_first(self, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """What the first process makes, in every process."""
        if self.count == 1:
            return make()
        import numpy as np

        from synalign_jax.core.checks import InputError

        held = io.BytesIO()
        try:
            if self.first:
                # The last argument, for arrays, has a name too.
                np.savez(held, **make())  # type: ignore[arg-type]
        except Exception:
            self._exchanged(b"")  # or the others would wait for ever
            raise
        if not (made := self._exchanged(held.getvalue())[0]):
            raise InputError("the first process has failed; what it says is the reason")
        with np.load(io.BytesIO(made), allow_pickle=False) as arrays:
            return dict(arrays)

    def _exchanged(self, own: bytes) -> list[bytes]:
        if self.count == 1:
            return [own]
        import numpy as np

        sizes = self.gathered(np.array([len(own)], np.int32), self.count).tolist()
        padded = np.zeros((1, max(sizes)), np.uint8)
        padded[0, : len(own)] = np.frombuffer(own, np.uint8)
        every = self.gathered(padded, self.count)
        return [bytes(one[:size]) for one, size in zip(every, sizes, strict=True)]


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "several machines",
        "Start the same command once a machine, on files that all of them see. Under SLURM, Open MPI,"
        " Kubernetes or on TPUs --distributed finds the others by itself; else name them. The first process"
        " writes.",
    )
    group.add_argument("--distributed", action="store_true", help="find the other processes as JAX does")
    group.add_argument("--coordinator", metavar="HOST:PORT", help="where the first process listens")
    group.add_argument("--processes", type=int, metavar="N", help="how many are started")
    group.add_argument("--process", type=int, metavar="I", help="which of them this is, from 0")


@contextlib.contextmanager
def joined(options: argparse.Namespace) -> Iterator[Machines]:
    """Wait for the other processes; one that is not the first says nothing from then on.

    Raises:
        InputError: settings that do not name one process among several, or the others were not found.
    """
    settings = _settings(options)
    if settings is None:
        yield Machines()
        return
    import jax
    import numpy as np
    from jax.sharding import Mesh

    from synalign_jax.core.checks import InputError

    if os.environ.get("JAX_PLATFORMS", "cpu") == "cpu":
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(**settings)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"--distributed: the processes did not find each other: {reason}. Start all of them within five"
            " minutes, with one --coordinator HOST:PORT that each reaches, and --process 0 on that host"
        ) from None
    found = Machines(jax.process_index(), jax.process_count(), Mesh(np.array(jax.devices()), ("devices",)))
    with contextlib.ExitStack() as quiet:
        if not found.first:
            nowhere = quiet.enter_context(open(os.devnull, "w", encoding="utf-8"))
            quiet.enter_context(contextlib.redirect_stdout(nowhere))
        yield found
    # Before the interpreter's end, which a process that waits for the others would hold up.
    jax.distributed.shutdown()


def _settings(options: argparse.Namespace) -> dict[str, Any] | None:
    """The arguments of `jax.distributed.initialize`; None for one process alone."""
    from synalign_jax.core.checks import InputError

    named = {
        "coordinator_address": options.coordinator,
        "num_processes": options.processes,
        "process_id": options.process,
    }
    given = {name: value for name, value in named.items() if value is not None}
    if not given:
        return {} if options.distributed else None
    if options.distributed:
        raise InputError("--distributed: it finds the others by itself; leave out --coordinator and the rest")
    if len(given) < len(named):
        raise InputError(
            "--coordinator, --processes, --process: give all three, as"
            " --coordinator first-host:1234 --processes 4 --process 0"
        )
    if options.processes < 1 or not 0 <= options.process < options.processes:
        last = options.processes - 1
        raise InputError(f"--process: {options.process} of {options.processes}; they count from 0 to {last}")
    return named
