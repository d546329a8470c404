"""The ledger's tables and the statements on them, each on a whole batch within its caller's transaction.

A batch goes in and out of SQLite as one JSON text: a call of SQLite for each row would hand the interpreter
lock to and fro for each, and that, not the disk, would set the pace.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec

from .batches import register
from .budget import Amount
from .protocol import ChatResponse, Choice, Usage, error_of
from .records import DeadLetter, Ending, Known, Summary, Ticket

FORMAT = 3
Found = tuple[int | None, int | None, Known | None]
_TABLES = """
CREATE TABLE runs (id INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL);
CREATE TABLE requests (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL,                    -- all that determines the answer
    state TEXT NOT NULL DEFAULT 'open',    -- open, batched, answered, dead
    run INTEGER,                           -- the run that has it in flight
    attempts INTEGER NOT NULL DEFAULT 0,
    answer TEXT, kind TEXT, reason TEXT, raw TEXT   -- JSON, so that NUL and lone surrogates survive
);
CREATE INDEX endings ON requests (state, kind);
CREATE TABLE attempts (
    run INTEGER NOT NULL, number INTEGER NOT NULL, request INTEGER NOT NULL,
    started REAL NOT NULL, ended REAL,
    outcome TEXT,                          -- NULL while in flight, then answered, lost or an error kind
    prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL,
    held_tokens INTEGER NOT NULL, held_cost REAL NOT NULL,
    PRIMARY KEY (run, number)
) WITHOUT ROWID;
CREATE TABLE spent (
    requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    cost REAL NOT NULL,
    held_tokens INTEGER NOT NULL, held_cost REAL NOT NULL,     -- for what is in flight now
    maybe_requests INTEGER NOT NULL, maybe_tokens INTEGER NOT NULL, maybe_cost REAL NOT NULL
);
INSERT INTO spent VALUES (0, 0, 0, 0, 0, 0, 0, 0, 0);
"""
_SINCE_2 = """
CREATE TABLE lessons (
    endpoint TEXT NOT NULL, model TEXT NOT NULL, known TEXT NOT NULL,   -- JSON
    PRIMARY KEY (endpoint, model)
) WITHOUT ROWID;
"""


def create(db: sqlite3.Connection) -> None:
    """Make the tables, or those that an older file lacks, unless another process was first."""
    db.execute("BEGIN IMMEDIATE")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    for script in [_TABLES, _SINCE_2, register.TABLES][version:]:
        for statement in script.split(";")[:-1]:
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {FORMAT}")
    db.execute("COMMIT")


def lessons(db: sqlite3.Connection, endpoint: str, model: str) -> dict[str, Any] | None:
    """What was learnt of a model; None if nothing was, or nothing that can be read."""
    row = db.execute(
        "SELECT known FROM lessons WHERE endpoint = ? AND model = ?", (endpoint, model)
    ).fetchone()
    known = json.loads(row[0]) if row else None
    return known if isinstance(known, dict) else None


def learn(db: sqlite3.Connection, endpoint: str, model: str, known: dict[str, Any]) -> None:
    db.execute(
        "INSERT INTO lessons VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET known = excluded.known",
        (endpoint, model, json.dumps(known)),
    )


def reopen(db: sqlite3.Connection, keys: Collection[str]) -> None:
    """Open dead letters again: it was not they that were at fault."""
    db.execute(
        "UPDATE requests SET state = 'open', kind = NULL, reason = NULL, raw = NULL"
        " WHERE state = 'dead' AND key IN (SELECT value FROM json_each(?))",
        (json.dumps(list(keys)),),
    )


def _rows(rows: Any) -> str:
    """A batch as SQLite takes it; its texts are ASCII."""
    return msgspec.json.encode(rows).decode("ascii")


def find(db: sqlite3.Connection, keys: Collection[str]) -> dict[str, Found]:
    """For each key the request's id, the run that has it in flight, and its end; None where none is."""
    (rows,) = db.execute(
        "SELECT json_group_array(json_array("
        " wanted.value, r.id, r.run, r.state, r.answer, r.kind, r.reason, r.raw))"
        " FROM json_each(?) AS wanted LEFT JOIN requests AS r ON r.key = wanted.value",
        (_rows(list(keys)),),
    ).fetchone()
    return {key: (request, run, _end(*end)) for key, request, run, *end in msgspec.json.decode(rows)}


def _end(state: str | None, answer: str, kind: str, reason: str, raw: str | None) -> Known | None:
    if state == "answered":
        choices, usage, model = json.loads(answer)
        made = tuple(Choice(text, end, logprobs and tuple(logprobs)) for text, end, logprobs in choices)
        return Known(ChatResponse(made, Usage(*usage), model), None)
    if state == "dead":
        return Known(None, error_of(kind, json.loads(reason), raw=raw and json.loads(raw)))
    return None


