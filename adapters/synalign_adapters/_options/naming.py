"""Which option of a request a refusal names: in its fields, or in its words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

LIMITS = ("max_tokens", "max_completion_tokens", "")  # the names of the limit, in the order they are tried
# What a server may call an option: lower case, letters alone.
_NAMES = {
    "maxtokens": "limit", "maxcompletiontokens": "limit", "maxoutputtokens": "limit", "maxnewtokens": "limit",
    "numpredict": "limit", "maxgenlen": "limit",
    "responseformat": "format", "jsonschema": "format", "jsonobject": "format", "responseschema": "format",
    "responsejsonschema": "format", "responsemimetype": "format", "schema": "format", "grammar": "format",
    "structuredoutput": "format", "structuredoutputs": "format", "guidedjson": "format", "jsonmode": "format",
    "additionalproperties": "format", "minlength": "format", "maxlength": "format", "minitems": "format",
    "maxitems": "format", "strict": "format", "structured": "format",
    "stream": "stream", "streaming": "stream", "nonstreaming": "stream",
    "streamoptions": "stream_options", "includeusage": "stream_options",
    "seed": "seed", "randomseed": "seed", "topp": "top_p", "temperature": "temperature",
    "stop": "stop", "stopsequence": "stop", "stopsequences": "stop", "stopwords": "stop",
    "stopstrings": "stop", "stoptokens": "stop",
    "n": "n", "candidatecount": "n", "numchoices": "n",
    "logprobs": "logprobs", "logprob": "logprobs", "toplogprobs": "logprobs", "logprobabilities": "logprobs",
    "responselogprobs": "logprobs",
}  # fmt: skip
_ONLY_QUOTED = {"stop", "n", "stream", "strict", "structured"}  # words that mean something else as well
_WORD = re.compile(r"""(?P<open>['"`‘“]?)(?P<name>[A-Za-z][A-Za-z0-9_.-]*)(?P<close>['"`’”]?)""")
_PHRASE = re.compile(
    r"(json|response|structured|stop|top|max|log|stream) ?(mode|format|schema|outputs?|sequences?|p\b|tokens|"
    r"words|strings|prob\w*|options)",
    re.IGNORECASE,
)
_CALLED = re.compile(r"\b(?:parameter|argument|option|field|property)s?:? ([A-Za-z_]+)", re.IGNORECASE)
_COUNT = re.compile(r"parameter n\b|(?<!\\)\bn ?(?:>|=|:|must|should)|\bcandidates?\b", re.IGNORECASE)


_ECHO = re.compile(r"""\\*["']messages\\*["']\s*:""")
_READ = 8000  # characters of a refusal


def own_words(raw: str, value: Any) -> str:
    """What a refusal says, without the request that it repeats: that names every option.

    `value` is the body, where it is JSON.
    """
    said = raw if value is None else json.dumps(value, ensure_ascii=False)
    while match := _ECHO.search(said):
        start = said.rfind("{", 0, match.start())
        depth, end = 0, len(said)
        for at in range(max(start, 0), len(said)):
            depth += {"{": 1, "}": -1}.get(said[at], 0)
            if not depth and said[at] == "}":
                end = at + 1
                break
        said = said[: start if start >= 0 else match.start()] + said[max(end, match.end()) :]
    return said[:_READ]


def named(said: str, value: Any, sent: Mapping[str, Any]) -> list[str]:
    """Our names of the options of `sent` that a refusal is about, the likeliest first.

    `value` is the refusal's body: where its fields name an option they are believed before its words.
    """
    told = [name for name in _told(value) if name]
    found = _in_fields(told, sent)
    if found or any(name.startswith(("messages", "input", "prompt")) for name in told):
        return found
    return _in_text(said, sent)


def limit_in(body: Mapping[str, Any]) -> str | None:
    """The name under which a body gives its limit."""
    return next((name for name in LIMITS if name and name in body), None)


def _told(value: Any, depth: int = 0) -> Iterator[str]:
    """What the fields of a refusal name: `param`, `loc` and their kind."""
    if depth > 8:
        return
    if isinstance(value, list):
        for item in value[:20]:
            yield from _told(item, depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in ("param", "parameter", "field", "parameters", "params") and isinstance(item, str):
                yield item
            elif name == "loc" and isinstance(item, list):
                yield ".".join(str(part) for part in item if part != "body")
            elif isinstance(item, dict | list):
                yield from _told(item, depth + 1)


def _canonical(name: str, sent: Mapping[str, Any]) -> str | None:
    """Our name of an option that the request used; None for everything else."""
    plain = re.sub(r"[^a-z]", "", name.lower())
    ours = _NAMES.get(plain)
    if ours == "limit":
        return ours if limit_in(sent) else None
    if ours == "format":
        return ours if "response_format" in sent else None
    if ours == "stream_options" and ours not in sent:
        return None
    if ours and ours in sent:
        return ours
    for field_, value in sent.items():
        if field_ in _OURS:
            continue
        if re.sub(r"[^a-z]", "", field_.lower()) == plain:
            return field_
        if isinstance(value, Mapping) and any(re.sub(r"[^a-z]", "", k.lower()) == plain for k in value):
            return field_
    return None


_OURS = {
    "model", "messages", "prompt", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed",
    "stop", "n", "logprobs", "response_format", "stream", "stream_options",
}  # fmt: skip


def _in_fields(told: list[str], sent: Mapping[str, Any]) -> list[str]:
    found = []
    for path in told:
        parts = [part for part in re.split(r"[.\[\]/'\"]+", path) if part and not part.isdigit()]
        names = [_canonical(part, sent) for part in parts[:3]]
        found += [name for name in names if name and name not in found][:1]
    return found


def _in_text(said: str, sent: Mapping[str, Any]) -> list[str]:
    """The options that the words name, in their order; those in quotes before the others."""
    quoted: list[str] = []
    plain: list[str] = []
    for match in _WORD.finditer(said[:4000]):
        name = match["name"].rstrip(".-")
        ours = next((c for part in (name, *name.split(".")) if (c := _canonical(part, sent))), None)
        in_quotes = bool(match["open"] and match["close"])
        if ours and (in_quotes or _sure(name)):
            (quoted if in_quotes else plain).append(ours)
    for first, second in _PHRASE.findall(said[:4000]):
        if ours := _canonical(first + second, sent):
            plain.append(ours)
    quoted += [ours for name in _CALLED.findall(said[:4000]) if (ours := _canonical(name, sent))]
    if "n" in sent and _COUNT.search(said):
        plain.append("n")
    if "response_format" in sent and re.search(r"\bfor format\b", said):
        plain.append("format")
    if "stream" in sent and re.search(r"\bstream(?:ing)?\b", said, re.IGNORECASE):
        plain.append("stream")
    return list(dict.fromkeys(quoted + plain))


def _sure(name: str) -> bool:
    return re.sub(r"[^a-z]", "", name.lower()) not in _ONLY_QUOTED
