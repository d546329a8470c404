"""What one model of an endpoint takes: learnt from its refusals, one option at a time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from synalign_jax.llm.protocol import ChatRequest, Message

from .naming import LIMITS, named
from .schema import FORMATS, in_words, response_format

_NO = re.compile(
    r"unsupported|not (?:be )?(?:support|allow|permit|accept|enable|implement|recogni[sz]e|available|exist)"
    r"|unknown"
    r"|unrecogni[sz]ed|unexpected|extra (?:input|field)|extra_forbidden|cannot find|can ?not|can't"
    r"|deprecated|instead|no longer|removed|disallowed|forbidden|invalid (?:param|arg|field|key)"
    r"|only (?:supports?|accepts?|allows?)"
    r"|does ?n[o']t|unavailable|not a valid",
    re.IGNORECASE,
)
_EITHER = re.compile(
    r"\bboth\b|together|only one|one of|mutually|simultaneously|at the same time|combination", re.IGNORECASE
)
_LEAST_WANTED = ("logprobs", "stream_options", "top_p", "seed", "n", "stop", "temperature")
_SYSTEM = re.compile(
    r"system (?:role|message|prompt)|role[^.]{0,20}system|developer (?:role|message|instruction)",
    re.IGNORECASE,
)
_TURNS = re.compile(r"must alternate|alternat\w+ (?:between )?user", re.IGNORECASE)
_BOUND = re.compile(
    r"<=|at most|maximum|less than|too (?:large|big)|exceed|above|range|between|up to|exclusive"
    r"|\[\d+, ?\d+\]",
    re.IGNORECASE,
)
_STREAM_ONLY = re.compile(
    r"only[^.]{0,30}stream|stream[^.]{0,40}(?:required|must be (?:true|set|enabled)|enable)"
    r"|non-?stream(?:ing)?[^.]{0,30}"
    r"(?:not|un)|must have stream|(?:for|in) non-?stream|streaming is (?:strongly )?re(?:quired|commended)",
    re.IGNORECASE,
)
_TOTAL = re.compile(r"(?:maximum )?context (?:length|window|size)\D{0,40}(\d+)", re.IGNORECASE)
_SUM = re.compile(r"inputs\W+tokens\W+max_new_tokens\W+must be <= (\d+)\W+given:? (\d+)", re.IGNORECASE)
_INPUT = re.compile(
    r"(\d+) (?:input tokens|tokens? (?:in|from|of) (?:the |your )?(?:messages|input|prompt)"
    r"|in (?:the|your) (?:messages|prompt|input))",
    re.IGNORECASE,
)
# Of the prompt alone: no limit of the answer mends it, and a lower one would cost all that follow.
_PROMPT_ONLY = re.compile(
    r"(?:prompt|input) length|length of (?:the |your )?(?:prompt|input|messages?)|max\w* (?:prompt|input)"
    r"|(?:prompt|input) (?:is|was) too long|inputs\W+must have",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"max_\w*tokens|maxtokens|num_predict|max_gen_len|context|completion|output|generat", re.IGNORECASE
)
_NUMBER = re.compile(r"(?<!\d)(?<!\D-)(\d{1,8})(?!\d)(\s*\(exclusive\))?")
_MEMBER = re.compile(
    r"""["'](?:\w*code|status|n_\w+)["']:\s*["']?-?\d+["']?"""
)  # whose numbers are no bounds
_PAGE = re.compile(r"\s*<(?:!doctype|html|head)", re.IGNORECASE)
_RATE = re.compile(r"limit:? ?(\d+),? ?requested:? ?(\d+)", re.IGNORECASE)  # tokens a minute
_ASKED = re.compile(r"(?:requested|total of|output tokens)\D{0,12}(\d+)", re.IGNORECASE)
FEWEST = 16  # tokens: a limit below it leaves room for nothing


