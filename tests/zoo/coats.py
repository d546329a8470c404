"""Servers and models that put an answer into another coat, and servers that stream in another shape."""

from __future__ import annotations

import json
from typing import Any

from zoo import Reply, Visit, answer, completion, content, good, limit, sound

DRAFT = {"texts": ["draft text one here", "draft text two here", "draft text three here"]}


def coat(visit: Visit, text: str, **message: Any) -> Reply:
    return Reply(body=completion(text, **message))


@sound
def thinks_aloud_with_a_draft(visit: Visit) -> Reply:
    return coat(visit, f"<think>\nperhaps {json.dumps(DRAFT)}? no.\n</think>\n\n{content(visit)}")


@sound
def thinks_aloud_with_brackets(visit: Visit) -> Reply:
    return coat(visit, f"<think>\nThe label is [positive], {{subject, tone}}.\n</think>{content(visit)}")


@sound
def forgets_to_open_its_thoughts(visit: Visit) -> Reply:
    return coat(visit, f"Well, {json.dumps(DRAFT)} is a start.\n</think>\n```json\n{content(visit)}\n```")


@sound
def thinks_in_channels(visit: Visit) -> Reply:
    thought = f"<|channel|>analysis<|message|>maybe {json.dumps(DRAFT)}<|end|><|start|>assistant"
    return coat(visit, f"{thought}<|channel|>final<|message|>{content(visit)}")


@sound
def drafts_before_the_answer(visit: Visit) -> Reply:
    return coat(visit, f"First try:\n{json.dumps(DRAFT)}\nBetter:\n{content(visit)}\nI hope that helps [1].")


@sound
def answers_a_row_at_a_time(visit: Visit) -> Reply:
    rows = [json.dumps({"texts": [text]}) for text in answer(visit.body)["texts"]]
    return coat(visit, "```json\n" + "\n".join(rows) + "\n```")


@sound
def answers_in_reasoning_content(visit: Visit) -> Reply:
    return coat(visit, None, reasoning_content=content(visit))  # type: ignore[arg-type]


@sound
def answers_in_parts(visit: Visit) -> Reply:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": content(visit)},
    ]
    return Reply(body=completion(parts))


@sound
def encodes_twice(visit: Visit) -> Reply:
    return coat(visit, json.dumps(content(visit)))


@sound
def wraps_and_explains(visit: Visit) -> Reply:
    return coat(visit, json.dumps({"result": answer(visit.body) | {"explanation": "as you wished"}}))


@sound
def adds_a_field(visit: Visit) -> Reply:
    return coat(visit, json.dumps(answer(visit.body) | {"explanation": "as you wished"}))


@sound
def writes_objects_for_rows(visit: Visit) -> Reply:
    value = answer(visit.body)
    if "texts" in value:
        value = {"texts": [{"id": i, "text": text} for i, text in enumerate(value["texts"])]}
    return coat(visit, json.dumps(value))


@sound
def writes_one_string_for_the_list(visit: Visit) -> Reply:
    value: Any = answer(visit.body)
    if "texts" in value:
        value = {"texts": "\n".join(f"{i + 1}. {text}" for i, text in enumerate(value["texts"]))}
    return coat(visit, json.dumps(value))


@sound
def writes_a_bare_list(visit: Visit) -> Reply:
    value: Any = answer(visit.body)
    return coat(visit, json.dumps(value.get("texts", value)))


@sound
def writes_numbers_for_text(visit: Visit) -> Reply:
    value: Any = answer(visit.body)
    return coat(visit, json.dumps({n: v if n in ("texts", "attributes") else 12 for n, v in value.items()}))


@sound
def writes_one_bad_row(visit: Visit) -> Reply:
    value: Any = answer(visit.body)
    if "texts" in value:
        value["texts"][1:2] = [None]
    return coat(visit, json.dumps(value))


@sound
def ignores_lengths(visit: Visit) -> Reply:
    value: Any = answer(visit.body)
    if "texts" in value:
        value["texts"][-1] += " and then some more of the same" * 3
    elif "attributes" not in value:
        value = {name: text + " that goes on" * 12 for name, text in value.items()}
    return coat(visit, json.dumps(value))


