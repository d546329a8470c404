"""Whether an answer can be used: its texts clean, its JSON read; and how to ask again where it cannot."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from synalign_jax.llm import structured
from synalign_jax.llm.protocol import BadAnswer, ChatRequest, ChatResponse, Choice, Message

from . import found

_SHOWN = 2_000  # characters of a bad answer that the model is shown
_HINT = 'raise reasoning_tokens, or have it think less, for instance by extra = {reasoning_effort = "low"}'


class ThoughtsAlone(BadAnswer):  # the same kind on record
    """The limit was used up before the model came to an answer."""


def used(request: ChatRequest, response: ChatResponse, *, limit: int) -> tuple[ChatResponse, Any]:
    """The response with clean texts, and its JSON (None where none was asked for).

    Args:
        limit: the tokens that the answer could take.

    Raises:
        BadAnswer: it is not what was asked for.
    """
    choices = response.choices
    if request.schema is not None:
        choices = tuple(map(_with_what_was_put_aside, choices))
    cleaned = [structured.clean(choice.text) for choice in choices]
    if any(text is not choice.text for text, choice in zip(cleaned, choices, strict=True)):
        choices = tuple(replace(c, text=text) for c, text in zip(choices, cleaned, strict=True))
    if choices is not response.choices:
        response = replace(response, choices=choices)
    value = None
    try:
        if len(choices) != request.n:
            raise BadAnswer(f"{len(choices)} choice(s), {request.n} asked for")
        if request.schema is not None:
            value = read_json(request, response)
        elif not any(choice.text.strip() for choice in choices):
            raise BadAnswer("the answer is empty")
    except BadAnswer as error:
        raise _explained(error, response, limit) from None
    return response, value


def read_json(request: ChatRequest, response: ChatResponse) -> Any:
    """The JSON of the answer: one value, or for n > 1 a list with None for each unusable choice.

    Raises:
        BadAnswer: no choice is usable.
    """
    assert request.schema is not None
    if request.n == 1:
        return structured.parse(response.text, request.schema)
    values, refusal = [], None
    for choice in response.choices:
        try:
            values.append(structured.parse(choice.text, request.schema))
        except BadAnswer as error:
            values.append(None)
            refusal = error
    if refusal and all(value is None for value in values):
        raise refusal
    return values


def asked_again(request: ChatRequest, error: BadAnswer, *, show_schema: bool) -> ChatRequest:
    """The request again, with the answer that could not be used and why; a text to continue as it was.

    Small models copy what they are shown: the schema is shown only where the endpoint has not been told.
    Roles take turns, because many chat templates fail where they do not.
    """
    if request.continues:
        return request
    correction = f"That answer could not be used: {str(error)[:_SHOWN]}. Answer again"
    if request.schema is not None:
        correction += ", with nothing but the JSON that was asked for"
        if show_schema:
            correction += "; it fits this schema: " + json.dumps(dict(request.schema))
    *before, last = request.messages
    if error.raw and error.raw.strip():
        shown = Message("assistant", error.raw[:_SHOWN])
        return replace(request, messages=(*before, last, shown, Message("user", correction + ".")))
    if last.role == "user":
        again = Message("user", f"{last.content}\n\n{correction}.")
        return replace(request, messages=(*before, again))
    return replace(request, messages=(*before, last, Message("user", correction + ".")))


def _explained(error: BadAnswer, response: ChatResponse, limit: int) -> BadAnswer:
    cut = any(choice.finish_reason == "length" for choice in response.choices)
    raw = "\n".join(choice.text for choice in response.choices)
    if cut and _is_thoughts_alone(response):
        said = f"the model spends its tokens on reasoning: {limit} were used up before an answer; {_HINT}"
        return ThoughtsAlone(said, raw=raw, usage=response.usage)
    short = f"; it was cut off at {limit} tokens, so be shorter" if cut else ""
    return BadAnswer(f"{error}{short}", raw=raw, usage=response.usage)


def _with_what_was_put_aside(choice: Choice) -> Choice:
    """Some servers put a whole answer where a model's thoughts belong, and leave the answer empty."""
    if choice.text.strip() or choice.finish_reason == "length" or not choice.reasoning.strip():
        return choice
    return replace(choice, text=choice.reasoning)


def _is_thoughts_alone(response: ChatResponse) -> bool:
    """Whether thoughts used the limit up: no text, or none after them, or the endpoint counts them."""
    return response.usage.reasoning_tokens > 0 or all(
        found.why_nothing(choice.text) in ("the answer is empty", "the answer holds thoughts alone")
        for choice in response.choices
    )
