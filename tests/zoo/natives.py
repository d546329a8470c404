"""Answers in the forms of other protocols, which gateways pass on, and JSON as models spoil it."""

from __future__ import annotations

import json
from typing import Any

from coats import coat, events, pieces
from moods import is_first
from zoo import Behaviour, Reply, Visit, answer, completion, content, good, prompt_of, refusal, sound

# -- whole --------------------------------------------------------------------------------------------------


@sound
def answers_in_coheres_form(visit: Visit) -> Reply:
    usage = {"billed_units": {"input_tokens": 5}, "tokens": {"input_tokens": 40, "output_tokens": 20}}
    message = {"role": "assistant", "content": [{"type": "text", "text": content(visit)}]}
    return Reply(body={"id": "c", "message": message, "finish_reason": "COMPLETE", "usage": usage})


@sound
def answers_in_anthropics_form(visit: Visit) -> Reply:
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": content(visit)}]
    body = {"type": "message", "role": "assistant", "content": parts, "stop_reason": "end_turn"}
    return Reply(body=body | {"usage": {"input_tokens": 40, "output_tokens": 20}})


@sound
def answers_in_geminis_form(visit: Visit) -> Reply:
    parts = [{"text": "hm {x}", "thought": True}, {"text": content(visit)}]
    candidate = {"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0}
    usage = {"promptTokenCount": 40, "candidatesTokenCount": 20, "totalTokenCount": 60}
    return Reply(body={"candidates": [candidate], "usageMetadata": usage})


@sound
def answers_as_a_response(visit: Visit) -> Reply:
    """OpenAI's other protocol."""
    said = {"type": "message", "content": [{"type": "output_text", "text": content(visit)}]}
    body = {
        "object": "response",
        "status": "completed",
        "output": [{"type": "reasoning", "summary": []}, said],
    }
    return Reply(body=body | {"error": None, "usage": {"input_tokens": 40, "output_tokens": 20}})


@sound
def answers_in_workers_ais_form(visit: Visit) -> Reply:
    result = {"response": content(visit), "usage": {"prompt_tokens": 40, "completion_tokens": 20}}
    return Reply(body={"result": result, "success": True, "errors": [], "messages": []})


@sound
def answers_parsed_in_workers_ais_form(visit: Visit) -> Reply:
    return Reply(body={"result": {"response": answer(visit.body)}, "success": True, "errors": []})


@sound
def answers_with_generated_text(visit: Visit) -> Reply:
    """Hugging Face's text generation."""
    return Reply(body=[{"generated_text": content(visit)}])


@sound
def encodes_the_whole_answer_twice(visit: Visit) -> Reply:
    return Reply(body=json.dumps(completion(content(visit))))


# -- streamed -----------------------------------------------------------------------------------------------


@sound
def streams_in_ollamas_form(visit: Visit) -> Reply:
    text = content(visit)
    parts: list[dict[str, Any]] = [
        {"message": {"role": "assistant", "content": piece}, "done": False} for piece in (text[:9], text[9:])
    ]
    parts.append({"message": {"content": ""}, "done": True, "done_reason": "stop", "eval_count": 20})
    return Reply(body="".join(json.dumps(p) + "\n" for p in parts).encode(), kind="application/x-ndjson")


@sound
def streams_in_anthropics_form(visit: Visit) -> Reply:
    text = content(visit)
    parts: list[dict[str, Any]] = [
        {
            "type": "message_start",
            "message": {"role": "assistant", "content": [], "usage": {"input_tokens": 4}},
        },
        {"type": "ping"},
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text[:9]}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text[9:]}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 20}},
        {"type": "message_stop"},
    ]
    return events(*parts, done=False)


@sound
def streams_events_in_events(visit: Visit) -> Reply:
    reply = events(*pieces(visit))
    assert isinstance(reply.body, bytes)
    reply.body = reply.body.replace(b"data: ", b"data: data: ")
    return reply


# -- JSON that is nearly JSON -------------------------------------------------------------------------------


@sound
def comments_its_json(visit: Visit) -> Reply:
    text = json.dumps(answer(visit.body), indent=1)
    return coat(visit, text.replace("{\n", "{ /* as asked */\n", 1).replace("[\n", "[ // rows\n", 1))


@sound
def escapes_what_needs_none(visit: Visit) -> Reply:
    return coat(visit, content(visit).replace(" tale", " \\_tale\\_ \\$5 it\\'s 100\\% a tale"))


