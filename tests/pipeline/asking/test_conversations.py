"""Conversations: read from every spelling, asked for, read back from answers, judged by real ones."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from synalign_jax.llm.structured import parse
from synalign_jax.pipeline.asking.conversations import Turns
from synalign_jax.pipeline.asking.rows import FieldRows
from synalign_jax.pipeline.data.errors import DataError
from synalign_jax.pipeline.data.fields import Fields, fields_of
from synalign_jax.pipeline.data.formats.chat import chat_text, chat_turns, turns_of
from synalign_jax.pipeline.data.tables import read_table

ASKED = [("system", "Be kind."), ("user", "Where is it?"), ("assistant", "Here.\nuser: said so")]
TURNS = [{"role": role, "content": content} for role, content in ASKED]
TEXT = "system: Be kind.\nuser: Where is it?\nassistant: Here.\n user: said so"
_NAMES = {"system": "system", "user": "human", "assistant": "gpt"}
SHAREGPT = [{"from": _NAMES[role], "value": words} for role, words in ASKED]
PARTS = [
    {"role": role, "content": [{"type": "image_url"}, {"type": "text", "text": words}]}
    for role, words in ASKED
]
AUTHORS = [{"author": {"role": role}, "content": {"parts": [words]}} for role, words in ASKED]
COLUMNS = {"role": [role for role, _ in ASKED], "content": [words for _, words in ASKED]}
_SPELLED = {
    "messages": TURNS,
    "ShareGPT": SHAREGPT,
    "parts": PARTS,
    "authors": AUTHORS,
    "turns as columns": COLUMNS,
    "JSON in a cell": json.dumps(TURNS),
    "Python in a cell": repr(TURNS),
    "upper case": [{"Role": 1, "role": role.upper(), "content": words} for role, words in ASKED],
}


@pytest.mark.parametrize("kind", sorted(_SPELLED))
@pytest.mark.parametrize("column", ["messages", "conversations", "conversation"])
def test_every_spelling_of_a_conversation_is_one_text(tmp_path: Path, kind: str, column: str) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps({column: _SPELLED[kind], "id": 1}) + "\n")
    table = read_table(tmp_path / "r.jsonl")
    assert table.texts == [TEXT]
    assert table.chats == {column: ("system", "user", "assistant")}
    assert table.fields() == [{column: TEXT}]
    assert table.others.take([0]) == [{column: _SPELLED[kind], "id": 1}]
    named = read_table(tmp_path / "r.jsonl", text=column, required=[column])
    assert (named.texts, named.fields(), named.template) == ([TEXT], [{column: TEXT}], f"{{{column}}}")


def test_parquet_and_a_template_with_other_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"topic": ["help"], "messages": [TURNS]}), tmp_path / "r.parquet")
    table = read_table(tmp_path / "r.parquet", text="{topic}\n{messages}")
    assert table.texts == [f"help\n{TEXT}"]
    assert table.fields() == [{"topic": "help", "messages": TEXT}]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([{"role": "user"}], "'messages': turn 1 has no words"),
        ([{"role": "user", "content": "a"}, {"content": "b"}], "turn 2 does not say who speaks"),
        ([{"role": "user", "content": "a"}, "b"], "turn 2 is no object"),
        (["a", "b"], r'if these are turns, write them as \{"role": "user", "content": "a"\}'),
        ("[{'role': 'user', 'content': 'a'}\n {'role': 'assistant', 'content': 'b'}]", "json.dumps"),
    ],
)
def test_what_is_no_whole_conversation_is_named(tmp_path: Path, cell: object, message: str) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps({"messages": cell}) + "\n")
    with pytest.raises(DataError, match=f"line 1: .*{message}"):
        read_table(tmp_path / "r.jsonl")


def test_calls_are_words_and_conversations_without_words_are_blank(tmp_path: Path) -> None:
    call = [{"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}]
    rows = [call, [], [{"role": "user", "content": ""}]]
    lines = "".join(json.dumps({"messages": row}) + "\n" for row in rows)
    (tmp_path / "r.jsonl").write_text(lines)
    table = read_table(tmp_path / "r.jsonl")
    assert table.texts == ['assistant: [{"name": "f"}]']
    assert "2 of 3 rows have a blank text" in table.said[-1]


_CONTENT = st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=20)
_LINES = st.lists(st.sampled_from(["user: a", "tool:", "Agent: b", "", " c"]) | _CONTENT, max_size=3)
_ROLES = ["user", "assistant", "Agent"]


@given(st.lists(st.tuples(st.sampled_from(_ROLES), _LINES.map("\n".join)), min_size=1, max_size=4))
def test_a_text_is_its_turns_again(asked: list[tuple[str, str]]) -> None:
    turns = [{"role": role, "content": content} for role, content in asked]
    text = chat_text(turns)
    if not any(content.strip() for _, content in asked):
        assert text == ""
        return
    again = chat_turns(text, ("system", "user", "assistant", "tool", *{role for role, _ in asked}))
    assert again is not None
    assert [turn["role"] for turn in again] == [role for role, _ in asked]
    begins = re.compile(r" (?=(?:system|user|assistant|tool|Agent):(?: |$))")
    for turn, (_, content) in zip(again, asked, strict=True):
        assert [begins.sub("", line, count=1) for line in turn["content"].split("\n")] == [
            begins.sub("", line, count=1) for line in content.split("\n")
        ]


REAL = [
    {
        "topic": f"order {i}",
        "messages": chat_text([*TURNS[i % 2 : 2], {"role": "assistant", "content": f"{i}."}]),
    }
    for i in range(12)
]
FIELDS = fields_of("{topic}\n{messages}", {}, REAL, {"messages": ("system", "user", "assistant")})
ROWS = FieldRows(FIELDS, REAL)


def test_the_roles_are_kept_with_the_fields_and_told_to_the_model() -> None:
    assert Fields.of_plain(json.loads(json.dumps(FIELDS.plain()))) == FIELDS
    assert FIELDS.descriptions["messages"].endswith(
        "each with its role (system, user, assistant) and its content"
    )
    some_are_texts = [*REAL[:3], {"topic": "x", "messages": "no turns"}]
    assert fields_of("{messages}", {}, some_are_texts, {"messages": ("user",)}).fields[0].roles == ()
    before = {
        "template": "{a}",
        "fields": [{"name": "a", "column": "a", "description": "", "optional": False}],
    }
    assert Fields.of_plain(before).fields[0].roles == (), "a folder of an earlier version"


def test_real_conversations_are_examples_of_the_schema_that_is_asked_for() -> None:
    schema = ROWS.schema(ROWS.longest, 1, 12)
    answer = ROWS.example(REAL)
    Draft202012Validator(schema).validate(json.loads(answer))
    assert ROWS.of_answer(parse(answer, schema)) == REAL
    assert json.loads(answer)["rows"][0]["messages"][0] == TURNS[0]


def test_a_list_has_a_turn_a_line_and_is_read_back() -> None:
    item = ROWS.item(REAL[0])
    assert item == (
        "topic: order 0\n  messages:\n    system: Be kind.\n    user: Where is it?\n    assistant: 0."
    )
    text = "\n- ".join(map(ROWS.item, REAL)).removeprefix("topic:") + "\n"
    assert ROWS.of_list(text) == REAL
    alone = FieldRows(
        fields_of("{messages}", {}, REAL, {"messages": ("system", "user", "assistant")}),
        [{"messages": row["messages"]} for row in REAL],
    )
    text = "\n- ".join(alone.item({"messages": row["messages"]}) for row in REAL).removeprefix("messages:")
    assert alone.of_list(text + "\n\n") == alone.real


def test_new_conversations_go_as_real_ones_do() -> None:
    def fault(*turns: tuple[str, str]) -> str | None:
        return ROWS.fault({"topic": "x", "messages": "\n".join(f"{who}: {words}" for who, words in turns)})

    assert fault(("user", "a"), ("assistant", "b")) is None
    assert fault(("user", "a")) == "a conversation that ends with user"
    assert fault(("assistant", "b")) == "a conversation that begins with assistant"
    assert fault(("user", "a"), ("user", "b"), ("assistant", "c")) == "a conversation with user after user"
    assert fault(("user", " "), ("assistant", "c")) == "a conversation with a blank turn"
    assert ROWS.fault({"topic": "x", "messages": "words alone"}) == "a conversation without turns"


def _pattern(rules: list[str]) -> str:
    """GBNF without recursion as a regular expression."""
    sides = dict(rule.split(" ::= ", 1) for rule in rules)
    kinds = r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|\{[\d,]+\}|[()|]|[a-z][\w-]*'

    def written(name: str) -> str:
        parts = []
        for token in re.findall(kinds, sides[name]):
            quoted, named = token[0] == '"', token[0].isalpha()
            parts.append(re.escape(json.loads(token)) if quoted else written(token) if named else token)
        return f"(?:{''.join(parts)})"

    return written(next(iter(sides)))


def test_the_grammar_holds_real_conversations_and_no_others() -> None:
    pattern = re.compile(_pattern(Turns(("user", "assistant"), [TURNS[1:], TURNS[1:] * 2]).grammar("f0")))
    turns = ["\n    user: a", "\n    assistant: b"]
    assert pattern.fullmatch("".join(turns) + "\n")
    assert pattern.fullmatch("".join(turns * 2) + "\n")
    for other in (
        turns[:1], turns[::-1], [*turns, turns[0]], turns * 3, ["\n    tool: a", turns[1]],
        ["\n    user: ", turns[1]],
    ):  # fmt: skip
        assert not pattern.fullmatch("".join(other) + "\n")
    every = re.compile(_pattern(ROWS.chats["messages"].grammar("f1")))
    for row in REAL:
        lines = ROWS.item(row).partition("messages:")[2]
        assert every.fullmatch(lines + "\n")


def test_who_speaks_in_other_words() -> None:
    said = turns_of([{"from": "Customer", "value": "a"}, {"speaker": "Bot", "utterance": "b"}])
    assert said == [{"role": "Customer", "content": "a"}, {"role": "assistant", "content": "b"}]
