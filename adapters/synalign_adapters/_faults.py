"""The error of the protocol that a server's refusal stands for: whose fault it is, and what may mend it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from synalign_jax.llm.protocol import (
    LLMError,
    Loading,
    Misconfigured,
    Overloaded,
    RateLimited,
    Refused,
    ServerError,
)

from ._bodies import bare, fault_in
from ._waits import retry_after, used_up

_SHOWN = 300  # characters of a server's message that an error repeats
_CREDIT_CODES = ("insufficient_quota", "billing", "exceeded_current_quota", "arrearage", "payment_required")
_CREDIT = re.compile(
    r"insufficient.{0,12}(?:balance|credit|funds|quota)|credit balance is too low|out of credit|no credit"
    r"|not enough (?:credit|balance)|balance is insufficient|余额不足|额度不足|欠费"
    r"|overdue|in arrears|billing hard limit|payment required"
    r"|(?:api )?usage limits?\. you will|spending limit|past invoices|budget has been exceeded"
    r"|free.?tier[^.]{0,30}exhausted|freetieronly|have any credits|purchase credits"
    r"|key limit exceeded|daily free allocation|quota_reached|remaining quota is 0",
    re.IGNORECASE,
)
_KEY = re.compile(
    r"(?:api.?key|access.?token|credential|subscription.?key|authorization)[^.]{0,40}"
    r"(?:not valid|invalid|incorrect|expired|missing|required|revoked|disabled|wrong|not found)"
    r"|(?:invalid|incorrect|expired|missing|wrong|no)\W{0,3}(?:api.?key|access.?token|credential|subscription.?key)"
    r"|api_key_invalid|unauthori[sz]ed|authentication|authori[sz]ation failed",
    re.IGNORECASE,
)
_REGION = re.compile(
    r"(?:region|country|territory|location)[^.]{0,40}not (?:supported|available|allowed)"
    r"|unsupported_country|not available in your (?:region|country)",
    re.IGNORECASE,
)
_MODEL = re.compile(
    r"model[^.]{0,80}(?:does not exist|not exist|not found|is not available|decommissioned"
    r"|no longer (?:supported|available)|not a valid model|has been deprecated|is not loaded"
    r"|not supported by any|not a chat model|blocked at the|terms acceptance"
    r"|has been (?:removed|retired|shut down)|do not have access"
    r"|not supported for generat)"
    r"|(?:unknown|invalid|no such|unrecognized|nonexistent|unavailable) model|not a valid model"
    r"|(?:do not|don.t|not) have access to (?:the )?model|not work with the specified model|no models? loaded"
    r"|model disabled"
    r"|on-demand throughput isn.t supported|unable to access (?:\S+ )?model|malformed publisher model"
    r"|does not support chat\b|provider not provided"
    r"|model_not_found|model_decommissioned",
    re.IGNORECASE,
)
_CLOSED = re.compile(
    r"(?:organi[sz]ation|account|project|workspace)\b[^.]{0,40}(?:is|was|been) (?:temporarily |currently )?"
    r"(?:disabled|suspended|deactivated|banned|blocked|terminated)",
    re.IGNORECASE,
)
_MODERATED = re.compile(
    r"flagged|moderation|guardrail|content.?(?:filter|policy|management|safety)|usage polic"
    r"|safety (?:system|filter|setting)"
    r"|responsible.?ai|data_inspection|inappropriate content|sensitive (?:word|content|information)"
    r"|prohibited[_ ](?:content|use)"
    r"|violat[^.]{0,40}(?:polic|guideline|terms)|invalid_prompt|risk control|censor"
    r"|(?:prompt|input|request|content) (?:was |has been )?blocked"
    r"|exists risk|high.?risk|new_sensitive|敏感|不安全|违规",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context.{0,10}(?:length|window|size)|context_length_exceeded|(?:prompt|input|message|request)[^.]{0,30}"
    r"(?:too (?:long|large|many)|exceed)|too many (?:input )?tokens|maximum (?:input|sequence|prompt) length"
    r"|length of (?:the |your )?(?:messages?|prompt|input)\b"
    r"|range of input length|inputs\W+must have less than|超长"
    r"|string_above_max_length|reduce the length",
    re.IGNORECASE,
)
_OVER_CONTEXT = re.compile(r"exceed\w* (?:the )?(?:\w+ )?context (?:length|size|window)", re.IGNORECASE)
_BAD_ANSWER = re.compile(
    r"failed_generation|json_validate_failed"
    r"|failed to (?:generate|parse|validate)[^.]{0,30}(?:json|output|response)"
    r"|model_output_parse|output_parse_failed"
    r"|generated (?:json|output)[^.]{0,30}(?:invalid|not match|does not)"
    r"|(?:response|output) did not (?:respect|match|follow|conform)",
    re.IGNORECASE,
)
_RATE = re.compile(
    r"rate.?limit|too many requests|throttl|quota exceeded|concurrency limit|out of call volume",
    re.IGNORECASE,
)
_NEVER_FITS = re.compile(
    r"request too large|requested \d+.{0,40}limit \d+|limit:? ?(\d+),? ?requested:? ?(\d+)", re.IGNORECASE
)
_OPTIONS = re.compile(r"no endpoints? found that (?:support|can handle)|requested parameters", re.IGNORECASE)
_PAGE = re.compile(r"\s*<(?:!doctype|html|head)", re.IGNORECASE)
_LOADING = re.compile(
    r"(?:loading|being loaded|load(?:ing)? (?:the )?model|warming up|starting up|initiali[sz]ing"
    r"|not (?:yet )?(?:ready|loaded)|still loading|cold start|scal(?:ing|ed) (?:up|from|to)\b|waking up"
    r"|spinning up|is starting|(?:being|is) (?:provision|deploy)\w+)",
    re.IGNORECASE,
)
# Of a server's process, whatever the status says (LM Studio: 400).
_LOADS = re.compile(
    r"model\b[^.]{0,40}(?:\bis|still|currently) loading|model\b[^.]{0,40}being loaded"
    r"|endpoint\b[^.]{0,40}(?:not (?:yet )?ready|is updating)",
    re.IGNORECASE,
)
# The limit was used up by thoughts, which is said as if the request were wrong.
_CUT = re.compile(r"could not finish the message|higher max_\w*tokens", re.IGNORECASE)
# Said with 403, which otherwise is about the key.
_INVALID = re.compile(r"validation error|must be <|unsupported_(?:value|parameter)", re.IGNORECASE)
_CRASHED = re.compile(
    r"model (?:(?:is|was|has been )?\s?unloaded|has (?:unexpectedly )?(?:crashed|stopped|exited))"
    r"|channel error|operation (?:was )?cancell?ed|degraded function",
    re.IGNORECASE,
)
# Hosts whose own interface is a queue of jobs: no chat, but beside it there is one.
SPEAKS_AT = {
    "api.runpod.ai": "https://api.runpod.ai/v2/ENDPOINT_ID/openai/v1",
    "api.replicate.com": "https://openai-proxy.replicate.com/v1",
}
_NO_LOADING = re.compile(r"(?:fail\w*|unable|could not|cannot|error)(?: to)? load", re.IGNORECASE)


class Rejected(Refused):
    """The endpoint finds its own model's answer unfit; `answer` is that, unaltered, where it is shown.

    `cut` says that the limit was used up before there was one.
    """

    answer = ""
    cut = False


class Unexplained(Refused):
    """The endpoint refuses the request as such, and not for its prompt, as far as its words go."""


@dataclass(frozen=True, slots=True)
class Blame:
    """What the error's text needs to know: who is asked for what, and with which key.

    `answered` says that this key has had an answer from this model, by this `path`, before.
    """

    base: str
    model: str
    key: str
    answered: bool
    path: str = ""


def error_for(status: int, value: Any, body: str, headers: Mapping[str, str], blame: Blame) -> LLMError:
    """The error for an HTTP answer that is none; `body` holds no secret any more."""
    said = fault_in(value) or (bare(value) if status != 200 else None)
    text, code = (said.text, said.code) if said else (body, "")
    if status == 200 or (status in (400, 500) and said and said.status in (429, 503, 529)):
        status = (said.status if said else None) or 500
    shown = " ".join(text.split())[:_SHOWN]
    message = f"{blame.base}: HTTP {status}: {shown}"
    everything = f"{code} {text}"[:8000]
    wait = retry_after(headers, value, text)
    if 300 <= status < 400:
        return Misconfigured(f"{message} {_sent_on(status, headers, blame)}", raw=body)
    if _is_credit(status, code, everything, wait):
        return Misconfigured(f"{message} (the account has no credit left)", raw=body)
    if status >= 500:
        return _of_the_server(status, message, everything, wait, body)
    if status == 429 or (status in (400, 403) and _RATE.search(everything)):
        if _never_fits(everything):
            return _refused(message, body, "too_long")
        return RateLimited(message, retry_after=used_up(headers) if wait is None else wait, raw=body)
    if "http request was sent to https port" in body.lower():  # nginx
        return Misconfigured(f"{message} (base_url begins with http:// where it takes https://)", raw=body)
    if status in (400, 403, 405) and _PAGE.match(body):  # of a proxy on the way, not of the endpoint
        return ServerError(message, retry_after=wait, raw=body)
    if status in (408, 409, 423, 424, 425, 440, 498, 499):  # gateways' own, for what lies behind them
        if _MODERATED.search(everything):
            return _refused(message, body, "moderated")
        return _of_the_server(status, message, everything, wait, body)
    if status == 400 and _CRASHED.search(everything):
        return ServerError(message, retry_after=wait, raw=body)
    if status == 400 and _LOADS.search(everything) and not _NO_LOADING.search(everything):
        return Loading(message, retry_after=wait, raw=body)
    error = _of_the_request(status, message, everything, value, body, blame)
    cut = bool(_CUT.search(everything))
    if isinstance(error, Refused) and (cut or _BAD_ANSWER.search(body)):
        error = Rejected(message, raw=body)
        error.answer, error.cut = _failed_generation(value), cut
    elif isinstance(error, Refused) and not error.why and status in (400, 404, 422):
        error = Unexplained(message, raw=body)
    return error


def _of_the_server(status: int, message: str, everything: str, wait: float | None, raw: str) -> LLMError:
    if (
        _LOADING.search(everything if status != 503 else raw[:8000])
        and not _NO_LOADING.search(everything)
        and (status == 503 or "model" in everything.lower())
    ):
        return Loading(message, retry_after=wait, raw=raw)
    if status in (503, 529):
        return Overloaded(message, retry_after=wait, raw=raw)
    if status == 501:
        return _refused(message, raw, "")
    if status == 500 and _OVER_CONTEXT.search(everything):  # Ollama
        return _refused(message, raw, "too_long")
    if _RATE.search(everything) and "upstream" not in everything.lower():
        return RateLimited(message, retry_after=wait, raw=raw)
    return ServerError(message, retry_after=wait, raw=raw)


def _of_the_request(
    status: int, message: str, everything: str, value: Any, raw: str, blame: Blame
) -> LLMError:
    """4xx: of the key, the model, the region, and so of all requests; or of this one."""
    moderated = _MODERATED.search(everything) or _has(value, ("flagged_input", "reasons", "innererror"))
    if status == 401 or (_KEY.search(everything) and not moderated):
        return Misconfigured(f"{message} ({blame.key})", raw=raw)
    if _CLOSED.search(everything) and not moderated:
        return Misconfigured(f"{message} (the account may ask nothing at present)", raw=raw)
    if _REGION.search(everything):
        return Misconfigured(f"{message} (the endpoint does not serve this place)", raw=raw)
    if status == 402:
        return Misconfigured(f"{message} (the account has no credit left)", raw=raw)
    if moderated:
        return _refused(message, raw, "moderated")
    if _OPTIONS.search(everything):
        return _refused(message, raw, "")
    if _MODEL.search(everything) or (status in (404, 410) and not blame.answered):
        hint = f"(check the model name {blame.model!r} and the path of base_url{_by_host(blame.base)})"
        if blame.path == "completions" and not _MODEL.search(everything):
            hint = "(it has no /completions: it knows chats alone)"
        return Misconfigured(f"{message} {hint}", raw=raw)
    if status == 404:  # it has answered before: a gateway on its way
        return ServerError(message, raw=raw)
    if status == 403 and not blame.answered and not _INVALID.search(everything):
        return Misconfigured(f"{message} ({blame.key})", raw=raw)
    if status == 413 or _TOO_LONG.search(everything):
        return _refused(message, raw, "too_long")
    return _refused(message, raw, "")


def _sent_on(status: int, headers: Mapping[str, str], blame: Blame) -> str:
    """Where a redirect leads that was not followed: repeated it would be a GET, or show the key elsewhere."""
    try:
        parts = urlsplit(headers.get("Location", ""))
        where = f"{parts.scheme}://{parts.netloc.split('@')[-1]}{parts.path}" if parts.netloc else parts.path
    except ValueError:
        where = ""
    where = where.removesuffix(f"/{blame.path}") or "where it leads"
    if status == 303:
        return f"(the answer lies at another host, {where}, which is not shown the key)"
    return f"(a redirect; set base_url to {where})"


def _by_host(base: str) -> str:
    """Where a host that has an interface of its own speaks this protocol."""
    host = urlsplit(base).hostname or ""
    known = next((url for name, url in SPEAKS_AT.items() if host == name), "")
    return f"; {host} speaks OpenAI's protocol at {known}" if known else ""


def _is_credit(status: int, code: str, everything: str, wait: float | None) -> bool:
    if wait is not None and status == 429:  # a quota that comes back, whatever it is called
        return False
    return any(word in code for word in _CREDIT_CODES) or bool(
        status in (400, 401, 402, 403, 412, 429) and _CREDIT.search(everything)
    )


def _never_fits(everything: str) -> bool:
    """Whether one request alone asks for more tokens than a minute holds."""
    match = _NEVER_FITS.search(everything)
    if not match:
        return False
    numbers = re.search(r"limit:? ?(\d+),? ?requested:? ?(\d+)", everything, re.IGNORECASE)
    return numbers is None or int(numbers.group(2)) > int(numbers.group(1))


def _failed_generation(value: Any) -> str:
    error = value.get("error") if isinstance(value, Mapping) else None
    made = error.get("failed_generation") if isinstance(error, Mapping) else None
    return made if isinstance(made, str) else ""


def _refused(message: str, raw: str, why: str) -> Refused:
    error = Refused(message, raw=raw)
    error.why = why
    return error


def _has(value: Any, names: tuple[str, ...], depth: int = 0) -> bool:
    if depth > 6:
        return False
    if isinstance(value, list):
        return any(_has(item, names, depth + 1) for item in value[:20])
    if isinstance(value, dict):
        return any(name in value for name in names) or any(_has(v, names, depth + 1) for v in value.values())
    return False
