"""The batches of a ledger: which requests each holds, what it is called, and how far it is.

The statements run inside the ledger's transactions; `Register` orders them, as the driver does its own.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synalign_jax.llm.budget import Amount
from synalign_jax.llm.records import Ticket

if TYPE_CHECKING:
    from synalign_jax.llm.records import Entries

TABLES = """
CREATE TABLE batches (
    id INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    mark TEXT NOT NULL UNIQUE,             -- what it can be found by at the endpoint
    lessons TEXT NOT NULL,                 -- JSON: by which its requests were put
    started REAL NOT NULL,
    file TEXT, remote TEXT,                -- what the endpoint calls its file and itself
    word TEXT, total INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE lines (                       -- requests in a batch (0: to come) without a result on record
    request INTEGER PRIMARY KEY, batch INTEGER NOT NULL, run INTEGER NOT NULL, number INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX lines_of ON lines (batch);
CREATE VIEW known_batches AS SELECT b.*, (SELECT count(*) FROM lines WHERE batch = b.id) AS left_over
    FROM batches AS b;
CREATE VIEW alone AS SELECT run, number, request, held_tokens, held_cost FROM attempts
    WHERE outcome IS NULL AND request NOT IN (SELECT request FROM lines);   -- in flight, in no batch
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch on record. `left` of its requests have no result on record yet; `started` is Unix time.

    `file` and `remote` are what the endpoint calls its file and the batch; None until it has said so.
    """

    number: int
    endpoint: str
    mark: str
    lessons: dict[str, Any]
    started: float
    file: str | None
    remote: str | None
    word: str | None
    total: int
    done: int
    failed: int
    left: int


class Register:
    """A run's batches in its ledger."""

    def __init__(self, ledger: Entries) -> None:
        self._ledger = ledger

    async def enroll(
        self, endpoint: str, mark: str, lessons: dict[str, Any], tickets: Sequence[Ticket]
    ) -> Batch:
        """Put on record that these requests go into a new batch, before anything is sent."""
        return await self._ledger.order("enroll", (endpoint, mark, json.dumps(lessons), tickets))

    async def name(self, batch: Batch, *, file: str | None = None, remote: str | None = None) -> Batch:
        """Put on record what the endpoint calls its parts."""
        return await self._ledger.order("name", (batch.number, file, remote))

    async def progress(self, batch: Batch, word: str, total: int, done: int, failed: int) -> Batch:
        """Put on record how far it is, for whoever looks."""
        return await self._ledger.order("progress", (batch.number, word, total, done, failed))

    async def batch_of(self, ticket: Ticket) -> Batch | None:
        """The batch that a request is in."""
        return await self._ledger.order("batch_of", ticket.request)

    def let_go(self, ticket: Ticket) -> asyncio.Future[None]:
        """Nobody waits for the request any more: it stays in its batch, or is open again if it is in none."""
        return self._ledger.order("let_go", ticket)


# -- statements ---------------------------------------------------------------------------------------------


def any_lines(db: sqlite3.Connection) -> bool:
    """Whether any request is in a batch."""
    return bool(db.execute("SELECT EXISTS (SELECT 1 FROM lines)").fetchone()[0])


def gather(db: sqlite3.Connection, tickets: Sequence[Ticket]) -> None:
    """These attempts are for batches to come: nothing is sent for them until they are in one."""
    db.execute(
        "INSERT OR REPLACE INTO lines SELECT json_extract(value, '$[0]'), 0, json_extract(value, '$[1]'),"
        " json_extract(value, '$[2]') FROM json_each(?)",
        (json.dumps([[t.request, t.run, t.number] for t in tickets]),),
    )


def gathered(db: sqlite3.Connection, run: int) -> list[Ticket]:
    """The attempts of a run that never came into a batch."""
    rows = db.execute("SELECT request FROM lines WHERE run = ? AND batch = 0", (run,)).fetchall()
    return list(standing(db, [request for (request,) in rows]).values())


def standing(db: sqlite3.Connection, requests: Collection[int]) -> dict[int, Ticket]:
    """The attempts of requests that are in a batch."""
    rows = db.execute(
        "SELECT l.request, l.run, l.number, a.held_tokens, a.held_cost FROM lines AS l"
        " JOIN attempts AS a ON a.run = l.run AND a.number = l.number"
        " WHERE l.request IN (SELECT value FROM json_each(?))",
        (json.dumps(list(requests)),),
    )
    return {
        request: Ticket(run, number, request, Amount(1, tokens, cost), batched=True)
        for request, run, number, tokens, cost in rows
    }


def take_over(db: sqlite3.Connection, run: int, tickets: Sequence[Ticket]) -> None:
    """This run waits for them now."""
    db.execute(
        "UPDATE requests SET run = ? WHERE id IN (SELECT value FROM json_each(?))",
        (run, json.dumps([ticket.request for ticket in tickets])),
    )


def close(db: sqlite3.Connection, requests: Collection[int]) -> None:
    """Their results are on record, or they are in no batch any more."""
    db.execute("DELETE FROM lines WHERE request IN (SELECT value FROM json_each(?))", (_ids(requests),))


def let_go(db: sqlite3.Connection, tickets: Sequence[Ticket]) -> list[Ticket]:
    """Nobody waits for these requests any more. Those in a batch stay there; the others come back."""
    inside = standing(db, [ticket.request for ticket in tickets])
    db.execute("UPDATE requests SET run = NULL WHERE id IN (SELECT value FROM json_each(?))", (_ids(inside),))
    return [ticket for ticket in tickets if ticket.request not in inside]


def abandon(db: sqlite3.Connection, run: int) -> None:
    """A run has ended: what it waited for in batches can be taken over."""
    db.execute("UPDATE requests SET run = NULL WHERE run = ? AND id IN (SELECT request FROM lines)", (run,))


def forget(db: sqlite3.Connection) -> int:
    """Give up all batches: their requests are open again, and count as perhaps paid for."""
    count, tokens, cost = db.execute(
        "SELECT count(*), total(a.held_tokens), total(a.held_cost) FROM lines AS l"
        " JOIN attempts AS a ON a.run = l.run AND a.number = l.number WHERE l.batch > 0"
    ).fetchone()
    db.execute(
        "UPDATE attempts SET outcome = 'lost', ended = ?"
        " WHERE outcome IS NULL AND EXISTS"
        " (SELECT 1 FROM lines AS l"
        " WHERE l.run = attempts.run AND l.number = attempts.number AND l.batch > 0)",
        (time.time(),),
    )
    db.execute("UPDATE requests SET state = 'open', run = NULL WHERE id IN (SELECT request FROM lines)")
    db.execute(
        "UPDATE spent SET held_tokens = held_tokens - ?2, held_cost = held_cost - ?3,"
        " maybe_requests = maybe_requests + ?1, maybe_tokens = maybe_tokens + ?2,"
        " maybe_cost = maybe_cost + ?3",
        (count, int(tokens), cost),
    )
    db.execute("DELETE FROM lines WHERE batch > 0")
    return count


def live(db: sqlite3.Connection) -> list[Batch]:
    """The batches with requests whose result is not on record."""
    rows = db.execute("SELECT * FROM known_batches WHERE left_over > 0 ORDER BY id")
    return [_batch(row) for row in rows]


def _batch(row: Sequence[Any]) -> Batch:
    number, endpoint, mark, lessons, *rest = row
    return Batch(number, endpoint, mark, json.loads(lessons), *rest)


def _of_number(db: sqlite3.Connection, number: int) -> Batch:
    return _batch(db.execute("SELECT * FROM known_batches WHERE id = ?", (number,)).fetchone())


def _enroll(
    db: sqlite3.Connection, endpoint: str, mark: str, lessons: str, tickets: Sequence[Ticket]
) -> Batch:
    (number,) = db.execute(
        "INSERT INTO batches (endpoint, mark, lessons, started, total) VALUES (?, ?, ?, ?, ?) RETURNING id",
        (endpoint, mark, lessons, time.time(), len(tickets)),
    ).fetchone()
    rows = json.dumps([[t.request, t.run, t.number] for t in tickets])
    db.execute(
        "INSERT OR REPLACE INTO lines (request, batch, run, number) SELECT json_extract(value, '$[0]'), ?,"
        " json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(?)",
        (number, rows),
    )
    db.execute(
        "UPDATE requests SET state = 'batched' WHERE id IN (SELECT value FROM json_each(?))",
        (_ids(t.request for t in tickets),),
    )
    return _of_number(db, number)


def _name(db: sqlite3.Connection, number: int, file: str | None, remote: str | None) -> Batch:
    db.execute(
        "UPDATE batches SET file = coalesce(?, file), remote = coalesce(?, remote) WHERE id = ?",
        (file, remote, number),
    )
    return _of_number(db, number)


def _progress(db: sqlite3.Connection, number: int, word: str, total: int, done: int, failed: int) -> Batch:
    db.execute(
        "UPDATE batches SET word = ?, total = ?, done = ?, failed = ? WHERE id = ?",
        (word, total, done, failed, number),
    )
    return _of_number(db, number)


def _batch_of(db: sqlite3.Connection, request: int) -> Batch | None:
    row = db.execute("SELECT batch FROM lines WHERE request = ? AND batch > 0", (request,)).fetchone()
    return _of_number(db, row[0]) if row else None


def _ids(requests: Any) -> str:
    return json.dumps(list(requests))


VERBS: dict[str, Callable[[sqlite3.Connection, Any], Any]] = {
    "enroll": lambda db, what: _enroll(db, *what),
    "name": lambda db, what: _name(db, *what),
    "progress": lambda db, what: _progress(db, *what),
    "batch_of": _batch_of,
}
