"""Answers in the forms of other protocols, which gateways pass on as they are: as chat completions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# Jobs of RunPod's and Replicate's own interfaces, and of what copies them.
_JOB_WAITS = ("in_queue", "in_progress", "queued", "starting", "processing", "pending")
_JOB_DONE = ("completed", "succeeded")
_TEXTS = ("response", "generated_text", "output_text", "completion", "answer")


def completion_in(value: Any) -> Any:
    """A whole answer of Anthropic, Gemini, Cohere, Ollama, OpenAI's Responses, Workers AI or Hugging Face's
    text generation as a chat completion; everything else as it is."""
    inner = value[0] if isinstance(value, list) and len(value) == 1 else value
    for _ in range(2):  # envelopes
        if not isinstance(inner, dict) or "choices" in inner:
            return value
        if (made := _choice(inner)) is not None:
            return {**inner, "choices": [made], "usage": _usage(inner)}
        around, inner = inner, _opened(inner)
        if isinstance(inner, dict) and isinstance(around.get("usage"), dict):  # DashScope, Bedrock
            inner = {"usage": around["usage"], **inner}
        if isinstance(inner, dict) and "choices" in inner:  # a chat completion in text
            return inner
    return value


def waiting_job(value: Any) -> str:
    """The state of a job that a body names instead of an answer; empty where it holds something else."""
    if not isinstance(value, dict) or "id" not in value or "choices" in value or value.get("output"):
        return ""
    state = value.get("status")
    return state if isinstance(state, str) and state.lower() in _JOB_WAITS else ""


def _of_job(value: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a job that is done has made: text, pieces of text, or the choices of RunPod's vLLM worker."""
    state, output = value.get("status"), value.get("output")
    if not isinstance(state, str) or state.lower() not in _JOB_DONE:
        return None
    pieces = output if isinstance(output, list) else [output]
    texts = [piece for piece in pieces if isinstance(piece, str)]
    for piece in pieces if not texts else ():
        choices = piece.get("choices") if isinstance(piece, dict) else None
        first = choices[0] if isinstance(choices, list) and choices else None
        tokens = first.get("tokens") if isinstance(first, dict) else None
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            return None
        texts += tokens
    return {"message": {"content": "".join(texts)}, "finish_reason": "stop"} if texts else None


def _opened(value: Mapping[str, Any]) -> Any:
    """What an envelope holds; as JSON in text, where a function behind a gateway answers."""
    for name in ("result", "data", "output", "body"):
        held = value.get(name)
        if name == "body" and isinstance(held, str):
            try:
                held = json.loads(held)
            except (ValueError, RecursionError):
                continue
        if isinstance(held, list) and len(held) == 1:
            held = held[0]
        if isinstance(held, dict):
            return held
    return None


