"""Servers that ask to wait, and servers whose refusals are somebody's fault."""

from __future__ import annotations

import email.utils
import time
from typing import Any

from zoo import Reply, Visit, completion, good, prompt_of, refusal, sound

WINDOW = 0.6  # seconds of the zoo's rate limits
LATE = 400  # milliseconds within which a loading server is ready


def limited(visit: Visit, most: int = 3) -> bool:
    """Whether the request is one too many for its window."""
    now = visit.state.age()
    recent = [at for at in visit.state.notes.setdefault("asked", []) if at > now - WINDOW]
    visit.state.notes["asked"] = recent
    if len(recent) >= most:
        return True
    recent.append(now)
    return False


def rate(message: str = "Rate limit reached", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(429, {"error": {"message": message}}, named)


@sound
def limits_in_seconds(visit: Visit) -> Reply:
    return rate(Retry_After="0.6") if limited(visit) else good(visit)


@sound
def limits_in_milliseconds(visit: Visit) -> Reply:
    return rate(retry_after_ms="600") if limited(visit) else good(visit)


@sound
def limits_by_date(visit: Visit) -> Reply:
    date = email.utils.formatdate(time.time() + 1, usegmt=True)
    return rate(Retry_After=date) if limited(visit) else good(visit)


@sound
def limits_by_epoch_in_quota_headers(visit: Visit) -> Reply:
    over = limited(visit)
    left = 0 if over else 3 - len(visit.state.notes["asked"])
    headers = {
        "x-ratelimit-remaining-requests": str(left),
        "x-ratelimit-reset-requests": f"{time.time() + WINDOW:.3f}",
    }
    reply = rate() if over else good(visit)
    reply.headers |= headers
    return reply


@sound
def limits_by_epoch_in_milliseconds(visit: Visit) -> Reply:
    """OpenRouter, in the body's own copy of the headers."""
    if limited(visit):
        until = str(int((time.time() + WINDOW) * 1000))
        metadata = {
            "headers": {"X-RateLimit-Limit": "3", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": until}
        }
        return Reply(429, {"error": {"message": "Rate limit exceeded", "code": 429, "metadata": metadata}})
    return good(visit)


@sound
def limits_in_words(visit: Visit) -> Reply:
    return (
        rate("Rate limit reached for m. Please try again in 620ms. Visit us.")
        if limited(visit)
        else good(visit)
    )


@sound
def limits_in_geminis_body(visit: Visit) -> Reply:
    if limited(visit):
        detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.65s"}
        said = "You exceeded your current quota, please check your plan and billing. Retry in 0.6s."
        error = {"code": 429, "message": said, "status": "RESOURCE_EXHAUSTED", "details": [detail]}
        return Reply(429, [{"error": error}])
    return good(visit)


@sound
def limits_without_a_word(visit: Visit) -> Reply:
    return Reply(429, b"", kind="text/plain") if limited(visit) else good(visit)


@sound
def loads_its_model(visit: Visit) -> Reply:
    if visit.state.age() * 1000 < LATE:
        return Reply(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}})
    return good(visit)


@sound
def loads_for_an_estimated_time(visit: Visit) -> Reply:
    if visit.state.age() * 1000 < LATE:
        return Reply(503, {"error": "Model beast is currently loading", "estimated_time": 0.4})
    return good(visit)


@sound
def is_overloaded_at_first(visit: Visit) -> Reply:
    return (
        Reply(529, {"error": {"type": "overloaded_error"}})
        if visit.state.age() * 1000 < LATE
        else good(visit)
    )


# -- refusals of one prompt: the others are answered -------------------------------------------------------


def is_first(visit: Visit) -> bool:
    """Whether it is the prompt that was asked first, however often."""
    prompt = prompt_of(visit.body)
    return visit.state.notes.setdefault("first", prompt) == prompt


def flags_one_prompt(visit: Visit) -> Reply:
    """OpenRouter."""
    if is_first(visit):
        metadata = {"reasons": ["violence"], "flagged_input": "...", "provider_name": "OpenAI"}
        said = 'Your input was flagged for "violence"'
        return Reply(403, {"error": {"code": 403, "message": said, "metadata": metadata}})
    return good(visit)


