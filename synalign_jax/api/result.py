"""What a finished run left, as objects."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from synalign_jax.core.spacing import evenly_spaced
from synalign_jax.evaluation.report.facts import ModelRows
from synalign_jax.llm.ledger import Ledger
from synalign_jax.pipeline.card import push_dataset
from synalign_jax.pipeline.config import Config, endpoints_of
from synalign_jax.pipeline.run import records
from synalign_jax.pipeline.stages.load import UNLABELLED
from synalign_jax.pipeline.stages.report import models_of, numbers, summary

from .html import page

if TYPE_CHECKING:
    import datasets
    import pandas as pd

_SHOWN = 5  # rows that a notebook shows


class MissingLibraryError(ImportError):
    """A library that the asked-for form needs is not installed; the message says what to install."""


class Cost(NamedTuple):
    """What the LLM was asked in all, over every start of the run and its previews.

    Attributes:
        requests: that were answered or given up.
        prompt_tokens, completion_tokens: as the endpoint counted them.
        money: in the currency of `[llm.prices]`, each endpoint at its own; None without prices.
        seconds: that all stages took.
    """

    requests: int
    prompt_tokens: int
    completion_tokens: int
    money: float | None
    seconds: float


@dataclass(frozen=True, repr=False)
class RunResult:
    """A finished run. Tables and numbers are read from its folder when they are first looked at.

    Attributes:
        folder: the run's folder; everything below lies in it.
        config: the settings.
    """

    folder: Path
    config: Config

    @classmethod
    def of(cls, config: Config) -> RunResult:
        return cls(Path(config.run.folder), config)

    @functools.cached_property
    def aligned(self) -> pa.Table:
        """The rows drawn by weight: `text`, `label` (labelled data), `weight`, and their lineage.

        `index` is a row's place in `weighted`; `demonstrations` and `nearest_real` count the few-shot rows;
        `attributes` is a JSON object as text.
        """
        return self._table("aligned")

    @functools.cached_property
    def weighted(self) -> pa.Table:
        """Every row that was made, with its weight; columns as in `aligned`.

        `weight` is what a row counts for in training where each real row counts 1, and 0 where the rows are
        not worth using; `distribution` sums to 1 and brings the rows nearest to the real ones.
        """
        return self._table("weighted")

    @functools.cached_property
    def alignment(self) -> dict[str, Any]:
        """What `align` found: distances before and after, effective sample size, certificate, by label."""
        return json.loads((self.folder / "alignment.json").read_text(encoding="utf-8"))

    @functools.cached_property
    def mixture(self) -> dict[str, Any]:
        """Whether the rows are worth training on, with what weight and gain, and the table behind it."""
        return json.loads((self.folder / "mixture.json").read_text(encoding="utf-8"))

    @functools.cached_property
    def evaluation(self) -> dict[str, Any]:
        """Distances to held-out real rows, and the students' scores with intervals."""
        return json.loads((self.folder / "evaluation.json").read_text(encoding="utf-8"))

    @functools.cached_property
    def by_model(self) -> tuple[ModelRows, ...]:
        """Rows, mean weight and share of the weights of each model that wrote; those of `distribution` where
        no rows are worth using.
        """
        return models_of(self.folder)

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"

    @functools.cached_property
    def cost(self) -> Cost:
        with Ledger(self.folder / "ledger.sqlite") as ledger:
            found = ledger.summary()
        return Cost(
            found.answered + found.dead,
            found.usage.prompt_tokens,
            found.usage.completion_tokens,
            found.cost if any(llm.prices is not None for llm in endpoints_of(self.config)) else None,
            sum(record["seconds"] for record in records(self.folder)),
        )

    @functools.cached_property
    def warnings(self) -> tuple[str, ...]:
        """What the stages noted that their user should hear."""
        return tuple(text for record in records(self.folder) for text in record["warnings"])

    def to_pandas(self, rows: Literal["aligned", "weighted"] = "aligned") -> pd.DataFrame:
        """The rows as a data frame.

        Raises:
            MissingLibraryError: pandas is not installed.
        """
        _needed("pandas")
        return self._chosen(rows).to_pandas()

    def to_dataset(self, rows: Literal["aligned", "weighted"] = "aligned") -> datasets.Dataset:
        """The rows as a Hugging Face data set.

        Raises:
            MissingLibraryError: datasets is not installed.
        """
        return _needed("datasets").Dataset(self._chosen(rows))

    def push_to_hub(
        self, repository: str, *, private: bool = True, licence: str = "other", api: Any = None
    ) -> str:
        """The aligned and weighted rows as a data set with a card on the Hugging Face hub; also in `dataset`.

        Args:
            repository: "owner/name".
            private: whether a new data set is for its owner alone.
            licence: an identifier of the hub's, as "cc-by-4.0".
            api: a `huggingface_hub.HfApi`; None is one with the user's own token.

        Returns:
            Its address.

        Raises:
            DataError: a bad name, or the hub refuses.
        """
        target = self.folder / "dataset"
        return push_dataset(self.folder, repository, target, private=private, licence=licence, api=api)

    def _chosen(self, rows: str) -> pa.Table:
        if rows not in ("aligned", "weighted"):
            raise ValueError(f"rows: {rows!r}; it is 'aligned' or 'weighted'")
        return self.aligned if rows == "aligned" else self.weighted

    def _table(self, name: str) -> pa.Table:
        table = pq.read_table(self.folder / f"{name}.parquet")
        # None may have been drawn; those that were made tell whether there are labels.
        labels = pq.read_table(self.folder / "weighted.parquet", columns=["label"])["label"]
        unlabelled = not pa.types.is_list(labels.type) and set(labels.unique().to_pylist()) <= {UNLABELLED}
        return table.drop_columns(["label"]) if unlabelled else table

    def _facts(self) -> Iterator[tuple[str, str]]:
        weighted, aligned, cost = self.weighted.num_rows, self.aligned.num_rows, self.cost
        yield "rows", f"{aligned:,} aligned, drawn from {weighted:,} weighted ones"
        yield "effective sample size", f"{self.alignment['ess']:,.0f} of {weighted:,}"
        models = dict.fromkeys(one.model for one in endpoints_of(self.config))
        money = "" if cost.money is None else f", cost {cost.money:,.4g}"
        yield (
            "LLM",
            f"{cost.requests:,} requests to {', '.join(models)}, {cost.prompt_tokens:,} prompt and"
            f" {cost.completion_tokens:,} completion tokens{money}",
        )
        yield "time", f"{cost.seconds:,.0f} s"

    def __repr__(self) -> str:
        facts = "\n".join(f"  {name}: {value}" for name, value in self._facts())
        return f"RunResult {self.folder}\n{facts}\n{summary(self.folder)}\n\n  report: {self.report}"

    def _repr_html_(self) -> str:
        return page(
            "result",
            result=self,
            facts=list(self._facts()),
            verdict=self.mixture["verdict"],
            numbers=numbers(self.folder).strip("\n"),
            # At even steps: rows lie label by label, and all labels are worth a look.
            rows=self.aligned.take(evenly_spaced(self.aligned.num_rows, _SHOWN)).to_pylist(),
        )


def _needed(library: str) -> Any:
    try:
        return importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise MissingLibraryError(
            f"{library} is not installed; run: pip install {library}   (the rows are a pyarrow table besides,"
            " and aligned.jsonl in the run's folder)",
            name=library,
        ) from error
