"""What an endpoint must be: one request in, one response or typed error out. Adapters import this alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat: `role` is "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """Everything that determines an answer, apart from the endpoint itself.

    `schema` is a JSON schema that the answer must satisfy; None asks for free text.
    `continues` says that the one message is the beginning of a text to go on with, not a turn of a chat: what
    models without chat training, and small ones, do best.
    `extra` holds further fields of the endpoint's own, passed through as they are.
    `idempotency_key` is set by the driver: a server that honours it bills a request sent twice once.
    """

    messages: tuple[Message, ...]
    model: str
    max_tokens: int = 512
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    logprobs: bool = False
    schema: Mapping[str, Any] | None = None
    continues: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that one response cost. `reasoning_tokens` are those of the completion that no answer shows."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the `n` answers. `finish_reason` is "stop", "length" or the endpoint's own word.

    `reasoning` is what the endpoint keeps apart as the model's thoughts. Some servers put the whole answer
    there, so that it is looked at where `text` is empty.
    """

    text: str
    finish_reason: str
    logprobs: tuple[float, ...] | None = None
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Quota:
    """What the endpoint's rate-limit headers say is left, and the seconds until each is full again."""

    requests: int | None = None
    requests_reset: float = 0.0
    tokens: int | None = None
    tokens_reset: float = 0.0


@dataclass(frozen=True, slots=True)
class ChatResponse:
    choices: tuple[Choice, ...]
    usage: Usage
    model: str
    quota: Quota | None = None

    @property
    def text(self) -> str:
        """The first choice's text."""
        return self.choices[0].text


class LLMError(Exception):
    """A request that got no usable answer.

    Attributes:
        kind: a short fixed word to count by ("rate_limited", "timeout", ...); holds no endpoint text.
        retry: whether the same request may succeed later.
        fatal: whether every other request would fail the same way, so that the run must stop.
        retry_after: seconds the server asked to wait, if it did.
        raw: what the server sent, for the dead letters.
        paid: whether the endpoint may have charged for it: it took the request, its answer was lost.
        usage: the tokens it charged for, where it said so.
    """

    kind = "error"
    retry = False
    fatal = False

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        raw: str | None = None,
        paid: bool = False,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.raw = raw
        self.paid = paid
        self.usage = usage


class RateLimited(LLMError):
    """429, or the endpoint's own word for it."""

    kind = "rate_limited"
    retry = True


class ServerError(LLMError):
    """5xx, a reset connection, an answer that is not what the protocol promises."""

    kind = "server_error"
    retry = True


class Overloaded(LLMError):
    """503, 529: the endpoint has more work than it can take."""

    kind = "overloaded"
    retry = True


class Loading(LLMError):
    """The server is there and makes itself ready: it loads its model."""

    kind = "loading"
    retry = True


class Unsupported(LLMError):
    """The endpoint lacks an option of this request; the adapter asks without it from now on.

    Raised only where the same request, asked again, is put otherwise than it was: so it ends by itself.
    """

    kind = "unsupported"
    retry = True


class Unreachable(LLMError):
    """No connection could be made."""

    kind = "unreachable"
    retry = True


class Timeout(LLMError):
    """No answer, or no further part of it, within the limit."""

    kind = "timeout"
    retry = True


class BadAnswer(LLMError):
    """An answer arrived but is not the JSON that was asked for."""

    kind = "bad_answer"
    retry = True


class Unfinished(LLMError):
    """The batch that the request was in ended, or was never made, before it was asked: nothing is charged."""

    kind = "unfinished"
    retry = True


class Refused(LLMError):
    """This one request can never succeed.

    `why` is "moderated" or "too_long" where the endpoint says so. "" leaves open whether it lies in the
    request alone: should others be refused too, and none be answered, the endpoint refuses them all.
    """

    kind = "refused"
    why = ""


class Misconfigured(LLMError):
    """No request to this endpoint can succeed until a setting changes (key, model, address)."""

    kind = "misconfigured"
    fatal = True


