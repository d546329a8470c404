"""Chat completions, whole or streamed, in the shapes that servers send them, as the protocol's response."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from synalign_jax.llm.protocol import ChatRequest, ChatResponse, Choice, Quota, Usage

from ._native import chunk_in

_MOST_TOKENS = 10**12  # a larger count is no count
_REASONING = ("reasoning_content", "reasoning", "thinking", "reasoning_text", "thoughts")
_REASONS = {
    "max_tokens": "length", "MAX_TOKENS": "length", "STOP": "stop", "end_turn": "stop", "COMPLETE": "stop",
    "eos": "stop", "tool_calls": "stop", "function_call": "stop",
}  # fmt: skip
_FILTERED = {
    "content_filter", "content_filtered", "safety", "prohibited_content", "blocklist", "recitation", "spii",
    "sensitive", "refusal", "guardrail_intervened", "error_toxic",
}  # fmt: skip


# Of an answer that was stopped on its way: DeepSeek, vLLM.
_BROKEN_OFF = {"abort", "aborted", "insufficient_system_resource", "cancelled", "canceled", "timeout"}


class NotAnAnswerError(ValueError):
    """The value is no chat completion; the message says in which respect."""


class DeclinedError(ValueError):
    """The model, or a filter around it, declined to answer."""


def response_in(value: Any, request: ChatRequest, quota: Quota | None) -> ChatResponse:
    """The response that a body holds.

    Raises:
        NotAnAnswerError: it holds none.
        DeclinedError: it says that the answer is withheld.
    """
    value = _unwrapped(value)
    given = value.get("choices")
    if isinstance(given, dict):
        given = [given]
    if not isinstance(given, list) or not given:
        raise NotAnAnswerError("it has no choices")
    choices = tuple(_choice(choice) for choice in given[: max(1, request.n)])
    if all(choice is None for choice in choices):
        declined = next(iter(_declined(given)), None)
        if declined:
            raise DeclinedError(declined)
    made = tuple(choice or Choice("", "content_filter") for choice in choices)
    return ChatResponse(
        made, usage_in(value, request, made), _name(value.get("model")) or request.model, quota
    )


def usage_in(value: Any, request: ChatRequest, choices: Iterable[Choice] = ()) -> Usage:
    """The tokens that a body counts. A count that is missing is bounded: a token is at least a byte."""
    counts = told_usage(value)
    prompt, completion, reasoning = counts
    if prompt is None:
        prompt = sum(len(m.content.encode("utf-8", "replace")) for m in request.messages)
    if completion is None:
        texts = (choice.text + choice.reasoning for choice in choices)
        completion = sum(len(text.encode("utf-8", "replace")) for text in texts)
    return Usage(prompt, completion, min(reasoning or 0, completion))


def told_usage(value: Any) -> tuple[int | None, int | None, int | None]:
    """Prompt, completion and reasoning tokens as far as a body tells them."""
    usage = value.get("usage") if isinstance(value, dict) else None
    if not isinstance(usage, dict):
        return None, None, None
    prompt = _first(usage, "prompt_tokens", "input_tokens", "promptTokens", "promptTokenCount", "inputTokens")
    completion = _first(
        usage,
        "completion_tokens",
        "output_tokens",
        "completionTokens",
        "candidatesTokenCount",
        "outputTokens",
    )
    if (prompt is None) != (completion is None):
        total = _first(usage, "total_tokens", "totalTokens", "totalTokenCount")
        if total is not None and prompt is None:
            prompt = max(0, total - (completion or 0))
        elif total is not None:
            completion = max(0, total - (prompt or 0))
    details = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    reasoning = _first(details if isinstance(details, dict) else usage, "reasoning_tokens")
    return prompt, completion, reasoning


def joined(parts: Iterable[Any]) -> dict[str, Any]:
    """A streamed answer in the form of one that came whole; a choice without an end has no finish_reason."""
    choices: dict[int, dict[str, Any]] = {}
    whole: dict[str, Any] = {}
    for part in parts:
        if not isinstance(part, dict):
            continue
        part = chunk_in(part)
        if part.get("model"):
            whole["model"] = part["model"]
        if (usage := _usage_of(part)) is not None:
            whole["usage"] = _larger(whole.get("usage"), usage)
        given = part.get("choices")
        for number, piece in enumerate(given if isinstance(given, list) else ()):
            if isinstance(piece, dict):
                index = piece.get("index")
                _add(choices, index if isinstance(index, int) else number, piece)
    return whole | {"choices": [choices[index] for index in sorted(choices)]}


def is_finished(value: Mapping[str, Any]) -> bool:
    """Whether a joined answer is whole: each choice has its end, or is a JSON value as it stands."""
    choices = value.get("choices") or []
    return bool(choices) and all(
        choice.get("finish_reason") or _is_json(choice["message"]["content"]) for choice in choices
    )


def _add(choices: dict[int, dict[str, Any]], index: int, piece: Mapping[str, Any]) -> None:
    choice = choices.setdefault(
        index, {"message": {"content": "", "reasoning": "", "refusal": ""}, "logprobs": {"content": []}}
    )
    message = choice["message"]
    whole, delta = piece.get("message"), piece.get("delta")
    if isinstance(whole, dict) and _text(whole.get("content")):  # all of it once more
        message["content"] = ""
    for source in (delta, whole):
        if isinstance(source, str):
            message["content"] += source
        if not isinstance(source, dict):
            continue
        message["content"] += _text(source.get("content"))
        message["reasoning"] += _reasoning(source)
        message["refusal"] += _text(source.get("refusal"))
        if arguments := _called(source):
            message["function_call"] = {
                "arguments": message.get("function_call", {}).get("arguments", "") + arguments
            }
    if not isinstance(delta, dict | str) and not isinstance(whole, dict):
        message["content"] += _text(piece.get("text"))
    logprobs = piece.get("logprobs")
    if isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list):
        choice["logprobs"]["content"] += logprobs["content"]
    if piece.get("finish_reason"):
        choice["finish_reason"] = piece["finish_reason"]
    if piece.get("error"):
        choice["error"] = piece["error"]


def _unwrapped(value: Any) -> Mapping[str, Any]:
    """The completion itself: gateways put it into an envelope."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        raise NotAnAnswerError(f"it is a {type(value).__name__}")
    if "choices" in value:
        return value
    for inner in value.values():
        if isinstance(inner, dict) and "choices" in inner:
            return inner
    return value