@sound
def escapes_its_own_quotes(visit: Visit) -> Reply:
    return coat(visit, content(visit).replace('"', '\\"'))


@sound
def forgets_commas_at_line_ends(visit: Visit) -> Reply:
    return coat(visit, json.dumps(answer(visit.body), indent=1).replace('",\n', '"\n'))


@sound
def goes_on_with_dots(visit: Visit) -> Reply:
    return coat(visit, content(visit).replace("]", ", ...]"))


@sound
def writes_curly_quotes(visit: Visit) -> Reply:
    pieces = content(visit).split('"')
    return coat(visit, "".join(p + ("“", "”")[i % 2] for i, p in enumerate(pieces))[:-1])


# -- options refused in other words -------------------------------------------------------------------------


def _tops(visit: Visit, body: Any, status: int = 400) -> Reply:
    return Reply(status, body) if "top_p" in visit.body else Reply(body=completion(content(visit)))


@sound
def repeats_the_request_in_its_refusal(visit: Visit) -> Reply:
    """FastAPI and pydantic: every option is named, one is meant."""
    said = {"type": "value_error", "loc": ["body"], "msg": "Value error, top_p is not supported"}
    return _tops(visit, {"detail": [said | {"input": visit.body}]}, 422)


@sound
def repeats_the_request_in_pythons_words(visit: Visit) -> Reply:
    """vLLM, SGLang."""
    said = f"[{{'loc': ('body',), 'msg': '`top_p` is not supported', 'input': {visit.body!r}, 'ctx': {{}}}}]"
    return _tops(visit, {"object": "error", "message": said, "type": "BadRequestError", "code": 400})


@sound
def finds_no_endpoint_for_the_parameters_without_a_word(visit: Visit) -> Reply:
    """OpenRouter."""
    said = (
        "No endpoints found that can handle the requested parameters. To learn more, visit: https://o.r/docs"
    )
    return _tops(visit, {"error": {"message": said, "code": 404}}, 404)


@sound
def refuses_with_200(visit: Visit) -> Reply:
    """MiniMax."""
    said = {"status_code": 2013, "status_msg": "invalid params, unknown field: top_p"}
    return _tops(visit, {"id": "1", "choices": None, "base_resp": said}, 200)


def _bounded(visit: Visit, said: str) -> Reply:
    asked = visit.body.get("max_tokens") or visit.body.get("max_completion_tokens") or 10**6
    return refusal(said.format(asked)) if asked > 200 else Reply(body=completion(content(visit)))


@sound
def excludes_the_end_of_its_range(visit: Visit) -> Reply:
    """Vertex."""
    said = "a maxOutputTokens value of {} but the supported range is from 1 (inclusive) to 201 (exclusive)."
    return _bounded(visit, f"Unable to submit request because it has {said}")


@sound
def says_instead_of_a_number(visit: Visit) -> Reply:
    """Volcengine: `instead` is no other name here."""
    said = "integer above maximum value, expected a value <= 200, but got {} instead. Request id: 0217435550"
    return _bounded(visit, f"The parameter `max_tokens` specified in the request is not valid: {said}")


@sound
def cannot_load_a_vocabulary_for_the_format(visit: Visit) -> Reply:
    """Ollama: nothing is loading, and waiting does not help."""
    if "response_format" in visit.body:
        return refusal("failed to load model vocabulary required for format", 500)
    return Reply(body=completion(content(visit)))


@sound
def fails_in_its_template_on_system_messages(visit: Visit) -> Reply:
    """llama.cpp, vLLM: only turns are named."""
    if any(message["role"] == "system" for message in visit.body["messages"]):
        return refusal("Conversation roles must alternate user/assistant/user/assistant/...", 500)
    return Reply(body=completion(content(visit)))


@sound
def has_no_limit_and_counts_it_below_zero(visit: Visit) -> Reply:
    reply = Reply(body=completion(content(visit)))
    reply.headers = {"x-ratelimit-remaining-requests": "-1", "x-ratelimit-reset-requests": "1h0m0s"}
    return reply


