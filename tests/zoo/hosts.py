"""More of the kinds in the words of named hosts; `WORDS` are refusals that can be read without a run."""

from __future__ import annotations

import json
from typing import Any

from coats import events
from gateways import HTML
from moods import ALL_PROMPTS, ONE_PROMPT, WINDOW, limited, rate
from zoo import (
    SOUND,
    Behaviour,
    Reply,
    Visit,
    answer,
    completion,
    content,
    good,
    limit,
    prompt_of,
    refusal,
    sound,
)

# -- what passes ------------------------------------------------------------------------------------------


def _at_first(reply: Reply, seconds: float = 0.1) -> Behaviour:
    return lambda visit: reply if visit.state.age() < seconds else good(visit)


SOUND |= {
    f"answers_{status}_at_first": _at_first(Reply(status, body, kind=kind))
    for status, body, kind in [
        (
            408,
            {"error": {"message": "litellm.Timeout: Connection timed out after 600.0 seconds."}},
            "text/json",
        ),
        (424, {"error": "Request failed during generation: CUDA out of memory"}, "application/json"),
        (425, b"", "text/plain"),
        (499, [{"error": {"code": 499, "message": "The operation was cancelled."}}], "application/json"),
        (520, HTML, "text/html"),
        (524, b"error code: 524", "text/plain"),
    ]
}
SOUND |= {  # LM Studio
    "has_its_model_unloaded_at_first": _at_first(Reply(400, {"error": "Model unloaded."})),
    "loses_its_queue_at_first": _at_first(
        Reply(400, {"error": "Model was unloaded while the request was still in queue.."})
    ),
    "loses_its_channel_at_first": _at_first(Reply(400, {"error": "Channel Error"})),
    "loads_with_400": _at_first(Reply(400, {"error": "The model is currently loading, please wait"}), 0.4),
}
SOUND["scales_up_from_zero"] = _at_first(  # Fireworks
    Reply(503, {"error": {"message": "Deployment is currently scaling up from zero replicas."}}), 0.4
)


@sound
def counts_by_the_minute_and_the_day(visit: Visit) -> Reply:
    """Cerebras."""
    over = limited(visit)
    left = 0 if over else 3 - len(visit.state.notes["asked"])
    reply = rate("Requests per minute limit exceeded") if over else good(visit)
    reply.headers |= {
        "x-ratelimit-remaining-requests-minute": str(left),
        "x-ratelimit-reset-requests-minute": str(WINDOW),
        "x-ratelimit-remaining-requests-day": "900",
        "x-ratelimit-reset-requests-day": "33011.38",
    }
    return reply


# -- options ----------------------------------------------------------------------------------------------


@sound
def names_an_option_with_500(visit: Visit) -> Reply:
    """LiteLLM before Ollama."""
    if "seed" in visit.body:
        said = (
            "ollama does not support parameters: {'seed': 1}, for model=m. To drop these, set `drop_params`"
        )
        return Reply(500, {"error": {"message": said, "param": None, "code": 500}})
    return good(visit)


@sound
def estimates_input_and_output_together(visit: Visit) -> Reply:
    """Workers AI."""
    if limit(visit) > 180:
        said = f"AiError: The estimated number of input and maximum output tokens ({limit(visit) + 100})"
        said += " exceeded this model context window limit (280)."
        return Reply(413, {"errors": [{"message": said, "code": 8003}], "success": False})
    return good(visit)


@sound
def calls_thoughts_alone_a_bad_request(visit: Visit) -> Reply:
    """OpenAI's reasoning models."""
    if limit(visit) < 1000:
        said = "Could not finish the message because max_tokens or model output limit was reached."
        return refusal(f"{said} Please try again with higher max_tokens.")
    return good(visit)


@sound
def answers_with_246(visit: Visit) -> Reply:
    """Portkey: a check failed that is no bar."""
    return Reply(246, completion(content(visit)) | {"hook_results": {"before_request_hooks": []}})


# -- answers ------------------------------------------------------------------------------------------------


