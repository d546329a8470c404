"""An endpoint inside the test: each call is one entry of a script, or an answer."""

import asyncio
from collections.abc import Callable

from synalign_jax.llm.driver import Job, Limits, Outcome, stream
from synalign_jax.llm.ledger import Ledger
from synalign_jax.llm.protocol import ChatRequest, ChatResponse, Choice, LLMError, Message, Usage

QUICK = Limits(first_wait=0.01, longest_wait=0.02)


def job(name: object, **fields) -> Job:
    return Job(ChatRequest((Message("user", str(name)),), "m", **fields), name)


def answer(text: str = "fine", *, reason: str = "stop", quota=None, n: int = 1) -> ChatResponse:
    return ChatResponse((Choice(text, reason),) * n, Usage(10, 5), "m", quota)


class Endpoint:
    """Answers by `behave(prompt, how many times it was asked before)`: an answer, a text, or an error."""

    endpoint = "fake"

    def __init__(self, behave: Callable = lambda prompt, times: "fine", seconds: float = 0.0) -> None:
        self.behave, self.seconds = behave, seconds
        self.requests: list[ChatRequest] = []
        self.busy = self.most_busy = 0

    async def complete(self, request: ChatRequest) -> ChatResponse:
        prompt = request.messages[0].content
        times = sum(r.messages[0] == request.messages[0] for r in self.requests)
        self.requests.append(request)
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            await asyncio.sleep(self.seconds)
            result = self.behave(prompt, times)
            if asyncio.iscoroutine(result):
                result = await result
        finally:
            self.busy -= 1
        if isinstance(result, LLMError):
            raise result
        return result if isinstance(result, ChatResponse) else answer(result)

    async def aclose(self) -> None: ...


def ask(path, llm, jobs, **options) -> list[Outcome]:
    """All outcomes of one run, on the ledger at `path`."""

    async def run() -> list[Outcome]:
        with Ledger(path) as ledger:
            return [o async for o in stream(llm, jobs, ledger=ledger, **({"limits": QUICK} | options))]

    return asyncio.run(run())