@dataclass(frozen=True, slots=True)
class Options:
    """What is left out or put otherwise. Every lesson moves one way, so that learning ends.

    `without` names the fields left out, `limit` and `format` are places in LIMITS and FORMATS, `stream` is
    None (as configured), "on", "off" or "absent", `most` caps the limit, `system` False folds the system
    message into the first of the user's.
    """

    without: frozenset[str] = frozenset()
    limit: int = 0
    format: int = 0
    stream: str | None = None
    most: int | None = None
    system: bool = True

    def as_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["without"] = sorted(self.without)
        return {
            name: value for name, value in plain.items() if value != getattr(_PLAIN, name) and value != []
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Options:
        """Fields that are not understood are passed over."""
        without, limit, form = value.get("without"), value.get("limit"), value.get("format")
        most, stream = value.get("most"), value.get("stream")
        return cls(
            frozenset(str(name) for name in without) if isinstance(without, list) else frozenset(),
            limit if isinstance(limit, int) and 0 <= limit < len(LIMITS) else 0,
            form if isinstance(form, int) and 0 <= form < len(FORMATS) else 0,
            stream if stream in ("on", "off", "absent") else None,
            most if isinstance(most, int) and most >= FEWEST else None,
            value.get("system") is not False,
        )

    def joined(self, other: Options) -> Options:
        """Both lessons."""
        caps = [most for most in (self.most, other.most) if most is not None]
        return Options(
            self.without | other.without,
            max(self.limit, other.limit),
            max(self.format, other.format),
            other.stream or self.stream,
            min(caps, default=None),
            self.system and other.system,
        )

    def body(self, request: ChatRequest, stream: str, stream_from: int) -> dict[str, Any]:
        """What is posted for a request. `stream` is "on", "off" or "auto": from `stream_from` tokens on."""
        messages = _alternating(request.messages, self.system)
        body: dict[str, Any] = {"model": request.model}
        if name := LIMITS[self.limit]:
            body[name] = min(request.max_tokens, self.most or request.max_tokens)
        body["temperature"] = request.temperature
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
        if request.schema is not None:
            if (form := response_format(request.schema, self.format)) is not None:
                body["response_format"] = form
            if FORMATS[self.format] in ("object", "words"):
                messages[-1]["content"] += in_words(request.schema)
        if request.continues:
            body["prompt"] = "".join(message.content for message in request.messages)
        else:
            body["messages"] = messages
        how = self.stream or stream
        if how == "on" or (how == "auto" and request.max_tokens >= stream_from):
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        elif how != "absent":
            body["stream"] = False
        body |= request.extra
        return {name: value for name, value in body.items() if name not in self.without}

    # -- learning ------------------------------------------------------------------------------------------

    def after(self, sent: Mapping[str, Any], said: str, value: Any, *, limit_only: bool) -> Options:
        """What is known once the endpoint refused `sent`, put by these options, in the words `said`.

        `value` is the body of the refusal, whose fields may name the option. `limit_only` is for refusals
        that are about the prompt's length: only the limit may be to blame.
        """
        if limit_only:
            return self._limited(sent, said)
        names = named(said, value, sent)
        no_system = _TURNS.search(said) or (_SYSTEM.search(said) and _NO.search(said))
        if no_system and any(m["role"] == "system" for m in sent.get("messages", ())):
            return replace(self, system=False)
        if "stream" in names and _STREAM_ONLY.search(said) and not sent.get("stream"):
            return replace(self, stream="on")
        if names[:1] == ["format"]:
            return replace(self, format=self._weaker(said))
        if len(names) > 1 and _EITHER.search(said):
            names = sorted(names, key=lambda name: (*_LEAST_WANTED, name).index(name))
        return self._less(names[0], sent, said) if names else self

    def _less(self, name: str, sent: Mapping[str, Any], said: str) -> Options:
        if name == "limit":
            if _BOUND.search(said) and (lower := self._limited(sent, said)) != self:
                return lower
            if _NO.search(said) and not _TOTAL.search(said):
                if self.limit == 1 and "instead" in said:
                    return self  # it wants the name that it was given
                return replace(self, limit=min(self.limit + 1, len(LIMITS) - 1))
            return self._limited(sent, said)
        if name == "stream":
            if _STREAM_ONLY.search(said) and not sent.get("stream"):
                return replace(self, stream="on")
            return replace(self, stream="off" if sent.get("stream") else "absent")
        return replace(self, without=self.without | {name})

    def _limited(self, sent: Mapping[str, Any], said: str) -> Options:
        """A lower limit, where the words give one below that which was sent."""
        asked = next((sent[name] for name in LIMITS if name and name in sent), None)
        said = "" if _PAGE.match(said) else _MEMBER.sub("", said)
        if not isinstance(asked, int) or (_PROMPT_ONLY.search(said) and not _ANSWER.search(said)):
            return self
        total, prompt = _TOTAL.search(said), _INPUT.search(said)
        if both := _SUM.search(said):
            room = int(both.group(1)) - int(both.group(2))
            fits = [room] if FEWEST <= room < asked else []
        elif rate := _RATE.search(said):
            room = asked - max(0, int(rate.group(2)) - int(rate.group(1)))
            fits = [room] if FEWEST <= room < asked else []
        elif total:
            room = int(total.group(1)) - int(prompt.group(1)) if prompt else 0
            if not prompt and (whole := _ASKED.search(said)):
                room = asked - max(0, int(whole.group(1)) - int(total.group(1)))
            fits = [room] if FEWEST <= room < asked else []
        else:
            told = [(int(n), bool(out)) for n, out in _NUMBER.findall(said)]
            fits = [n - out for n, out in told if FEWEST <= n - out < asked]
        return replace(self, most=max(fits)) if fits else self

    def _weaker(self, said: str) -> int:
        """The next weaker form of JSON, skipping those that the words rule out."""
        known = {form: place for place, form in enumerate(FORMATS)}
        words = {re.sub(r"[^a-z]", "", word) for word in re.findall(r"[a-z_]+", said.lower())}
        following = self.format + 1
        if words & {"minlength", "maxlength", "minitems", "maxitems", "pattern"}:
            wanted = known["lean"]
        elif words & {"additionalproperties", "strict"}:
            wanted = known["plain"]
        elif ("jsonobject" in words and self.format < known["object"]) or (
            "jsonschema" in words and _NO.search(said) and not words & {"schemas", "keyword"}
        ):
            wanted = known["object"]
        elif "responseformat" in words and _NO.search(said) and not words & {"type", "schema", "invalid"}:
            wanted = known["words"]
        else:
            wanted = following
        return min(max(wanted, following), len(FORMATS) - 1)


_PLAIN = Options()


def _alternating(given: tuple[Message, ...], system: bool) -> list[dict[str, str]]:
    """The messages with equal neighbours joined: many chat templates insist that roles take turns."""
    messages: list[dict[str, str]] = []
    for message in given:
        role = message.role if system or message.role not in ("system", "developer") else "user"
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += f"\n\n{message.content}"
        else:
            messages.append({"role": role, "content": message.content})
    return messages


@dataclass(slots=True)
class Known:
    """What is known of each model."""

    models: dict[str, Options] = field(default_factory=dict)
    _taken: dict[str, set[str]] = field(default_factory=dict)
    _turns: dict[tuple[str, int], asyncio.Lock] = field(default_factory=dict)

    def of(self, model: str) -> Options:
        return self.models.get(model, _PLAIN)

    def taken(self, model: str) -> set[str]:
        """The options that have been in a request that was answered, or were tried out."""
        return self._taken.setdefault(model, set())

    def turn(self, model: str) -> asyncio.Lock:
        """One at a time tries the model's options out; each event loop has a lock of its own."""
        return self._turns.setdefault((model, id(asyncio.get_running_loop())), asyncio.Lock())

    def learn(self, model: str, lesson: Options) -> bool:
        """Add a lesson; whether it says anything new."""
        before = self.of(model)
        self.models[model] = before.joined(lesson)
        return self.models[model] != before


def difference(before: Options, after: Options) -> str:
    """What changed, in words."""
    parts = [f"'{name}' is left out" for name in sorted(after.without - before.without)]
    if after.limit != before.limit:
        name = LIMITS[after.limit]
        parts.append(
            f"the limit is called '{name}'"
            if name
            else "no limit is sent, so that a budget cannot bound answers"
        )
    if after.format != before.format:
        parts.append(_FORMS_IN_WORDS[FORMATS[after.format]])
    if after.stream != before.stream:
        parts.append(
            {"on": "answers are streamed", "off": "answers are not streamed"}.get(
                after.stream or "", "'stream' is left out"
            )
        )
    if after.most != before.most:
        parts.append(f"answers are limited to {after.most} tokens")
    if after.system != before.system:
        parts.append("the system message goes to the front of the user's")
    return ", ".join(parts)


_FORMS_IN_WORDS = {
    "lean": "JSON schemas go without limits on length",
    "plain": "JSON schemas go in their plainest form",
    "object": "refuses JSON schemas; JSON is asked for, its schema in the prompt",
    "words": "refuses JSON schemas; they go into the prompt",
}