@sound
def answers_in_bedrocks_form(visit: Visit) -> Reply:
    """The counts stand beside the envelope."""
    message = {"role": "assistant", "content": [{"text": content(visit)}]}
    usage = {"inputTokens": 40, "outputTokens": 20, "totalTokens": 60}
    return Reply(body={"output": {"message": message}, "stopReason": "end_turn", "usage": usage})


@sound
def answers_in_dashscopes_form(visit: Visit) -> Reply:
    usage = {"input_tokens": 40, "output_tokens": 20}
    return Reply(body={"output": {"text": content(visit), "finish_reason": "stop"}, "usage": usage})


@sound
def thinks_behind_its_answer(visit: Visit) -> Reply:
    said = f'{content(visit)}\n<think>or {{"texts": ["a draft", "another draft"]}}?</think>'
    return Reply(body=completion(said))


@sound
def counts_its_fields(visit: Visit) -> Reply:
    texts = answer(visit.body)["texts"]
    return Reply(body=completion(json.dumps({f"text_{i}": text for i, text in enumerate(texts, 1)})))


@sound
def streams_in_bedrocks_form(visit: Visit) -> Reply:
    text = content(visit)
    parts: list[Any] = [{"contentBlockDelta": {"delta": {"text": piece}}} for piece in (text[:9], text[9:])]
    parts += [{"messageStop": {"stopReason": "end_turn"}}, {"metadata": {"usage": {"inputTokens": 40}}}]
    return events(*parts, done=False)


@sound
def streams_in_workers_ais_form(visit: Visit) -> Reply:
    text = content(visit)
    usage = {"prompt_tokens": 40, "completion_tokens": 20}
    return events({"response": text[:9]}, {"response": text[9:]}, {"response": "", "usage": usage})


@sound
def streams_tokens(visit: Visit) -> Reply:
    """Text generation."""
    text = content(visit)
    parts: list[Any] = [{"token": {"text": piece}, "generated_text": None} for piece in (text[:9], text[9:])]
    return events(*parts[:-1], parts[-1] | {"generated_text": text}, done=False)


@sound
def streams_whole_answers_ever_longer(visit: Visit) -> Reply:
    """DashScope."""
    text = content(visit)
    parts: list[Any] = [
        {"output": {"choices": [{"message": {"content": piece}}]}} for piece in (text[:9], text)
    ]
    parts[-1]["output"]["choices"][0]["finish_reason"] = "stop"
    return events(*parts, done=False)


@sound
def streams_as_one_list(visit: Visit) -> Reply:
    """Gemini, unless server-sent events are asked for."""
    text = content(visit)
    parts: list[Any] = [{"candidates": [{"content": {"parts": [{"text": p}]}}]} for p in (text[:9], text[9:])]
    parts[-1]["candidates"][0]["finishReason"] = "STOP"
    return Reply(body=parts)


# -- one prompt, all prompts --------------------------------------------------------------------------------


def _refuses_one(status: int, body: Any) -> Behaviour:
    def behave(visit: Visit) -> Reply:
        first = visit.state.notes.setdefault("first", prompt_of(visit.body))
        return Reply(status, body) if prompt_of(visit.body) == first else good(visit)

    return behave


def _response(**fields: Any) -> dict[str, Any]:
    """OpenAI's other protocol."""
    return {"object": "response", "error": None, "output": [], **fields}


ONE_PROMPT |= {
    "portkey": _refuses_one(
        446,
        {"error": {"message": "The guardrail checks defined in the config failed.", "type": "hooks_failed"}},
    ),
    "gemini_without_a_message": _refuses_one(
        200, {"choices": [{"finish_reason": "content_filter", "index": 0}]}
    ),
    "responses": _refuses_one(
        200, _response(status="incomplete", incomplete_details={"reason": "content_filter"})
    ),
}


def _always(status: int, message: str) -> Behaviour:
    return lambda visit: Reply(status, {"error": {"message": message}})


