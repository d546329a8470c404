"""Server-sent events (and JSON lines, which some servers send in their place) as the JSON of their data."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

_DECODER = json.JSONDecoder(strict=False)
_LINE_END = re.compile(r"\r\n|\n|\r(?!\Z)")


class EventReader:
    """Takes the bytes of a stream as they come; `parts` are the values so far.

    `done` is set by the mark [DONE]. What is no JSON is counted in `broken` and passed over: comments,
    keep-alives, a line that was cut off.
    """

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.broken = 0
        self.done = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> None:
        self._take(self._decoder.decode(chunk))

    def close(self) -> None:
        """The stream is over: the last line may lack its end."""
        self._take(self._decoder.decode(b"", True) + "\n\n")

    def _take(self, text: str) -> None:
        *lines, self._rest = _LINE_END.split(self._rest + text)
        for line in lines:
            if self.done:
                return
            self._line(line.removeprefix("\ufeff"))

    def _line(self, line: str) -> None:
        if not line.strip():
            self._flush()
        elif line.startswith("data:"):
            data = line[5:].removeprefix(" ")
            while data.startswith("data:"):  # a proxy has put events into events
                data = data[5:].removeprefix(" ")
            mark = data.strip().strip('"') == "[DONE]"
            if self._data and (mark or _is_json("\n".join(self._data))):  # no blank line between two events
                self._flush()
            self._data.append(data)
            if mark:
                self._flush()
        elif line[0] in "{[" and not self._data:
            self._data.append(line)
            self._flush()

    def _flush(self) -> None:
        if not self._data:
            return
        text, self._data = "\n".join(self._data).strip(), []
        if text.strip('"') == "[DONE]":
            self.done = True
            return
        at = 0
        while at < len(text):  # some servers put several values into one event
            try:
                value, at = _DECODER.raw_decode(text, at)
            except (ValueError, RecursionError):
                self.broken += 1
                return
            self.parts.append(value)
            at += len(text[at:]) - len(text[at:].lstrip())


def looks_like_events(text: str) -> bool:
    """Whether a body that says it is something else is an event stream."""
    if text[:1] in ("{", "["):
        return False
    return bool(re.match(r"\ufeff?\s*(?:data|event|id|retry)?:\s?", text)) and "data:" in text


def _is_json(text: str) -> bool:
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True
