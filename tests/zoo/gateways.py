"""Servers of many makers, and gateways between: more of the other modules' kinds, in their own words."""

from __future__ import annotations

import json
from typing import Any

from coats import coat, events, pieces
from moods import limited, rate
from zoo import SOUND, Behaviour, Reply, Visit, answer, completion, content, good, limit, refusal, sound

HTML = b"<html><head><title>Attention Required!</title></head><body>Ray ID: 7</body></html>"


def _once(reply: Reply) -> Behaviour:
    """The second request meets it; all others are answered."""

    def behave(visit: Visit) -> Reply:
        return reply if len(visit.state.bodies) == 1 else good(visit)

    return behave


SOUND |= {
    "provider_error_in_a_choice_once": _once(
        Reply(
            body={
                "choices": [
                    {
                        "error": {"code": 502, "message": "Provider returned error"},
                        "finish_reason": "error",
                        "message": {"role": "assistant", "content": ""},
                    }
                ]
            }
        )
    ),
    "runner_stops_once": _once(Reply(500, {"error": "model runner has unexpectedly stopped"})),
    "is_busy_once": _once(
        Reply(503, {"error": "server busy, please try again. maximum pending requests exceeded"})
    ),
    "error_as_text_with_200_once": _once(Reply(body={"error": "upstream is overloaded, please retry"})),
    "web_page_with_403_once": _once(Reply(403, HTML, kind="text/html")),
    "web_page_with_400_once": _once(Reply(400, HTML, kind="text/html")),
    "gateway_time_out_once": _once(Reply(504, HTML, kind="text/html")),
}


@sound
def answers_with_201(visit: Visit) -> Reply:
    return Reply(201, completion(content(visit)))


@sound
def begins_with_a_byte_order_mark(visit: Visit) -> Reply:
    return Reply(body=b"\xef\xbb\xbf" + json.dumps(completion(content(visit))).encode())


@sound
def keeps_alive_with_blank_lines(visit: Visit) -> Reply:
    """DeepSeek."""
    return Reply(body=b"\n\n\n\n" + json.dumps(completion(content(visit))).encode())


@sound
def parses_the_content_itself(visit: Visit) -> Reply:
    return Reply(body=completion(answer(visit.body)))


@sound
def answers_by_a_tool_call(visit: Visit) -> Reply:
    """Gateways that have a schema kept by way of a tool."""
    call = {"id": "x", "type": "function", "function": {"name": "json", "arguments": content(visit)}}
    return Reply(body=completion(None, finish="tool_calls", tool_calls=[call]))


@sound
def answers_by_a_function_call(visit: Visit) -> Reply:
    call = {"name": "json", "arguments": content(visit)}
    return Reply(body=completion(None, finish="function_call", function_call=call))


@sound
def puts_the_value_beside_the_content(visit: Visit) -> Reply:
    return Reply(body=completion(None, parsed=answer(visit.body)))


@sound
def streams_a_tool_call(visit: Visit) -> Reply:
    text = content(visit)
    parts: list[Any] = [
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}}]}
        for piece in (text[:20], text[20:])
    ]
    return events(*parts, {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})


@sound
def comments_between_chunks(visit: Visit) -> Reply:
    """OpenRouter."""
    reply = events(*pieces(visit))
    assert isinstance(reply.body, bytes)
    reply.body = b": OPENROUTER PROCESSING\n\n" + reply.body.replace(b"\n\n", b"\n\n: keep-alive\n\n")
    return reply


@sound
def speaks_the_role_first(visit: Visit) -> Reply:
    return coat(visit, f"assistant\n\n{content(visit)}<|im_end|>")


@sound
def supports_other_models_formats(visit: Visit) -> Reply:
    """Groq."""
    if visit.body.get("response_format", {}).get("type") == "json_schema":
        said = "This model does not support response format `json_schema`. See supported models at our docs"
        return refusal(said, param="response_format")
    return good(visit)


@sound
def knows_few_schema_fields(visit: Visit) -> Reply:
    """Cerebras."""
    if "maxItems" in json.dumps(visit.body.get("response_format", {})):
        body = {
            "message": "Unsupported JSON schema fields: {'maxItems', 'minItems'}",
            "param": "response_format",
        }
        return Reply(400, body | {"type": "invalid_request_error", "code": "wrong_api_format"})
    return good(visit)


