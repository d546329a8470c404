"""The ledger: what is on record stays, across kills, runs and processes."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from synalign_jax.llm.budget import Budget, Price
from synalign_jax.llm.ledger import Ledger, LedgerError
from synalign_jax.llm.protocol import BadAnswer, ChatRequest, ChatResponse, Choice, Message, Timeout, Usage
from synalign_jax.llm.records import Elsewhere, Known, OverBudget, Ticket, request_body, request_key

REQUEST = ChatRequest((Message("user", "hello"),), "m")
RESPONSE = ChatResponse((Choice("a\0b\ud800", "stop", (-0.5, -1.0)),), Usage(10, 5), "m-1")
MOST = Usage(100, 50)


async def begin(ledger: Ledger, key: str, budget: Budget | None = None):
    return await ledger.begin(key, "{}", MOST, budget or Budget())


def test_the_key_covers_all_that_determines_the_answer() -> None:
    base = {"messages": (Message("user", "hello"),), "model": "m"}
    variants = [
        ChatRequest(**base),
        ChatRequest(**base | {"messages": (Message("system", "s"), Message("user", "hello"))}),
        ChatRequest(**base | {"messages": (Message("system", "hello"),)}),
        ChatRequest(**base | {"model": "n"}),
        ChatRequest(**base, max_tokens=7),
        ChatRequest(**base, temperature=0.5),
        ChatRequest(**base, top_p=0.5),
        ChatRequest(**base, seed=1),
        ChatRequest(**base, stop=("x",)),
        ChatRequest(**base, n=2),
        ChatRequest(**base, logprobs=True),
        ChatRequest(**base, schema={}),
        ChatRequest(**base, schema={"type": "object"}),
        ChatRequest(**base, extra={"top_k": 3}),
    ]
    keys = [request_key(request_body("e", request)) for request in variants]
    keys.append(request_key(request_body("other endpoint", variants[0])))
    assert len(set(keys)) == len(keys)
    again = ChatRequest(**base, idempotency_key="x")
    assert request_key(request_body("e", again)) == keys[0]


def test_an_answer_comes_back_as_it_was_also_from_a_new_ledger(tmp_path: Path) -> None:
    async def run() -> None:
        with Ledger(tmp_path / "l.sqlite") as ledger:
            assert await ledger.lookup("k") is None
            ticket = await begin(ledger, "k")
            assert isinstance(ticket, Ticket)
            await ledger.answered(ticket, RESPONSE, 0.25)
        with Ledger(tmp_path / "l.sqlite") as ledger:
            assert await ledger.lookup("k") == Known(RESPONSE, None)
            assert await begin(ledger, "k") == Known(RESPONSE, None)
            summary = ledger.summary()
        assert (summary.answered, summary.attempts, summary.usage, summary.cost) == (1, 1, Usage(10, 5), 0.25)

    asyncio.run(run())


def test_dead_letters_keep_the_raw_text_and_can_be_revived_by_kind(tmp_path: Path) -> None:
    async def run() -> None:
        with Ledger(tmp_path / "l.sqlite") as ledger:
            for key, error in [("a", BadAnswer("no JSON", raw="raw \0 \ud800")), ("b", Timeout("slow"))]:
                body = request_body("e", REQUEST)
                ticket = await ledger.begin(key, body, MOST, Budget())
                await ledger.failed(ticket, error, 0.0, dead=True)
            first, second = ledger.dead_letters()
            assert (first.kind, first.reason, first.raw) == ("bad_answer", "no JSON", "raw \0 \ud800")
            assert first.request["messages"] == [["user", "hello"]]
            assert (second.kind, second.attempts) == ("timeout", 1)
            known = await ledger.lookup("a")
            assert isinstance(known.error, BadAnswer)
            assert str(known.error) == "no JSON"
            assert ledger.revive("timeout") == 1
            assert [letter.key for letter in ledger.dead_letters()] == ["a"]
            assert isinstance(await begin(ledger, "b"), Ticket)

    asyncio.run(run())


def test_a_cap_is_never_passed_by_what_may_be_in_flight(tmp_path: Path) -> None:
    budget = Budget(max_tokens=400, price=Price(1.0, 2.0))

    async def run() -> None:
        with Ledger(tmp_path / "l.sqlite") as ledger:
            tickets = await asyncio.gather(*(begin(ledger, key, budget) for key in "abc"))
            assert tickets[2] == OverBudget("max_tokens = 400")  # 2 * 150 held, 300 + 150 > 400
            await ledger.answered(tickets[0], RESPONSE, 0.0)  # 15 of its 150 tokens spent
            assert isinstance(await begin(ledger, "c", budget), Ticket)
            assert isinstance(await begin(ledger, "d", budget), OverBudget)
        with Ledger(tmp_path / "l.sqlite") as ledger:  # closed with two in flight: they may have been paid
            assert ledger.summary().maybe_tokens == 300
            assert isinstance(await begin(ledger, "d", budget), OverBudget)
            assert isinstance(await begin(ledger, "d", Budget(max_requests=3)), OverBudget)
            assert isinstance(await begin(ledger, "d", Budget(max_requests=4)), Ticket)

    asyncio.run(run())


def test_two_ledgers_on_one_file_share_what_is_asked(tmp_path: Path) -> None:
    async def run() -> None:
        with Ledger(tmp_path / "l.sqlite") as one, Ledger(tmp_path / "l.sqlite") as two:
            ticket = await begin(one, "k")
            assert isinstance(await begin(two, "k"), Elsewhere)
            await one.answered(ticket, RESPONSE, 0.0)
            assert await begin(two, "k") == Known(RESPONSE, None)
            await begin(one, "left in flight")
            assert two.summary().in_flight == 1
        assert not list(tmp_path.glob("*.run-*"))

    asyncio.run(run())


KILLED = """
import asyncio, os, signal, sys
from synalign_jax.llm.budget import Budget
from synalign_jax.llm.ledger import Ledger
from synalign_jax.llm.protocol import Usage

