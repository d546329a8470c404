import json
from collections import Counter
from pathlib import Path

import pytest

from synalign_jax.pipeline.data.columns import Columns
from synalign_jax.pipeline.data.errors import DataError
from synalign_jax.pipeline.data.sources import NAMED, load_source


def test_rotten_tomatoes() -> None:
    source = load_source("rotten_tomatoes", Columns())
    assert len(source.rows) == 8530
    assert set(source.rows.labels or []) == {"negative", "positive"}
    assert source.test is None


@pytest.mark.parametrize(
    ("name", "train", "test", "labels"),
    [("reuters-r8", 5485, 2189, 8), ("reuters-r52", 6532, 2568, 52), ("20newsgroups", 11293, 7528, 20)],
)
def test_the_news_collections(name: str, train: int, test: int, labels: int) -> None:
    source = load_source(name, Columns())
    assert len(source.rows) == train
    assert source.test is not None
    assert len(source.test) == test
    assert len(set(source.rows.labels or [])) == labels
    assert all(source.rows.texts)


def test_unlabelled_leaves_the_labels_out() -> None:
    assert load_source("rotten_tomatoes", Columns(label=None)).rows.labels is None


def test_a_hub_data_set_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the hub's shape, reached by a name of the hub's shape, through the real library."""
    for split, rows in {"train": 30, "validation": 10, "test": 5}.items():
        folder = tmp_path / "owner" / "set" / "data"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [{"sentence": f"{split} {i}", "label": -1 if split == "test" else i % 2} for i in range(rows)]
        (folder / f"{split}-00000.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    # A folder of that name here would be read as a file of the user's, so the hub loader is called by itself.
    from synalign_jax.pipeline.data.sources import _hub

    source = _hub("owner/set", Columns("sentence"), None)
    assert len(source.rows) == 30
    assert Counter(source.rows.labels) == {"0": 15, "1": 15}
    assert source.test is not None, "labels withheld from the test split: the validation split serves"
    assert len(source.test) == 10
    with pytest.raises(DataError, match="no column 'text'; the columns are 'sentence', 'label'"):
        _hub("owner/set", Columns(named=frozenset({"text"})), None)


def test_a_hub_name_that_cannot_be_reached_says_so() -> None:
    with pytest.raises(DataError, match="'nobody/nothing': the hub data set could not be loaded"):
        load_source("nobody/nothing", Columns())


def test_an_unknown_source_lists_what_there_is() -> None:
    with pytest.raises(DataError, match="not a named data set") as caught:
        load_source("roten_tomatoes", Columns())
    assert all(name in str(caught.value) for name in NAMED)


def _hub(monkeypatch: pytest.MonkeyPatch, features: dict, rows: dict, **columns):
    import datasets

    split = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict({"train": split}))
    return load_source("a/b", Columns(**columns)).rows


def test_the_features_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    text, classes = datasets.Value("string"), datasets.ClassLabel(names=["neg", "pos"])
    rows = {"text": ["a", "b"], "label": [[0], [0, 1]]}
    several = datasets.Sequence(classes)
    found = _hub(monkeypatch, {"text": text, "label": several}, rows, multi_label=True)
    assert found.labels == ["neg", "neg | pos"]
    assert found.said[0] == "a/b: labels by the names in the file: 0 is 'neg', 1 is 'pos'"
    single = _hub(monkeypatch, {"text": text, "label": classes}, {"text": ["a", "b"], "label": [1, 0]})
    assert single.labels == ["pos", "neg"]
    assert single.said == found.said[:1]
    with pytest.raises(DataError, match="say so with --multi-label"):
        _hub(monkeypatch, {"text": text, "label": several}, rows)
    truth = {"text": ["a", "b"], "label": [True, False]}
    assert _hub(monkeypatch, {"text": text, "label": datasets.Value("bool")}, truth).labels == [
        "true",
        "false",
    ]
    pairs = {"translation": [{"en": "a", "de": "b"}]}
    languages = {"translation": datasets.Translation(languages=["en", "de"])}
    template = "{translation.en}\n{translation.de}"
    found = _hub(monkeypatch, languages, pairs, text=template, label=None)
    assert found.texts == ["a\nb"]
    assert found.fields == [{"translation.en": "a", "translation.de": "b"}]
    assert found.template == template


def test_conversations_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    text = datasets.Value("string")
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    columns = [{name: [turn[name] for turn in some] for name in turns[0]} for some in (turns, turns[:1])]
    for kind, cells in (
        ([{"role": text, "content": text}], [turns, turns[:1]]),
        (datasets.Sequence({"role": text, "content": text}), columns),
    ):
        found = _hub(monkeypatch, {"messages": kind}, {"messages": cells}, label=None)
        assert found.texts == ["user: a\nassistant: b", "user: a"]
        assert found.fields == [{"messages": "user: a\nassistant: b"}, {"messages": "user: a"}]
        assert (found.template, found.chats) == ("{messages}", {"messages": ("user", "assistant")})
        assert "the text is made of 'messages'" in found.said[0]
