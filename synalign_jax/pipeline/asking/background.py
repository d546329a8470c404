"""An event loop that synchronous code waits for, also where a loop is running already."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")
Tell = Callable[[Any], None]


class Background:
    """A loop in a thread of its own; a context manager.

    The stages of a run are synchronous, their requests are not. In a notebook's cell the calling thread has
    a running loop, which cannot be entered a second time; so the requests get a loop beside it, everywhere.
    """

    def __enter__(self) -> Background:
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._serve, args=(started,), name="requests", daemon=True)
        self._thread.start()
        self._loop = started.result()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @staticmethod
    def _serve(started: Future[asyncio.AbstractEventLoop]) -> None:
        # The runner's end cancels what still runs and closes the loop's generators and threads.
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            started.set_result(loop)
            loop.run_forever()

    def run(
        self, work: Callable[[Tell], Coroutine[Any, Any, Result]], heed: Callable[[Any], None] | None = None
    ) -> Result:
        """Wait for the coroutine that `work` makes.

        Interrupted, by Ctrl-C or by an error in `heed`, it cancels the coroutine and returns when that has
        ended: what it had to put on record is on record then.

        Args:
            work: gets a function to tell things with, and returns the coroutine.
            heed: called with everything told, in the thread that waits.
        """
        said: queue.SimpleQueue[Any] = queue.SimpleQueue()
        tasks: list[asyncio.Task[Result]] = []
        ended = threading.Event()

        async def whole() -> Result:
            return await work(said.put)

        def start() -> None:
            tasks.append(self._loop.create_task(whole()))
            tasks[0].add_done_callback(said.put)
            tasks[0].add_done_callback(lambda _: ended.set())

        def cancel() -> None:
            tasks[0].cancel()

        self._loop.call_soon_threadsafe(start)
        try:
            while not isinstance(event := said.get(), asyncio.Task):
                if heed is not None:
                    heed(event)
        except BaseException:
            self._loop.call_soon_threadsafe(cancel)
            ended.wait()  # not for the task in `said`: an interrupt may come when it has just been taken out
            raise
        return event.result()
