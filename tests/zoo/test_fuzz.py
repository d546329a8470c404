"""Whatever bytes arrive, the adapter ends in an answer or a typed error, and no usage is lost."""

import asyncio
import json
import warnings

from coats import pieces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synalign_adapters.openai import OpenAIChat
from zoo import SCHEMA, Cage, Reply, State, Visit, completion

from synalign_jax.llm.protocol import BadAnswer, ChatRequest, ChatResponse, LLMError, Message
from synalign_jax.llm.structured import parse

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 10**18)
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.sampled_from(["stop", "length", "error", "max_tokens", "28s", "seed", "Loading model", "rate limit"])
)
WORDS = """choices message content delta finish_reason index usage prompt_tokens completion_tokens error code
status type detail param loc metadata reasons retryDelay details logprobs text reasoning_content refusal model
data"""
NAMES = st.sampled_from(WORDS.split())
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=14,
)
NOISE = """
: ping
event: message
data:
data: nonsense
data: null
data: []
data: {"choices": []}
data: {"usage": null}
retry: 3
id: 7
x""".splitlines()
USAGE = {"prompt_tokens": 40, "completion_tokens": 20}
ASK = ChatRequest((Message("user", "go"),), "m", max_tokens=300, seed=1, top_p=0.9, schema=SCHEMA)
FEW = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def replies(cases: list[Reply], request: ChatRequest = ASK) -> list[ChatResponse | LLMError]:
    """What the adapter makes of each reply; anything but an answer or an LLMError fails the test."""

    async def main() -> list[ChatResponse | LLMError]:
        made: list[ChatResponse | LLMError] = []
        async with Cage(lambda visit: cases[len(made)]) as url:
            for _ in cases:
                llm = OpenAIChat(url, api_key_env=None)  # a new one has learnt nothing
                try:
                    made.append(await asyncio.wait_for(llm.complete(request), 60))
                except LLMError as error:
                    made.append(error)
                await llm.aclose()
        return made

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return asyncio.run(main())


@FEW
@given(
    st.lists(
        st.tuples(st.sampled_from([200, 200, 200, 400, 403, 404, 422, 429, 500, 503]), JSON), max_size=12
    )
)
def test_any_json_at_any_status_is_an_answer_or_a_typed_error(cases: list) -> None:
    for made in replies([Reply(status, body) for status, body in cases]):
        assert isinstance(made, ChatResponse | LLMError)
        if isinstance(made, ChatResponse):
            assert made.choices
            assert min(made.usage.prompt_tokens, made.usage.completion_tokens) >= 0


@FEW
@given(st.lists(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), max_size=12), st.booleans())
def test_any_bytes_are_an_answer_or_a_typed_error(bodies: list[bytes], stream: bool) -> None:
    kind = "text/event-stream" if stream else "application/json"
    for made in replies([Reply(body=body, kind=kind) for body in bodies]):
        assert isinstance(made, ChatResponse | LLMError)


@FEW
@given(st.lists(st.tuples(JSON, st.dictionaries(NAMES, JSON, max_size=3)), max_size=12))
def test_usage_that_was_told_is_never_lost(cases: list) -> None:
    """Whatever the choices are, the tokens that the server counts reach the answer or the error."""
    bodies = [{**more, "choices": choices, "usage": USAGE} for choices, more in cases]
    for body, made in zip(bodies, replies([Reply(body=body) for body in bodies]), strict=True):
        if isinstance(made, ChatResponse):
            assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (40, 20)
        elif body["choices"] and not body.get("error"):
            assert made.usage is not None
            assert made.usage.prompt_tokens == 40


@FEW
@given(st.data())
def test_a_whole_stream_with_anything_in_between_keeps_its_answer(data: st.DataObject) -> None:
    visit = Visit({"messages": [{"role": "user", "content": "go"}]}, {}, State(), 0)
    noise = st.sampled_from(NOISE)
    cases, texts = [], []
    for _ in range(6):
        lines = []
        for part in pieces(visit):
            lines += [f"data: {json.dumps(part)}", *data.draw(st.lists(noise, max_size=3)), ""]
        end = data.draw(st.sampled_from(["\n", "\r\n"]))
        cases.append(Reply(body=(end.join(lines) + end).encode(), kind="text/event-stream"))
        texts.append("".join(p["choices"][0]["delta"].get("content") or "" for p in pieces(visit)))
    for text, made in zip(texts, replies(cases), strict=True):
        assert isinstance(made, ChatResponse)
        assert made.text == text


@FEW
@given(st.text(max_size=200), JSON)
def test_any_text_around_an_answer_is_a_fitting_value_or_a_bad_answer(text: str, value: object) -> None:
    for written in (
        text,
        json.dumps(value),
        f"{text}{json.dumps(value)}",
        f"<think>{text}</think>{json.dumps(value)}",
    ):
        try:
            found = parse(written, SCHEMA)
        except BadAnswer:
            continue
        assert set(found) == {"texts"}
        assert found["texts"]
        assert all(isinstance(item, str) and len(item) >= 3 for item in found["texts"])


@FEW
@given(st.text(st.characters(exclude_characters="{}[]<>◁\"'`|", exclude_categories=["Cs"]), max_size=200))
def test_words_around_an_answer_never_hide_it(words: str) -> None:
    value = {"texts": ["a row of words", "another row of words"]}
    assert parse(f"{words}\n{json.dumps(value)}\n{words}", SCHEMA) == value
    body = completion(f"<think>{words} [x] {{y}}</think>{json.dumps(value)}")
    (made,) = replies([Reply(body=body)])
    assert isinstance(made, ChatResponse)
    assert parse(made.text, SCHEMA) == value
