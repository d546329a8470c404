"""What must be kept once for all workers, kept on the machine that asked for the work.

SQLite's files cannot be shared over a network, and a file on a worker's disk is lost with it. So each worker
reaches the one file through an actor beside it. The actor of a ledger belongs to its worker and dies with it;
then the lock that shows a run to be alive is free, and others take back what it had in flight, as after the
kill of a process on one machine. Budgets hold for all workers together, and no two ask the same request.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synalign_jax.llm.ledger import Ledger, LedgerError
from synalign_jax.llm.records import Entries
from synalign_jax.text import EmbeddingCache

_ALONE = 1_000  # requests of one worker that its ledger may be busy with


class _KeptLedger:
    """A `Ledger` in an actor of its own, beside its file."""

    def __init__(self, path: str) -> None:
        self._ledger = Ledger(path)
        self._ends = self._ledger.holds_ends()

    async def holds_ends(self) -> bool:
        return self._ends

    async def order(self, verb: str, argument: Any) -> Any:
        return await self._ledger.order(verb, argument)


class _KeptCache:
    """The `EmbeddingCache` of a folder in an actor of its own, one for all workers."""

    def __init__(self, folder: str) -> None:
        self._cache = EmbeddingCache(folder)

    def get(self, identity: str, texts: Sequence[str]) -> dict[str, tuple[np.ndarray, bool]]:
        return self._cache.get(identity, texts)

    def put(self, identity: str, texts: Sequence[str], vectors: np.ndarray, cut: np.ndarray) -> None:
        self._cache.put(identity, texts, vectors, cut)


def this_machine(ray: Any) -> str:
    """What Ray calls the machine of this process."""
    return ray.get_runtime_context().get_node_id()


def _beside(ray: Any, kind: type, node: str, **options: Any) -> Any:
    """The actor's class, to be started on that machine and to take none of its cores."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # pyright: ignore[reportMissingImports]

    where = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    return ray.remote(kind).options(num_cpus=0, scheduling_strategy=where, **options)


class FarLedger(Entries):
    """A worker's way to the ledger at `path` on another machine, as a run of its own.

    Raises:
        LedgerError: the ledger cannot be opened, or its machine is gone.
    """

    def __init__(self, path: Path, node: str) -> None:
        import ray  # pyright: ignore[reportMissingImports]

        self._path = path
        self._actor = _beside(ray, _KeptLedger, node, max_concurrency=_ALONE).remote(str(path))
        with self._explained():
            self._ends = bool(ray.get(self._actor.holds_ends.remote()))

    def holds_ends(self) -> bool:
        return self._ends

    def order(self, verb: str, argument: Any) -> asyncio.Future[Any]:
        # On its way when this returns, as with a ledger of this process.
        sent = asyncio.wrap_future(self._actor.order.remote(verb, argument).future())
        return asyncio.ensure_future(self._ordered(sent))

    async def _ordered(self, sent: asyncio.Future[Any]) -> Any:
        with self._explained():
            return await sent

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        from ray.exceptions import RayActorError, RayTaskError  # pyright: ignore[reportMissingImports]

        try:
            yield
        except RayTaskError as error:
            if isinstance(error.cause, LedgerError):
                raise error.cause from None
            raise
        except RayActorError as error:
            raise LedgerError(f"{self._path}: the process that keeps the ledger is gone: {error}") from error


class FarCache:
    """A worker's way to the one cache. Make the actor with `kept_cache`."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def get(self, identity: str, texts: Sequence[str]) -> dict[str, tuple[np.ndarray, bool]]:
        import ray  # pyright: ignore[reportMissingImports]

        return ray.get(self._actor.get.remote(identity, list(texts)))

    def put(self, identity: str, texts: Sequence[str], vectors: np.ndarray, cut: np.ndarray) -> None:
        import ray  # pyright: ignore[reportMissingImports]

        ray.get(self._actor.put.remote(identity, list(texts), np.asarray(vectors, np.float32), cut))


def kept_cache(ray: Any, folder: Path) -> Any:
    """The actor that keeps the folder's cache, on this machine."""
    return _beside(ray, _KeptCache, this_machine(ray)).remote(str(folder))
