"""Rows of a Ray data set -> answers of an LLM, several workers asking, one ledger for all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from synalign_jax.api.wiring import open_llm
from synalign_jax.llm.budget import Budget
from synalign_jax.llm.driver import Job, Outcome, stream
from synalign_jax.llm.limits import Limits
from synalign_jax.llm.protocol import LLM, BudgetReached, ChatRequest, Message
from synalign_jax.pipeline.asking.ask import budget, limits
from synalign_jax.pipeline.config import ConfigError, Llm

from .connect import check_workers, connected, explained
from .keep import FarLedger, this_machine

if TYPE_CHECKING:
    from ray.data import Dataset  # pyright: ignore[reportMissingImports]

_ROWS = 256
Put = Callable[[Mapping[str, Any]], ChatRequest]


def ask(
    rows: Dataset,
    llm: Llm,
    *,
    ledger: str | Path,
    workers: int,
    request: Put | None = None,
    prompt: str = "prompt",
    max_tokens: int = 512,
) -> Dataset:
    """Add the columns `answer` and `error`: what the LLM said to each row, or why it did not.

    The ledger lies on this machine and every worker reaches it. An answer on record is not paid again, by
    whichever worker, and the caps of `llm` hold for all together: rows that these leave have them as their
    error. At the death of a worker what it had in flight is asked again, as after a kill on one machine.

    Args:
        rows: a row a request.
        llm: what [llm] of a run says; its key is read from the environment of each worker. `concurrency` and
            the rates are those of all workers together.
        ledger: the SQLite file, on a disk of this machine; made where there is none.
        workers: processes that ask.
        request: makes the request of a row, whose model is that of `llm`; None asks what `prompt` holds.
        prompt: the column of what is asked, where `request` is None.
        max_tokens: of an answer, where `request` is None.

    Raises:
        ClusterError: no ray, or no cluster.
        ConfigError: settings that need one process: batches, models that workers would load,
            fewer requests at a time than workers.
        What ends a run (Misconfigured, LedgerError) is heard when the data set is computed.
    """
    check_workers(workers)
    if llm.kind != "openai" or llm.batch:
        raise ConfigError("engine ray: asks endpoints of kind 'openai', without batch; have a model served")
    if llm.concurrency < workers:
        raise ConfigError(f"workers: {workers}, and the endpoint takes {llm.concurrency} requests at a time")
    ray = connected()
    path = Path(ledger).expanduser().absolute()
    with explained():
        return rows.map_batches(
            _Asking,
            fn_constructor_args=(
                llm,
                (path, this_machine(ray)),
                _share(limits(llm), workers),
                request or _Plain(llm, prompt, max_tokens),
            ),
            batch_size=_ROWS,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers),
        )


def _share(whole: Limits, workers: int) -> Limits:
    """One worker's part of what all may do."""

    def part(rate: float | None) -> float | None:
        return None if rate is None else rate / workers

    return replace(
        whole,
        concurrency=whole.concurrency // workers,
        requests_per_minute=part(whole.requests_per_minute),
        tokens_per_minute=part(whole.tokens_per_minute),
    )


class _Plain:
    """A request that asks what a column holds."""

    def __init__(self, llm: Llm, column: str, max_tokens: int) -> None:
        self._llm, self._column, self._max_tokens = llm, column, max_tokens

    def __call__(self, row: Mapping[str, Any]) -> ChatRequest:
        return ChatRequest(
            (Message("user", row[self._column]),),
            self._llm.model,
            max_tokens=self._max_tokens,
            temperature=self._llm.temperature,
            top_p=self._llm.top_p,
            extra=self._llm.extra,
        )


class _Asking:
    """A worker: its connection and its way to the ledger stay open from block to block."""

    def __init__(self, llm: Llm, place: tuple[Path, str], limits: Limits, request: Put) -> None:
        self._limits, self._request, self._budget = limits, request, budget(llm)
        self._ledger = FarLedger(*place)
        self._runner, self._open = asyncio.Runner(), contextlib.AsyncExitStack()
        self._llm: LLM = self._runner.run(self._open.enter_async_context(open_llm(llm)))

    def __call__(self, rows: pa.Table) -> pa.Table:
        jobs = [Job(self._request(row), tag) for tag, row in enumerate(rows.to_pylist())]
        answers, errors = self._runner.run(self._ask(jobs, self._budget))
        return rows.append_column("answer", pa.array(answers, pa.large_string())).append_column(
            "error", pa.array(errors, pa.large_string())
        )

    async def _ask(self, jobs: list[Job], cap: Budget) -> tuple[list[str | None], list[str | None]]:
        ends: list[Outcome | None] = [None] * len(jobs)
        left = None
        try:
            async for outcome in stream(
                self._llm, jobs, ledger=self._ledger, limits=self._limits, budget=cap
            ):
                ends[outcome.job.tag] = outcome
        except BudgetReached as reached:
            left = str(reached)
        answers = [end.response.text if end and end.response else None for end in ends]
        errors = [left if end is None else None if end.error is None else str(end.error) for end in ends]
        return answers, errors
