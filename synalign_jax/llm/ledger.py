"""Every request, its attempts, what it cost and how it ended, in one SQLite file that survives a kill."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .budget import Amount, Budget
from .protocol import ChatRequest, ChatResponse, Choice, LLMError, Usage, error_of

_FORMAT = 1
_LONGEST_RAW = 65_536  # characters of an answer that a dead letter keeps
_SCHEMA = """
CREATE TABLE runs (id INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL);
CREATE TABLE requests (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL,                    -- JSON: endpoint and every field that determines the answer
    state TEXT NOT NULL DEFAULT 'open',    -- open, answered, dead
    run INTEGER,                           -- the run that has it in flight
    attempts INTEGER NOT NULL DEFAULT 0,
    answer TEXT, kind TEXT, reason TEXT, raw TEXT   -- JSON, so that NUL and lone surrogates survive
);
CREATE INDEX ends ON requests (state, kind);
CREATE TABLE attempts (
    run INTEGER NOT NULL, number INTEGER NOT NULL, request INTEGER NOT NULL, started REAL NOT NULL,
    ended REAL,
    outcome TEXT,                          -- NULL while in flight, then answered, lost or the kind of the error
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


class LedgerError(Exception):
    """The ledger cannot be read or written; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to send one request: it is on record as in flight."""

    run: int
    number: int
    request: int
    held: Amount


@dataclass(frozen=True, slots=True)
class Known:
    """How a request ended, before: answered, or dead with its error."""

    response: ChatResponse | None
    error: LLMError | None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another run has the request in flight."""


@dataclass(frozen=True, slots=True)
class OverBudget:
    """Sending the request could pass this cap."""

    cap: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    key: str
    kind: str
    reason: str
    raw: str | None
    request: dict[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a ledger holds.

    `in_flight` requests belong to a run that is alive; `maybe_paid` attempts were cut off by a kill, a
    timeout or a lost connection, after the endpoint had them: it may have charged up to `maybe_tokens`
    and `maybe_cost` for them, which counts towards a budget but not in `usage` and `cost`.
    `failures` counts attempts by the kind of their error.
    """

    answered: int
    dead: int
    open: int
    in_flight: int
    attempts: int
    failures: dict[str, int]
    dead_by_kind: dict[str, int]
    usage: Usage
    cost: float
    maybe_paid: int
    maybe_tokens: int
    maybe_cost: float


def request_body(endpoint: str, request: ChatRequest) -> str:
    """Everything that determines the answer, as canonical ASCII JSON."""
    return json.dumps(
        [
            endpoint,
            request.model,
            [[m.role, m.content] for m in request.messages],
            {
                "max_tokens": request.max_tokens,
                "temperature": request.temperature,
                "top_p": request.top_p,
                "seed": request.seed,
                "stop": request.stop,
                "n": request.n,
                "logprobs": request.logprobs,
                "extra": dict(request.extra),
            },
            request.schema and dict(request.schema),
        ],
        sort_keys=True,
        separators=(",", ":"),
    )


def request_key(body: str) -> str:
    return hashlib.sha256(body.encode("ascii")).hexdigest()[:40]


class Ledger:
    """The record of requests at `path`; several runs may share it, also at the same time.

    Records go to a thread that writes all that has gathered as one durable transaction (WAL,
    synchronous=FULL), so a request costs a share of one fsync, and the event loop never waits for a disk.

    Raises:
        LedgerError: the file cannot be opened or written, is no ledger, or is from a newer version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._db = self._connect()
        self._run: int | None = None
        self._lock = -1
        self._number = 0
        self._queue: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._write_all, name="ledger", daemon=True)
        self._thread.start()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish the writing; what is still in flight counts as lost."""
        if not self._thread.is_alive():
            return
        self._queue.put(None)
        self._thread.join()
        if self._run is not None:
            with self._writing() as db:
                _recover(db, self._run)
            self._lock_path(self._run).unlink(missing_ok=True)
            os.close(self._lock)
        self._db.close()

    # -- what the driver asks ------------------------------------------------------------------------------

    def lookup(self, key: str) -> asyncio.Future[Known | None]:
        """How the request ended, if it did."""
        return self._submit("lookup", key)

    def begin(
        self, key: str, body: str, most: Usage, budget: Budget
    ) -> asyncio.Future[Ticket | Known | Elsewhere | OverBudget]:
        """Put the request on record as in flight, its worst cost held, unless something speaks against it."""
        held = Amount(1, most.prompt_tokens + most.completion_tokens, budget.cost(most))
        return self._submit("begin", key, body, held, budget)

    def answered(self, ticket: Ticket, response: ChatResponse, cost: float) -> asyncio.Future[None]:
        """Put the answer on record; it is durable when the future is done."""
        usage = response.usage
        choices = [[choice.text, choice.finish_reason, choice.logprobs] for choice in response.choices]
        answer = json.dumps([choices, [usage.prompt_tokens, usage.completion_tokens], response.model])
        return self._submit("finish", _End(ticket, "answered", usage, cost, False, "answered", answer))

    def failed(self, ticket: Ticket, error: LLMError, cost: float, *, dead: bool) -> asyncio.Future[None]:
        """Put a failed attempt on record, and with `dead` its request among the dead letters."""
        raw = None if error.raw is None else json.dumps(error.raw[:_LONGEST_RAW])
        maybe = error.paid and error.usage is None
        state = "dead" if dead else "open"
        reason = json.dumps(str(error))
        return self._submit(
            "finish", _End(ticket, error.kind, error.usage or Usage(), cost, maybe, state, None, reason, raw)
        )

    # -- what a person asks --------------------------------------------------------------------------------

    def summary(self) -> Summary:
        with self._reading() as db:
            states = dict(db.execute("SELECT state, count(*) FROM requests GROUP BY state"))
            alive = [
                run for (run,) in db.execute("SELECT id FROM runs WHERE ended IS NULL") if self._alive(run)
            ]
            flying = db.execute(
                "SELECT run, count(*) FROM attempts WHERE outcome IS NULL GROUP BY run"
            ).fetchall()
            orphans = db.execute(
                f"SELECT count(*), total(held_tokens), total(held_cost) FROM attempts WHERE outcome IS NULL"
                f" AND run NOT IN ({','.join(map(str, alive))})"  # noqa: S608 - integers
            ).fetchone()
            outcomes = dict(
                db.execute(
                    "SELECT outcome, count(*) FROM attempts WHERE outcome IS NOT NULL GROUP BY outcome"
                )
            )
            kinds = dict(db.execute("SELECT kind, count(*) FROM requests WHERE state = 'dead' GROUP BY kind"))
            spent = db.execute("SELECT * FROM spent").fetchone()
        requests, prompt, completion, cost, _, _, maybe, maybe_tokens, maybe_cost = spent
        in_flight = sum(count for run, count in flying if run in alive)
        return Summary(
            answered=states.get("answered", 0),
            dead=states.get("dead", 0),
            open=states.get("open", 0) - in_flight,
            in_flight=in_flight,
            attempts=requests,
            failures={kind: count for kind, count in sorted(outcomes.items()) if kind != "answered"},
            dead_by_kind=dict(sorted(kinds.items())),
            usage=Usage(prompt, completion),
            cost=cost,
            maybe_paid=maybe + orphans[0],
            maybe_tokens=int(maybe_tokens + orphans[1]),
            maybe_cost=maybe_cost + orphans[2],
        )

    def dead_letters(self, kind: str | None = None) -> Iterator[DeadLetter]:
        """The requests that were given up, in the order they were first asked."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT key, kind, reason, raw, body, attempts FROM requests WHERE state = 'dead' AND (?1 IS NULL OR kind = ?1) ORDER BY id",
                (kind,),
            )
            for key, kind_, reason, raw, body, attempts in rows:
                yield DeadLetter(
                    key, kind_, json.loads(reason), raw and json.loads(raw), _request_fields(body), attempts
                )

    def revive(self, kind: str | None = None) -> int:
        """Open the dead letters (of one kind) again, so that the next run asks for them; returns how many."""
        with self._writing() as db:
            return db.execute(
                "UPDATE requests SET state = 'open', kind = NULL, reason = NULL, raw = NULL"
                " WHERE state = 'dead' AND (?1 IS NULL OR kind = ?1)",
                (kind,),
            ).rowcount

    # -- files and locks -----------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    _create(db)
                elif version != _FORMAT:
                    raise LedgerError(
                        f"{self.path}: written by a newer synalign-jax (ledger format {version}, this one reads"
                        f" {_FORMAT}); upgrade synalign-jax, or use another run folder"
                    )
            except BaseException:
                db.close()
                raise
            return db

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            hint = "check that the folder exists, is writable and has room"
            if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
                hint = "the file is no ledger; use another path"
            raise LedgerError(f"{self.path}: {error}; {hint}. Nothing that was recorded is lost") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._explained(), self._guard:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection of the caller's own, so that a long look does not hold up the writer."""
        with self._explained(), closing(sqlite3.connect(self.path, timeout=60)) as db:
            yield db

    def _lock_path(self, run: int) -> Path:
        return self.path.with_name(f"{self.path.name}.run-{run}")

    def _alive(self, run: int) -> bool:
        """Whether the process that opened the run still lives: it holds a lock that dies with it."""
        if run == self._run:
            return True
        try:
            descriptor = os.open(self._lock_path(run), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _open_run(self, db: sqlite3.Connection) -> int:
        """Begin a run within the caller's transaction, and take back what killed runs left in flight."""
        for (run,) in db.execute("SELECT id FROM runs WHERE ended IS NULL").fetchall():
            if not self._alive(run):
                _recover(db, run)
                self._lock_path(run).unlink(missing_ok=True)
        run = db.execute("INSERT INTO runs (started) VALUES (?) RETURNING id", (time.time(),)).fetchone()[0]
        self._lock = os.open(self._lock_path(run), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return run

    # -- the writing thread --------------------------------------------------------------------------------

    def _submit(self, verb: str, *arguments: Any) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        self._queue.put(_Operation(verb, arguments, future))
        return future

    def _write_all(self) -> None:
        """Take whatever has gathered, write it as one transaction, answer; until the ledger is closed."""
        while True:
            batch = [self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get())
            last = None in batch
            wanted = [item for item in batch if item is not None and not item.future.cancelled()]
            try:
                answers: list[Any] = self._write(wanted)
            except LedgerError as error:
                answers = [error] * len(wanted)
            for loop in {item.future.get_loop() for item in wanted}:
                mine = [
                    (i.future, a) for i, a in zip(wanted, answers, strict=True) if i.future.get_loop() is loop
                ]
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_resolve, mine)
            if last:
                return

    def _write(self, batch: list[_Operation]) -> list[Any]:
        answers: list[Any] = [None] * len(batch)
        of = {
            verb: [i for i, item in enumerate(batch) if item.verb == verb]
            for verb in ("finish", "begin", "lookup")
        }
        if of["finish"] or of["begin"]:
            with self._writing() as db:
                if of["finish"]:
                    _finish(db, [batch[i].arguments for i in of["finish"]])
                if of["begin"]:
                    for i, answer in zip(
                        of["begin"], self._begin(db, [batch[i].arguments for i in of["begin"]]), strict=True
                    ):
                        answers[i] = answer
        if of["lookup"]:
            with self._explained():
                found = _find(self._db, [batch[i].arguments[0] for i in of["lookup"]])
            for i in of["lookup"]:
                answers[i] = _known(*found[batch[i].arguments[0]][2:])
        return answers

    def _begin(self, db: sqlite3.Connection, wanted: list[tuple[str, str, Amount, Budget]]) -> list[Any]:
        if self._run is None:
            self._run = self._open_run(db)
        db.execute(
            "INSERT INTO requests (key, body)"
            " SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?) WHERE true"
            " ON CONFLICT (key) DO NOTHING",
            (json.dumps([item[:2] for item in wanted]),),
        )
        found = _find(db, [item[0] for item in wanted])
        for run in {row[1] for row in found.values()} - {None}:
            if not self._alive(run):
                _recover(db, run)
                found |= _find(db, [key for key, row in found.items() if row[1] == run])
        spent = Amount(
            *db.execute(
                "SELECT requests, prompt_tokens + completion_tokens + held_tokens + maybe_tokens,"
                " cost + held_cost + maybe_cost FROM spent"
            ).fetchone()
        )
        answers, tickets = [], []
        for key, _, held, budget in wanted:
            request, run, state, *end = found[key]
            known = _known(state, *end)
            cap = (spent + held).passes(budget)
            if known:
                answers.append(known)
            elif run is not None:
                answers.append(Elsewhere())
            elif cap:
                answers.append(OverBudget(cap))
            else:
                self._number += 1
                answers.append(Ticket(self._run, self._number, request, held))
                tickets.append(answers[-1])
                spent += held
                found[key][1] = self._run
        self._send_off(db, tickets)
        return answers

    def _send_off(self, db: sqlite3.Connection, tickets: list[Ticket]) -> None:
        db.execute(
            "UPDATE requests SET run = ?, attempts = attempts + 1 WHERE id IN (SELECT value FROM json_each(?))",
            (self._run, json.dumps([ticket.request for ticket in tickets])),
        )
        db.execute(
            "INSERT INTO attempts (run, number, request, started, held_tokens, held_cost)"
            " SELECT ?, json_extract(value, '$[0]'), json_extract(value, '$[1]'), ?, json_extract(value, '$[2]'),"
            " json_extract(value, '$[3]') FROM json_each(?)",
            (
                self._run,
                time.time(),
                json.dumps([[t.number, t.request, t.held.tokens, t.held.cost] for t in tickets]),
            ),
        )
        db.execute(
            "UPDATE spent SET requests = requests + ?, held_tokens = held_tokens + ?, held_cost = held_cost + ?",
            (len(tickets), sum(t.held.tokens for t in tickets), sum(t.held.cost for t in tickets)),
        )


@dataclass(slots=True)
class _Operation:
    verb: str
    arguments: tuple[Any, ...]
    future: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _End:
    """How an attempt ended."""

    ticket: Ticket
    outcome: str
    usage: Usage
    cost: float
    maybe_paid: bool
    state: str
    answer: str | None = None
    reason: str | None = None
    raw: str | None = None


def _resolve(answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, answer in answers:
        if future.cancelled():
            continue
        if isinstance(answer, LedgerError):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def _create(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    (version,) = db.execute("PRAGMA user_version").fetchone()  # another process may have been first
    if version == 0:
        for statement in _SCHEMA.split(";")[:-1]:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {_FORMAT}")
    db.execute("COMMIT")


def _find(db: sqlite3.Connection, keys: list[str]) -> dict[str, list[Any]]:
    """For each key: id, run, state, answer, kind, reason, raw. One row comes back, so SQLite is called once."""
    (rows,) = db.execute(
        "SELECT json_group_array(json_array(wanted.value, r.id, r.run, r.state, r.answer, r.kind, r.reason, r.raw))"
        " FROM json_each(?) AS wanted LEFT JOIN requests AS r ON r.key = wanted.value",
        (json.dumps(keys),),
    ).fetchone()
    return {key: rest for key, *rest in json.loads(rows)}


def _known(state: str | None, answer: str | None, kind: str, reason: str, raw: str | None) -> Known | None:
    if state == "answered" and answer is not None:
        choices, usage, model = json.loads(answer)
        return Known(
            ChatResponse(
                tuple(Choice(text, end, lp and tuple(lp)) for text, end, lp in choices), Usage(*usage), model
            ),
            None,
        )
    if state == "dead":
        return Known(None, error_of(kind, json.loads(reason), raw=raw and json.loads(raw)))
    return None


def _finish(db: sqlite3.Connection, ends: list[tuple[_End]]) -> None:
    rows = []
    for (end,) in ends:
        ticket, usage = end.ticket, end.usage
        rows.append(
            [
                ticket.run,
                ticket.number,
                ticket.request,
                end.outcome,
                usage.prompt_tokens,
                usage.completion_tokens,
            ]
            + [end.cost, end.state, end.answer, end.reason, end.raw]
        )
    packed = json.dumps(rows)
    field = "json_extract(value, '$[{}]')".format
    db.execute(
        f"UPDATE attempts SET ended = ?, outcome = {field(3)}, prompt_tokens = {field(4)},"
        f" completion_tokens = {field(5)}, cost = {field(6)}"
        f" FROM json_each(?) WHERE run = {field(0)} AND number = {field(1)}",
        (time.time(), packed),
    )
    db.execute(
        f"UPDATE requests SET run = NULL, state = {field(7)}, answer = {field(8)}, kind = {field(3)},"
        f" reason = {field(9)}, raw = {field(10)} FROM json_each(?) WHERE requests.id = {field(2)}",
        (packed,),
    )
    maybe = [end.ticket.held for (end,) in ends if end.maybe_paid]
    held = [end.ticket.held for (end,) in ends]
    db.execute(
        "UPDATE spent SET prompt_tokens = prompt_tokens + ?, completion_tokens = completion_tokens + ?,"
        " cost = cost + ?, held_tokens = held_tokens - ?, held_cost = held_cost - ?,"
        " maybe_requests = maybe_requests + ?, maybe_tokens = maybe_tokens + ?, maybe_cost = maybe_cost + ?",
        (
            sum(end.usage.prompt_tokens for (end,) in ends),
            sum(end.usage.completion_tokens for (end,) in ends),
            sum(end.cost for (end,) in ends),
            sum(amount.tokens for amount in held),
            sum(amount.cost for amount in held),
            len(maybe),
            sum(amount.tokens for amount in maybe),
            sum(amount.cost for amount in maybe),
        ),
    )


def _recover(db: sqlite3.Connection, run: int) -> None:
    """End a run that is over: what it left in flight is open again, and may have been paid for."""
    unfinished = "FROM attempts WHERE run = ? AND outcome IS NULL"
    count, tokens, cost = db.execute(
        f"SELECT count(*), total(held_tokens), total(held_cost) {unfinished}", (run,)
    ).fetchone()
    db.execute(f"UPDATE requests SET run = NULL WHERE id IN (SELECT request {unfinished})", (run,))
    db.execute(
        "UPDATE attempts SET outcome = 'lost', ended = ? WHERE run = ? AND outcome IS NULL",
        (time.time(), run),
    )
    db.execute(
        "UPDATE spent SET held_tokens = held_tokens - ?2, held_cost = held_cost - ?3,"
        " maybe_requests = maybe_requests + ?1, maybe_tokens = maybe_tokens + ?2, maybe_cost = maybe_cost + ?3",
        (count, int(tokens), cost),
    )
    db.execute("UPDATE runs SET ended = ? WHERE id = ?", (time.time(), run))


def _request_fields(body: str) -> dict[str, Any]:
    endpoint, model, messages, parameters, schema = json.loads(body)
    return {"endpoint": endpoint, "model": model, "messages": messages, "schema": schema} | parameters
