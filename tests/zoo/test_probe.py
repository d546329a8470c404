"""What `scripts/check-endpoint` says of servers whose ways are known."""

import asyncio
import subprocess
import sys
import warnings
from pathlib import Path

import options
import pytest
from synalign_adapters.openai import OpenAIChat
from synalign_adapters.probe import options_taken
from zoo import Behaviour, Cage, Reply, Visit, completion, good, refusal

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "check-endpoint"
ALL = (
    "chat", "temperature", "top_p", "seed", "stop", "n", "logprobs", "system", "response_format", "stream",
    "stream_options", "limit",
)  # fmt: skip


def found(behaviour: Behaviour) -> tuple[dict[str, bool | None], dict[str, str]]:
    """Whether each option is taken, and what is said of it."""

    async def main() -> tuple[dict[str, bool | None], dict[str, str]]:
        async with Cage(behaviour) as url:
            llm = OpenAIChat(url, api_key_env=None)
            findings = [finding async for finding in options_taken(llm, "m", timeout=10.0)]
            await llm.aclose()
            return {f.option: f.taken for f in findings}, {f.option: f.said for f in findings}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return asyncio.run(asyncio.wait_for(main(), 300))


def test_a_server_without_quirks_takes_everything() -> None:
    taken, said = found(good)
    assert tuple(taken) == ALL
    assert all(taken.values())
    assert said["limit"] == "called max_tokens"
    assert said["response_format"] == "json_schema, strict"
    assert "40+20 tokens" in said["chat"]
    assert "1 answer(s) for n = 2" in said["n"]
    assert "none sent" in said["logprobs"]


@pytest.mark.parametrize(
    ("behaviour", "refused", "words"),
    [
        (options.wants_max_completion_tokens_late, "limit", "called max_completion_tokens"),
        (options.takes_few_tokens, None, "at most 200"),
        (options.takes_no_seed_in_gemini_words, "seed", "left out"),
        (options.takes_no_seed_in_mistral_words, "seed", "left out"),
        (options.takes_no_top_p, "top_p", "left out"),
        (options.takes_one_of_temperature_and_top_p, "top_p", "left out"),
        (options.takes_the_usual_temperature_alone, "temperature", "left out"),
        (options.takes_no_length_keywords, "response_format", "without keywords for lengths"),
        (options.takes_no_additional_properties, "response_format", "plainest"),
        (options.knows_json_object_alone, "response_format", "json_object"),
        (options.knows_no_response_format, "response_format", "no response_format"),
        (options.fails_on_grammars_with_500, "response_format", "json_object"),
    ],
)
def test_the_option_that_a_server_refuses_is_named_and_no_other(
    behaviour: Behaviour, refused: str | None, words: str
) -> None:
    taken, said = found(behaviour)
    assert tuple(taken) == ALL
    assert [option for option, yes in taken.items() if not yes] == ([refused] if refused else [])
    assert words in said[refused or "limit"]


@pytest.mark.parametrize("option", ["stop", "n", "logprobs", "stream_options"])
def test_options_that_are_seldom_refused_are_named_too(option: str) -> None:
    def refuses(visit: Visit) -> Reply:
        if option in visit.body:
            return refusal(f"Unsupported parameter: '{option}' is not supported with this model.")
        return good(visit)

    taken, said = found(refuses)
    assert [name for name, yes in taken.items() if not yes] == [option]
    assert said[option] == "refused: left out"


def test_streams_alone_and_without_usage() -> None:
    taken, said = found(options.takes_no_stream_options)
    assert [name for name, yes in taken.items() if not yes] == ["stream_options"]
    assert said["stream"] == "taken; nothing else is"


def test_a_template_without_a_system_role() -> None:
    def behave(visit: Visit) -> Reply:
        if any(message["role"] == "system" for message in visit.body["messages"]):
            return refusal("System role not supported")
        return Reply(body=completion("Paris"))

    taken, said = found(behave)
    assert [name for name, yes in taken.items() if not yes] == ["system"]
    assert "front of the user's" in said["system"]


def test_a_refusal_that_names_no_option_is_found_out_and_a_failure_leaves_it_open() -> None:
    def refuses(visit: Visit) -> Reply:
        return refusal("Something is amiss.") if "logprobs" in visit.body else good(visit)

    def fails(visit: Visit) -> Reply:
        return refusal("Something is amiss.", 500) if "logprobs" in visit.body else good(visit)

    for behave, expected in ((refuses, False), (fails, None)):
        taken, said = found(behave)
        assert tuple(taken) == ALL
        assert [name for name, yes in taken.items() if not yes] == ["logprobs"]
        assert taken["logprobs"] is expected
        assert ("Something is amiss" if expected is None else "left out") in said["logprobs"]


def test_nothing_is_asked_where_chat_itself_fails() -> None:
    taken, said = found(lambda _: refusal("Incorrect API key provided.", 401))
    assert taken == {"chat": None}
    assert said["chat"].startswith("FAILED: ")


def test_the_script_prints_a_line_for_each_and_keeps_the_header_secret() -> None:
    def behave(visit: Visit) -> Reply:
        if visit.headers.get("api-key") != "s3cr3t-of-the-gateway":
            return refusal("Access denied due to invalid subscription key.", 401)
        return options.takes_hardly_anything(visit)

    async def main(*more: str) -> tuple[int | None, str]:
        async with Cage(behave) as url:
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(SCRIPT), url, "m", *more, env={"GATEWAY": "s3cr3t-of-the-gateway"},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            out, _ = await asyncio.wait_for(process.communicate(), 300)
            return process.returncode, out.decode()

    status, printed = asyncio.run(main("--header", "api-key=GATEWAY"))
    assert status == 0, printed
    lines = {line.split()[0]: line.split()[1] for line in printed.splitlines()}
    assert tuple(lines) == ALL
    refused = {"seed", "top_p", "temperature", "limit", "response_format", "stream", "stream_options"}
    assert {name for name, sign in lines.items() if sign == "no"} == refused
    assert "s3cr3t" not in printed
    status, printed = asyncio.run(main())
    assert status == 1
    assert printed.startswith("chat ")
    assert "FAILED" in printed
