"""Servers that refuse an option, each in its own words. First of the zoo's kinds."""

from __future__ import annotations

import json

from zoo import SOUND, Behaviour, Reply, Visit, completion, content, good, limit, refusal, sound


@sound
def wants_max_completion_tokens_late(visit: Visit) -> Reply:
    """OpenAI's reasoning models; many requests are in flight before the first refusal."""
    if "max_tokens" in visit.body:
        said = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
            " 'max_completion_tokens' instead."
        )
        reply = refusal(said, param="max_tokens", code="unsupported_parameter")
        reply.delay = 0.1
        return reply
    return good(visit)


@sound
def takes_no_seed_in_gemini_words(visit: Visit) -> Reply:
    if "seed" in visit.body:
        said = 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'
        return Reply(400, [{"error": {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}}])
    return good(visit)


@sound
def takes_no_seed_in_mistral_words(visit: Visit) -> Reply:
    if "seed" in visit.body:
        told = {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}
        body = {"object": "error", "message": {"detail": [told]}, "type": "invalid_request_error"}
        return Reply(422, body)
    return good(visit)


@sound
def takes_no_seed_in_fastapi_words(visit: Visit) -> Reply:
    if "seed" in visit.body:
        told = {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}
        return Reply(422, {"detail": [told]})
    return good(visit)


@sound
def takes_no_top_p(visit: Visit) -> Reply:
    if "top_p" in visit.body:
        return refusal("Unsupported parameter: 'top_p' is not supported with this model.")
    return good(visit)


@sound
def takes_one_of_temperature_and_top_p(visit: Visit) -> Reply:
    if "top_p" in visit.body and "temperature" in visit.body:
        return refusal(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
        )
    return good(visit)


@sound
def takes_the_usual_temperature_alone(visit: Visit) -> Reply:
    if visit.body.get("temperature", 1.0) != 1.0:
        said = (
            "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1)"
            " value is supported."
        )
        return refusal(said, param="temperature", code="unsupported_value")
    return good(visit)


@sound
def takes_hardly_anything(visit: Visit) -> Reply:
    """One refusal after another, each naming one option."""
    for name in (
        "seed",
        "top_p",
        "temperature",
        "max_tokens",
        "max_completion_tokens",
        "response_format",
        "stream",
    ):
        if name in visit.body:
            return refusal(f"Unrecognized request argument supplied: {name}")
    return good(visit)


@sound
def takes_no_stream_options(visit: Visit) -> Reply:
    if "stream_options" in visit.body:
        return refusal("Unrecognized request argument supplied: stream_options")
    if not visit.body.get("stream"):
        return refusal("This model only supports streaming; please set stream to true.")
    chunk = {"choices": [{"index": 0, "delta": {"content": content(visit)}, "finish_reason": "stop"}]}
    return Reply(body=f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode(), kind="text/event-stream")


@sound
def thinks_only_while_it_streams(visit: Visit) -> Reply:
    """Qwen3 at DashScope."""
    if not visit.body.get("stream"):
        return refusal("parameter.enable_thinking must be set to false for non-streaming calls")
    chunk = {"choices": [{"index": 0, "delta": {"content": content(visit)}, "finish_reason": "stop"}]}
    return Reply(body=f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode(), kind="text/event-stream")


@sound
def takes_no_length_keywords(visit: Visit) -> Reply:
    if any(word in json.dumps(visit.body.get("response_format", {})) for word in ("minLength", "maxItems")):
        return refusal(
            "Invalid schema for response_format 'answer': In context=('properties', 'texts'), 'minItems' is"
            " not permitted.",
            param="response_format",
        )
    return good(visit)


@sound
def takes_no_additional_properties(visit: Visit) -> Reply:
    if "additionalProperties" in json.dumps(visit.body.get("response_format", {})):
        said = (
            'Invalid JSON payload received. Unknown name "additionalProperties" at'
            " 'generation_config.response_schema': Cannot find field."
        )
        return Reply(400, [{"error": {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}}])
    return good(visit)


@sound
def knows_json_object_alone(visit: Visit) -> Reply:
    form = visit.body.get("response_format")
    if form and form["type"] != "json_object":
        return refusal("This response_format type is unavailable now")
    if form and "json" not in json.dumps(visit.body["messages"]).lower():
        return refusal("'messages' must contain the word 'json' in some form, to use 'response_format'.")
    return good(visit)


@sound
def knows_no_response_format(visit: Visit) -> Reply:
    if "response_format" in visit.body:
        return Reply(400, {"detail": "response_format is not supported"})
    return good(visit)


@sound
def fails_on_grammars_with_500(visit: Visit) -> Reply:
    if "json_schema" in json.dumps(visit.body.get("response_format", {})):
        return Reply(
            500, {"error": {"code": 500, "message": "failed to parse grammar", "type": "server_error"}}
        )
    return good(visit)


@sound
def takes_few_tokens(visit: Visit) -> Reply:
    if limit(visit) > 200:
        return refusal(
            f"max_tokens is too large: {limit(visit)}. This model supports at most 200 completion tokens."
        )
    return good(visit)


@sound
def counts_the_prompt_into_the_context(visit: Visit) -> Reply:
    """vLLM: the prompt fits, the answer that is allowed for does not."""
    if limit(visit) > 180:
        return refusal(
            f"'max_tokens' or 'max_completion_tokens' is too large: {limit(visit)}. This model's maximum"
            " context length is 280 tokens and your request has 100 input tokens."
        )
    return good(visit)


@sound
def wants_turns(visit: Visit) -> Reply:
    """Chat templates that insist on turns and know no system role; the first answer is empty."""
    roles = [message["role"] for message in visit.body["messages"]]
    if roles != [("user", "assistant")[i % 2] for i in range(len(roles))]:
        said = "Conversation roles must alternate user/assistant/user/assistant/..."
        if "system" in roles:
            said = "System role not supported"
        return refusal(said)
    return Reply(body=completion("" if visit.times == 0 else content(visit)))


@sound
def refuses_an_extra(visit: Visit) -> Reply:
    if "reasoning_effort" in visit.body:
        return refusal("Unsupported parameter: 'reasoning_effort' is not supported with this model.")
    return good(visit)


def _says_nothing_of(*names: str) -> Behaviour:
    def behave(visit: Visit) -> Reply:
        return refusal("Invalid request.") if set(names) & set(visit.body) else good(visit)

    return behave


SOUND |= {
    "refuses_an_option_without_a_word": _says_nothing_of("seed"),
    "refuses_two_options_without_a_word": _says_nothing_of("top_p", "reasoning_effort"),
    "refuses_the_name_of_the_limit_without_a_word": _says_nothing_of("max_tokens"),
    "refuses_every_option_without_a_word": _says_nothing_of(
        "temperature", "top_p", "seed", "response_format", "stream", "max_tokens", "max_completion_tokens"
    ),
}


@sound
def refuses_schemas_without_a_word(visit: Visit) -> Reply:
    if visit.body.get("response_format", {}).get("type") == "json_schema":
        return Reply(400, b"Bad Request", kind="text/plain")
    return good(visit)


@sound
def refuses_the_system_role_without_a_word(visit: Visit) -> Reply:
    if any(message["role"] == "system" for message in visit.body["messages"]):
        return Reply(422, {"detail": "Unprocessable Entity"})
    return good(visit)