def _choice(choice: Any) -> Choice | None:
    """One answer; None where it is withheld."""
    if not isinstance(choice, dict):
        raise NotAnAnswerError("a choice is no object")
    message = choice.get("message")
    message = message if isinstance(message, dict) else choice.get("delta")
    if not isinstance(message, dict):
        ended = _name(choice.get("finish_reason"))  # Gemini leaves the message out where it is empty
        if not isinstance(choice.get("text"), str) and not ended:
            raise NotAnAnswerError("a choice has no message")
        message = {"content": choice.get("text")}
    content = message.get("content")
    if isinstance(content, str):
        text = content
    elif isinstance(content, list | dict | None):  # some gateways parse the content
        text = json.dumps(content) if isinstance(content, dict) and "type" not in content else _text(content)
    else:
        raise NotAnAnswerError(f"content is a {type(content).__name__}")
    text = text if text.strip() else _called(message)  # and some have it written as a tool's arguments
    reason = _name(choice.get("finish_reason")) or "stop"
    reason = _REASONS.get(reason, reason)
    if not text.strip() and _declined([choice]):
        return None
    if not text.strip() and reason == "error":
        raise NotAnAnswerError("it ended in an error")
    if reason.lower() in _BROKEN_OFF and not _is_json(text):
        raise NotAnAnswerError(f"it broke off ({reason})")
    return Choice(text, reason, _logprobs(choice.get("logprobs")), _reasoning(message))


def _called(message: Mapping[str, Any]) -> str:
    """An answer that stands beside the content: as the arguments of a call, or parsed."""
    calls = message.get("tool_calls")
    calls = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    functions = [call.get("function") for call in calls] + [message.get("function_call")]
    given = [f.get("arguments") for f in functions if isinstance(f, dict)] + [message.get("parsed")]
    found = next((one for one in given if isinstance(one, str | dict) and one), "")
    return found if isinstance(found, str) else json.dumps(found)


def _declined(choices: list[Any]) -> list[str]:
    said = []
    for choice in choices:
        message = choice.get("message") if isinstance(choice, dict) else None
        refusal = _text(message.get("refusal")) if isinstance(message, dict) else ""
        reason = _name(choice.get("finish_reason")) if isinstance(choice, dict) else ""
        words = reason.lower().removeprefix("finish_reason_").replace(":", " ").split()
        if refusal or _FILTERED.intersection(words):
            said.append(refusal or reason)
    return said


def _text(content: Any) -> str:
    """Text, a list of parts, or a part; thoughts among the parts are no text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(map(_text, content))
    if isinstance(content, dict):
        if (
            content.get("type") in ("thinking", "reasoning", "redacted_thinking")
            or content.get("thought") is True
        ):
            return ""
        inner = content.get("text", content.get("content"))
        return _text(inner.get("value") if isinstance(inner, dict) and "value" in inner else inner)
    return ""


def _reasoning(message: Mapping[str, Any]) -> str:
    """What the server keeps apart as thoughts."""
    for name in _REASONING:
        if name in message and (text := _text(message[name])):
            return text
    details, content = message.get("reasoning_details"), message.get("content")
    if isinstance(details, list):
        return "".join(_text(d.get("text") or d.get("summary")) for d in details if isinstance(d, dict))
    if isinstance(content, list):
        return "".join(_text(p.get("thinking")) for p in content if isinstance(p, dict))
    return ""


def _logprobs(given: Any) -> tuple[float, ...] | None:
    tokens = given.get("content") if isinstance(given, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return None
    found = [token.get("logprob") for token in tokens if isinstance(token, dict)]
    numbers = tuple(float(x) for x in found if isinstance(x, int | float))
    return numbers if len(numbers) == len(tokens) else None


def _usage_of(part: Mapping[str, Any]) -> Mapping[str, Any] | None:
    usage = part.get("usage")
    if not isinstance(usage, dict):
        own = next((v for n, v in part.items() if n.startswith("x_") and isinstance(v, dict)), {})
        usage = own.get("usage")
    return usage if isinstance(usage, dict) else None


def _larger(before: Mapping[str, Any] | None, usage: Mapping[str, Any]) -> Mapping[str, Any]:
    """Counts grow while a stream goes on, and a last chunk may hold zeros: the larger ones are meant."""
    if before is None:
        return usage
    old, new = (_first(u, "completion_tokens", "output_tokens", "total_tokens") or 0 for u in (before, usage))
    kept = {name: value for name, value in usage.items() if value is not None}
    return {**before, **kept} if new >= old else {**kept, **before}


def _first(counts: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = counts.get(name)
        if value is None:
            continue
        if type(value) is int and 0 <= value <= _MOST_TOKENS:  # what it nearly always is
            return value
        if isinstance(value, str) and value.isdecimal() and len(value) < 13:
            value = int(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS:
            return int(value)
    return None


def _name(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text, strict=False), dict | list)
    except (ValueError, RecursionError):
        return False
