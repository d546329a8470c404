"""Any server that speaks OpenAI's HTTP protocol: chat completions, one shot, over aiohttp."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from typing import Any

from synalign_jax.llm.protocol import (
    ChatRequest,
    ChatResponse,
    Choice,
    LLMError,
    Quota,
    Refused,
    ServerError,
    Unsupported,
    Usage,
)

from ._http import Http
from ._schema import in_words

_STREAM_FROM = 2048  # tokens: so long an answer is streamed, so that a stall shows before the last token
_SCHEMA_WORDS = ("response_format", "json_schema", "schema", "grammar", "structured")


class OpenAIChat:
    """A chat endpoint under `base_url`, such as http://127.0.0.1:8000/v1; satisfies `synalign_jax.llm`'s LLM.

    Args:
        base_url: with scheme; `/v1` is added to a bare host, and a full `.../chat/completions` is understood.
        api_key: sent as a bearer token. Better: leave it out and name a variable.
        api_key_env: the environment variable that holds the key; an unset one means no key.
        headers: more headers, for gateways that want them; kept as secret as the key.
        proxy: an HTTP proxy; by default the usual environment variables decide, loopback excepted.
        ca_file: PEM certificates to trust instead of the system's.
        idle_timeout: seconds between two parts of a streamed answer.
        stream_from: answers of at least this many `max_tokens` are streamed.
        max_bytes: a longer answer is refused unread.
        endpoint: what records call the endpoint, where the address says less: a server started for one run
            has another port each time, and answers on record must still be found.

    Raises:
        Misconfigured: `base_url` is no address.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        api_key_env: str | None = "OPENAI_API_KEY",
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        connect_timeout: float = 10.0,
        idle_timeout: float = 60.0,
        stream_from: int = _STREAM_FROM,
        max_bytes: int = 4_000_000,
        endpoint: str | None = None,
    ) -> None:
        self._http = Http(
            base_url,
            api_key=api_key,
            api_key_env=api_key_env,
            headers=headers,
            proxy=proxy,
            ca_file=ca_file,
            connect_timeout=connect_timeout,
            idle_timeout=idle_timeout,
            max_bytes=max_bytes,
        )
        self._endpoint = endpoint or self._http.base
        self._stream_from = stream_from
        self._schema_works = True
        self._limit_name = "max_tokens"

    sees_to_schema = True

    @property
    def endpoint(self) -> str:
        return self._endpoint

    def __repr__(self) -> str:
        return f"OpenAIChat({self.endpoint!r})"

    async def complete(self, request: ChatRequest) -> ChatResponse:
        key = {"Idempotency-Key": request.idempotency_key} if request.idempotency_key else None
        try:
            reply = await self._http.post(
                "completions" if request.continues else "chat/completions",
                self._body(request),
                model=request.model,
                headers=key,
            )
        except Refused as error:
            raise self._do_without(request, error) from None
        value = _joined(reply.value) if reply.streamed else reply.value
        try:
            return _response(value, request, reply.quota)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ServerError(
                f"{self.endpoint}: not a chat completion ({type(error).__name__}: {error})",
                raw=json.dumps(value),
                paid=True,
            ) from None

    async def aclose(self) -> None:
        await self._http.aclose()

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        messages = [{"role": m.role, "content": m.content} for m in request.messages]
        body: dict[str, Any] = {
            "model": request.model,
            "messages": messages,
            self._limit_name: request.max_tokens,
            "temperature": request.temperature,
        }
        if request.top_p != 1.0:
            body["top_p"] = request.top_p
        if request.seed is not None:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = list(request.stop)
        if request.n != 1:
            body["n"] = request.n
        if request.logprobs:
            body["logprobs"] = True
        if request.schema is not None and self._schema_works:
            schema = {"name": "answer", "strict": True, "schema": dict(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif request.schema is not None:
            messages[-1]["content"] += in_words(request.schema)
        if request.continues:
            del body["messages"]
            body["prompt"] = "".join(m["content"] for m in messages)
        elif request.max_tokens >= self._stream_from:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body | dict(request.extra)

    def _do_without(self, request: ChatRequest, error: Refused) -> LLMError:
        """What to raise for a refused request: the option that the server lacks, if that was the reason."""
        said = str(error).lower()
        if "max_completion_tokens" in said and self._limit_name == "max_tokens":
            self._limit_name = "max_completion_tokens"
            return Unsupported(f"{error} (asking with max_completion_tokens from now on)")
        if request.schema is None or not any(word in said for word in _SCHEMA_WORDS):
            return error
        if self._schema_works:
            self._schema_works = False
            warnings.warn(
                f"{self.endpoint} refuses JSON schemas; they go into the prompt from now on ({error})",
                stacklevel=2,
            )
        return Unsupported(str(error))


def _response(value: Any, request: ChatRequest, quota: Quota | None) -> ChatResponse:
    choices = tuple(_choice(choice) for choice in value["choices"])
    if not choices:
        raise ValueError("no choices")
    usage = value.get("usage")
    if usage:
        counted = Usage(int(usage["prompt_tokens"]), int(usage.get("completion_tokens") or 0))
    else:  # no count: a byte is at least a token, so what a budget allows is never passed
        prompt = sum(len(m.content.encode("utf-8", "replace")) for m in request.messages)
        counted = Usage(prompt, sum(len(c.text.encode("utf-8", "replace")) for c in choices))
    return ChatResponse(choices, counted, str(value.get("model") or request.model), quota)


def _choice(choice: Any) -> Choice:
    message = choice["message"] if "message" in choice else {"content": choice["text"]}
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content)
    reason = str(choice.get("finish_reason") or "stop")
    if content is None and (message.get("refusal") or reason == "content_filter"):
        raise Refused(f"the endpoint declined to answer: {message.get('refusal') or reason}")
    if not isinstance(content, str | None):
        raise TypeError(f"content is a {type(content).__name__}")
    logprobs = (choice.get("logprobs") or {}).get("content")
    return Choice(
        content or "", reason, tuple(float(token["logprob"]) for token in logprobs) if logprobs else None
    )


def _joined(parts: list[Any]) -> dict[str, Any]:
    """A streamed answer in the form of one that came whole."""
    choices: dict[int, dict[str, Any]] = {}
    whole: dict[str, Any] = {}
    for part in parts:
        whole |= {name: part[name] for name in ("model", "usage") if part.get(name)}
        for delta in part.get("choices") or ():
            choice = choices.setdefault(
                delta.get("index", 0), {"message": {"content": ""}, "logprobs": {"content": []}}
            )
            choice["message"]["content"] += delta.get("delta", {}).get("content") or ""
            choice["logprobs"]["content"] += (delta.get("logprobs") or {}).get("content") or []
            choice["finish_reason"] = delta.get("finish_reason") or choice.get("finish_reason")
    return whole | {"choices": [choices[index] for index in sorted(choices)]}
