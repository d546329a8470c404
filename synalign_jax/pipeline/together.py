"""Files that belong together take their places together."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

_JOURNAL = ".synalign-files"


class Together:
    """Files of one result. Use as a context manager: at its end all are there, or all that was there before.

    All are written and on disk before the first takes its place, and a journal says which. A kill between the
    last renames leaves the journal, by which `recover` finishes them at the next start.
    """

    def __init__(self) -> None:
        self._parts: dict[Path, Path] = {}
        self._gone: list[Path] = []
        self._made: list[Path] = []

    def path(self, target: Path) -> Path:
        """Where to write what is to become `target`; its folder is made if need be."""
        recover(target.parent)
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
                with interrupted_later():
                    self._replace()
                self._made.clear()
        finally:
            for part in self._parts.values():
                part.unlink(missing_ok=True)
            for folder in reversed(self._made):
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def _replace(self) -> None:
        if len(self._parts) + len(self._gone) <= 1:  # one step is whole by itself
            for target, part in self._parts.items():
                part.replace(target)
            return
        kept: dict[Path, Path | None] = {}
        with _journal(self._parts, self._gone):
            try:
                for target in (*self._parts, *self._gone):
                    kept[target] = _kept(target)
                for target, part in self._parts.items():
                    part.replace(target)
                for target in self._gone:
                    target.unlink(missing_ok=True)
            except BaseException:
                for target, before in kept.items():
                    if before is not None:
                        before.replace(target)
                        before.unlink(missing_ok=True)  # two names of one file are not renamed
                    else:
                        target.unlink(missing_ok=True)
                raise
            for before in filter(None, kept.values()):
                before.unlink(missing_ok=True)


class BusyError(RuntimeError):
    """Another process is making the same result."""


@contextlib.contextmanager
def alone(out: Path, hold: bool = True) -> Iterator[None]:
    """No other process of this machine makes `out` while the block runs: a lock beside it says so, and dies
    with the process. Where no file can be made there, nothing is locked.

    Args:
        hold: False for the processes that do not write.

    Raises:
        BusyError: one does.
    """
    folder = next(folder for folder in out.absolute().parents if folder.is_dir())
    place = folder / f".{out.name}.lock"
    with contextlib.ExitStack() as held:
        file = None
        if hold:
            with contextlib.suppress(OSError):
                file = held.enter_context(place.open("w"))
        if file is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(
                    f"--out: another process is writing {out}; wait for it, or name another place"
                ) from None
            held.callback(place.unlink, missing_ok=True)
        yield


def recover(folder: Path) -> None:
    """Finish what a process that was killed left half done in a folder: its files are all on disk."""
    for place in (folder, folder.parent):  # a result may have a folder inside its own
        journal = place / _JOURNAL
        try:
            file = journal.open(encoding="utf-8")
        except OSError:
            continue
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)  # one that is still at work ends in no time
            if not journal.exists():
                continue
            plan = json.load(file)
            for name in plan["files"]:
                target = place / name
                part = target.with_name(f".{target.name}.part")
                if part.exists():
                    part.replace(target)
            for name in plan["gone"]:
                (place / name).unlink(missing_ok=True)
            for name in (*plan["files"], *plan["gone"]):
                target = place / name
                target.with_name(f".{target.name}.before").unlink(missing_ok=True)
            journal.unlink()


@contextlib.contextmanager
def _journal(parts: dict[Path, Path], gone: list[Path]) -> Iterator[None]:
    """While the block runs, a file says which files take their places: locked, and whole from the first."""
    folder = Path(os.path.commonpath([target.absolute().parent for target in (*parts, *gone)]))
    journal = folder / _JOURNAL
    draft = folder / f"{_JOURNAL}.part"

    def names(targets: dict[Path, Path] | list[Path]) -> list[str]:
        return [str(target.absolute().relative_to(folder)) for target in targets]

    with draft.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump({"files": names(parts), "gone": names(gone)}, file)
        file.flush()
        os.fsync(file.fileno())
        draft.replace(journal)
        try:
            yield
        finally:
            journal.unlink(missing_ok=True)


def _kept(target: Path) -> Path | None:
    """A second name for what is there, under which it can be put back; None where nothing is."""
    before = target.with_name(f".{target.name}.before")
    before.unlink(missing_ok=True)
    try:
        os.link(target, before)
    except FileNotFoundError:
        return None
    except OSError:  # file systems without links
        target.replace(before)
    return before


@contextlib.contextmanager
def interrupted_later() -> Iterator[None]:
    """Ctrl-C and a polite kill wait until the block is over.

    The handlers are held back and not the signals themselves: a mask holds for one thread, and others take
    them. Beside the main thread, where Python handles no signals, this does nothing.
    """
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if None in usual.values() or threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    for number in usual:
        signal.signal(number, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        for number in heard:
            signal.raise_signal(number)
