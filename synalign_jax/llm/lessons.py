"""What a run finds out about each model, kept in the ledger: the next stage and start know it."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

from .protocol import LLM, Learner
from .records import Entries

_STEPS = (1_024, 4_096, 16_384)  # tokens that a model's hidden thoughts may take, tried one after another


class Lessons:
    """The options that models take, by the adapter's own account, and the head-room that their thoughts need.

    Args:
        fixed: tokens of head-room that the user states; None has it found out.
    """

    def __init__(self, llm: LLM, ledger: Entries, fixed: int | None) -> None:
        self._llm, self._ledger, self._fixed = llm, ledger, fixed
        self._learner = llm if isinstance(llm, Learner) else None
        self._recalled: dict[str, asyncio.Task[None]] = {}
        self._kept: dict[str, dict[str, Any]] = {}
        self._headroom: dict[str, int] = {}

    def recalled(self, model: str) -> bool:
        """Whether `recall` has nothing more to do."""
        return model in self._kept

    async def recall(self, model: str) -> None:
        """Make use of what was learnt of the model before; the first call for a model reads, others wait."""
        reading = self._recalled.get(model)
        if reading is None:
            reading = self._recalled[model] = asyncio.ensure_future(self._read(model))
        if reading.done():
            reading.result()
        else:
            await asyncio.shield(reading)

    async def keep(self, model: str) -> None:
        """Put what is new on record."""
        known = self._all(model)
        if known == self._kept.get(model):
            return
        self._kept[model] = known
        await self._ledger.learn(self._llm.endpoint, model, known)

    def headroom(self, model: str) -> int:
        """Tokens that an answer gets on top of those asked for, for thoughts that no answer shows."""
        return self._headroom.get(model, 0) if self._fixed is None else self._fixed

    def raise_headroom(self, model: str, sent: int) -> bool:
        """An answer with `sent` tokens of head-room was thoughts alone. Whether another try has more."""
        if self.headroom(model) > sent:
            return True  # another request has learnt it meanwhile
        more = next((step for step in _STEPS if step > sent), None)
        if self._fixed is not None or more is None:
            return False
        self._headroom[model] = more
        warnings.warn(
            f"{self._llm.endpoint}: {model}: the model spends its tokens on reasoning; answers may take"
            f" {more:,} tokens more from now on (reasoning_tokens states how many; a lower reasoning_effort"
            " costs less)",
            stacklevel=2,
        )
        return True

    async def _read(self, model: str) -> None:
        known = await self._ledger.lessons(self._llm.endpoint, model) or {}
        options, headroom = known.get("options"), known.get("headroom")
        if self._learner is not None and isinstance(options, dict):
            self._learner.recall(model, options)
        if isinstance(headroom, int) and 0 < headroom <= _STEPS[-1]:
            self._headroom[model] = headroom
        self._kept[model] = self._all(model)

    def _all(self, model: str) -> dict[str, Any]:
        options = self._learner.lessons(model) if self._learner is not None else {}
        return {"options": options, "headroom": self._headroom.get(model, 0)}
