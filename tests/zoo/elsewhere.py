"""Servers whose answer is had by a second call, or lies with another protocol of the same host."""

from __future__ import annotations

from typing import Any

from zoo import Behaviour, Reply, Visit, content, good, prompt_of, sound


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
