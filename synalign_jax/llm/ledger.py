"""Every request, its attempts, what it cost and how it ended, in one SQLite file that survives a kill."""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from . import tables
from .batches import register
from .records import DeadLetter, Elsewhere, Entries, Order, OverBudget, Summary, Ticket, deliver


class LedgerError(Exception):
    """The ledger cannot be read or written; the message says why and what to do."""


class Ledger(Entries):
    """The record of requests at `path`; several runs may share it, also at the same time.

    Records go to a thread that writes all that has gathered as one durable transaction (WAL,
    synchronous=FULL), so a request costs a share of one fsync, and the event loop never waits for a disk.

    Raises:
        LedgerError: the file cannot be opened or written, is no ledger, or is from a newer version.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._db = self._connect()
        # One use of the connection at a time: beside another thread's, a failed statement can pass for a good
        # one, because SQLite keeps one last error a connection.
        self._turn = threading.Lock()
        self._run: int | None = None
        self._run_lock = -1
        self._number = 0
        self._queue: queue.SimpleQueue[list[Order] | None] = queue.SimpleQueue()
        self._gathering: dict[asyncio.AbstractEventLoop, list[Order]] = {}  # not in the queue yet
        self._writer = threading.Thread(target=self._write_on, name="ledger", daemon=True)
        self._writer.start()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what has gathered; a request that is still in flight counts as lost."""
        if not self._writer.is_alive():
            return
        for orders in list(self._gathering.values()):
            self._queue.put(orders)
        self._queue.put(None)
        self._writer.join()
        try:
            if self._run is not None:
                with self._transaction() as db:
                    tables.recover(db, self._run)
        finally:
            if self._run_lock >= 0:
                self._lock_path(self._run).unlink(missing_ok=True)
                os.close(self._run_lock)
            self._db.close()

    def holds_ends(self) -> bool:
        with self._reading() as db:
            return tables.holds_ends(db)

    # -- for people ----------------------------------------------------------------------------------------

    def summary(self) -> Summary:
        with self._reading() as db:
            return tables.summary(db, [run for run in tables.open_runs(db) if self._alive(run)])

    def seconds_an_answer(self) -> tuple[float, float] | None:
        """The quartiles of the time that answers took; None before there is one."""
        with self._reading() as db:
            return tables.seconds_an_answer(db)

    def bodies(self) -> Iterator[dict[str, Any]]:
        """What the answered requests were, as `request_body` has it, in the order they were first asked."""
        with self._reading() as db:
            yield from tables.answered_bodies(db)

    def dead_letters(self, kind: str | None = None) -> Iterator[DeadLetter]:
        """The requests that were given up (for one kind of reason), in the order they were first asked."""
        with self._reading() as db:
            for key in tables.dead_letters(db, kind):
                yield tables.dead_letter(db, key)

    def revive(self, kind: str | None = None) -> int:
        """Open the dead letters (of one kind) again: the next run asks for them. Returns how many."""
        with self._transaction() as db:
            return tables.revive(db, kind)

    def batches(self) -> list[register.Batch]:
        """The batches with requests whose result is not on record."""
        with self._reading() as db:
            return register.live(db)

    def forget_batches(self) -> int:
        """Give up all batches: their requests are open again. Returns how many those are."""
        with self._transaction() as db:
            return register.forget(db)

    # -- the file ------------------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
            try:
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version > tables.FORMAT:
                    raise LedgerError(
                        f"{self.path}: written by a newer synalign-jax (ledger format {version}, this one"
                        f" reads {tables.FORMAT}); upgrade synalign-jax, or use another run folder"
                    )
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                if version < tables.FORMAT:
                    tables.create(db)
            except BaseException:
                db.close()
                raise
            return db

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            hint = "check that the folder is writable and that the disk has room"
            if "not a database" in str(error):
                hint = "this file is something else; use another path"
            raise LedgerError(f"{self.path}: {error}; {hint}. What was recorded before is safe") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._explained(), self._turn:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection of the reader's own, so that a long look does not hold up the writer."""
        with self._explained(), closing(sqlite3.connect(self.path, timeout=60)) as db:
            yield db

    # -- runs ----------------------------------------------------------------------------------------------

    def _lock_path(self, run: int | None) -> Path:
        return self.path.with_name(f"{self.path.name}.run-{run}")

    def _alive(self, run: int) -> bool:
        """Whether the process that opened the run lives: it holds a lock that dies with it."""
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

    def _recover(self, db: sqlite3.Connection, run: int) -> None:
        tables.recover(db, run)
        self._lock_path(run).unlink(missing_ok=True)

    def _open_run(self, db: sqlite3.Connection) -> int:
        """Take back what killed runs left in flight, and begin a run of our own."""
        for run in tables.open_runs(db):
            if not self._alive(run):
                self._recover(db, run)
        (run,) = db.execute("INSERT INTO runs (started) VALUES (?) RETURNING id", (time.time(),)).fetchone()
        self._run_lock = os.open(self._lock_path(run), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._run_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return run

    # -- the writing thread --------------------------------------------------------------------------------

    def order(self, verb: str, argument: Any) -> asyncio.Future[Any]:
        """Have the writing thread do something."""
        loop = asyncio.get_running_loop()
        order = Order(verb, argument, loop.create_future())
        if (gathering := self._gathering.get(loop)) is not None:
            gathering.append(order)
        else:  # what else this turn of the loop orders goes with it: the thread is woken once
            self._gathering[loop] = [order]
            loop.call_soon(self._hand_over, loop)
        return order.future

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        self._queue.put(self._gathering.pop(loop))

    def _write_on(self) -> None:
        """Take whatever has gathered, write it as one transaction, answer, until the ledger is closed."""
        open_ = True
        while open_:
            gathered = [self._queue.get()]
            while not self._queue.empty():
                gathered.append(self._queue.get())
            open_ = None not in gathered
            orders = [order for given in gathered for order in given or () if not order.future.cancelled()]
            try:
                self._write(orders)
            except Exception as error:  # whatever it is, whoever waits must hear of it
                for order in orders:
                    order.answer = error
            for loop in {order.future.get_loop() for order in orders}:
                mine = [order for order in orders if order.future.get_loop() is loop]
                if not loop.is_closed():
                    loop.call_soon_threadsafe(deliver, mine)

    def _write(self, orders: list[Order]) -> None:
        finish = [order for order in orders if order.verb == "finish"]
        left = [order.argument for order in orders if order.verb == "let_go"]
        begin = [order for order in orders if order.verb == "begin"]
        lookup = [order for order in orders if order.verb == "lookup"]
        rare = [order for order in orders if order.verb in _RARE]
        if finish or begin or rare or left:
            with self._transaction() as db:
                batched = register.any_lines(db)
                if finish:
                    endings = [order.argument for order in finish]
                    if batched:
                        register.close(db, [ending.ticket.request for ending in endings])
                    tables.finish(db, endings)
                for order in rare:  # after the ends, which it may open again
                    order.answer = _RARE[order.verb](db, order.argument)
                if left:
                    tables.take_back(db, register.let_go(db, left))
                if begin:
                    self._begin(db, begin, batched)
        if lookup:
            with self._explained(), self._turn:
                found = tables.find(self._db, [order.argument for order in lookup])
            for order in lookup:
                order.answer = found[order.argument][2]

    def _begin(self, db: sqlite3.Connection, orders: list[Order], batched: bool) -> None:
        if self._run is None:
            self._run = self._open_run(db)
        keys = {order.argument[0] for order in orders}
        tables.add(db, [order.argument[:2] for order in orders])
        found = tables.find(db, keys)
        killed = [run for run in {run for _, run, _ in found.values() if run} if not self._alive(run)]
        for run in killed:
            self._recover(db, run)
        if killed:
            found = tables.find(db, keys)
        spent = tables.spent(db)
        inside = (
            register.standing(db, [request for request, _, _ in found.values() if request]) if batched else {}
        )
        taken, tickets, resumed, gathered = set(), [], [], []
        for order in orders:
            key, _, held, budget, gathers = order.argument
            request, run, end = found[key]
            assert request is not None
            if end:
                order.answer = end
            elif run is not None or key in taken:
                order.answer = Elsewhere()
            elif request in inside:
                order.answer = inside[request]
                resumed.append(order.answer)
                taken.add(key)
            elif cap := (spent + held).passes(budget):
                order.answer = OverBudget(cap)
            else:
                self._number += 1
                order.answer = Ticket(self._run, self._number, request, held)
                tickets.append(order.answer)
                gathered += [order.answer] if gathers else []
                taken.add(key)
                spent += held
        tables.send_off(db, self._run, tickets)
        if resumed:
            register.take_over(db, self._run, resumed)
        if gathered:
            register.gather(db, gathered)


_RARE: dict[str, Callable[[sqlite3.Connection, Any], Any]] = {
    "reopen": tables.reopen,
    "lessons": lambda db, of: tables.lessons(db, *of),
    "learn": lambda db, what: tables.learn(db, *what),
    **register.VERBS,
}
