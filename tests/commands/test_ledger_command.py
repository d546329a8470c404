"""synalign ledger shows outcomes, failures and cost, and gives what failed another chance."""

import argparse
import asyncio
from pathlib import Path

import pytest

from synalign_jax.commands import ledger as command
from synalign_jax.llm.budget import Budget, Price
from synalign_jax.llm.ledger import Ledger, LedgerError
from synalign_jax.llm.protocol import BadAnswer, ChatRequest, ChatResponse, Choice, Message, Timeout, Usage
from synalign_jax.llm.records import Ticket, request_body

BUDGET = Budget(price=Price(1.0, 2.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    async def fill() -> None:
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            for name in ("good", "bad", "slow", "flying"):
                body = request_body("e", ChatRequest((Message("user", f"a {name} \x1b[31m question"),), "m"))
                ticket = await ledger.begin(name, body, Usage(1000, 500), BUDGET)
                assert isinstance(ticket, Ticket)
                if name == "good":
                    response = ChatResponse((Choice("x", "stop"),), Usage(12_000, 5_000), "m")
                    await ledger.answered(ticket, response, BUDGET.cost(response.usage))
                elif name == "bad":
                    await ledger.failed(
                        ticket, BadAnswer("no JSON", raw="I \x1b[2J\0 cannot"), 0.0, dead=True
                    )
                elif name == "slow":
                    await ledger.failed(ticket, Timeout("60 s", paid=True), 0.0, dead=True)

    asyncio.run(fill())
    return tmp_path


def synalign(*words: str) -> int:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    options = parser.parse_args(["ledger", *words])
    return options.run(options)


def figures(text: str) -> dict[str, str]:
    cells = [line.strip("│ ").split("│") for line in text.splitlines() if "│" in line]
    return {cell[0].strip(): cell[1].strip() for cell in cells if len(cell) == 2}


def test_the_summary_shows_outcomes_and_cost(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert synalign(str(folder)) == 0
    text = capsys.readouterr().out
    shown = figures(text)
    assert shown["answered"] == "1"
    assert shown["given up"] == "2"
    assert shown["not answered yet"] == "1"
    assert shown["attempts"] == "4"
    assert shown["cut off by a kill"] == "1"
    assert shown["prompt tokens"] == "12,000"
    assert shown["cost"] == "0.022"
    assert shown["attempts that may have been paid for in vain"] == "2"
    assert "1 bad_answer, 1 timeout" in text


def test_failures_are_listed_with_reason_and_answer_and_cannot_steer_a_terminal(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    synalign(str(folder), "--failures")
    text = capsys.readouterr().out
    assert "bad_answer, 1 attempt(s): no JSON" in text
    assert "asked: a bad" in text
    assert "cannot" in text
    assert "\x1b" not in text
    assert "\0" not in text
    assert text.endswith("2 request(s) given up\n")
    synalign(str(folder / "ledger.sqlite"), "--failures", "timeout")
    assert capsys.readouterr().out.endswith("1 request(s) given up for timeout\n")


def test_retry_opens_what_was_given_up(folder: Path, capsys: pytest.CaptureFixture) -> None:
    synalign(str(folder), "--retry", "timeout")
    assert capsys.readouterr().out.startswith("1 request(s) opened again")
    synalign(str(folder), "--retry")
    assert capsys.readouterr().out.startswith("1 request(s) opened again")
    with Ledger(folder / "ledger.sqlite") as ledger:
        assert (ledger.summary().dead, ledger.summary().open) == (0, 3)
    synalign(str(folder), "--retry")
    assert capsys.readouterr().out.startswith("no such request was given up")


def test_a_folder_without_a_ledger_is_named_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no such ledger"):
        synalign(str(tmp_path))
    assert not list(tmp_path.iterdir())
