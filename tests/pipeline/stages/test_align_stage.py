import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synalign_jax.mixing.mix import unjudged
from synalign_jax.mixing.mixture import Mixture
from synalign_jax.pipeline.config import Config
from synalign_jax.pipeline.config_file import parse_config
from synalign_jax.pipeline.data.fields import Field, Fields
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.loop.student import FAILS, student_of
from synalign_jax.pipeline.progress import Silent
from synalign_jax.pipeline.run import STAGES
from synalign_jax.pipeline.stages import align, sorted_rows
from synalign_jax.pipeline.stages.generate import REJECTED, SYNTHETIC

REAL, MADE = 60, 240


class Folder:
    """A run folder as stage generate leaves it: weak labels, sorted by a student of the real rows."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, **judge: Any) -> None:
        rng = np.random.default_rng(0)
        self.config = self._config(root, judge)
        self.real, self.labels = self._rows(rng, REAL, 0.4)
        vectors, asked = self._rows(rng, MADE, 0.1)
        student = student_of(self.config, self.real, self.labels)
        assert student is not None
        found = student.verdicts([{"label": label} for label in asked], vectors)
        self.fails = np.array([reason is not None for reason, _ in found])
        relabel = self.config.judge.on_failure == "relabel"
        self.keeps = np.ones(MADE, bool) if relabel else ~self.fails
        labels = [
            better if relabel and better else label for label, (_, better) in zip(asked, found, strict=True)
        ]
        self.vectors, self.asked, self.now = vectors, np.array(asked), np.array(labels)
        rows = [
            {"text": f"row {i}", "label": labels[i], "asked_label": asked[i], "cluster": i % 4}
            | {"demonstrations": [i % REAL, (i + 7) % REAL], "reason": FAILS}
            for i in range(MADE)
        ]
        kept = [row for row, keeps in zip(rows, self.keeps, strict=True) if keeps]
        out = [row for row, keeps in zip(rows, self.keeps, strict=True) if not keeps]
        other = {**rows[0], "text": "another reason", "reason": "breaks off"}
        pq.write_table(pa.Table.from_pylist(kept, SYNTHETIC), root / "synthetic.parquet")
        pq.write_table(pa.Table.from_pylist([other, *out], REJECTED), root / "rejected.parquet")
        pq.write_table(pa.table({"label": self.labels}), root / "few_shot.parquet")
        np.save(root / "real_vectors.npy", self.real)
        np.save(root / "synthetic_vectors.npy", vectors[self.keeps])
        monkeypatch.setattr(
            sorted_rows,
            "vectors_of",
            lambda _view, _tools, texts, _: vectors[[int(text[4:]) for text in texts]],
        )
        self.view = StageView(root, next(stage for stage in STAGES if stage.name == "align"))
        self.tools: Any = SimpleNamespace(reporter=Silent())

    @staticmethod
    def _rows(rng: np.random.Generator, count: int, apart: float) -> tuple[np.ndarray, list[str]]:
        codes = np.arange(count) % 2
        x = rng.normal(size=(count, 12)) + np.where(codes[:, None], apart, -apart)
        return x.astype(np.float32), [f"label {code}" for code in codes]

    @staticmethod
    def _config(root: Path, judge: dict[str, Any]) -> Config:
        llm = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
        source = {"source": "rotten_tomatoes", "multi_label": judge.pop("multi_label", False)}
        return parse_config({"run": {"folder": str(root)}, "data": source, "llm": llm, "judge": judge})


@pytest.mark.parametrize("how", ["drop", "relabel"])
def test_rows_are_sorted_anew_by_a_student_of_the_real_rows_that_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    folder = Folder(tmp_path, monkeypatch, on_failure=how)
    rows = sorted_rows.sorted_rows(folder.view, folder.config, folder.tools, folder.vectors[folder.keeps])
    assert rows.kept == folder.keeps.sum()
    assert len(rows.labels) == MADE + (folder.now != folder.asked).sum()
    all_rows = np.arange(len(rows.labels))
    every = rows.selected(folder.config, folder.real, folder.labels, np.ones(REAL, bool), all_rows)
    assert np.flatnonzero(every).tolist() == list(range(rows.kept))
    seen = np.arange(REAL) >= 12
    student = student_of(folder.config, folder.real[seen], folder.labels[12:])
    assert student is not None
    wanted = set()
    found = student.verdicts([{"label": label} for label in folder.asked], folder.vectors)
    for i, (reason, better) in enumerate(found):
        if i % REAL >= 12 and (reason is None or how == "relabel"):
            wanted.add((i, folder.asked[i] if reason is None else better))
    place = {vector.tobytes(): i for i, vector in enumerate(folder.vectors)}
    there = rows.selected(folder.config, folder.real, folder.labels, seen, all_rows)
    some = all_rows[5::3]
    of_some = rows.selected(folder.config, folder.real, folder.labels, seen, some)
    np.testing.assert_array_equal(of_some, there[some])
    vectors = np.asarray(rows.vectors)
    left = {(place[vectors[i].tobytes()], rows.labels[i]) for i in np.flatnonzero(there)}
    assert left <= wanted
    # A row that a student of all real rows leaves alone has no second label here.
    missing = {i for i, _ in wanted - left}
    assert not missing if how == "drop" else all(not folder.fails[i] for i in missing)
    assert len(left) > 0.9 * len(wanted)


def test_a_mixture_is_chosen_among_all_rows_that_were_sorted_and_weighs_those_that_were_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, heard = Folder(tmp_path, monkeypatch), {}

    def mixed(*sides: Any, **settings: Any) -> Mixture:
        heard.update(settings, vectors=sides[2])
        return unjudged(np.arange(1.0, MADE + 1), REAL)

    monkeypatch.setattr(align, "mix", mixed)
    align.run(folder.view, folder.config, folder.tools)
    weights = np.load(tmp_path / "weights.npy")
    assert heard["vectors"].shape == (MADE, 12)
    np.testing.assert_array_equal(heard["vectors"][: len(weights)], folder.vectors[folder.keeps])
    assert (
        np.count_nonzero(heard["select"](np.ones(REAL, bool), np.arange(MADE)))
        == len(weights)
        == folder.keeps.sum()
    )
    assert np.all(np.diff(weights) > 0)


def test_rows_of_several_labels_are_judged_label_by_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, heard = Folder(tmp_path, monkeypatch, multi_label=True), {}
    combinations = {"label 0": "a", "label 1": "a | b"}
    for name in ("few_shot", "synthetic", "rejected"):
        rows = pq.read_table(tmp_path / f"{name}.parquet")
        for column in {"label", "asked_label"} & set(rows.column_names):
            renamed = [combinations[label] for label in rows[column].to_pylist()]
            rows = rows.set_column(rows.column_names.index(column), column, pa.array(renamed, pa.string()))
        pq.write_table(rows, tmp_path / f"{name}.parquet")

    def mixed(real: Any, real_labels: Any, pool: Any, pool_labels: Any, **settings: Any) -> Mixture:
        heard.update(settings, real=real_labels, pool=pool_labels)
        return unjudged(np.ones(MADE), REAL)

    monkeypatch.setattr(align, "mix", mixed)
    align.run(folder.view, folder.config, folder.tools)
    assert set(heard["real"]) == set(heard["pool"]) == {("a",), ("a", "b")}
    # Which rows are there is asked of combinations, as they were asked for.
    assert heard["select"](np.arange(REAL) >= 12, np.arange(40)).any()


def test_what_no_student_can_judge_is_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path, monkeypatch)
    for name in ("few_shot", "synthetic"):
        rows = pq.read_table(tmp_path / f"{name}.parquet")
        blank = pa.array([""] * len(rows), pa.string())
        pq.write_table(
            rows.set_column(rows.column_names.index("label"), "label", blank), tmp_path / f"{name}.parquet"
        )
    fields = Fields("{messages}", (Field("messages", "messages", "", False, ("user", "assistant")),))
    (tmp_path / "fields.json").write_text(json.dumps(fields.plain()), encoding="utf-8")
    monkeypatch.setattr(
        align,
        "sorted_rows",
        lambda _view, _config, _tools, made: sorted_rows.SortedRows(
            made,
            pa.table({"label": [""] * len(made), "cluster": [0] * len(made)}),
            np.zeros(len(made), int),
            len(made),
        ),
    )
    align.run(folder.view, folder.config, folder.tools)
    found = json.loads((tmp_path / "mixture.json").read_text(encoding="utf-8"))
    assert found["decision"] == "unknown"
    assert "Whether these conversations make a language model better is not known" in found["verdict"]
    assert "they have no labels" in found["verdict"]
    assert "train a language model on the 60 real rows alone" in found["verdict"]