async def main():
    ledger = Ledger(sys.argv[1])
    for key in ("x", "y"):
        await ledger.begin(key, "{}", Usage(100, 50), Budget())
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_what_a_killed_process_had_in_flight_is_known_and_open_again(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)])
    assert killed.returncode == -9

    async def run() -> None:
        with Ledger(path) as ledger:
            assert (ledger.summary().lost, ledger.summary().maybe_tokens) == (2, 300)
            assert isinstance(await begin(ledger, "x"), Ticket)
            summary = ledger.summary()
            assert (summary.lost, summary.maybe_paid, summary.maybe_tokens) == (2, 2, 300)
            assert (summary.in_flight, summary.open) == (1, 1)

    asyncio.run(run())


def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(LedgerError, match=r"newer synalign-jax .*format 99.*upgrade"):
        Ledger(path)


_FORMAT_1 = """
CREATE TABLE runs (id INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL);
CREATE TABLE requests (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open', run INTEGER, attempts INTEGER NOT NULL DEFAULT 0,
    answer TEXT, kind TEXT, reason TEXT, raw TEXT
);
CREATE INDEX endings ON requests (state, kind);
CREATE TABLE attempts (
    run INTEGER NOT NULL, number INTEGER NOT NULL, request INTEGER NOT NULL, started REAL NOT NULL,
    ended REAL, outcome TEXT, prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL,
    held_tokens INTEGER NOT NULL, held_cost REAL NOT NULL, PRIMARY KEY (run, number)
) WITHOUT ROWID;
CREATE TABLE spent (
    requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    cost REAL NOT NULL, held_tokens INTEGER NOT NULL, held_cost REAL NOT NULL,
    maybe_requests INTEGER NOT NULL, maybe_tokens INTEGER NOT NULL, maybe_cost REAL NOT NULL
);
INSERT INTO spent VALUES (2, 10, 5, 0.5, 0, 0, 0, 0, 0);
INSERT INTO runs VALUES (1, 1000.0, 1010.0);
INSERT INTO requests VALUES (1, 'k', '{}', 'answered', NULL, 1, '[[["a", "stop", null]], [10, 5], "m-1"]',
    NULL, NULL, NULL);
INSERT INTO requests VALUES (2, 'd', '{}', 'dead', NULL, 1, NULL, 'timeout', '"too slow"', NULL);
INSERT INTO attempts VALUES (1, 1, 1, 1000.0, 1001.0, 'answered', 10, 5, 0.5, 0, 0);
INSERT INTO attempts VALUES (1, 2, 2, 1001.0, 1002.0, 'timeout', 0, 0, 0, 0, 0);
PRAGMA user_version = 1;
"""


def test_a_ledger_of_format_1_is_read_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    db = sqlite3.connect(path)
    db.executescript(_FORMAT_1)
    db.close()

    async def run() -> None:
        for _ in range(2):  # what it lacked is made once
            with Ledger(path) as ledger:
                answer = ChatResponse((Choice("a", "stop"),), Usage(10, 5), "m-1")
                assert await ledger.lookup("k") == Known(answer, None)
                dead = await ledger.lookup("d")
                assert dead is not None
                assert dead.error is not None
                assert (dead.error.kind, str(dead.error)) == ("timeout", "too slow")
        with Ledger(path) as ledger:
            assert (ledger.summary().answered, ledger.summary().dead) == (1, 1)
            assert await ledger.lessons("e", "m") is None
            await ledger.learn("e", "m", {"without": ["seed"]})
            await ledger.answered(await begin(ledger, "new"), RESPONSE, 0.0)
        with Ledger(path) as ledger:
            assert await ledger.lessons("e", "m") == {"without": ["seed"]}
            assert ledger.summary().answered == 2

    asyncio.run(run())


def test_a_file_that_is_no_ledger_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    path.write_text("text,label\n" * 100)
    with pytest.raises(LedgerError, match="not a database; this file is something else"):
        Ledger(path)
    assert path.read_text().startswith("text,label")


def test_a_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(LedgerError, match=r"/proc/nowhere/l.sqlite: .*writable"):
        Ledger("/proc/nowhere/l.sqlite")


def test_a_full_disk_is_an_error_for_all_who_wait_and_loses_nothing_recorded(tmp_path: Path) -> None:
    async def run() -> None:
        with Ledger(tmp_path / "l.sqlite") as ledger:
            await ledger.answered(await begin(ledger, "before"), RESPONSE, 0.0)
            pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
            ledger._db.execute(f"PRAGMA max_page_count = {pages}")  # what SQLite sees when the disk is full
            waiting = [ledger.begin(f"k{i}", "x" * 100_000, MOST, Budget()) for i in range(3)]
            for error in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(error, LedgerError)
                assert "full" in str(error)
            ledger._db.execute("PRAGMA max_page_count = 1000000")
            assert isinstance(await begin(ledger, "after"), Ticket)
        with Ledger(tmp_path / "l.sqlite") as ledger:
            assert await ledger.lookup("before") == Known(RESPONSE, None)

    asyncio.run(run())