@sound
def names_the_argument_in_a_sentence(visit: Visit) -> Reply:
    """xAI."""
    if "reasoning_effort" in visit.body:
        said = "Argument not supported on this model: reasoningEffort"
        return Reply(400, {"code": "Client specified an invalid argument", "error": said})
    return good(visit)


@sound
def names_a_field_as_a_parameter(visit: Visit) -> Reply:
    """Cohere."""
    if "seed" in visit.body:
        return Reply(422, {"id": "7", "message": "invalid request: parameter 'seed' is not a valid field"})
    return good(visit)


@sound
def bounds_the_temperature(visit: Visit) -> Reply:
    """Mistral, and other users of pydantic."""
    if visit.body.get("temperature", 0) > 0.5:
        told = {"type": "less_than_equal", "loc": ["body", "temperature"], "ctx": {"le": 0.5}}
        return Reply(422, {"detail": [told | {"msg": "Input should be less than or equal to 0.5"}]})
    return good(visit)


@sound
def counts_inputs_and_new_tokens(visit: Visit) -> Reply:
    """TGI, Together."""
    if limit(visit) > 180:
        said = (
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 280. Given: 100 `inputs`"
            f" tokens and {limit(visit)} `max_new_tokens`"
        )
        return Reply(422, {"error": said, "error_type": "validation"})
    return good(visit)


@sound
def allows_a_number_of_output_tokens(visit: Visit) -> Reply:
    """Anthropic, Bedrock."""
    if limit(visit) > 200:
        said = f"max_tokens: {limit(visit)} > 200, which is the maximum allowed number of output tokens for m"
        return refusal(said)
    return good(visit)


@sound
def wants_long_answers_streamed(visit: Visit) -> Reply:
    """Fireworks."""
    if limit(visit) > 200 and not visit.body.get("stream"):
        return refusal("Requests with max_tokens > 200 must have stream=true")
    return events(*pieces(visit))


@sound
def wants_one_of_two_in_bedrocks_words(visit: Visit) -> Reply:
    if "temperature" in visit.body and "top_p" in visit.body:
        said = "The model returned the following errors: `temperature` and `top_p` cannot both be specified"
        return Reply(400, {"message": f"ValidationException: {said} for this model."})
    return good(visit)


@sound
def limits_in_azures_words(visit: Visit) -> Reply:
    said = "Requests to the API have exceeded call rate limit. Please retry after 1 second."
    return rate(said) if limited(visit) else good(visit)


@sound
def limits_with_a_duration_in_the_header(visit: Visit) -> Reply:
    return rate(Retry_After="0.6s") if limited(visit) else good(visit)


@sound
def says_nothing_at_first(visit: Visit) -> Reply:
    """Gemini: a message without content, which is no answer."""
    if visit.times == 0:
        body = completion("")
        del body["choices"][0]["message"]["content"]
        return Reply(body=body)
    return good(visit)


@sound
def names_the_limit_as_ollama_does(visit: Visit) -> Reply:
    if limit(visit) > 200:
        said = f"num_predict ({limit(visit)}) exceeds the maximum of 200"
        return Reply(400, {"error": {"message": said, "type": "api_error"}})
    return good(visit)


@sound
def answers_behind_a_function(visit: Visit) -> Reply:
    """AWS's gateway before a Lambda: the answer is text in an envelope."""
    return Reply(body={"statusCode": 200, "body": json.dumps(completion(content(visit)))})


@sound
def loads_with_a_conflict(visit: Visit) -> Reply:
    said = "Model is currently being loaded, please retry"
    return Reply(409, {"error": {"message": said}}) if visit.state.age() < 0.4 else good(visit)


@sound
def loads_in_a_warning(visit: Visit) -> Reply:
    """Hugging Face's endpoints."""
    body = {"error": "503 Service Unavailable", "warnings": ["endpoint is initializing"]}
    return Reply(503, body) if visit.state.age() < 0.4 else good(visit)


SOUND["unloads_its_model_once"] = _once(Reply(400, {"error": "Model is unloaded."}))
SOUND["crashes_once"] = _once(Reply(400, {"error": "The model has crashed. (Exit code: 1)"}))
