"""Where a job called from Python shows how far it is, and how it is told to stop."""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup, escape
from rich.console import Console

from synalign_jax.pipeline.progress import Bar, Reporter, Silent, Terminal

_EVERY = 0.25  # seconds between two pictures of a bar


def reporter_for(progress: bool) -> Reporter:
    """Bars in a notebook, on a terminal, lines in a log file; or nothing."""
    if not progress:
        return Silent()
    return Notebook() if Console().is_jupyter else Terminal()


class Notebook:
    """Lines and bars in one output of a notebook's cell, brought up to date in place."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._bars: list[_Shown] = []
        self._handle: Any = None
        self._drawn = 0.0

    def say(self, text: str) -> None:
        self._lines.append(text)
        self.draw()

    @contextlib.contextmanager
    def bar(self, title: str, total: int | None, unit: str) -> Iterator[Bar]:
        shown = _Shown(self, title, total, unit)
        self._bars.append(shown)
        self.draw()
        try:
            yield shown
        finally:
            self._bars.remove(shown)
            self.draw()

    def draw(self, *, soon: bool = False) -> None:
        """Show everything; `soon`, only if the last picture is old enough."""
        now = time.monotonic()
        if soon and now - self._drawn < _EVERY:
            return
        self._drawn = now
        display = importlib.import_module("IPython.display").display
        data = {"text/html": self._html(), "text/plain": "\n".join(self._lines)}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    def _html(self) -> str:
        lines = Markup("\n").join(self._lines)
        bars = Markup("").join(bar.html() for bar in self._bars)
        return Markup('<div><pre style="margin:0">{}</pre>{}</div>').format(lines, bars)


class _Shown:
    """A bar in a notebook."""

    def __init__(self, page: Notebook, title: str, total: int | None, unit: str) -> None:
        self._page, self._title, self._total, self._unit = page, title, total, unit
        self._done, self._note, self._start = 0, "", time.monotonic()

    def advance(self, count: int) -> None:
        self.reach(self._done + count)

    def reach(self, done: int, total: int | None = None) -> None:
        self._done = done
        self._total = self._total if total is None else total
        self._page.draw(soon=True)

    def note(self, text: str) -> None:
        self._note = text

    def html(self) -> Markup:
        known = Markup('value="{}" max="{}"').format(self._done, self._total) if self._total else Markup("")
        of = f" of {self._total:,}" if self._total else ""
        seconds = time.monotonic() - self._start
        words = f"{self._done:,}{of} {self._unit}".rstrip() + f", {seconds:,.0f} s"
        if self._note:
            words += f", {self._note}"
        return Markup('<div>{} <progress {} style="vertical-align:middle"></progress> {}</div>').format(
            escape(self._title), known, words
        )


class Stopped(BaseException):
    """A job ends because it was told to. Not an Exception: nothing on the way may take it for a failure."""


class Stoppable:
    """Reports to another reporter, and raises `Stopped` at the next report once `stop` is set.

    All long work reports, so that is soon; and everything that is done by then is on disk.
    """

    def __init__(self, reporter: Reporter, stop: threading.Event) -> None:
        self._reporter, self._stop = reporter, stop

    def say(self, text: str) -> None:
        self._reporter.say(text)
        self.check()

    @contextlib.contextmanager
    def bar(self, title: str, total: int | None, unit: str) -> Iterator[Bar]:
        self.check()
        with self._reporter.bar(title, total, unit) as bar:
            yield _StoppableBar(bar, self)

    def check(self) -> None:
        if self._stop.is_set():
            raise Stopped


class _StoppableBar:
    def __init__(self, bar: Bar, owner: Stoppable) -> None:
        self._bar, self._owner = bar, owner

    def advance(self, count: int) -> None:
        self._bar.advance(count)
        self._owner.check()

    def reach(self, done: int, total: int | None = None) -> None:
        self._bar.reach(done, total)
        self._owner.check()

    def note(self, text: str) -> None:
        self._bar.note(text)