def filters_one_prompt(visit: Visit) -> Reply:
    """Azure."""
    if is_first(visit):
        said = (
            "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
        )
        return refusal(said, code="content_filter", innererror={"code": "ResponsibleAIPolicyViolation"})
    return good(visit)


def finds_one_prompt_too_long(visit: Visit) -> Reply:
    if is_first(visit):
        said = (
            "This model's maximum context length is 4097 tokens. However, you sent messages of 5000 tokens."
        )
        return refusal(said, code="context_length_exceeded")
    return good(visit)


def _refuses_one(status: int, body: Any) -> Any:
    return lambda visit: Reply(status, body) if is_first(visit) else good(visit)


ONE_PROMPT = {
    "openrouter": flags_one_prompt,
    "azure": filters_one_prompt,
    "too_long": finds_one_prompt_too_long,
    "deepseek": _refuses_one(400, {"error": {"message": "Content Exists Risk"}}),
    "zhipu": _refuses_one(400, {"error": {"code": "1301", "message": "可能包含不安全或敏感内容"}}),
    "gemini": _refuses_one(200, completion(None, finish="content_filter: PROHIBITED_CONTENT")),
    "gemini_itself": _refuses_one(200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}),
    "bedrock": _refuses_one(200, completion("", finish="guardrail_intervened")),
    "anthropic": _refuses_one(200, completion("", finish="refusal")),
    "minimax": _refuses_one(200, {"base_resp": {"status_code": 1027, "status_msg": "new_sensitive"}}),
    "cloudflare": _refuses_one(424, {"error": [{"message": "Prompt blocked due to security rules"}]}),
    "tgi": _refuses_one(422, {"error": "`inputs` must have less than 4095 tokens. Given: 5000"}),
    "xai": _refuses_one(400, {"error": "This model's maximum prompt length is 99 but the request has 200"}),
    "dashscope": _refuses_one(400, {"error": {"message": "Range of input length should be [1, 30720]"}}),
}  # fmt: skip


# -- refusals of all: the run stops, with a sentence -------------------------------------------------------


def wants_the_key_elsewhere(visit: Visit) -> Reply:
    if visit.headers.get("api-key") == "right":
        return good(visit)
    return Reply(401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key."}})


def _always(status: int, body: Any, **headers: str) -> Any:
    return lambda visit: Reply(status, body, {k.replace("_", "-"): v for k, v in headers.items()})


# behaviour, and words of the sentence that the run ends with
ALL_PROMPTS = {
    "a_key_that_gemini_knows_not": (
        _always(
            400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}]
        ),
        "no key was sent",
    ),
    "a_place_not_served": (
        _always(400, {"error": {"message": "User location is not supported for the API use."}}),
        "does not serve this place",
    ),
    "a_model_unknown": (
        _always(400, {"error": {"message": "beast is not a valid model ID", "code": 400}}),
        "check the model name",
    ),
    "no_credit": (
        _always(429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}),
        "no credit left",
    ),
    "no_balance_in_chinese": (
        _always(429, {"error": {"code": "1113", "message": "您的账户已欠费，请充值后重试。"}}),
        "no credit left",
    ),
    "no_balance_with_200": (
        _always(
            200, {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}
        ),
        "no credit left",
    ),
    "no_login_with_200": (
        _always(200, {"choices": None, "base_resp": {"status_code": 1004, "status_msg": "login fail"}}),
        "no key was sent",
    ),
    "no_balance": (_always(402, {"error": {"message": "Insufficient Balance"}}), "no credit left"),
    "refusals_of_no_clear_reason": (
        _always(400, {"error": {"message": "Bad Request"}}),
        "one request after another",
    ),
    "another_web_page": (_always(200, b"<html>Welcome to nginx</html>"), "check the path of base_url"),
    "a_day_to_wait": (
        _always(429, {"error": {"message": "daily"}}, Retry_After="21600"),
        "longer than total_timeout",
    ),
    "nobody_of_that_name": (_always(404, b"404 page not found"), "the path of base_url"),
}
