"""Batch APIs that are copied with differences: envelopes, lists, files that take a while."""

from pathlib import Path

from aiohttp import web
from stub_batches import BatchServer, served
from synalign_adapters.batches import OpenAIBatches
from test_batches import COUNT, ask
from test_zoo import jobs
from zoo import Reply


class InAnEnvelope(BatchServer):
    """Together: what is made stands in an envelope, and the list in none; the first answer is lost."""

    def _done(self, call: str, value):
        if call == "make" and self.calls["make"] == 1:
            return web.Response(status=502)
        return super()._done(call, {"job": value} if call == "make" else value.get("data", value))


def test_a_batch_in_an_envelope_is_found_in_a_list_without_one(tmp_path: Path) -> None:
    server = InAnEnvelope()
    with served(server) as url:
        outcomes, summary, error, _ = ask(url, tmp_path / "l")
    assert error is None
    assert (summary.answered, summary.dead, len(outcomes)) == (COUNT, 0, COUNT)
    assert set(server.paid.values()) == {1}


def test_a_file_that_is_not_ready_is_waited_for(tmp_path: Path) -> None:
    """Azure."""

    def fault(call: str, times: int) -> Reply | None:
        said = "The file file-1 is in the pending state and still being processed."
        return Reply(400, {"error": {"message": said}}) if call == "make" and times < 3 else None

    server = BatchServer(fault=fault)
    with served(server) as url:
        outcomes, summary, error, _ = ask(url, tmp_path / "l")
    assert error is None
    assert (summary.answered, len(outcomes)) == (COUNT, COUNT)
    assert set(server.paid.values()) == {1}


def test_the_route_is_of_the_version_that_the_address_names() -> None:
    """Zhipu: api/paas/v4."""
    request = jobs(1)[0].request
    for base, route in [
        ("https://host/api/paas/v4", "/v4/chat/completions"),
        ("https://host/v1beta/openai", "/v1/chat/completions"),
        ("https://host/compatible-mode/v1", "/v1/chat/completions"),
    ]:
        assert OpenAIBatches(base, api_key_env=None).route(request) == route