def add(db: sqlite3.Connection, requests: Sequence[tuple[str, str]]) -> None:
    """Enter requests, as key and body, that are not there yet."""
    db.execute(
        "INSERT INTO requests (key, body)"
        " SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?) WHERE true"
        " ON CONFLICT (key) DO NOTHING",
        (_rows(requests),),
    )


def spent(db: sqlite3.Connection) -> Amount:
    """All that counts towards a budget: paid, perhaps paid, and held for what is in flight."""
    row = db.execute(
        "SELECT requests, prompt_tokens + completion_tokens + held_tokens + maybe_tokens,"
        " cost + held_cost + maybe_cost FROM spent"
    ).fetchone()
    return Amount(*row)


def send_off(db: sqlite3.Connection, run: int, tickets: Sequence[Ticket]) -> None:
    """Put attempts on record as in flight."""
    rows = [[t.number, t.request, t.held.tokens, t.held.cost] for t in tickets]
    given = _rows(rows)
    db.execute(
        "UPDATE requests SET run = ?, attempts = attempts + 1"
        " WHERE id IN (SELECT json_extract(value, '$[1]') FROM json_each(?))",
        (run, given),
    )
    db.execute(
        "INSERT INTO attempts (run, started, number, request, held_tokens, held_cost)"
        " SELECT ?, ?, json_extract(value, '$[0]'), json_extract(value, '$[1]'),"
        " json_extract(value, '$[2]'), json_extract(value, '$[3]') FROM json_each(?)",
        (run, time.time(), given),
    )
    db.execute(
        "UPDATE spent SET requests = requests + ?, held_tokens = held_tokens + ?, held_cost = held_cost + ?",
        (len(rows), sum(t.held.tokens for t in tickets), sum(t.held.cost for t in tickets)),
    )


def finish(db: sqlite3.Connection, endings: Sequence[Ending]) -> None:
    """Put the ends of attempts on record; what was held for them is held no longer."""
    rows = _rows(
        [
            [
                e.ticket.run,
                e.ticket.number,
                e.outcome,
                e.usage.prompt_tokens,
                e.usage.completion_tokens,
                e.cost,
            ]
            for e in endings
        ]
    )
    db.execute(
        "UPDATE attempts SET ended = ?, outcome = json_extract(value, '$[2]'),"
        " prompt_tokens = json_extract(value, '$[3]'), completion_tokens = json_extract(value, '$[4]'),"
        " cost = json_extract(value, '$[5]') FROM json_each(?)"
        " WHERE run = json_extract(value, '$[0]') AND number = json_extract(value, '$[1]')",
        (time.time(), rows),
    )
    rows = _rows([[e.ticket.request, e.state, e.answer, e.outcome, e.reason, e.raw] for e in endings])
    db.execute(
        "UPDATE requests SET run = NULL, state = json_extract(value, '$[1]'),"
        " answer = json_extract(value, '$[2]'), kind = json_extract(value, '$[3]'),"
        " reason = json_extract(value, '$[4]'), raw = json_extract(value, '$[5]') FROM json_each(?)"
        " WHERE requests.id = json_extract(value, '$[0]')",
        (rows,),
    )
    maybe = [e.ticket.held for e in endings if e.maybe_paid]
    db.execute(
        "UPDATE spent SET prompt_tokens = prompt_tokens + ?, completion_tokens = completion_tokens + ?,"
        " cost = cost + ?, held_tokens = held_tokens - ?, held_cost = held_cost - ?,"
        " maybe_requests = maybe_requests + ?, maybe_tokens = maybe_tokens + ?, maybe_cost = maybe_cost + ?",
        (
            sum(e.usage.prompt_tokens for e in endings),
            sum(e.usage.completion_tokens for e in endings),
            sum(e.cost for e in endings),
            sum(e.ticket.held.tokens for e in endings),
            sum(e.ticket.held.cost for e in endings),
            len(maybe),
            sum(amount.tokens for amount in maybe),
            sum(amount.cost for amount in maybe),
        ),
    )


def take_back(db: sqlite3.Connection, tickets: Sequence[Ticket]) -> None:
    """End attempts that nothing was sent for."""
    register.close(db, [ticket.request for ticket in tickets])
    finish(db, [Ending(ticket, "cancelled", Usage(), 0.0, "open") for ticket in tickets])


