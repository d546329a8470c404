"""Any server that speaks OpenAI's HTTP protocol: chat completions, one shot, over aiohttp."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, Unpack

from synalign_jax.llm.protocol import (
    BadAnswer,
    ChatRequest,
    ChatResponse,
    Choice,
    LLMError,
    Misconfigured,
    Refused,
    ServerError,
    Unsupported,
    Usage,
)

from ._answers import DeclinedError, NotAnAnswerError, is_finished, joined, response_in, told_usage
from ._faults import SPEAKS_AT, Rejected, Unexplained
from ._http import CHAT, Http, Reply
from ._native import completion_in, waiting_job
from ._options.learnt import Known, Options, difference
from ._options.naming import named, own_words
from ._options.searched import optional, searched
from .connection import Connection

_STREAM_FROM = 2048  # tokens: so long an answer is streamed, so that a stall shows before the last token
Put = Callable[[Options], dict[str, Any]]
_KEPT = 65_536  # characters of a body that an error keeps


class OpenAIChat:
    """A chat endpoint under `base_url`, such as http://127.0.0.1:8000/v1; satisfies `synalign_jax.llm`'s LLM.

    An option that the endpoint refuses is left out from then on, and said once in a warning; `lessons` are
    what was learnt, by model.

    Args:
        base_url: with scheme; `/v1` is added to a bare host, and a full `.../chat/completions` is understood.
        idle_timeout: seconds between two parts of a streamed answer.
        stream: "on" or "off"; "auto" streams answers of at least `stream_from` `max_tokens`.
        max_bytes: a longer answer is refused unread.
        endpoint: what records call the endpoint, where the address says less: a server started for one run
            has another port each time, and answers on record must still be found.
        connection: see `Connection`.

    Raises:
        Misconfigured: `base_url` is no address, or a header or proxy cannot be one.
    """

    def __init__(
        self,
        base_url: str,
        *,
        idle_timeout: float = 60.0,
        stream: Literal["auto", "on", "off"] = "auto",
        stream_from: int = _STREAM_FROM,
        max_bytes: int = 4_000_000,
        endpoint: str | None = None,
        **connection: Unpack[Connection],
    ) -> None:
        self._http = Http(base_url, connection, idle_timeout=idle_timeout, max_bytes=max_bytes)
        self._endpoint = endpoint or self._http.base
        self._stream, self._stream_from = stream, stream_from
        self._known = Known()

    sees_to_schema = True

    @property
    def endpoint(self) -> str:
        return self._endpoint

    def __repr__(self) -> str:
        return f"OpenAIChat({self.endpoint!r})"

    def lessons(self, model: str) -> dict[str, Any]:
        """What was learnt of the model's options, as JSON."""
        return self._known.of(model).as_json()

    def recall(self, model: str, lessons: Mapping[str, Any]) -> None:
        """Start from lessons of before."""
        self._known.learn(model, Options.from_json(lessons))

    def redact(self, text: str) -> str:
        """The text without the secrets of this connection."""
        return self._http.redact(text)

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """Ask once; for `n` answers as often as a server needs that makes fewer at a time."""
        whole = await self.once(request)
        while len(whole.choices) < request.n:
            missing = request.n - len(whole.choices)
            try:
                more = await self.once(_again(request, missing, len(whole.choices)))
            except LLMError as error:
                error.usage = whole.usage + (error.usage or Usage())
                raise
            whole = replace(
                whole,
                choices=(*whole.choices, *more.choices[:missing]),
                usage=whole.usage + more.usage,
                quota=more.quota,
            )
        return whole

    async def aclose(self) -> None:
        await self._http.aclose()

    async def once(self, request: ChatRequest) -> ChatResponse:
        """Ask a single time, with as many answers as the server then makes; raises as `complete` does."""
        key = {"Idempotency-Key": request.idempotency_key} if request.idempotency_key else None
        options = self._known.of(request.model)

        def put(by: Options) -> dict[str, Any]:
            return by.body(request, self._stream, self._stream_from)

        body = put(options)
        try:
            reply = await self._http.post(_path(request), body, model=request.model, headers=key)
            if reply.said is not None and not is_finished(whole := joined(reply.value)):
                reply.said.usage = _told(whole)
                raise reply.said
        except LLMError as error:
            try:
                return self.failed(error, request, options, put)
            except Unexplained as unexplained:
                streams = self._stream, self._stream_from
                raise await self._found_out(request, options, put, streams, unexplained) from None
        self._known.taken(request.model).update(optional(body))
        return self.answered(reply, request, options)

    async def _found_out(
        self, request: ChatRequest, options: Options, put: Put, streams: tuple[str, int], error: LLMError
    ) -> LLMError:
        """What to raise for a refusal that names nothing: options that no answer has shown to be taken are
        tried one by one, once, while the other requests wait.

        Raises:
            LLMError: nothing was found out, as the endpoint failed meanwhile; it may be tried again.
        """
        model, spent = request.model, Usage()
        if named(own_words(error.raw or "", None), None, put(options)):
            return error

        async def takes(form: Put, by: Options) -> bool:
            nonlocal spent
            try:
                reply = await self._http.post(_path(request), form(by), model=model)
            except Refused:
                return False
            except LLMError as failed:
                failed.usage = spent + (failed.usage or Usage())
                raise
            spent += _told(joined(reply.value) if reply.streamed else reply.value) or Usage()
            return True

        async with self._known.turn(model):
            if put(self._known.of(model)) == put(options):
                unclear = optional(put(options)) - self._known.taken(model)
                if not unclear:
                    return error
                found = await searched(takes, request, options, *streams)
                self._known.taken(model).update(unclear)
                self._learn(model, found, error)
        if put(self._known.of(model)) == put(options):
            error.usage = spent if spent != Usage() else None
            return error
        return Unsupported(str(error), raw=error.raw, usage=spent if spent != Usage() else None)

    def _learn(self, model: str, lesson: Options, error: LLMError) -> None:
        before = self._known.of(model)
        if self._known.learn(model, lesson):
            changed = difference(before, self._known.of(model))
            warnings.warn(f"{self.endpoint}: {model}: {changed} from now on ({error})", stacklevel=4)

    def answered(self, reply: Reply, request: ChatRequest, options: Options) -> ChatResponse:
        """The answer in a reply to a request that was put by `options`; raises as `complete` does."""
        response = self._response(reply, request)
        self._http.has_answered(request.model, _path(request))
        return _stopped(response, request) if "stop" in options.without else response

    def failed(self, error: LLMError, request: ChatRequest, options: Options, put: Put) -> ChatResponse:
        """The answer inside an error, where there is one; else raises what the error comes to.

        `put` makes the request's body by options.
        """
        if isinstance(error, Rejected):
            return _rescued(error, request)
        raise self._do_without(request.model, options, put, error) from None

    def _response(self, reply: Reply, request: ChatRequest) -> ChatResponse:
        in_parts = isinstance(reply.value, list) and len(reply.value) > 1  # Gemini's stream as one list
        value = joined(reply.value) if reply.streamed or in_parts else completion_in(reply.value)
        if not reply.streamed and (state := waiting_job(value)):
            where = ", ".join(f"{host} at {url}" for host, url in SPEAKS_AT.items())
            raise Misconfigured(
                f"{self.endpoint}: HTTP 200, but no answer: a job in a queue ({state}); set base_url to where"
                f" the host speaks OpenAI's protocol: {where}",
                raw=self.redact(json.dumps(value))[:_KEPT],
                paid=True,
            )
        if reply.marked and request.schema is None:
            _ended(value)
        if reply.streamed and not is_finished(value):
            raise ServerError(
                f"{self.endpoint}: the streamed answer broke off",
                raw=self.redact(json.dumps(value))[:_KEPT],
                paid=True,
                usage=_told(value),
            )
        try:
            return response_in(value, request, reply.quota)
        except DeclinedError as declined:
            error = Refused(
                f"the endpoint declined to answer: {self.redact(str(declined))[:300]}", usage=_told(value)
            )
            error.why = "moderated"
            raise error from None
        except NotAnAnswerError as error:
            raise ServerError(
                f"{self.endpoint}: HTTP 200, but not a chat completion: {error}",
                raw=self.redact(json.dumps(value))[:_KEPT],
                paid=True,
                usage=_told(value),
            ) from None

    def _do_without(self, model: str, options: Options, put: Put, error: LLMError) -> LLMError:
        """What to raise for a refused request: that the option is done without, if one was the reason."""
        if not isinstance(error, Refused | ServerError) or not error.raw:
            return error
        if isinstance(error, Refused) and error.why == "moderated":
            return error
        try:
            value = json.loads(error.raw)
        except (ValueError, RecursionError):
            value = None
        if isinstance(error, ServerError) and not _blames_an_option(error.raw):
            return error
        too_long = isinstance(error, Refused) and error.why == "too_long"
        said = own_words(error.raw, value)
        lesson = options.after(put(options), said, value, limit_only=too_long)
        self._learn(model, lesson, error)
        if put(self._known.of(model)) == put(options):
            return error
        return Unsupported(str(error), raw=error.raw)