class BudgetReached(LLMError):
    """The next request could pass a cap of the budget."""

    kind = "budget_reached"
    fatal = True


class Cancelled(LLMError):
    """The run was stopped while the request was in flight."""

    kind = "cancelled"
    retry = True


def error_of(kind: str, message: str, *, raw: str | None = None) -> LLMError:
    """The error that a record of `kind` stands for."""
    known = {error.kind: error for error in LLMError.__subclasses__()}
    error = known.get(kind, LLMError)(message, raw=raw)
    error.kind = kind
    return error


@runtime_checkable
class LLM(Protocol):
    """A one-shot endpoint. Retries, limits and records are the driver's, never the adapter's.

    An adapter that sees to a request's schema by itself, by a grammar or by words of its own, may say so with
    an attribute `sees_to_schema = True`: then nobody else repeats the schema to the model.
    """

    @property
    def endpoint(self) -> str:
        """Names the endpoint in records and cache keys: an address or a model file, never a secret."""
        ...

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """Ask once. Raises LLMError and nothing else for what the endpoint did wrong."""
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class Learner(Protocol):
    """An LLM that finds out what its endpoint takes. The driver keeps that for the next start."""

    def lessons(self, model: str) -> dict[str, Any]:
        """What was learnt of the model so far, as JSON; empty where nothing was."""
        ...

    def recall(self, model: str, lessons: Mapping[str, Any]) -> None:
        """Start from what was learnt before. What cannot be understood is passed over."""
        ...


@runtime_checkable
class Discreet(Protocol):
    """An LLM that knows secrets: records of failures go through `redact`."""

    def redact(self, text: str) -> str: ...


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """How far a batch is at its endpoint.

    `word` is the endpoint's own for `state`. `total`, `done` and `failed` count its requests; `files` hold
    its results so far. `error` says why all of a failed batch was refused, or, with `at`, the request at that
    place of the file (from 0) alone.
    """

    state: Literal["waiting", "completed", "failed", "expired", "cancelled"]
    word: str
    total: int = 0
    done: int = 0
    failed: int = 0
    files: tuple[str, ...] = ()
    error: LLMError | None = None
    at: int | None = None


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What came of a request of a batch, by its `key`; `asked` False: the batch ended before its turn."""

    key: str
    value: Mapping[str, Any]
    asked: bool = True


@runtime_checkable
class BatchLLM(LLM, Learner, Protocol):
    """An LLM that also takes many requests in a file, and answers them when it pleases.

    What is posted of a request depends on `lessons`, which are kept with the batch, so that a refusal can be
    read by them later. All may raise LLMError: Misconfigured says that there is no way with batches here.
    """

    def route(self, request: ChatRequest) -> str:
        """A batch holds requests of one route, and of one model."""
        ...

    def batch_line(self, key: str, request: ChatRequest, lessons: Mapping[str, Any]) -> bytes:
        """The request as a line of a batch's file, its end included."""
        ...

    async def put_file(self, name: str, lines: Iterable[bytes]) -> str:
        """Store the file of a batch; what it is called there."""
        ...

    async def make_batch(self, file: str, route: str, mark: str) -> str:
        """Have a stored file asked; what the batch is called. It carries `mark`, to be found by."""
        ...

    async def find_batch(self, file: str, mark: str, since: float) -> str | None:
        """The batch of this file or mark, made after `since` (Unix time); None if there is none; raises
        Unsupported where batches are not listed."""
        ...

    async def look(self, batch: str) -> BatchStatus:
        """How far the batch is."""
        ...

    def results(self, file: str) -> AsyncGenerator[BatchResult]:
        """The results in a file."""
        ...

    def read_result(
        self, result: BatchResult, request: ChatRequest, lessons: Mapping[str, Any]
    ) -> ChatResponse:
        """The answer to a request that was sent by those lessons; raises as `complete` does."""
        ...

    async def explain(self, error: LLMError, request: ChatRequest, lessons: Mapping[str, Any]) -> LLMError:
        """What `read_result` raised, or what it comes to once the endpoint was asked for its reason."""
        ...
