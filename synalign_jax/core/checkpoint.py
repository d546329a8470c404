"""Where long computations keep their finished pieces, so that one that was stopped goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Checkpoint(Protocol):
    """Keeps arrays under names. What is found has been kept by the same computation of the same inputs."""

    def get(self, name: str) -> Mapping[str, np.ndarray] | None:
        """What was kept under the name, or None."""
        ...

    def put(self, name: str, **arrays: np.ndarray) -> None:
        """Keep arrays, whole or not at all."""
        ...


class _Nothing:
    def get(self, name: str) -> None:
        del name

    def put(self, name: str, **arrays: np.ndarray) -> None:
        del name, arrays


NO_CHECKPOINT: Checkpoint = _Nothing()


def kept_or_made(
    checkpoint: Checkpoint, name: str, make: Callable[[], Mapping[str, np.ndarray]]
) -> Mapping[str, np.ndarray]:
    """What was kept under the name, else what is made now and kept."""
    if (known := checkpoint.get(name)) is None:
        known = make()
        checkpoint.put(name, **known)
    return known


@dataclass(frozen=True)
class Part:
    """The part of a checkpoint that belongs to one piece of the work."""

    whole: Checkpoint
    prefix: str

    def get(self, name: str) -> Mapping[str, np.ndarray] | None:
        return self.whole.get(f"{self.prefix} {name}")

    def put(self, name: str, **arrays: np.ndarray) -> None:
        self.whole.put(f"{self.prefix} {name}", **arrays)