@sound
def speaks_python(visit: Visit) -> Reply:
    return coat(visit, f"Here: {answer(visit.body)!r}")


@sound
def is_counted_with_nulls(visit: Visit) -> Reply:
    usage = {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}
    return Reply(body=completion(content(visit), usage=usage))


@sound
def is_counted_in_other_names(visit: Visit) -> Reply:
    return Reply(body=completion(content(visit), usage={"input_tokens": 40, "output_tokens": 20.0}))


@sound
def is_counted_in_part(visit: Visit) -> Reply:
    return Reply(body=completion(content(visit), usage={"completion_tokens": 50, "total_tokens": 50}))


@sound
def says_error_null(visit: Visit) -> Reply:
    return Reply(body=completion(content(visit)) | {"error": None, "detail": None})


@sound
def spends_its_tokens_on_reasoning(visit: Visit) -> Reply:
    if limit(visit) < 1_000:
        usage = {"prompt_tokens": 40, "completion_tokens": limit(visit)}
        return Reply(body=completion("", finish="length", usage=usage))
    return good(visit)


@sound
def calls_a_bad_answer_a_bad_request(visit: Visit) -> Reply:
    """Groq: what failed is in the error, and fits well enough."""
    said = "Failed to validate JSON. Please adjust your prompt. See 'failed_generation' for more details."
    error = {"message": said, "type": "invalid_request_error", "code": "json_validate_failed"}
    return Reply(400, {"error": error | {"failed_generation": f"Sure: {content(visit)}"}})


# -- streams ----------------------------------------------------------------------------------------------


def events(*parts: Any, done: bool = True, end: str = "\n\n") -> Reply:
    lines = [f"data: {part if isinstance(part, str) else json.dumps(part)}{end}" for part in parts]
    return Reply(
        body="".join([*lines, f"data: [DONE]{end}" if done else ""]).encode(), kind="text/event-stream"
    )


def pieces(visit: Visit, **last: Any) -> list[Any]:
    text = content(visit)
    third = len(text) // 3
    made: list[Any] = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]}]
    for piece in (text[:third], text[third : 2 * third], text[2 * third :]):
        made.append({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
    return [*made, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", **last}]}]


@sound
def streams_unless_told_not_to(visit: Visit) -> Reply:
    return good(visit) if visit.body.get("stream") is False else events(*pieces(visit))


@sound
def streams_whatever_one_says(visit: Visit) -> Reply:
    return events(*pieces(visit))


@sound
def streams_a_null_delta(visit: Visit) -> Reply:
    return events(*pieces(visit, delta=None))


@sound
def streams_with_usage_alone_at_the_end(visit: Visit) -> Reply:
    usage = {"prompt_tokens": 7, "completion_tokens": 9}
    return events(*pieces(visit), {"choices": [], "usage": usage}, {"choices": None, "usage": None})


@sound
def streams_without_the_final_mark(visit: Visit) -> Reply:
    return events(*pieces(visit), done=False)


@sound
def streams_without_any_end(visit: Visit) -> Reply:
    return events(*pieces(visit)[:-1], done=False)


@sound
def streams_without_blank_lines(visit: Visit) -> Reply:
    return events(*pieces(visit), end="\r\n")


@sound
def streams_an_error_after_the_answer(visit: Visit) -> Reply:
    return events(*pieces(visit), {"error": {"message": "upstream closed", "code": 502}})


@sound
def streams_an_error_in_the_middle_once(visit: Visit) -> Reply:
    if visit.times == 0:
        return events(*pieces(visit)[:2], {"error": {"message": "server busy", "code": 503}})
    return events(*pieces(visit))


@sound
def streams_under_another_name(visit: Visit) -> Reply:
    reply = events(*pieces(visit))
    reply.kind = "text/plain"
    return reply


@sound
def streams_json_lines(visit: Visit) -> Reply:
    lines = "".join(json.dumps(part) + "\n" for part in pieces(visit))
    return Reply(body=lines.encode(), kind="application/x-ndjson")


@sound
def streams_noise_between(visit: Visit) -> Reply:
    parts = pieces(visit)
    return events(*parts[:2], "not json", "", 7, [], *parts[2:])
