"""The report for arrays and files."""

from pathlib import Path

import jax
import numpy as np
import pytest

import synalign_jax as sa

KEY = jax.random.key(0)
JUDGED = "Is it like the real text?"


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(0.5, 1, (40, 3)).astype("f4"), rng.normal(0, 1, (90, 3)).astype("f4")


def test_an_alignment_is_judged_and_rows_are_listed(rows, tmp_path: Path) -> None:
    found = sa.align(*rows, key=KEY)
    texts = [f"<b>text {i}</b>" for i in range(90)]
    path = sa.report(
        rows[0], rows[1], found, key=KEY, out=tmp_path / "r.html", pool_texts=texts, title="My <pool>"
    )
    page = path.read_text(encoding="utf-8")
    assert JUDGED in page
    assert "My &lt;pool&gt;" in page
    assert "<b>text" not in page
    assert "&lt;b&gt;text" in page


def test_weights_from_elsewhere_are_shown_and_not_judged(rows, tmp_path: Path) -> None:
    np.save(tmp_path / "real.npy", rows[0])
    np.save(tmp_path / "pool.npy", rows[1])
    weights = np.ones(90)
    path = sa.report(
        tmp_path / "real.npy", str(tmp_path / "pool.npy"), weights, key=KEY, out=tmp_path / "r.html"
    )
    page = path.read_text(encoding="utf-8")
    assert JUDGED not in page
    assert "not judged here" in page
    assert "Where does it lie?" in page


def test_what_cannot_be_told_of_is_named(rows, tmp_path: Path) -> None:
    real, pool = rows
    out = tmp_path / "r.html"
    bad = pool.copy()
    bad[3, 1] = np.nan
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    ones = np.ones(90)
    for call, words in (
        (lambda: sa.report(real, bad, ones, key=KEY, out=out), "pool: .*row 3"),
        (lambda: sa.report(real, pool[:, :2], ones, key=KEY, out=out), "pool"),
        (lambda: sa.report(real, pool, ones[:5], key=KEY, out=out), "weights"),
        (
            lambda: sa.report(real, pool, ones, key=KEY, out=out, pool_texts=["a"]),
            "pool_texts: 1 for 90 rows",
        ),
        (
            lambda: sa.report(real, pool, ones, key=KEY, out=out, real_labels=["a"] * 40),
            "pool_labels: miss",
        ),
        (lambda: sa.report(real, pool, ones, key=KEY, out=tmp_path / "no" / "r.html"), "there is no folder"),
        (lambda: sa.report(tmp_path / "t.jsonl", pool, ones, key=KEY, out=out), "no vectors"),
    ):
        with pytest.raises(sa.InputError, match=words):
            call()
    assert not out.exists()