ALL_PROMPTS |= {
    "an_account_suspended": (
        _always(412, "Account x is suspended, possibly due to reaching the monthly spending limit."),
        "no credit left",
    ),
    "an_organization_disabled": (
        _always(400, "This organization has been disabled."),
        "the account may ask nothing",
    ),
    "a_volume_used_up": (
        _always(403, "Out of call volume quota. Quota will be replenished in 03:05:22."),
        "11122 s, longer than total_timeout",
    ),
}

# -- words --------------------------------------------------------------------------------------------------


def said(message: str, **fields: Any) -> dict[str, Any]:
    return refusal(message, **fields).body


# Status, body, and what it comes to: the kind of the error (and `why`), or the option that is learnt.
WORDS: dict[str, tuple[int, Any, str]] = {
    # options
    "litellm_list": (
        400,
        said("ollama does not support parameters: ['seed', 'top_p'], for model=x."),
        "seed",
    ),
    "databricks_limit": (
        400,
        {"message": "max_tokens (3000) cannot exceed 2048. Please reduce the length of max output tokens"},
        "at most 2048",
    ),
    "databricks_field": (400, {"message": 'Bad request: json: unknown field "seed"'}, "seed"),
    "perplexity_stop": (400, said("custom stop words are not implemented for completions."), "stop"),
    "xai_stop": (400, {"error": "Model grok-4 does not support parameter stop."}, "stop"),
    "anthropic_n": (400, said("n: Input should be less than or equal to 1"), "n"),
    "anthropic_temperature": (400, said("temperature: range: 0..1"), "temperature"),
    "gemini_candidates": (400, [said("Only one candidate can be specified for this model")], "n"),
    "gemini_states": (
        400,
        [said("The specified schema produces a constraint that has too many states for serving.")],
        "format",
    ),
    "vertex_logprobs": (
        400,
        said("Unable to submit request because Logprobs is not supported for this model."),
        "logprobs",
    ),
    "deepseek_n": (422, said("Failed to deserialize: n: invalid value: integer `2`, expected 1"), "n"),
    "moonshot_temperature": (
        400,
        said("invalid temperature: only 1 is allowed for this model"),
        "temperature",
    ),
    "zhipu_temperature": (400, said("temperature 参数非法。请检查文档", code="1214"), "temperature"),
    "dashscope_range": (400, said("<400> Range of max_tokens should be [1, 2048]"), "at most 2048"),
    "azure_version": (
        400,
        said("response_format value as json_schema is enabled only for api versions 2024-08-01-preview"),
        "format",
    ),
    "sglang_total": (
        400,
        said(
            "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a"
            " total of 4196 tokens: 1196 tokens from the input messages and 3000 tokens for the completion."
        ),
        "at most 2900",
    ),
    "gemma_system": (400, said("Developer instruction is not enabled for models/gemma-3"), "system"),
    "openai_minute": (
        429,
        said("Request too large for m on tokens per min (TPM): Limit 2000, Requested 3500.", type="tokens"),
        "at most 1500",
    ),
    # of the prompt: the numbers of codes and pages are no limits of answers
    "llamacpp_context": (
        400,
        said("the request exceeds the available context size", code=400, n_prompt_tokens=5000, n_ctx=2048),
        "refused too_long",
    ),
    "minimax_context": (
        200,
        {"base_resp": {"status_code": 2013, "status_msg": "invalid params, context window exceeds limit"}},
        "refused too_long",
    ),
    "ollama_context": (500, said("the input length exceeds the context length"), "refused too_long"),
    "vllm_no_room": (400, said("max_tokens must be at least 1, got -50. (value=-50)"), "refused"),
    "nginx_413": (413, "<html><head><title>413 Request Entity Too Large</title></head>", "refused too_long"),
    "baidu_length": (400, said("the length of message can't be more than 2000"), "refused too_long"),
    "bedrock_guardrail": (400, {"detail": "Violated guardrail policy"}, "refused moderated"),
    # of all
    "github_model": (400, said("Unavailable model: gpt-x", code="unavailable_model"), "misconfigured"),
    "bedrock_access": (403, {"message": "You don't have access to the model with that ID."}, "misconfigured"),
    "azure_operation": (
        400,
        said("The chatCompletion operation does not work with the specified model, ada-002."),
        "misconfigured",
    ),
    "lmstudio_nothing_loaded": (400, said("No models loaded. Please load a model."), "misconfigured"),
    "litellm_budget": (
        400,
        said("Budget has been exceeded! Current cost: 1.2, Max budget: 1"),
        "misconfigured",
    ),
    "anthropic_usage": (
        400,
        said("You have reached your specified API usage limits. You will"),
        "misconfigured",
    ),
    "watsonx_quota": (
        403,
        {"errors": [{"code": "token_quota_reached", "message": "quota"}]},
        "misconfigured",
    ),
    "siliconflow_balance": (403, {"message": "your account balance is insufficient"}, "misconfigured"),
    "cloudflare_neurons": (
        429,
        {"errors": [{"message": "you have used up your daily free allocation of 10,000 neurons"}]},
        "misconfigured",
    ),
    # 403 is not always of the key
    "together_403": (
        403,
        said(
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 8000 `inputs`"
        ),
        "at most 193",
    ),
    "openai_unverified": (
        403,
        said("Your organization must be verified to stream", param="stream", code="unsupported_value"),
        "stream",
    ),
    "nvidia_authorization": (403, {"title": "Forbidden", "detail": "Authorization failed"}, "misconfigured"),
    # of the model, and so of all
    "together_dedicated": (400, said("Unable to access non-serverless model x. Please"), "misconfigured"),
    "huggingface_provider": (
        400,
        said("The requested model 'x' is not supported by any provider you have enabled.", param="model"),
        "misconfigured",
    ),
    "ollama_embedder": (400, said('"nomic-embed-text" does not support chat'), "misconfigured"),
    "groq_terms": (400, said("The model `x` requires terms acceptance."), "misconfigured"),
    "vertex_publisher": (400, said("Malformed publisher model `m` in request."), "misconfigured"),
    "litellm_provider": (400, said("LLM Provider NOT provided. You passed model=foo"), "misconfigured"),
    "llamacpp_router": (400, said("model is not loaded"), "misconfigured"),
    "sambanova_gone": (410, said("The model x has been deprecated"), "misconfigured"),
    "xai_credits": (403, {"error": "Your team doesn't have any credits yet."}, "misconfigured"),
    "dashscope_free": (403, said("The free tier of the model has been exhausted."), "misconfigured"),
    # of this answer, or of the moment
    "databricks_form": (
        400,
        {"message": "Model response did not respect the required format. Please consider retrying"},
        "refused",
    ),
    "databricks_update": (400, {"message": "Endpoint x is not ready: it is updated"}, "loading"),
    # of the moment
    "databricks_zero": (503, {"message": "Endpoint is scaled to zero and is starting"}, "loading"),
    "nvidia_degraded": (
        400,
        {"detail": "Function id 'x': DEGRADED function cannot be invoked"},
        "server_error",
    ),
    "litellm_cooldown": (429, said("No deployments available, Try again in 5 seconds."), "rate_limited 5"),
    "aleph_alpha_queue": (503, {"error": "This model is very busy", "code": "QUEUE_FULL"}, "overloaded"),
    "groq_day": (
        429,
        said("Limit 200, Used 200. Please try again in 17m16.8s. Visit"),
        "rate_limited 1036.8",
    ),
    "bedrock_throttles": (500, {"detail": "An error occurred (ThrottlingException)"}, "rate_limited"),
    "model_without_logprobs": (400, said("logprobs for this model is disabled, not supported"), "logprobs"),
    "account_without_logprobs": (
        400,
        said("Your account has logprobs disabled: logprobs is not supported"),
        "logprobs",
    ),
}


def body_of(words: tuple[int, Any, str]) -> str:
    return words[1] if isinstance(words[1], str) else json.dumps(words[1])