def recover(db: sqlite3.Connection, run: int) -> None:
    """End a run that is over: what it left in flight is open again, and may have been paid for.

    What is in a batch stays there, and for what was gathered for one nothing was sent.
    """
    if gathered := register.gathered(db, run):
        take_back(db, gathered)
    register.abandon(db, run)
    count, tokens, cost = db.execute(
        "SELECT count(*), total(held_tokens), total(held_cost) FROM alone WHERE run = ?", (run,)
    ).fetchone()
    db.execute("UPDATE requests SET run = NULL WHERE id IN (SELECT request FROM alone WHERE run = ?)", (run,))
    db.execute(
        "UPDATE attempts SET outcome = 'lost', ended = ?1 WHERE run = ?2"
        " AND number IN (SELECT number FROM alone WHERE run = ?2)",
        (time.time(), run),
    )
    db.execute(
        "UPDATE spent SET held_tokens = held_tokens - ?2, held_cost = held_cost - ?3,"
        " maybe_requests = maybe_requests + ?1, maybe_tokens = maybe_tokens + ?2,"
        " maybe_cost = maybe_cost + ?3",
        (count, int(tokens), cost),
    )
    db.execute("UPDATE runs SET ended = ? WHERE id = ?", (time.time(), run))


def open_runs(db: sqlite3.Connection) -> list[int]:
    return [run for (run,) in db.execute("SELECT id FROM runs WHERE ended IS NULL").fetchall()]


def holds_ends(db: sqlite3.Connection) -> bool:
    (found,) = db.execute(
        "SELECT EXISTS (SELECT 1 FROM requests WHERE state IN ('answered', 'dead'))"
    ).fetchone()
    return bool(found)


def seconds_an_answer(db: sqlite3.Connection) -> tuple[float, float] | None:
    """The middle half of what answers took, in seconds."""
    taken = [row[0] for row in db.execute(
        "SELECT ended - started FROM attempts WHERE outcome = 'answered' ORDER BY ended - started"
    )]  # fmt: skip
    return (taken[len(taken) // 4], taken[(3 * len(taken)) // 4]) if taken else None


def summary(db: sqlite3.Connection, alive: Collection[int]) -> Summary:
    """The totals; what runs that are not `alive` left in flight counts as lost."""
    states = dict(db.execute("SELECT state, count(*) FROM requests GROUP BY state"))
    outcomes = dict(db.execute("SELECT outcome, count(*) FROM attempts GROUP BY outcome"))
    kinds = dict(db.execute("SELECT kind, count(*) FROM requests WHERE state = 'dead' GROUP BY kind"))
    row = db.execute("SELECT * FROM spent").fetchone()
    requests, prompt, completion, cost, _, _, maybe, maybe_tokens, maybe_cost = row
    in_flight = lost = 0
    for run, count, tokens, money in db.execute(
        "SELECT run, count(*), sum(held_tokens), sum(held_cost) FROM alone GROUP BY run"
    ):
        if run in alive:
            in_flight += count
        else:
            lost += count
            maybe_tokens += tokens
            maybe_cost += money
    return Summary(
        answered=states.get("answered", 0),
        dead=states.get("dead", 0),
        open=states.get("open", 0) - in_flight,
        in_flight=in_flight,
        attempts=requests,
        failures={
            kind: count
            for kind, count in sorted(outcomes.items(), key=str)
            if kind not in (None, "answered", "lost")
        },
        dead_by_kind=dict(sorted(kinds.items())),
        usage=Usage(prompt, completion),
        cost=cost,
        lost=outcomes.get("lost", 0) + lost,
        maybe_paid=maybe + lost,
        maybe_tokens=maybe_tokens,
        maybe_cost=maybe_cost,
        batched=states.get("batched", 0),
    )


def answered_bodies(db: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    for (body,) in db.execute("SELECT body FROM requests WHERE state = 'answered' ORDER BY id"):
        yield json.loads(body)


def dead_letters(db: sqlite3.Connection, kind: str | None) -> list[str]:
    """The keys of the dead letters, in the order in which they were first asked."""
    rows = db.execute(
        "SELECT key FROM requests WHERE state = 'dead' AND (?1 IS NULL OR kind = ?1) ORDER BY id", (kind,)
    )
    return [key for (key,) in rows]


def dead_letter(db: sqlite3.Connection, key: str) -> DeadLetter:
    kind, reason, raw, body, attempts = db.execute(
        "SELECT kind, reason, raw, body, attempts FROM requests WHERE key = ?", (key,)
    ).fetchone()
    return DeadLetter(key, kind, json.loads(reason), raw and json.loads(raw), json.loads(body), attempts)


def revive(db: sqlite3.Connection, kind: str | None) -> int:
    return db.execute(
        "UPDATE requests SET state = 'open', kind = NULL, reason = NULL, raw = NULL"
        " WHERE state = 'dead' AND (?1 IS NULL OR kind = ?1)",
        (kind,),
    ).rowcount
