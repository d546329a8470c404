"""Files that belong together take their places together."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path


class Together:
    """Files of one result. Use as a context manager: at its end all are there, or all that was there before.

    A kill between two of the last renames, which take microseconds, is the one instant at which a
    reader could see old beside new.
    """

    def __init__(self) -> None:
        self._parts: dict[Path, Path] = {}
        self._gone: list[Path] = []
        self._made: list[Path] = []

    def path(self, target: Path) -> Path:
        """Where to write what is to become `target`; its folder is made if need be."""
        missing = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir()
            self._made.append(folder)
        if target.is_dir():
            raise IsADirectoryError(f"{target} is a folder; name a file")
        self._parts[target] = target.with_name(f".{target.name}.part")
        return self._parts[target]

    def remove(self, target: Path) -> None:
        """Have `target` gone at the end: it belongs to an earlier result."""
        self._gone.append(target)

    def __enter__(self) -> Together:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                for part in self._parts.values():
                    with part.open("rb+") as file:
                        os.fsync(file.fileno())
                with _undisturbed():
                    self._replace()
                kind = None
                self._made.clear()
        finally:
            for part in self._parts.values():
                part.unlink(missing_ok=True)
            for folder in reversed(self._made):
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def _replace(self) -> None:
        kept: dict[Path, Path | None] = {}
        try:
            for target in (*self._parts, *self._gone):
                kept[target] = None
                if target.exists():
                    kept[target] = target.with_name(f".{target.name}.before")
                    target.replace(kept[target])  # type: ignore[arg-type]
            for target, part in self._parts.items():
                part.replace(target)
        except BaseException:
            for target, before in kept.items():
                if before is not None and before.exists():
                    before.replace(target)
                elif before is None:
                    target.unlink(missing_ok=True)
            raise
        for before in kept.values():
            if before is not None:
                before.unlink(missing_ok=True)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C and a polite kill wait until the block is over."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
