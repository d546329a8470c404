"""A loop for synchronous code: beside one that is running, and interrupted."""

import asyncio
import queue
import threading

import pytest

from synalign_jax.pipeline.asking.background import Background


async def _count(tell, most: int) -> int:
    for number in range(most):
        tell(number)
        await asyncio.sleep(0)
    return most


def test_it_waits_where_a_loop_is_running_already() -> None:
    heard: list[tuple[int, threading.Thread]] = []

    async def cell() -> int:
        with Background() as loop:
            return loop.run(
                lambda tell: _count(tell, 3), lambda told: heard.append((told, threading.current_thread()))
            )

    assert asyncio.run(cell()) == 3
    assert heard == [(number, threading.current_thread()) for number in range(3)]


def test_what_the_coroutine_raises_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("the reason")

    with Background() as loop:
        with pytest.raises(ValueError, match="the reason"):
            loop.run(lambda _: fail())
        assert loop.run(lambda tell: _count(tell, 2)) == 2


def test_interrupted_it_returns_when_the_coroutine_has_put_its_things_away() -> None:
    put_away = []

    async def work(tell) -> None:
        try:
            tell("started")
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            put_away.append(True)

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with Background() as loop:
        with pytest.raises(KeyboardInterrupt):
            loop.run(work, interrupt)
        assert put_away == [True]


def test_its_end_ends_what_is_still_running() -> None:
    ended = []

    async def endless() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async def begin() -> asyncio.Task[None]:
        task = asyncio.create_task(endless())
        await asyncio.sleep(0)
        return task

    with Background() as loop:
        task = loop.run(lambda _: begin())
    assert ended == [True]
    assert task.cancelled()


@pytest.mark.parametrize("moment", ["told", "ended"])
def test_an_interrupt_that_takes_the_end_with_it_is_no_wait_for_ever(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Ctrl-C may be raised when what was waited for has left the queue and is not yet in a variable."""

    class Interrupted(queue.SimpleQueue):
        def get(self, *arguments, **options):
            found = super().get(*arguments, **options)
            if isinstance(found, asyncio.Task) == (moment == "ended"):
                raise KeyboardInterrupt
            return found

    monkeypatch.setattr("synalign_jax.pipeline.asking.background.queue.SimpleQueue", Interrupted)
    ended = []

    def wait() -> None:
        with Background() as loop, pytest.raises(KeyboardInterrupt):
            loop.run(lambda tell: _count(tell, 3))
        ended.append(True)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    waiting.join(30)
    assert ended
