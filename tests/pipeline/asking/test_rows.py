"""Rows of several fields: asked for, shown and read back, in both forms."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from synalign_jax.llm.driver import Job, Outcome
from synalign_jax.llm.protocol import ChatResponse, Choice, Usage
from synalign_jax.llm.structured import parse
from synalign_jax.pipeline.asking.calls import make_desk, rows_of
from synalign_jax.pipeline.asking.forms import JSON, LIST
from synalign_jax.pipeline.asking.prompts import labelled, load_prompts, shown_values
from synalign_jax.pipeline.asking.rows import FieldRows
from synalign_jax.pipeline.config_file import parse_config
from synalign_jax.pipeline.data.fields import OURS, Field, Fields, fields_of
from synalign_jax.pipeline.loop.sieve import Sieve
from synalign_jax.pipeline.stages.generate import REJECTED
from synalign_jax.pipeline.stages.load import HELD_OUT
from synalign_jax.pipeline.stages.resample import WEIGHTED

REAL = [
    {
        "instruction": f"Add {i} and {i + 1}, please.",
        "input": "in words" if i % 2 else "",
        "output": f"{2 * i + 1}",
    }
    for i in range(12)
]
TEMPLATE = "{instruction}\n{input?}\n{output}"
DESCRIBED = {"instruction": "what is to be done", "output": "the right answer"}
FIELDS = fields_of(TEMPLATE, DESCRIBED, REAL)


def _config(**more: dict):
    plain = {
        "run": {"folder": "out"},
        "data": {"source": "rows.jsonl", "text": TEMPLATE, "fields": DESCRIBED},
        "llm": {"base_url": "http://127.0.0.1:1/v1", "model": "m"},
    }
    return parse_config({**plain, **more})


def _desk(form: str, **more: dict):
    config = _config(**more)
    rows = [{"text": FIELDS.text(row), "label": "sum", **FIELDS.columns(row)} for row in REAL]
    return make_desk(config, load_prompts(config), form, rows, FIELDS)


@pytest.mark.parametrize(
    ("columns", "chats", "words"),
    [
        ((), (), ("texts", "model")),
        (("review",), (), ("texts", "model")),
        (("messages",), ("messages",), ("conversations", "language model")),
        (("instruction", "input", "output"), (), ("instruction-answer pairs", "language model")),
        (("query", "passage"), (), ("query-passage pairs", "retriever")),
        (("anchor", "positive", "negative"), (), ("anchor-positive-negative triplets", "retriever")),
        (("prompt", "chosen", "rejected"), (), ("preference pairs", "language model")),
        (("title", "body", "tags"), (), ("rows of title, body and tags", "model")),
    ],
)
def test_rows_are_called_by_what_they_are_made_of(
    columns: tuple[str, ...], chats: tuple[str, ...], words: tuple[str, str]
) -> None:
    fields = Fields("x", tuple(Field(n, n, "", False, ("user",) if n in chats else ()) for n in columns))
    assert fields.nature == words
    generic = _config(reason={"preset": "generic"})
    assert load_prompts(generic, fields).task == words[0]
    assert load_prompts(_config(reason={"preset": "generic", "task": "odes"}), fields).task == "odes"
    assert load_prompts(_config(reason={"preset": "sst2"}), fields).task == "sentences from film reviews"


def _outcome(call, text: str) -> Outcome:
    response = ChatResponse((Choice(text, "stop"),), Usage(1, 1), "m")
    value = parse(text, call.request.schema) if call.request.schema is not None else None
    return Outcome(Job(call.request), response, value, None, cached=False, attempts=1)


def _answered(call, text: str) -> list[dict]:
    return rows_of(call, _outcome(call, text))


CLUSTER = {"cluster": 0, "label": "sum", "members": [0, 1]}


def test_a_field_that_real_rows_leave_blank_is_optional_and_our_names_are_kept_free() -> None:
    assert [(field.name, field.optional) for field in FIELDS.fields] == [
        ("instruction", False), ("input", True), ("output", False)
    ]  # fmt: skip
    assert FIELDS.text(REAL[0]) == "Add 0 and 1, please.\n1"
    assert FIELDS.text(REAL[1]) == "Add 1 and 2, please.\nin words\n3"
    assert Fields.of_plain(json.loads(json.dumps(FIELDS.plain()))) == FIELDS
    odd = fields_of("{title} {text} {original_text}", {}, [{"title": "a", "text": "b", "original_text": "c"}])
    columns = [field.column for field in odd.fields]
    assert columns == ["title", "original_text", "original_original_text"]
    assert odd.values({"title": "a", "original_text": "b", "original_original_text": "c"})["text"] == "b"
    assert {*WEIGHTED.names, *REJECTED.names, *HELD_OUT.names} == OURS


def test_json_asks_for_every_field_by_its_description_and_shows_real_rows_as_an_answer() -> None:
    call = _desk(JSON).call(CLUSTER, {"length": "about 5 words"}, 0)
    first, example, last = call.request.messages
    assert json.loads(example.content) == {"rows": REAL[:2]}
    assert call.request.schema is not None
    rows = call.request.schema["properties"]["rows"]
    Draft202012Validator({**rows, "minItems": 1}).validate(REAL[:2])
    for message in (first, last):
        assert (
            '- "instruction": what is to be done\n- "input"\n- "output": the right answer' in message.content
        )
        assert "texts" not in message.content.split("Answer with")[1]
    row = {"instruction": "Instruction: Add 5 and 6.\nCarry one.", "input": "", "output": "11"}
    made = _answered(call, json.dumps({"rows": [row, {"instruction": "no output"}]}))
    assert len(made) == 1
    assert made[0]["text"] == "Add 5 and 6.\nCarry one.\n11"
    assert (made[0]["instruction"], made[0]["input"]) == ("Add 5 and 6.\nCarry one.", "")
    assert made[0]["label"] == "sum"


def test_a_list_goes_on_with_fields_line_by_line() -> None:
    desk = _desk(LIST, llm={"kind": "llamacpp", "model": "SmolLM2-135M-Instruct"})
    call = desk.call(CLUSTER, {}, 0)
    content = call.request.messages[0].content
    assert content.endswith(
        "- instruction: Add 0 and 1, please.\n  input:\n  output: 1\n"
        "- instruction: Add 1 and 2, please.\n  input: in words\n  output: 3\n- instruction:"
    )
    text = " Add 5 and 6.\n  input:\n  output: 11\n- instruction: Add 7 and 8.\n  input: x\n  output: 15\n"
    assert [row["text"] for row in _answered(call, text)] == ["Add 5 and 6.\n11", "Add 7 and 8.\nx\n15"]
    cut = text + "- instruction: Add 9 and"
    assert len(_answered(call, cut)) == 2
    assert 'row ::= f0 "  input:" f1 "  output:" f2' in call.request.extra["grammar"]


_value = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1).map(
    lambda text: " ".join(text.split())
)


@given(st.lists(st.tuples(_value.filter(bool), _value, _value.filter(bool)), min_size=1, max_size=4))
def test_a_list_of_rows_comes_back_as_it_was_written(rows: list) -> None:
    form = FieldRows(FIELDS, REAL)
    values = [dict(zip(FIELDS.names, row, strict=True)) for row in rows]
    written = "".join(f"- {form.item(row)}\n" for row in values)
    found = form.of_list(written.removeprefix("- instruction:"))
    heads = [any(value.casefold().startswith(name) for name, value in row.items()) for row in values]
    if not any(heads):
        assert found == values


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "Add 30 and 31, please.", "input": "", "output": " "}, "the field output is blank"),
        (
            {"instruction": "Add up!", "input": "", "output": "add  UP!"},
            "instruction and output say the same",
        ),
        ({"instruction": "Add 30 and 31, please.", "input": "", "output": "61"}, None),
        ({"instruction": "Add 3 and 4, please.", "input": "in words", "output": "7"}, "copy of a real row"),
    ],
)
def test_a_row_with_a_fault_that_no_real_row_has_is_dropped_by_name(row: dict, reason: str | None) -> None:
    desk = _desk(JSON)
    call = desk.call(CLUSTER, {}, 0)
    [(made, found)] = Sieve(desk, ["sum"] * len(desk.texts)).sift(
        call, _outcome(call, json.dumps({"rows": [row]}))
    )
    assert FIELDS.values(made) == {name: value.strip() for name, value in row.items()}
    assert found is None if reason is None else reason in str(found)


def test_a_budget_of_the_user_is_shared_by_the_fields() -> None:
    shape = _desk(JSON, generate={"max_row_characters": 40}).shape
    assert sum(shape.fields.values()) <= 40
    assert shape.characters == 40


def test_long_demonstrations_are_cut_where_they_are_long() -> None:
    found = shown_values([{"question": "why? " * 10, "answer": "because " * 2_000}])[0]
    assert found["question"] == "why? " * 10
    assert found["answer"].endswith(" ...")
    assert sum(map(len, found.values())) <= 2_410


@pytest.mark.parametrize(
    ("label", "multi", "words"),
    [
        ("a", False, ' with the label "a"'),
        ("a | b", False, ' with the label "a | b"'),
        ("", False, ""),
        ("a", True, ' with the label "a"'),
        ("a | b | c", True, ' with the labels "a", "b" and "c"'),
        ("", True, " without a label"),
    ],
)
def test_a_prompt_names_each_label_of_a_row(label: str, multi: bool, words: str) -> None:
    assert labelled(_config(data={"source": "x.jsonl", "multi_label": multi}), label) == words


def test_a_described_field_has_to_be_in_the_template() -> None:
    from synalign_jax.pipeline.config import ConfigError

    with pytest.raises(ConfigError, match=r"'passage' is not in \[data\] text"):
        _config(data={"source": "x.jsonl", "text": "{query}", "fields": {"passage": "what answers it"}})
