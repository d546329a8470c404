"""What is done cheaply because it is done for every request gives what the plain way gives."""

import asyncio
import gc
import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from fake_endpoint import Endpoint, job
from hypothesis import given
from hypothesis import strategies as st

from synalign_jax.llm.desk import Deadline, Deadlines
from synalign_jax.llm.driver import stream
from synalign_jax.llm.ledger import Ledger
from synalign_jax.llm.protocol import ChatRequest, ChatResponse, Choice, Message, Usage
from synalign_jax.llm.records import keyed, packed, request_body

ANY = st.text(st.characters(exclude_categories=())) | st.just("\ud800\0\x7f\u2028é")
NUMBERS = st.integers() | st.floats(allow_nan=False) | st.booleans()
REQUESTS = st.builds(
    ChatRequest,
    messages=st.lists(st.builds(Message, ANY, ANY), max_size=3).map(tuple),
    model=ANY,
    max_tokens=st.integers(),
    temperature=NUMBERS,
    top_p=NUMBERS,
    seed=st.none() | st.integers(),
    stop=st.lists(ANY, max_size=2).map(tuple),
    n=st.integers(),
    logprobs=st.booleans(),
    schema=st.none() | st.dictionaries(ANY, ANY, max_size=3),
    continues=st.booleans(),
    extra=st.dictionaries(ANY, NUMBERS | ANY, max_size=3),
)


@given(ANY, REQUESTS)
def test_a_body_is_what_json_makes_of_it_so_that_keys_stay(endpoint: str, request: ChatRequest) -> None:
    plain = {f.name: getattr(request, f.name) for f in fields(request)}
    del plain["idempotency_key"]
    if not plain["continues"]:
        del plain["continues"]
    plain |= {"endpoint": endpoint, "messages": [[m.role, m.content] for m in request.messages]}
    body = request_body(endpoint, request)
    assert body == json.dumps(plain, sort_keys=True, separators=(",", ":"))
    assert keyed(request, "k") == replace(request, idempotency_key="k")


@given(st.lists(st.builds(Choice, ANY, ANY, st.none() | st.just((-0.5, -1e-300))), max_size=3), ANY)
def test_an_answer_is_packed_as_json_packs_it(choices: list[Choice], model: str) -> None:
    response = ChatResponse(tuple(choices), Usage(3, 4), model)
    plain = [[[c.text, c.finish_reason, c.logprobs] for c in choices], [3, 4], model]
    assert packed(response) == json.dumps(plain)


def test_deadlines_end_what_takes_too_long_and_nothing_else() -> None:
    late = Deadlines(0.3)

    async def work(seconds: float) -> str:
        try:
            with Deadline(late):
                await asyncio.sleep(seconds)
        except TimeoutError:
            return "late"
        await asyncio.sleep(0.35)  # it is not ended after its block
        return "done"

    async def main() -> list[str]:
        ended = await asyncio.gather(work(9), work(0), work(0.01), work(9))
        return [*ended, await work(9)]  # also when none was under way

    assert asyncio.run(main()) == ["late", "done", "done", "late", "late"]


def test_a_task_that_is_cancelled_at_its_deadline_is_cancelled() -> None:
    late = Deadlines(0.02)

    async def work() -> None:
        with Deadline(late):
            try:
                await asyncio.sleep(9)
            finally:
                task.cancel()

    async def main() -> None:
        nonlocal task
        task = asyncio.ensure_future(work())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    task: asyncio.Task[None]
    asyncio.run(main())


def test_cycles_are_sought_as_before_once_all_streams_have_ended(tmp_path: Path) -> None:
    usual = gc.get_threshold()

    async def run(name: str) -> None:
        with Ledger(tmp_path / name) as ledger:
            async for _ in stream(Endpoint(lambda prompt, times: "fine"), [job(1), job(2)], ledger=ledger):
                assert gc.get_threshold()[0] > usual[0]

    async def main() -> None:
        await asyncio.gather(run("a"), run("b"))

    asyncio.run(main())
    assert gc.get_threshold() == usual


def test_what_is_ordered_in_the_turn_in_which_a_ledger_closes_is_on_record(tmp_path: Path) -> None:
    async def main() -> None:
        with Ledger(tmp_path / "l") as ledger:
            ledger.learn("e", "m", {"a": 1})  # and the future is not waited for

    asyncio.run(main())

    async def after() -> dict | None:
        with Ledger(tmp_path / "l") as ledger:
            return await ledger.lessons("e", "m")

    assert asyncio.run(after()) == {"a": 1}
