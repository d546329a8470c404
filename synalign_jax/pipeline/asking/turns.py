"""Waves of requests, two in flight: while one is answered the next is decided on, and no slot stands idle."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from synalign_jax.llm.driver import Job, Outcome
from synalign_jax.llm.protocol import BudgetReached, ChatRequest

Stream = Callable[[AsyncIterator[Job]], AsyncIterator[Outcome]]
PART = 32  # outcomes of a wave that are handed over together


class Player(Protocol):
    """Decides what is asked next. What it decides may depend on nothing but the outcomes that it was given.

    All are called in a thread beside the event loop, never at once.
    """

    def propose(self, wave: int) -> Sequence[ChatRequest]:
        """The requests of a wave, the waves before the last having been accepted; none to wait for the
        last."""
        ...

    def prepare(self) -> None:
        """Called once, while the first waves are in flight: for what takes long and needs no outcome."""
        ...

    def take(self, wave: int, outcomes: Sequence[Outcome | None]) -> None:
        """The next `PART` outcomes of a wave in the order of its requests, None where the budget ended
        before; as soon as these and those before them are there, whatever the others do."""
        ...

    def accept(self, wave: int) -> None:
        """All outcomes of a wave have been taken."""
        ...


class Turns:
    """One game of a player with a stream of answers. `ask` puts further requests in between, from its
    thread."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._jobs: asyncio.Queue[Job | None] = asyncio.Queue()
        self._open: dict[int, _Wave] = {}
        self._numbers = itertools.count()
        self._loop = asyncio.get_running_loop()
        self._ended = False
        self.total = 0

    async def play(self, stream: Stream) -> BudgetReached | None:
        """Until the player asks for nothing more, or the budget is used up.

        Returns:
            what ended it, if that was the budget.

        Raises:
            LLMError: the endpoint refuses every request or has stopped answering.
        """
        director = asyncio.ensure_future(self._direct())
        reached = None
        try:
            async for outcome in stream(self._feed()):
                number, position = outcome.job.tag
                self._open[number].put(position, outcome)
        except BudgetReached as error:
            reached = error
        except BaseException:
            self._end()
            director.cancel()
            await asyncio.gather(director, return_exceptions=True)
            raise
        self._end()
        await director
        return reached

    def ask(self, requests: Sequence[ChatRequest]) -> list[Outcome | None]:
        """The outcomes of requests put in between; to be called from the player's thread."""

        async def put() -> list[Outcome | None]:
            number, wave = self._put(requests)
            found = await wave.outcomes()
            del self._open[number]
            return found

        return asyncio.run_coroutine_threadsafe(put(), self._loop).result()

    async def _direct(self) -> None:
        before: tuple[int, int, _Wave] | None = None
        try:
            for number in itertools.count(1):
                requests = [] if self._ended else await asyncio.to_thread(self._player.propose, number)
                opened, wave = self._put(requests)
                empty = not requests
                del requests
                if number == 2:
                    await asyncio.to_thread(self._player.prepare)
                if before is not None:
                    of, taken, last = before
                    async for part in last.parts():
                        await asyncio.to_thread(self._player.take, of, part)
                    # What has been taken is the player's: a run's answers are as large as its rows.
                    del self._open[taken]
                    await asyncio.to_thread(self._player.accept, of)
                    # With nothing in flight a player that asks for nothing has ended the game.
                    if empty and not last.size:
                        break
                before = (number, opened, wave)
                if self._ended and not wave.size:
                    break
        finally:
            self._jobs.put_nowait(None)

    async def _feed(self) -> AsyncIterator[Job]:
        while (job := await self._jobs.get()) is not None:
            yield job

    def _put(self, requests: Sequence[ChatRequest]) -> tuple[int, _Wave]:
        number, wave = next(self._numbers), _Wave(len(requests))
        self._open[number] = wave
        self.total += len(requests)
        for position, request in enumerate(requests):
            self._jobs.put_nowait(Job(request, tag=(number, position)))
        if self._ended:
            wave.close()
        return number, wave

    def _end(self) -> None:
        """No more answers will come: whoever waits gets what there is."""
        self._ended = True
        for wave in self._open.values():
            wave.close()


class _Wave:
    def __init__(self, size: int) -> None:
        self.size = size
        self._outcomes: list[Outcome | None] = [None] * size
        starts = range(0, size, PART)
        self._left = [min(PART, size - start) for start in starts]
        self._done = [asyncio.Event() for _ in starts]

    def put(self, position: int, outcome: Outcome) -> None:
        self._outcomes[position] = outcome
        part = position // PART
        self._left[part] -= 1
        if not self._left[part]:
            self._done[part].set()

    def close(self) -> None:
        for done in self._done:
            done.set()

    async def parts(self) -> AsyncIterator[list[Outcome | None]]:
        """The same parts whatever the order of the answers: what is made of each can be made again. Each is
        handed over once."""
        for part, done in enumerate(self._done):
            await done.wait()
            rows = slice(part * PART, (part + 1) * PART)
            outcomes = self._outcomes[rows]
            self._outcomes[rows] = [None] * len(outcomes)
            yield outcomes

    async def outcomes(self) -> list[Outcome | None]:
        for done in self._done:
            await done.wait()
        return self._outcomes