def chunk_in(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of such an answer, streamed, as a chunk of a chat completion."""
    if "choices" in part:
        return part
    kind, delta = part.get("type"), part.get("delta")
    if kind in ("content_block_delta", "message_delta") and isinstance(delta, dict):  # Anthropic
        said = {"content": delta.get("text"), "reasoning": delta.get("thinking")}
        return {**part, "choices": [{"delta": said, "finish_reason": delta.get("stop_reason")}]}
    if kind in ("content-delta", "message-end") and isinstance(delta, dict):  # Cohere
        message = delta.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        said = {"content": content.get("text")} if isinstance(content, dict) else {}
        usage = _usage(delta) if kind == "message-end" else None
        return {"choices": [{"delta": said, "finish_reason": delta.get("finish_reason")}], "usage": usage}
    if kind == "response.output_text.delta":  # OpenAI's Responses
        return {"choices": [{"delta": {"content": delta}}]}
    if kind in ("response.completed", "response.incomplete"):
        whole = part.get("response")
        usage = whole.get("usage") if isinstance(whole, dict) else None
        reason = "stop" if kind == "response.completed" else "length"
        return {"choices": [{"delta": {}, "finish_reason": reason}], "usage": usage}
    if kind is None and (chunk := _nameless(part)) is not None:
        return chunk
    message = part.get("message")
    if kind == "message_start" and isinstance(message, dict):
        return {"usage": message.get("usage"), "model": message.get("model")}
    if kind is None and ("done" in part or "candidates" in part):
        choice = _choice(part)
        if choice is not None:
            if part.get("done") is False:
                choice["finish_reason"] = None
            return {**part, "choices": [{**choice, "delta": choice.pop("message")}], "usage": _usage(part)}
    return part


def _nameless(part: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A part of a stream whose kind is the name of its field."""
    token, output, block = part.get("token"), part.get("output"), part.get("contentBlockDelta")
    if isinstance(token, dict):  # text generation; the last part repeats the whole
        ends = isinstance(part.get("generated_text"), str)
        said = {"content": "" if token.get("special") else token.get("text")}
        return {"choices": [{"delta": said, "finish_reason": "stop" if ends else None}]}
    if isinstance(output, dict) and isinstance(output.get("choices"), list):  # DashScope
        return {"usage": part.get("usage"), **output}
    if isinstance(block, dict) and isinstance(block.get("delta"), dict):  # Bedrock
        return {"choices": [{"delta": {"content": block["delta"].get("text")}}]}
    stop, metadata = part.get("messageStop"), part.get("metadata")
    if isinstance(stop, dict):
        return {"choices": [{"delta": {}, "finish_reason": stop.get("stopReason")}]}
    if isinstance(metadata, dict) and isinstance(metadata.get("usage"), dict):
        return {"usage": metadata["usage"]}
    if isinstance(part.get("response"), str) and "done" not in part:  # Workers AI
        return {"choices": [{"delta": {"content": part["response"]}}], "usage": part.get("usage")}
    return None


def _choice(value: Mapping[str, Any]) -> dict[str, Any] | None:
    message, content = value.get("message"), value.get("content")
    if (done := _of_job(value)) is not None:
        return done
    if isinstance(message, dict) and "content" in message:  # Ollama, Cohere
        return {"message": message, "finish_reason": value.get("done_reason") or value.get("finish_reason")}
    if isinstance(content, list | str) and (value.get("role") == "assistant" or "stop_reason" in value):
        return {"message": {"content": content}, "finish_reason": value.get("stop_reason")}
    candidates = value.get("candidates")
    if isinstance(candidates, list) and candidates and isinstance(candidates[0], dict):
        first = candidates[0]
        inner = first.get("content")
        parts = inner.get("parts") if isinstance(inner, dict) else None
        return {"message": {"content": parts or ""}, "finish_reason": first.get("finishReason")}
    feedback = value.get("promptFeedback")
    if isinstance(feedback, dict) and feedback.get("blockReason"):
        said = f"the prompt was blocked: {feedback['blockReason']}"
        return {"message": {"content": "", "refusal": said}, "finish_reason": "content_filter"}
    output = value.get("output")
    if value.get("object") == "response" and isinstance(output, list):
        said = [item for item in output if isinstance(item, dict) and item.get("type") == "message"]
        reason = "length" if value.get("status") == "incomplete" else "stop"
        why = value.get("incomplete_details")
        if isinstance(why, dict) and why.get("reason") == "content_filter":
            reason = "content_filter"
        return {"message": {"content": [item.get("content") for item in said]}, "finish_reason": reason}
    if isinstance(value.get("text"), str) and "finish_reason" in value:  # DashScope
        return {"message": {"content": value["text"]}, "finish_reason": value["finish_reason"]}
    for name in _TEXTS:
        if isinstance(value.get(name), str) or (name == "response" and isinstance(value.get(name), dict)):
            return {"message": {"content": value[name]}, "finish_reason": value.get("finish_reason")}
    return None


def _usage(value: Mapping[str, Any]) -> Any:
    """The counts, wherever the protocol has them."""
    usage = value.get("usage") or value.get("usageMetadata")
    if isinstance(usage, dict):
        return usage["tokens"] if isinstance(usage.get("tokens"), dict) else usage
    meta = value.get("meta")
    if isinstance(meta, dict) and isinstance(meta.get("tokens"), dict):
        return meta["tokens"]
    return {"prompt_tokens": value.get("prompt_eval_count"), "completion_tokens": value.get("eval_count")}
