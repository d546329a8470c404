import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from synalign_jax.pipeline.config_file import parse_config
from synalign_jax.pipeline.data.errors import DataError
from synalign_jax.pipeline.folder import Stage, StageView
from synalign_jax.pipeline.stages import load

STAGE = Stage("load", load.run, ("few_shot", "held_out", "fields"), ("few_shot", "held_out", "fields"))


def _file(folder: Path, rows: list[tuple[str, str]]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows), encoding="utf-8")
    return path


def _load(folder: Path, source: str, *, seed: int = 0, **data: object) -> StageView:
    config = parse_config(
        {
            "run": {"folder": str(folder), "seed": seed},
            "data": {"source": source, **data},
            "llm": {"base_url": "http://127.0.0.1:1/v1", "model": "m"},
        }
    )
    view = StageView(folder, STAGE)
    load.run(view, config, None)  # type: ignore[arg-type]  # it uses no tool
    return view


def _rows(count: int, labels: str = "ab") -> list[tuple[str, str]]:
    return [(f"text number {i}", labels[i % len(labels)]) for i in range(count)]


def test_few_shot_is_stratified_and_disjoint_from_the_held_out_rows(tmp_path: Path) -> None:
    rows = [(f"a {i}", "a") for i in range(700)] + [(f"b {i}", "b") for i in range(280)]
    rows += [(f"c {i}", "c") for i in range(20)]
    view = _load(tmp_path, str(_file(tmp_path, rows)), few_shot=100, test_rows=200)
    few, held = view.read_rows("few_shot"), view.read_rows("held_out")
    assert Counter(row["label"] for row in few) == {"a": 69, "b": 27, "c": 4}
    texts = [row["text"] for row in few + held]
    assert len(set(texts)) == len(texts)
    assert Counter(row["part"] for row in held) == {"test": 200, "rest": 700}


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(tmp_path: Path) -> None:
    source = str(_file(tmp_path, _rows(400)))

    def draw(seed: int) -> list:
        return _load(tmp_path, source, seed=seed, few_shot=20).read_rows("few_shot")

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_a_small_file_keeps_a_quarter_for_the_test(tmp_path: Path) -> None:
    view = _load(tmp_path, str(_file(tmp_path, _rows(40))))
    assert (view.facts["few_shot"], view.facts["test"]) == (30, 10)
    assert "30 rows are left for the few-shot set" in view.warnings[0]


def test_a_test_file_of_ones_own_is_used_and_its_overlap_left_out(tmp_path: Path) -> None:
    test = tmp_path / "test.csv"
    test.write_text("text,label\nunseen one,a\nunseen two,b\ntext number 3,b\n")
    view = _load(tmp_path, str(_file(tmp_path, _rows(60))), test=str(test))
    held = [row for row in view.read_rows("held_out") if row["part"] == "test"]
    assert sorted(row["text"] for row in held) == ["unseen one", "unseen two"]
    assert any("1 of the test rows repeat" in warning for warning in view.warnings)


def test_blank_repeated_and_overlong_texts_are_counted(tmp_path: Path) -> None:
    rows = [*_rows(60), ("  ", "a"), ("text number 1", "b"), ("x" * 100_000, "a")]
    view = _load(tmp_path, str(_file(tmp_path, rows)), max_characters=500)
    told = " | ".join(view.warnings)
    assert "1 of the real rows were cut to 500 characters" in told
    assert "1 of 63 rows have a blank text and are left out" in told
    assert "1 of the real rows repeat" in told
    assert view.facts["real_rows"] == 61


def test_unlabelled_texts(tmp_path: Path) -> None:
    view = _load(tmp_path, str(_file(tmp_path, _rows(60))), label="")
    assert {row["label"] for row in view.read_rows("few_shot")} == {""}


def test_labels_are_renamed_and_chosen(tmp_path: Path) -> None:
    source = str(_file(tmp_path, _rows(90, "abc")))
    view = _load(tmp_path, source, label_names={"a": "good", "b": "bad"}, labels=["good", "bad"])
    assert set(view.facts["labels"]) == {"good", "bad"}


@pytest.mark.parametrize(
    ("rows", "data", "message"),
    [
        (_rows(5), {}, "5 usable real rows; at least 10"),
        ([("same", "a")] * 50, {}, "all real rows are identical"),
        ([*_rows(50), ("odd one", "z")], {}, "only one row has the label 'z'"),
        ([*_rows(50), ("odd one", "z")], {}, r"labels = \['a', 'b'\]"),
        (_rows(50), {"labels": ["a", "bb"]}, "no label 'bb'; did you mean 'b'"),
        (_rows(50), {"label_names": {"x": "y"}}, r"label_names: the data has no label 'x'. It has a, b"),
        (_rows(50), {"label": "stars"}, "no column 'stars'; the columns are 'text', 'label'"),
        (_rows(50), {"text": "body"}, "no column 'body'"),
    ],
)
def test_bad_data_is_refused_with_the_mend(tmp_path: Path, rows: list, data: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _load(tmp_path, str(_file(tmp_path, rows)), **data)


def test_a_template_and_several_labels_in_a_folder_of_shards(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for shard in range(2):
        rows = [
            {"query": f"q {shard} {i}", "passage": f"p {i}", "tags": [["a"], ["a", "b"], []][i % 3]}
            for i in range(30)
        ]
        rows += [{"query": "odd", "passage": "one", "tags": ["c", "d"]}] * (shard == 1)
        (folder / f"part-{shard}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
        )
    view = _load(tmp_path, str(folder), text="{query}\n{passage}", label="tags", multi_label=True)
    rows = pq.read_table(tmp_path / "few_shot.parquet").to_pylist()
    assert {row["label"] for row in rows} == {"", "a", "a | b"}
    assert all(row["text"].split("\n")[1].startswith("p ") for row in rows)
    assert "1 rows have a combination of labels of their own" in " ".join(view.warnings)


def _chats(path: Path, plain: int) -> str:
    turns = [[{"from": "human", "value": f"q{i}"}, {"from": "gpt", "value": "a"}] for i in range(40)]
    rows = [{"conversations": f"text {i}" if i < plain else turn} for i, turn in enumerate(turns)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_conversations_are_fields_unless_some_rows_are_texts(tmp_path: Path) -> None:
    view = _load(tmp_path, _chats(tmp_path / "r.jsonl", 0), label="", few_shot=10, test_rows=4)
    field = load.fields_in(view).fields[0]
    assert (field.column, field.roles) == ("conversations", ("user", "assistant"))
    row = view.read_rows("few_shot")[0]
    assert row["text"] == row["conversations"]
    assert field.turns(row["text"])[1] == {"role": "assistant", "content": "a"}  # type: ignore[index]
    (tmp_path / "mixed").mkdir()
    source = _chats(tmp_path / "m.jsonl", 20)
    mixed = _load(tmp_path / "mixed", source, label="", few_shot=20, test_rows=4)
    assert not load.fields_in(mixed)
    assert "some rows of 'conversations' are texts and not turns" in mixed.warnings[-1]


def test_labels_of_which_none_repeats_are_refused_with_the_way_out(tmp_path: Path) -> None:
    source = str(_file(tmp_path, [(f"text {i}", f"label {i}") for i in range(30)]))
    with pytest.raises(DataError, match="no two rows have the same label"):
        _load(tmp_path, source)
    with pytest.raises(DataError, match="has a combination of labels that no other has"):
        _load(tmp_path, source, multi_label=True)
