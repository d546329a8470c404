"""Which options of the protocol an endpoint takes, found out by asking: one short request for each."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import Any

from synalign_jax.llm.protocol import (
    ChatRequest,
    ChatResponse,
    LLMError,
    Loading,
    Message,
    Overloaded,
    RateLimited,
    Unsupported,
)

from ._options.learnt import Options
from ._options.naming import LIMITS
from ._options.schema import FORMATS
from .openai import OpenAIChat

_WAIT = 2.0  # seconds, where the endpoint asks for a wait and does not say how long
LONG = 2048  # tokens: so long an answer is streamed
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 2, "maxLength": 60},
        "country": {"type": "string", "minLength": 2, "maxLength": 60},
    },
    "required": ["city", "country"],
    "additionalProperties": False,
}
_QUESTION = Message("user", "Which city is the capital of France? Answer with city and country.")
_FORMS = {
    "strict": "json_schema, strict",
    "lean": "json_schema, strict, without keywords for lengths",
    "plain": "json_schema in its plainest form",
    "object": "json_object; the schema goes into the prompt",
    "words": "no response_format; the schema goes into the prompt",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of an option.

    Attributes:
        option: its name in the protocol; "limit" for the length of an answer, "system" for that role, "chat"
            for a request with nothing but a limit.
        taken: whether the endpoint accepts it as it is asked for first; None where that stayed open, because
            the request failed and nobody said that it was for the option.
        said: how it is asked for from now on, and what came of it.
        answer: the last answer, where there is one.
    """

    option: str
    taken: bool | None
    said: str
    answer: ChatResponse | None


@dataclass(frozen=True)
class _Probe:
    option: str
    fields: dict[str, Any]  # of the request
    known: Callable[[Options], tuple[bool, str]]  # whether as it is asked for first, and how it is then
    seen: Callable[[ChatResponse], str] = lambda _: ""  # what the answer shows


def _left_out(option: str) -> Callable[[Options], tuple[bool, str]]:
    def known(after: Options) -> tuple[bool, str]:
        return (False, "refused: left out") if option in after.without else (True, "taken")

    return known


def _limit(after: Options) -> tuple[bool, str]:
    name = LIMITS[after.limit]
    if not name:
        return False, "none is taken: a budget cannot bound answers"
    most = "" if after.most is None else f", at most {after.most}"
    return after.limit == 0, f"called {name}{most}"


def _stream(after: Options) -> tuple[bool, str]:
    said = {"on": "taken; nothing else is", "off": "refused: not streamed", "absent": "refused: left out"}
    return after.stream in (None, "on"), said.get(after.stream or "", "taken")


def _usage(after: Options) -> tuple[bool, str]:
    if after.stream in ("off", "absent"):
        return False, "not streamed"
    return _left_out("stream_options")(after)


def _form(after: Options) -> tuple[bool, str]:
    return after.format == 0, _FORMS[FORMATS[after.format]]


def _system(after: Options) -> tuple[bool, str]:
    return (True, "taken") if after.system else (False, "refused: its words go to the front of the user's")


def _choices(response: ChatResponse) -> str:
    return "" if len(response.choices) == 2 else f"{len(response.choices)} answer(s) for n = 2: keep n = 1"


def _logprobs(response: ChatResponse) -> str:
    found = response.choices[0].logprobs
    return f"{len(found)} tokens" if found else "none sent"


def _stops(response: ChatResponse) -> str:
    return "ignored" if "e" in response.text else "obeyed"


def _shown(response: ChatResponse) -> str:
    text, used = response.text.strip()[:60], response.usage
    if not text:
        return f"with nothing in it after {used.completion_tokens} tokens: it may think, and need more"
    return f"{text!r}, {used.prompt_tokens}+{used.completion_tokens} tokens"


_PROBES = (
    _Probe("chat", {}, lambda _: (True, "answers"), _shown),
    _Probe("temperature", {"temperature": 0.7}, _left_out("temperature")),
    _Probe("top_p", {"top_p": 0.9}, _left_out("top_p")),
    _Probe("seed", {"seed": 7}, _left_out("seed")),
    _Probe("stop", {"stop": ("e",)}, _left_out("stop"), _stops),
    _Probe("n", {"n": 2}, _left_out("n"), _choices),
    _Probe("logprobs", {"logprobs": True}, _left_out("logprobs"), _logprobs),
    _Probe("system", {"messages": (Message("system", "You are brief."), _QUESTION)}, _system),
    _Probe("response_format", {"schema": SCHEMA, "max_tokens": 100}, _form),
    _Probe("stream", {"max_tokens": LONG}, _stream),
    _Probe("stream_options", {"max_tokens": LONG}, _usage),
    _Probe("limit", {"max_tokens": LONG}, _limit),
)


async def options_taken(llm: OpenAIChat, model: str, *, timeout: float = 120.0) -> AsyncGenerator[Finding]:
    """Ask for one option after the other; for nothing more where plain chat fails.

    What the endpoint refuses is learnt by `llm` as in any other use, warnings included, so that the later
    requests are put as the earlier ones had to be. About a dozen requests, and one more for each refusal.

    Args:
        timeout: seconds for one option, with the waits that the endpoint asks for.
    """
    usual = ChatRequest((_QUESTION,), model, max_tokens=32)
    for fields, probes in itertools.groupby(_PROBES, key=lambda probe: probe.fields):
        answer, failed = None, ""
        try:
            async with asyncio.timeout(timeout):
                answer = await _settled(llm, replace(usual, **fields))
        except (LLMError, TimeoutError) as error:
            failed = str(error) if isinstance(error, LLMError) else f"no answer in {timeout:g} s"
        for probe in probes:
            taken, said = probe.known(Options.from_json(llm.lessons(model)))
            if answer is None:
                yield Finding(probe.option, None if taken else False, f"FAILED: {failed}", None)
            else:
                shown = probe.seen(answer) if taken else ""
                yield Finding(probe.option, taken, f"{said}, {shown}" if shown else said, answer)
        if answer is None and not fields:
            return


async def _settled(llm: OpenAIChat, request: ChatRequest) -> ChatResponse:
    """The answer once everything that is refused is left out, and the endpoint's waits are over."""
    while True:
        try:
            return await llm.once(request)
        except Unsupported:
            continue  # it ends: every lesson moves one way
        except (RateLimited, Overloaded, Loading) as error:
            await asyncio.sleep(_WAIT if error.retry_after is None else error.retry_after)