@sound
def is_odd_in_several_ways(visit: Visit) -> Reply:
    """A refusal that repeats the request, then another protocol's form, commented JSON, and no counts."""
    if "top_p" in visit.body:
        return repeats_the_request_in_its_refusal(visit)
    text = json.dumps(answer(visit.body), indent=1).replace("[\n", "[ // rows\n", 1)
    candidate = {"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}
    return Reply(body={"candidates": [candidate], "usageMetadata": {"promptTokenCount": None}})


@sound
def streams_in_coheres_form(visit: Visit) -> Reply:
    text = content(visit)
    parts: list[Any] = [
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": piece}}}}
        for piece in (text[:9], text[9:])
    ]
    counts = {"tokens": {"input_tokens": 40, "output_tokens": 20}}
    parts.append({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": counts}})
    return events({"type": "message-start", "delta": {"message": {"role": "assistant"}}}, *parts)


# -- had by a second call, or from the queue of the host ----------------------------------------------------


def _made_later(visit: Visit, first: Reply, looks: int) -> Reply:
    """A POST is paid for, and kept; what asks for it by GET gets it at the last of so many looks."""
    kept, times = visit.state.notes.setdefault("kept", {}), visit.state.notes.setdefault("looks", {})
    number = visit.path.rsplit("/", 1)[-1]
    if visit.method == "POST":
        number = str(len(kept))
        kept[number] = good(visit)
        visit.state.notes.setdefault("made", []).append(prompt_of(visit.body))
    elif times.setdefault(number, 1) >= looks:
        return kept[number]
    else:
        times[number] += 1
    return Reply(first.status, first.body, {k: v.format(number=number) for k, v in first.headers.items()})


@sound
def makes_its_answers_behind_a_number(visit: Visit) -> Reply:
    """NVIDIA."""
    headers = {"NVCF-REQID": "{number}", "NVCF-STATUS": "pending-evaluation", "Retry-After": "0.02"}
    return _made_later(visit, Reply(202, b"", headers), 2)


@sound
def sends_on_to_what_it_makes(visit: Visit) -> Reply:
    """Modal."""
    return _made_later(visit, Reply(303, b"", {"Location": "/v1/kept/{number}", "Retry-After": "0"}), 3)


@sound
def wants_a_slash(visit: Visit) -> Reply:
    """FastAPI."""
    if not visit.path.endswith("/"):
        return Reply(307, b"", {"Location": f"{visit.path}/"})
    return good(visit)


@sound
def answers_with_a_job_that_is_done(visit: Visit) -> Reply:
    """Replicate."""
    text = content(visit)
    return Reply(201, {"id": "j", "status": "succeeded", "error": None, "output": [text[:9], text[9:]]})


@sound
def answers_with_a_workers_tokens(visit: Visit) -> Reply:
    """RunPod."""
    output = [{"choices": [{"tokens": [content(visit)]}], "usage": {"input": 40, "output": 20}}]
    return Reply(
        body={"delayTime": 8, "executionTime": 9, "id": "j", "output": output, "status": "COMPLETED"}
    )


def _job(**fields: Any) -> Behaviour:
    return lambda visit: Reply(body={"id": "j", **fields})


QUEUES = {
    "runpod": _job(status="IN_QUEUE"),
    "replicate": _job(
        status="starting", output=None, urls={"get": "https://api.replicate.com/v1/predictions/j"}
    ),
}


# -- more coats -------------------------------------------------------------------------------------------


@sound
def breaks_one_answer_off(visit: Visit) -> Reply:
    """DeepSeek, short of resources; vLLM says "abort"."""
    if visit.times == 0 and is_first(visit):
        return Reply(body=completion(content(visit)[:15], finish="insufficient_system_resource"))
    return good(visit)


@sound
def puts_values_into_one_event(visit: Visit) -> Reply:
    whole = json.dumps(pieces(visit)[0]) + json.dumps(pieces(visit)[1])
    rest = "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces(visit)[2:])
    return Reply(body=f"data: {whole}\n\n{rest}data: [DONE]\n\n".encode(), kind="text/event-stream")


@sound
def has_a_warning_before_its_answer(visit: Visit) -> Reply:
    """PHP; and the answer comes twice."""
    said = b"<br />\n<b>Warning</b>: Undefined array key in /proxy.php on line 12<br />\n"
    return Reply(body=said + 2 * json.dumps(completion(content(visit))).encode(), kind="text/html")


@sound
def writes_wide_punctuation(visit: Visit) -> Reply:
    return coat(visit, content(visit).replace('": ', '"：').replace('", "', '"，"'))


@sound
def writes_a_table(visit: Visit) -> Reply:
    rows = "".join(f"| {i} | {text} |\n" for i, text in enumerate(answer(visit.body)["texts"], 1))
    return coat(visit, f"| # | text |\n|---|---|\n{rows}")