def _path(request: ChatRequest) -> str:
    return "completions" if request.continues else CHAT


def _ended(value: dict[str, Any]) -> None:
    """Free text whose stream has its mark, and no reason for its end."""
    for choice in value["choices"]:
        if choice["message"]["content"].strip():
            choice.setdefault("finish_reason", "stop")


def _told(value: Any) -> Usage | None:
    """The tokens that a body counts, where it counts any."""
    prompt, completion, reasoning = told_usage(value)
    if prompt is None and completion is None and reasoning is None:
        return None
    return Usage(prompt or 0, completion or 0, reasoning or 0)


def _rescued(error: Rejected, request: ChatRequest) -> ChatResponse:
    """The answer that the endpoint rejects, which may fit well enough for us.

    Raises:
        BadAnswer: it does not show it.
    """
    if not error.answer.strip() and not error.cut:
        raise BadAnswer(str(error), raw=error.raw, paid=True) from None
    size = sum(len(m.content.encode("utf-8", "replace")) for m in request.messages)
    usage = Usage(size, len(error.answer.encode("utf-8", "replace")))
    if error.cut:
        usage = Usage(size, request.max_tokens)
    return ChatResponse((Choice(error.answer, "length" if error.cut else "stop"),), usage, request.model)


def _blames_an_option(raw: str) -> bool:
    """5xx that are refusals of an option in truth."""
    low = raw.lower()
    words = (
        "grammar",
        "unsupported param",
        "not support param",
        "not supported",
        "unknown field",
        "must alternate",
        "for format",
    )
    return any(word in low for word in words)


def _again(request: ChatRequest, missing: int, made: int) -> ChatRequest:
    """The request for the choices that are missing; with another seed, or they would be the same ones."""
    key = f"{request.idempotency_key}.{made}" if request.idempotency_key else None
    seed = None if request.seed is None else (request.seed + made) % 2**31
    return replace(request, n=missing, seed=seed, idempotency_key=key)


def _stopped(response: ChatResponse, request: ChatRequest) -> ChatResponse:
    """What a server that takes no stop strings would have left out."""
    choices = []
    for choice in response.choices:
        ends = [at for stop in request.stop if stop and (at := choice.text.find(stop)) >= 0]
        choices.append(
            replace(choice, text=choice.text[: min(ends)], finish_reason="stop") if ends else choice
        )
    return replace(response, choices=tuple(choices))
