"""Conversations as rows: what real ones are like, how they are asked for, and what may be wrong with a new
one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from synalign_jax.pipeline.data.formats.chat import chat_turns

_LENGTHS = (20, 4_000)  # characters that a turn may have
INDENT = "    "
"""Before a turn, where a conversation is part of a list."""


class Turns:
    """How the conversations of one field go.

    Args:
        roles: who speaks.
        real: the turns of each real row's conversation, as {"role", "content"}; none where it is blank.
    """

    def __init__(self, roles: Sequence[str], real: Sequence[Sequence[Mapping[str, str]]]) -> None:
        self.roles = tuple(roles)
        real = [turns for turns in real if turns]
        sizes = [len(turns) for turns in real] or [1]
        words = [len(turn["content"]) for turns in real for turn in turns] or [0]
        self.fewest, self.most = min(sizes), int(np.ceil(np.quantile(sizes, 0.95)))
        self._longest = int(np.clip(1.25 * np.quantile(words, 0.95), *_LENGTHS))
        self._first = {turns[0]["role"] for turns in real}
        self._last = {turns[-1]["role"] for turns in real}
        self._after = {(a["role"], b["role"]) for turns in real for a, b in pairwise(turns)}

    def schema(self) -> dict[str, Any]:
        """The JSON schema of a conversation."""
        turn = {
            "type": "object",
            "properties": {
                "role": {"type": "string", "enum": list(self.roles)},
                "content": {"type": "string", "minLength": 1, "maxLength": self._longest},
            },
            "required": ["role", "content"],
            "additionalProperties": False,
        }
        return {"type": "array", "items": turn, "minItems": self.fewest, "maxItems": self.most}

    def grammar(self, name: str) -> list[str]:
        """GBNF of a conversation behind the name of its field, a line a turn: rules of which the first is
        called `name`. Roles follow each other as they do in real ones, to an end that real ones have.
        """
        words = rf'": " [^ \n\r\t] [^\n\r]{{0,{self._longest - 1}}}'
        rules: list[str] = []
        reached: dict[tuple[int, str], list[str]] = {}
        for number in range(self.most, 0, -1):
            for role in self.roles:
                after = [
                    _rule(name, number + 1, self.roles.index(other))
                    for other in self.roles
                    if (role, other) in self._after and (number + 1, other) in reached
                ]
                if role in self._last and number >= self.fewest:
                    after.append(r'"\n"')
                if after:
                    reached[number, role] = after
        for (number, role), after in sorted(reached.items()):
            begin = json.dumps(f"\n{INDENT}{role}", ensure_ascii=False)
            rule = _rule(name, number, self.roles.index(role))
            rules.append(f"{rule} ::= {begin} {words} ({' | '.join(after)})")
        first = [
            _rule(name, 1, place)
            for place, role in enumerate(self.roles)
            if role in self._first and (1, role) in reached
        ]
        return [f"{name} ::= {' | '.join(first)}", *rules]

    def fault(self, text: str) -> str | None:
        """What is wrong with a conversation that is so with no real one, or None."""
        turns = chat_turns(text, self.roles)
        if turns is None:
            return "a conversation without turns"
        if any(not turn["content"].strip() for turn in turns):
            return "a conversation with a blank turn"
        if turns[0]["role"] not in self._first:
            return f"a conversation that begins with {turns[0]['role']}"
        if turns[-1]["role"] not in self._last:
            return f"a conversation that ends with {turns[-1]['role']}"
        for one, other in pairwise(turns):
            if (one["role"], other["role"]) not in self._after:
                return f"a conversation with {other['role']} after {one['role']}"
        return None


def _rule(name: str, number: int, role: int) -> str:
    return f"{name}-{number}-{role}"
