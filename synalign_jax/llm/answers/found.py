"""Where in a text the JSON of an answer may stand, the likeliest reading first."""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_FENCE = re.compile(r"```[\w-]*[ \t]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_HALF_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_PART = re.compile(
    _STRING.pattern + rf"|{_COMMENT.pattern}" + r"|[{}\[\],:]|[^\s{}\[\],:\"]+|\"(?:[^\"\\]|\\.)*\\?\Z",
    re.DOTALL,
)
_DEEPEST = 64
_MOST_STARTS = 64  # brackets at which a value is looked for; thoughts are full of them
_MOST_MENDED = 2_000_000  # characters that mending may read in all
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_QUOTED = re.compile(r'[{\[]\s*\\"')  # a value whose own quotes are escaped, and which stands in none
_CURLY = str.maketrans("“”„‟", '""""')
_WIDE = {";": ",", "；": ",", "，": ",", "、": ",", "：": ":"}  # what stands for a comma or a colon
_QUOTE = re.compile(r'\\.|"', re.DOTALL)
_ENDS = re.compile(r'\s*(?:[}\]:]|[,;]\s*(?:["{\[\d-]|true|false|null))')  # what follows the end of a string
_MOST_REQUOTED = 200_000  # characters
_TAGGED = re.compile(r"<([a-z_]{1,20})>([^<>]+)</\1>", re.IGNORECASE)
_WORDS = {"True": "true", "False": "false", "None": "null"}
# How models close their thoughts; what stands before the last of these is no answer.
_AFTER_THOUGHTS = re.compile(
    r"</(?:think|thinking|thought|thoughts|reasoning|reason|analysis|scratchpad|reflection|seed:think|"
    r"antml:thinking)>|◁/think▷|\[/THINK\]|<\|(?:end_of_thought|end_thinking|/think)\|>|<unused95>"
    r"|<\|channel\|>(?:final|commentary\s+to=\S+)(?:\s*<\|constrain\|>\s*\w+)?\s*<\|message\|>|<\|START_RESPONSE\|>",
    re.IGNORECASE,
)
_THOUGHTS = re.compile(
    r"\s*(?:<(?:think|thinking|thought|thoughts|reasoning|reason|analysis|scratchpad|seed:think)>|◁think▷"
    r"|\[THINK\]|<\|channel\|>(?:analysis|commentary))",
    re.IGNORECASE,
)
_BLOCK = re.compile(
    r"<(think|thinking|thought|thoughts|reasoning|reason|analysis|scratchpad|seed:think)>.*?</\1>"
    r"|◁think▷.*?◁/think▷|\[THINK\].*?\[/THINK\]",
    re.IGNORECASE | re.DOTALL,
)
# What stands between values that belong together: a word between them may say that the last is meant.
_BETWEEN = re.compile(r"(?:[\s,;`*#>-]|json[l5]?\b|(?:[A-Za-z]{1,12} ?)?\d{1,3}[.:)])*", re.IGNORECASE)
_NUMBERED = re.compile(r"^\s*(?:\(?\d{1,3}[.):]|[-*•])\s+(\S.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Candidate:
    """`whole` says that nothing was cut off."""

    text: str
    whole: bool = True


def decoded(text: str) -> Any:
    """The JSON value. Raises ValueError for what is none, also for NaN and the infinities."""
    return json.loads(text, strict=False, parse_constant=_refuse_constant)


def candidates(text: str) -> Iterator[Candidate]:
    """What the answer may have meant: itself; then, of what follows the thoughts, the last value first."""
    body = text.strip()
    if not body:
        return
    yield Candidate(body)
    answer = without_thoughts(body)
    if answer != body and answer:
        yield Candidate(answer)
    if not answer or _THOUGHTS.match(answer):  # thoughts that never ended: only a bare value counts
        inner = _THOUGHTS.sub("", body, count=1)
        inner = _AFTER_THOUGHTS.sub("", inner).strip()
        if inner.startswith(("{", "[")):
            yield Candidate(inner)
        elif (values := _values(inner)[0]) and inner.rstrip("` \n").endswith(values[-1]):
            yield Candidate(values[-1])  # with which it all ends
        return
    fences = [match.group(1).strip() for match in _FENCE.finditer(answer)]
    if not answer.startswith(("{", "[")):
        for fence in reversed(fences[-8:]):
            yield Candidate(fence)
    if _QUOTED.search(answer):
        yield Candidate(answer.replace('\\"', '"'))
    if "“" in answer and '"' not in answer:
        answer = answer.translate(_CURLY)
    if "&quot;" in answer and '"' not in answer:
        answer = html.unescape(answer)
    if (requoted := _requoted(fences[-1] if fences else answer)) is not None:
        yield Candidate(requoted)
    values, cut = _values(answer)
    for value in reversed(values):
        yield Candidate(value)
    if len(values) > 1:
        yield Candidate("[" + ",".join(values) + "]")  # one row a line
    for value in cut:
        yield Candidate(value, whole=False)


def series(text: str) -> list[str]:
    """The values of an answer that is nothing but several, one behind the other; empty where it is not."""
    answer = without_thoughts(text.strip())
    if _THOUGHTS.match(answer):
        return []
    values, cut = _values(answer)
    around = answer
    for value in values:  # what was mended does not stand there as it is
        around = around.replace(value, " ", 1)
    return values if len(values) > 1 and not cut and _BETWEEN.fullmatch(around) else []


def without_thoughts(text: str) -> str:
    """What follows the last end of thoughts, or stands before thoughts at the end; all where none are."""
    ends = [match.end() for match in _AFTER_THOUGHTS.finditer(text)]
    if not ends or (rest := text[ends[-1] :].strip()):
        return rest if ends else text
    around = _BLOCK.sub("", text).strip()
    return "" if _AFTER_THOUGHTS.search(around) else around


def lines(text: str) -> list[str]:
    """The items of a numbered or bulleted list of at least two, where a text holds no JSON at all."""
    answer = without_thoughts(text.strip())
    if _THOUGHTS.match(answer) or re.search(r'[{\[]\s*["{\[]', answer):
        return []
    quoted = [line.strip().rstrip(",") for line in answer.splitlines() if line.strip()]
    if len(quoted) > 1 and all(line[0] == '"' and _is_json(line) for line in quoted):
        return [json.loads(line, strict=False) for line in quoted]
    found = [line.strip() for line in _NUMBERED.findall(answer)] or _cells(answer)
    if len(found) < 2:
        tagged = _TAGGED.findall(answer)
        found = [text.strip() for _, text in tagged] if len({tag for tag, _ in tagged}) == 1 else []
    return found if len(found) > 1 else []


def _cells(text: str) -> list[str]:
    """The one column of a Markdown table that is no number."""
    _, rule, body = text.partition("\n|-") if "\n|-" in text else text.partition("\n| -")
    rows = [line.strip().strip("|").split("|") for line in body.splitlines()[1:] if line.strip()[:1] == "|"]
    cells = [[c.strip() for c in row if not re.fullmatch(r"\W*\d*\W*", c.strip())] for row in rows]
    return [row[0] for row in cells] if rule and all(len(row) == 1 for row in cells) else []


def why_nothing(text: str) -> str:
    """What to say of a text in which there is no candidate."""
    if not text.strip():
        return "the answer is empty"
    only = _THOUGHTS.match(text.strip()) or not without_thoughts(text.strip())
    return "the answer holds thoughts alone" if only else "the answer is not JSON"


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _values(text: str) -> tuple[list[str], list[str]]:
    """The outermost values of a text in their order, and what remains of the last if it was cut off."""
    decoder = json.JSONDecoder(strict=False, parse_constant=_refuse_constant)
    values: list[str] = []
    cut: list[str] = []
    said: list[tuple[int, int]] = []  # where the strings of what was cut off lie: their brackets are words
    at = starts = mended = 0
    while starts < _MOST_STARTS:
        at = min((i for i in (text.find("{", at), text.find("[", at)) if i >= 0), default=-1)
        if at < 0:
            break
        inside = next((end for start, end in said if start <= at < end), None)
        if inside is not None:
            at = inside
            continue
        starts += 1
        try:
            _, end = decoder.raw_decode(text, at)
            values.append(text[at:end])
            at = end
            continue
        except (ValueError, RecursionError):
            pass
        if mended > _MOST_MENDED:
            break
        mended += len(text) - at
        whole, end, parts = _mended(text, at)
        if whole is not None:
            values.append(whole)
            at = end
            continue
        if parts and not cut:
            cut = parts
            if _is_json(parts[0]):
                said = [match.span() for match in _PART.finditer(text, at) if match.group()[0] == '"']
        python = _python(text, at)
        if python is not None:
            values.append(python[0])
            at = python[1]
            continue
        at += 1
    return values, cut


def _mended(text: str, start: int) -> tuple[str | None, int, list[str]]:
    """The value at `start` without trailing commas, and where it ends; if it is cut off, its whole parts."""
    out: list[str] = []
    closers: list[str] = []
    items: list[int] = []  # for each open bracket, where in `out` its unfinished item begins
    half_string = False
    at = start  # where the part before ended
    for match in _PART.finditer(text, start):
        part, gap, at = match.group(), text[at : match.start()], match.end()
        if _COMMENT.fullmatch(part):
            continue
        if part in ("...", "…"):  # "and so on"
            continue
        part = _WIDE.get(part, part)
        if "\n" in gap and part[0] in '"[{' and out and out[-1][0] in '"]}':  # a comma is missing
            out.append(",")
            items[-1] = len(out)
        if part in "}]":
            if out[-1] == ",":
                out.pop()
            if part not in closers:
                return None, 0, []
            while (closer := closers.pop()) != part:  # the end of what is inside is missing
                out.append(closer)
                items.pop()
            items.pop()
        elif part[0] == '"' and match.end() == len(text) and not _STRING.fullmatch(part):
            part, half_string = _HALF_ESCAPE.sub("", part) + '"', True
        if part[0] == '"':
            part = _ESCAPE.sub(_kept_escape, part)
        out.append(_WORDS.get(part, part))
        if part in "{[":
            closers.append("}" if part == "{" else "]")
            items.append(len(out))
        elif part == ",":
            items[-1] = len(out)
        if len(closers) > _DEEPEST:
            return None, 0, []
        if not closers:
            whole = "".join(out)
            return (whole, match.end(), []) if _is_json(whole) else (None, 0, [])
    parts = []
    for depth in range(len(closers), 0, -1):
        kept = out[: items[depth - 1]]
        if kept[-1] == ",":
            kept.pop()
        parts.append("".join(kept + closers[:depth][::-1]))
    if half_string:
        parts.append("".join(out + closers[::-1]))
    return None, 0, parts


def _requoted(text: str) -> str | None:
    """The value of a text with the quotes inside its strings escaped, where that makes it JSON: a quote ends
    a string only where what follows can follow one."""
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    end = max(text.rfind("}"), text.rfind("]")) + 1
    if start < 0 or end <= start or end - start > _MOST_REQUOTED:
        return None
    text, out, inside = text[start:end], [], False
    at = 0
    for match in _QUOTE.finditer(text):
        out.append(text[at : match.start()])
        at = match.end()
        mark = match.group()
        if mark != '"':  # escaped, whatever it is
            out.append(mark)
        elif inside and not _ENDS.match(text, at):
            out.append('\\"')
        else:
            inside = not inside
            out.append('"')
    mended = "".join([*out, text[at:]])
    return mended if mended != text and _is_json(mended) else None


def _kept_escape(match: re.Match[str]) -> str:
    """An escape that JSON has, or what stands behind the backslash."""
    what = match.group(1)
    return match.group() if what in '"\\/bfnrt' or len(what) == 5 else what


def _is_json(text: str) -> bool:
    try:
        decoded(text)
    except (ValueError, RecursionError):
        return False
    return True


def _python(text: str, start: int) -> tuple[str, int] | None:
    """A value in Python's spelling, in single quotes, as JSON, and where it ends."""
    if not re.match(r"[{\[]\s*['{\[]", text[start : start + 40]):
        return None
    piece = text[start : start + 100_000]
    for end in [m.end() for m in re.finditer(r"[}\]]", piece)][-1:-9:-1]:
        try:
            value = ast.literal_eval(piece[:end])
            return json.dumps(value), start + end
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return None
