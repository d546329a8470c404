"""Waiting for a coroutine in code that is not one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

Result = TypeVar("Result")


def waited(work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` returns, from a thread of its own: the caller may be inside an event loop.

    Interrupted, by Ctrl-C, it cancels the coroutine, which may be in a wait of minutes that an endpoint has
    asked for.
    """
    tasks: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []
    interrupted = threading.Event()

    async def whole() -> Result:
        tasks.append((asyncio.get_running_loop(), cast("asyncio.Task[Any]", asyncio.current_task())))
        if interrupted.is_set():
            work.close()
            raise asyncio.CancelledError
        return await work

    with ThreadPoolExecutor(1) as thread:
        made = thread.submit(lambda: asyncio.run(whole()))
        try:
            return made.result()
        except BaseException:
            interrupted.set()
            for loop, task in tasks:
                with contextlib.suppress(RuntimeError):  # it has ended by itself
                    loop.call_soon_threadsafe(task.cancel)
            raise
