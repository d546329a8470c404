"""Which option a refusal is about that names none: found out by asking, one option after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from synalign_jax.llm.protocol import ChatRequest, Message

from .learnt import FEWEST, Options
from .naming import LIMITS
from .schema import FORMATS

_NEEDED = {"model", "messages", "prompt", "stream_options", *LIMITS}
_PROMPT = ("messages", "prompt")
_SHORT = Message("user", "Answer with a short JSON object, please.")


def optional(body: Mapping[str, Any]) -> frozenset[str]:
    """The options that a body uses."""
    return frozenset(name for name in body if name not in _NEEDED and body[name] is not False)


async def searched(
    takes: Callable[[Callable[[Options], dict[str, Any]], Options], Awaitable[bool]],
    request: ChatRequest,
    options: Options,
    stream: str,
    stream_from: int,
) -> Options:
    """What is known after a refusal that names nothing: one option is tried after the other.

    First the request without any; should that be refused too it is the prompt's fault, and nothing is
    learnt. Then a short prompt with one more of the options, as long as they are taken.

    Args:
        takes: asks a request, put by such options; whether it is answered.
    """

    def whole(by: Options) -> dict[str, Any]:
        least = by.body(request, stream, stream_from)
        return {name: FEWEST if name in LIMITS else value for name, value in least.items()}

    def brief(by: Options) -> dict[str, Any]:
        short = replace(request, messages=(_SHORT,))
        return {name: value for name, value in whole(by).items() if name not in _PROMPT} | {
            name: value for name, value in by.body(short, stream, stream_from).items() if name in _PROMPT
        }

    names = [name for name in whole(options) if name not in _NEEDED]
    bare = replace(options, without=options.without | {*names, "stream_options"})
    last = len(LIMITS) - 1
    variants = [bare, replace(bare, limit=last), replace(bare, system=False)]
    variants += [replace(bare, limit=last, system=False)]
    for kept in dict.fromkeys(variants):
        if await takes(whole, kept):
            break
    else:
        return options
    if kept.limit > options.limit + 1 and await takes(whole, replace(kept, limit=options.limit + 1)):
        kept = replace(kept, limit=options.limit + 1)
    for name in names:
        forms = range(options.format, len(FORMATS) - 1) if name == "response_format" else [options.format]
        for form in forms:
            more = replace(kept, format=form, without=kept.without - {name})
            if await takes(brief, more):
                kept = more
                break
    if "response_format" in kept.without - options.without:
        kept = replace(kept, format=len(FORMATS) - 1, without=kept.without - {"response_format"})
    with_usage = replace(kept, without=kept.without - {"stream_options"})
    if "stream_options" in options.without or not await _taken_if_used(takes, brief, kept, with_usage):
        return kept
    return with_usage


async def _taken_if_used(
    takes: Callable[..., Awaitable[bool]],
    put: Callable[[Options], dict[str, Any]],
    before: Options,
    after: Options,
) -> bool:
    return put(before) == put(after) or await takes(put, after)
