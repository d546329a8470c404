"""Conversations: a cell of turns as one text, and such a text as its turns."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

# Who speaks, in the words of data sets; a conversation is the same whatever its roles are called.
_ROLES = {
    "human": "user", "prompter": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant",
    "chatbot": "assistant", "ai": "assistant", "model": "assistant", "bing": "assistant", "bard": "assistant",
    "claude": "assistant", "gpt-4": "assistant", "gpt4": "assistant", "developer": "system",
    "function": "tool", "observation": "tool", "ipython": "tool",
}  # fmt: skip
_STANDARD = ("system", "user", "assistant", "tool")
_WHO = ("role", "from", "speaker", "author")
_WHAT = ("content", "value", "text", "utterance", "message")


CHATS = ("messages", "conversations", "conversation", "chat")
"""Names that columns of conversations have, in the order in which they are looked for."""


class ChatError(ValueError):
    """A turn without a speaker or without words."""


def is_chat(value: Any) -> bool:
    """Whether a cell is meant as turns of a conversation: objects with a speaker, as JSON or Python write
    them where the cell is text."""
    if isinstance(value, str):
        value = _written(value)
    if isinstance(value, Mapping):  # turns as columns, as older data sets have them
        return any(isinstance(value.get(name), list) for name in _WHO)
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and isinstance(value[0], Mapping)
        and any(name in value[0] for name in _WHO)
    )


def turns_of(value: Any) -> list[dict[str, str]]:
    """The turns of a cell for which `is_chat` holds: {"role", "content"} each, roles of one meaning in one
    word.

    Raises:
        ChatError: a turn that is not whole.
    """
    if isinstance(value, str):
        value = _written(value)
    if isinstance(value, Mapping):
        parts = {name: part for name, part in value.items() if isinstance(part, list)}
        if len({len(part) for part in parts.values()}) > 1:
            raise ChatError("has columns of turns of several lengths")
        value = [dict(zip(parts, turn, strict=True)) for turn in zip(*parts.values(), strict=True)]
    return [_turn(number, turn) for number, turn in enumerate(value, 1)]


def roles_of(value: Any) -> list[str]:
    """Who speaks in a cell for which `is_chat` holds; nobody where a turn is not whole."""
    try:
        return list(dict.fromkeys(turn["role"] for turn in turns_of(value)))
    except ChatError:
        return []


def chat_text(turns: Sequence[Mapping[str, str]]) -> str:
    """One text, "role: words" a turn. A line of words that begins as a turn does is set off by a blank."""
    if not any(turn["content"].strip() for turn in turns):
        return ""
    begin = _begins([*_STANDARD, *(turn["role"] for turn in turns)])
    lines = []
    for turn in turns:
        first, *rest = turn["content"].split("\n")
        lines.append(f"{turn['role']}: {first}")
        lines += [f" {line}" if begin.match(line) else line for line in rest]
    return "\n".join(lines)


def chat_turns(text: str, roles: Sequence[str]) -> list[dict[str, str]] | None:
    """The turns of such a text; None for a text that does not begin with one of the roles."""
    begin = _begins(roles)
    turns: list[dict[str, str]] = []
    for line in text.split("\n"):
        found = begin.match(line)
        if found:
            turns.append({"role": found[1], "content": line[found.end() :]})
        elif not turns:
            return None
        else:
            turns[-1]["content"] += f"\n{line}"
    return turns or None


def _begins(roles: Sequence[str]) -> re.Pattern[str]:
    names = sorted(set(roles), key=len, reverse=True)
    return re.compile(rf"({'|'.join(map(re.escape, names))}):(?: |$)")


def _turn(number: int, turn: Any) -> dict[str, str]:
    if not isinstance(turn, Mapping):
        raise ChatError(f"turn {number} is no object with a role and its content")
    role = next((turn[name] for name in _WHO if turn.get(name) is not None), None)
    if isinstance(role, Mapping):  # {"author": {"role": "user"}}
        role = role.get("role")
    if not isinstance(role, str) or not role.strip():
        raise ChatError(f"turn {number} does not say who speaks ({', '.join(_WHO)})")
    words = next((turn[name] for name in _WHAT if turn.get(name) is not None), None)
    if isinstance(words, Mapping):  # {"content": {"parts": [...]}}
        words = words.get("parts", words.get("text"))
    if isinstance(words, list):  # parts, of which images have no words
        words = "\n".join(filter(None, map(_part, words)))
    called = next((turn[name] for name in ("tool_calls", "function_call") if turn.get(name)), None)
    if called is not None and not words:
        words = json.dumps(called, ensure_ascii=False)
    if words is None and any(name in turn for name in _WHAT):
        words = ""
    if not isinstance(words, str):
        raise ChatError(f"turn {number} has no words ({', '.join(_WHAT)})")
    role = " ".join(role.split())
    known = _ROLES.get(role.casefold(), role)
    return {"role": known.casefold() if known.casefold() in _STANDARD else known, "content": words}


def _part(part: Any) -> str:
    if isinstance(part, Mapping):
        part = part.get("text")
    return part if isinstance(part, str) else ""


def _written(text: str) -> Any:
    """The value that a text writes in JSON or Python; the text itself where it writes none."""
    if not text.lstrip().startswith(("[{", "[ {", "[\n")) or not any(f"{name}" in text for name in _WHO):
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text.strip())
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return text
