"""Waves are decided on in one order whatever the order of the answers, and two are in flight."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from synalign_jax.llm.driver import Job, Outcome
from synalign_jax.llm.protocol import (
    BudgetReached,
    ChatRequest,
    ChatResponse,
    Choice,
    Message,
    ServerError,
    Usage,
)
from synalign_jax.pipeline.asking.turns import PART, Turns


def _request(text: str) -> ChatRequest:
    return ChatRequest((Message("user", text),), "m")


def _outcome(job: Job) -> Outcome:
    text = job.request.messages[0].content
    return Outcome(job, ChatResponse((Choice(text, "stop"),), Usage(), "m"), None, None, False, 1)


class Player:
    """Three requests a wave, five waves; writes down what happens."""

    def __init__(self, waves: int = 5, size: int = 3) -> None:
        self.waves, self.size, self.events = waves, size, []
        self.between: Turns | None = None
        self.taken: list[Outcome | None] = []

    def propose(self, wave: int) -> list[ChatRequest]:
        self.events.append(("propose", wave))
        return [_request(f"{wave}.{i}") for i in range(self.size)] if wave <= self.waves else []

    def prepare(self) -> None:
        self.events.append(("prepare", 0))

    def take(self, wave: int, outcomes: Sequence[Outcome | None]) -> None:
        self.taken += outcomes

    def accept(self, wave: int) -> None:
        outcomes, self.taken = self.taken, []
        texts = [None if o is None or o.response is None else o.response.text for o in outcomes]
        self.events.append(("accept", wave, *texts))
        if self.between is not None and outcomes:
            (extra,) = self.between.ask([_request(f"about {wave}")])
            assert extra is not None
            assert extra.response is not None
            self.events.append(("between", extra.response.text))


def _stream(seed: int, most: int = 10**6, error: Exception | None = None):
    """Answers jobs in a random order; ends with `error` after `most`."""

    async def stream(jobs: AsyncIterator[Job]) -> AsyncIterator[Outcome]:
        rng, ended, given = random.Random(seed), asyncio.Queue(), 0
        tasks = set()

        async def answer(job: Job) -> None:
            for _ in range(rng.randrange(20)):
                await asyncio.sleep(0)
            ended.put_nowait(_outcome(job))

        async def feed() -> None:
            async for job in jobs:
                task = asyncio.ensure_future(answer(job))
                tasks.add(task)
            await asyncio.gather(*tasks)
            ended.put_nowait(None)

        feeder = asyncio.ensure_future(feed())
        while (outcome := await ended.get()) is not None:
            if given == most:
                feeder.cancel()
                assert error is not None
                raise error
            given += 1
            yield outcome

    return stream


def _play(player: Player, stream) -> BudgetReached | None:
    async def play() -> BudgetReached | None:
        turns = Turns(player)
        if player.between is not None:
            player.between = turns
        return await turns.play(stream)

    return asyncio.run(asyncio.wait_for(play(), 20))


def test_the_order_of_the_answers_changes_nothing() -> None:
    games = []
    for seed in range(5):
        player = Player()
        assert _play(player, _stream(seed)) is None
        games.append(player.events)
    assert all(game == games[0] for game in games)
    assert [event for event in games[0] if event[0] == "accept"][:5] == [
        ("accept", wave, *(f"{wave}.{i}" for i in range(3))) for wave in range(1, 6)
    ]


def test_a_wave_is_decided_on_while_the_one_before_is_in_flight() -> None:
    player = Player()
    _play(player, _stream(0))
    assert player.events[:6] == [
        ("propose", 1),
        ("propose", 2),
        ("prepare", 0),
        ("accept", 1, "1.0", "1.1", "1.2"),
        ("propose", 3),
        ("accept", 2, "2.0", "2.1", "2.2"),
    ]


def test_a_wave_is_taken_in_the_same_parts_while_its_last_answers_are_waited_for() -> None:
    late = threading.Event()

    class Parts(Player):
        def take(self, wave: int, outcomes: Sequence[Outcome | None]) -> None:
            super().take(wave, outcomes)
            self.events.append(("take", len(outcomes), late.is_set()))

        def accept(self, wave: int) -> None:
            del wave
            self.taken = []

    async def stream(jobs: AsyncIterator[Job]) -> AsyncIterator[Outcome]:
        found = [await anext(jobs) for _ in range(PART + 3)]
        last = found.pop(PART + 1)
        for job in reversed(found):
            yield _outcome(job)
        while ("take", PART, False) not in player.events:
            await asyncio.sleep(0.001)
        late.set()
        yield _outcome(last)
        async for job in jobs:
            yield _outcome(job)

    player = Parts(waves=1, size=PART + 3)
    assert _play(player, stream) is None
    assert [event for event in player.events if event[0] == "take"] == [
        ("take", PART, False),
        ("take", 3, True),
    ]


def test_requests_can_be_put_in_between() -> None:
    player = Player()
    player.between = object()  # type: ignore[assignment]  # replaced by the game
    _play(player, _stream(1))
    assert [event[1] for event in player.events if event[0] == "between"] == [
        f"about {w}" for w in range(1, 6)
    ]


@pytest.mark.parametrize("most", range(0, 15, 2))
def test_at_the_end_of_the_budget_all_that_was_answered_is_accepted(most: int) -> None:
    player = Player()
    reached = _play(player, _stream(2, most, BudgetReached("max_cost = 1")))
    assert isinstance(reached, BudgetReached)
    accepted = [text for event in player.events if event[0] == "accept" for text in event[2:]]
    assert len([text for text in accepted if text is not None]) == most


def test_an_endpoint_that_stops_answering_ends_the_game_with_its_error() -> None:
    with pytest.raises(ServerError, match="gone"):
        _play(Player(), _stream(3, 4, ServerError("gone")))


def test_an_error_of_the_player_comes_out() -> None:
    class Broken(Player):
        def accept(self, wave: int) -> None:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        _play(Broken(), _stream(4))


def test_a_player_that_asks_nothing() -> None:
    player = Player(waves=0)
    assert _play(player, _stream(5)) is None
    assert ("accept", 1) in player.events
