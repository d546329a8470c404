"""What a person sees while a stage works: done, rate, time left."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
)
from rich.text import Text

_LINE_EVERY_S = 10.0


class Bar(Protocol):
    """Handed to a stage for one piece of long work."""

    def advance(self, count: int) -> None: ...

    def reach(self, done: int, total: int | None = None) -> None: ...

    def note(self, text: str) -> None: ...


class Reporter(Protocol):
    """Where a run tells how far it is."""

    def say(self, text: str) -> None: ...

    def bar(self, title: str, total: int | None, unit: str) -> contextlib.AbstractContextManager[Bar]: ...


class Silent:
    """Says nothing: for library use."""

    def say(self, text: str) -> None:
        pass

    @contextlib.contextmanager
    def bar(self, title: str, total: int | None, unit: str) -> Iterator[Bar]:
        del title, total, unit
        yield _Ignore()


class _Ignore:
    def advance(self, count: int) -> None:
        pass

    def reach(self, done: int, total: int | None = None) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class Terminal:
    """Live bars on a terminal; elsewhere (a log file, CI) a line now and then; nothing where `quiet`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self.console = Console(stderr=True, highlight=False, quiet=quiet)

    def say(self, text: str) -> None:
        # Not console.print: texts from data may hold what rich would read as markup.
        self.console.out(text, highlight=False)

    @contextlib.contextmanager
    def bar(self, title: str, total: int | None, unit: str) -> Iterator[Bar]:
        if self._quiet:
            yield _Ignore()
            return
        if not self.console.is_terminal:
            lines = _Lines(title, total, unit)
            yield lines
            lines.close()
            return
        with Progress(
            TextColumn("{task.description:<28}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            _Times(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
        ) as live:
            yield _Live(live, title, total, unit)


class _Times(ProgressColumn):
    """The time taken and, where it can be told, the time left."""

    def render(self, task: Task) -> Text:
        left = "" if task.time_remaining is None else f", {_clock(task.time_remaining)} left"
        return Text(_clock(task.elapsed or 0) + left)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _rate(a_second: float) -> str:
    return f"{a_second:,.1f}" if a_second >= 0.1 else f"{a_second:.2g}"


class Steps:
    """A bar for each piece of work that a function of the core tells of. Use as a context manager.

    Work that tells what it begins, or that ends early, leaves its bar short of the end: it is brought there
    when the next piece begins, or at the end if no error came between.
    """

    def __init__(self, reporter: Reporter, title: str) -> None:
        self._reporter, self._title = reporter, title
        self._open = contextlib.ExitStack()
        self._piece = "", 0

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        if kind is None:
            self._finish()
        self._open.__exit__(kind, *error)

    def __call__(self, what: str, done: int, total: int) -> None:
        if (what, total) != self._piece:
            self._finish()
            self._open.close()
            self._piece = what, total
            self._bar = self._open.enter_context(self._reporter.bar(f"{self._title}: {what}", total, ""))
        self._bar.reach(done)

    def _finish(self) -> None:
        what, total = self._piece
        if what:
            self._bar.reach(total)


class _Live:
    def __init__(self, live: Progress, title: str, total: int | None, unit: str) -> None:
        self._live, self._unit = live, unit
        self._start = time.monotonic()
        self._done = 0
        self._task = live.add_task(title, total=total, rate="", note="")

    def advance(self, count: int) -> None:
        self.reach(self._done + count)

    def reach(self, done: int, total: int | None = None) -> None:
        self._done = done
        rate = done / max(time.monotonic() - self._start, 1e-9)
        text = f"{_rate(rate)} {self._unit}/s" if self._unit else f"{_rate(rate)}/s"
        if total is None:
            self._live.update(self._task, completed=done, rate=text)
        else:
            self._live.update(self._task, completed=done, total=total, rate=text)

    def note(self, text: str) -> None:
        self._live.update(self._task, note=text)


class _Lines:
    def __init__(self, title: str, total: int | None, unit: str) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._start = self._last = time.monotonic()
        self._done = self._printed = 0
        self._note = ""

    def advance(self, count: int) -> None:
        self.reach(self._done + count)

    def reach(self, done: int, total: int | None = None) -> None:
        self._done = done
        self._total = total if total is not None else self._total
        if time.monotonic() - self._last >= _LINE_EVERY_S:
            self._print()

    def note(self, text: str) -> None:
        self._note = text

    def close(self) -> None:
        if self._done > self._printed:
            self._print()

    def _print(self) -> None:
        self._last, self._printed = time.monotonic(), self._done
        elapsed = self._last - self._start
        rate = self._done / max(elapsed, 1e-9)
        of = f"/{self._total:,}" if self._total else ""
        left = f", {(self._total - self._done) / rate:,.0f} s left" if self._total and rate else ""
        note = f"  {self._note}" if self._note else ""
        unit = f" {self._unit}" if self._unit else ""
        print(
            f"  {self._title}: {self._done:,}{of}{unit}, {_rate(rate)}/s, {elapsed:,.0f} s{left}{note}",
            file=sys.stderr,
            flush=True,
        )
