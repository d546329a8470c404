import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from synalign_jax.cli import main
from synalign_jax.core.checks import InputError
from synalign_jax.evaluation.evaluate import evaluate


def _write(path: Path, seed: int, rows: int, shift: float = 0.0) -> Path:
    rng = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8") as file:
        for i in range(rows):
            label = int(rng.integers(0, 2))
            vector = rng.normal(size=4) + shift
            vector[0] += 2 * label
            row = {
                "text": f"{path.stem} text {i}",
                "label": label,
                "embedding": vector.tolist(),
                "source": "ab"[i % 2],
            }
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    sizes = {"real": (60, 0.0), "pool": (50, 1.0), "test": (80, 0.0)}
    return {
        name: _write(tmp_path / f"{name}.jsonl", seed, rows, shift)
        for seed, (name, (rows, shift)) in enumerate(sizes.items())
    }


def _arguments(files: dict[str, Path]) -> list[str]:
    return ["evaluate", "--real", str(files["real"]), "--synthetic", str(files["pool"])]


def test_files_in_a_table_and_json_out(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "weights.npy", np.full(50, 1 / 50, np.float32))
    out = tmp_path / "evaluation.json"
    code = main(
        [
            *_arguments(files), "--test", str(files["test"]), "--weights", str(tmp_path / "weights.npy"),
            "--out", str(out), "--students", "linear", "--seeds", "2", "--by", "source",
            "--report", str(tmp_path / "report.html"),
        ]
    )  # fmt: skip
    assert code == 0
    shown = capsys.readouterr().out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    (distance,) = re.findall(r"^  weighted +(\S+)", shown, re.MULTILINE)
    for words in (f"<dd>{distance}</dd>", "MAUVE", "real + pool, weighted", "By label", "By source"):
        assert words in page
    for words in ("linear student on 80 test rows", "real + pool, weighted", "MAUVE", "MMD² to 80 test rows"):
        assert words in shown
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["pool_rows"] == 50
    assert found["effective_rows"] == pytest.approx(50, rel=1e-4)
    assert len(found["students"]["linear"]["scores"]) == 5
    assert {s["value"]: s["pool"] for s in found["shares"] if s["attribute"] == "source"} == {
        "a": 0.5,
        "b": 0.5,
    }


def test_several_labels_a_row_are_told_label_by_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng, paths = np.random.default_rng(0), []
    for name, rows in (("real", 90), ("pool", 60)):
        paths.append(tmp_path / f"{name}.jsonl")
        lines = []
        for i in range(rows):
            has = rng.random(2) < 0.5
            vector = rng.normal(size=4) + 2 * np.pad(has, (0, 2))
            labels = [label for label, one in zip(("Toxic", "insult"), has, strict=True) if one]
            labels = [label.lower() for label in labels] if name == "pool" else labels
            lines.append({"text": f"{name} {i}", "label": labels, "embedding": vector.tolist()})
        paths[-1].write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    out, page = tmp_path / "evaluation.json", tmp_path / "report.html"
    code = main(
        [
            "evaluate", "--real", str(paths[0]), "--synthetic", str(paths[1]), "--multi-label",
            "--out", str(out), "--students", "linear", "--seeds", "2", "--report", str(page),
        ]
    )  # fmt: skip
    assert code == 0
    shown = capsys.readouterr().out
    for words in ("yes or no to each label", "micro-F1", "F1 of each label", "label = Toxic"):
        assert words in shown
    found = json.loads(out.read_text(encoding="utf-8"))
    scores = found["students"]["linear"]["scores"]
    assert [score["name"] for score in scores] == ["real", "pool", "real + pool"]
    assert found["students"]["linear"]["classes"] == ["Toxic", "insult"]
    assert all(score["micro_f1"]["value"] > 0.7 for score in scores)
    assert "It says yes or no to each label" in page.read_text(encoding="utf-8")
    with pytest.raises(InputError, match="'encoder' learns one label a row"):
        evaluate(
            np.zeros((4, 2)), np.zeros((4, 2)), key=jax.random.key(0),
            real_labels=[("a",)] * 4, pool_labels=[()] * 4, students=["encoder"],
        )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--weights", "missing.npy"], "--weights: missing.npy: no such file"),
        (["--out", "nowhere/there.json"], "--out: the folder nowhere is not there"),
        (["--report", "nowhere/there.html"], "--report: the folder nowhere is not there"),
        (["runs/demo"], "not both"),
        (["--by", "genre"], "has no column 'genre'; its other columns are source"),
        (["--students", "forest"], "students: 'forest'"),
    ],
)
def test_bad_settings_are_named(
    files: dict[str, Path], change: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*_arguments(files), *change]) != 0
    assert words in " ".join(capsys.readouterr().err.split())


def test_weights_of_another_file_and_nothing_at_all(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "w.npy", np.ones(7))
    assert main([*_arguments(files), "--weights", str(tmp_path / "w.npy")]) != 0
    assert "and" in (said := " ".join(capsys.readouterr().err.split()))
    assert "50 rows: give one a row" in said
    (tmp_path / "cut.npy").write_bytes((tmp_path / "w.npy").read_bytes()[:90])
    assert main([*_arguments(files), "--weights", str(tmp_path / "cut.npy")]) != 0
    assert "not a whole .npy array" in " ".join(capsys.readouterr().err.split())
    assert main(["evaluate"]) != 0
    assert "nothing to evaluate: give --real FILE" in " ".join(capsys.readouterr().err.split())


def test_a_test_file_that_holds_training_rows_is_refused(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = files["real"].read_text(encoding="utf-8").splitlines(keepends=True)
    with files["test"].open("a", encoding="utf-8") as file:
        file.writelines(lines[:2])
    assert main([*_arguments(files), "--test", str(files["test"])]) != 0
    assert "test: row 80 is row 0 of the real rows, too (2 such)" in " ".join(capsys.readouterr().err.split())
