"""JSON out of what models really write."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synalign_jax.llm.protocol import BadAnswer
from synalign_jax.llm.structured import check_schema, clean, parse

ROW = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "label": {"enum": ["good", "bad"]}},
    "required": ["text"],
    "additionalProperties": False,
}
ROWS = {"type": "array", "items": ROW}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"text": "a"}', {"text": "a"}),
        ('```json\n{"text": "a"}\n```', {"text": "a"}),
        ('Sure! Here it is:\n```\n{"text": "a"}\n```\nAnything else?', {"text": "a"}),
        ('Sure: {"text": "a",} I hope it helps', {"text": "a"}),
        ('{"text": "has ``` in it", "label": "good"}', {"text": "has ``` in it", "label": "good"}),
        ('{"text": "two\nlines"}', {"text": "two\nlines"}),
        ('{"text": "a"}}}', {"text": "a"}),
        ('{"text": "a", "lab', {"text": "a"}),
        ('{"text": "a", "label": ', {"text": "a"}),
        ('{"text": "cut off he', {"text": "cut off he"}),
        ('{"text": "cut in an escape \\u00', {"text": "cut in an escape "}),
        ('{"text": "a quote \\"', {"text": 'a quote "'}),
    ],
)
def test_usual_damage_is_mended(text: str, value: object) -> None:
    assert parse(text, ROW) == value


TEXTS = {
    "type": "object",
    "properties": {"texts": {"type": "array", "items": {"type": "string", "minLength": 2}, "maxItems": 3}},
    "required": ["texts"],
}


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ('{"texts": ["one"]}\n{"texts": ["two"]}', ["one", "two"]),
        ('1. {"texts": ["one"]}\n2. {"texts": ["two", "x"]}', ["one", "two"]),
        ('```json\n{"texts": ["one"]}\n```\n```json\n{"texts": ["two"]}\n```', ["one", "two"]),
        ('[{"texts": ["one"]}, {"texts": ["two"]}]', ["one", "two"]),
        ('{"texts": ["one", "two"]}{"texts": ["one", "two"]}', ["one", "two"]),  # said twice
        ('{"texts": ["one", "two"]}\n{"texts": ["three", "four"]}', ["three", "four"]),  # more than asked for
        ('{"texts": ["one"]} Better: {"texts": ["two"]}', ["two"]),
        ('{"text": "one"}\n{"text": "two"}', ["one", "two"]),
        ('{"analysis": "hm"}\n{"rows": ["one", "two"]}', ["one", "two"]),
        ('"one",\n"two"', ["one", "two"]),
        ("<text>one</text>\n<text>two</text>", ["one", "two"]),
        (
            '{"texts": ["a "tale" of b", "two", "it\'s "so, so" good"]}',
            ['a "tale" of b', "two", 'it\'s "so, so" good'],
        ),
        ('{"texts": ["one", "two"}', ["one", "two"]),
        ('{"texts": ["one"; "two"]}', ["one", "two"]),
        ("{&quot;texts&quot;: [&quot;one&quot;]}", ["one"]),
        ('<think>Well {so}.\n\n{"texts": ["one"]}', ["one"]),
        (
            '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"texts": ["one"]}<|call|>',
            ["one"],
        ),
        ('{"type": "object", "properties": {"texts": ["one"]}, "required": ["texts"]}', ["one"]),
        ('{"texts": {"type": "array", "items": ["one"]}}', ["one"]),
        ('{"texts": ["one", "the \\"texts\\" of it"]}', ["one", 'the "texts" of it']),
    ],
)
def test_values_that_together_are_what_was_asked_for_are_all_used(text: str, texts: list[str]) -> None:
    assert parse(text, TEXTS)["texts"] == texts


def test_the_schema_alone_is_no_answer() -> None:
    with pytest.raises(BadAnswer):
        parse(json.dumps(TEXTS), TEXTS)


def test_of_a_list_that_was_cut_off_only_whole_items_are_kept() -> None:
    assert parse('[{"text": "a"}, {"text": "b, and th', ROWS) == [{"text": "a"}]
    assert parse("[1, 2, 34", {"type": "array"}) == [1, 2]  # 34 may have been 345


EXACT = {
    "type": "object",
    "properties": {
        "labels": {
            "type": "array",
            "items": {"enum": ["good", "bad"]},
            "minItems": 3,
            "maxItems": 3,
        }
    },
    "required": ["labels"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "labels",
    [
        '["good", "bad"]',
        '["good", "bad", "bad", "good"]',
        '["good", "dull", "bad"]',
        '["good", "bad", "go',
        "[]",
    ],
)
def test_a_stated_number_of_items_is_kept_to_and_none_may_go(labels: str) -> None:
    """Each stands for something, as the labels of so many texts do: one fewer would shift all the others."""
    with pytest.raises(BadAnswer):
        parse(f'{{"labels": {labels}', EXACT)


def test_so_many_items_as_are_stated_are_taken_out_of_their_coats() -> None:
    value = {"labels": ["good", "bad", "good"]}
    for text in (
        '{"labels": ["good", "bad", "good"]}',
        '["good", "bad", "good"]',
        '{"labels": ["Good", " bad", "good"], "why": "they are"}',
        '{"answer": {"labels": ["good", "bad", "good"]}}',
        'Perhaps {"labels": ["good"]}. No: {"labels": ["good", "bad", "good"]}',
    ):
        assert parse(text, EXACT) == value, text


def test_no_item_of_a_stated_number_goes_for_its_length() -> None:
    texts = {"type": "string", "maxLength": 4}
    asked = {"type": "array", "items": texts, "minItems": 2, "maxItems": 2}
    schema = {"type": "object", "properties": {"texts": asked}, "required": ["texts"]}
    assert parse('{"texts": ["one", "two and three and four"], "more": 1}', schema)["texts"] == [
        "one",
        "two and three and four",
    ]
    assert parse('["one", "two and three and four"]', schema)["texts"] == ["one", "two and three and four"]


def test_python_words_become_json() -> None:
    assert parse('{"a": True, "b": None, "c": False,}', {"type": "object"}) == {
        "a": True,
        "b": None,
        "c": False,
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("I cannot do that", "not JSON"),
        ('{"text": {}}', "text: {} is not of type"),
        ('{"label": "good"}', "'text' is a required property"),
        ('{"text": [], "label": "ugly"}', "text"),
        ('{"text" = "a"}', "not JSON"),
        ('{"text": NaN}', "NaN is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5_000 + "}", "integer string conversion"),
    ],
)
def test_what_cannot_be_mended_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(BadAnswer, match=reason) as caught:
        parse(text, ROW)
    assert caught.value.raw == text


def test_nul_and_lone_surrogates_are_cleaned_out_of_texts_and_values() -> None:
    assert clean("a\0b\ud800c é") == "ab�c é"
    value = parse('{"text": "a\\u0000b\\ud800c"}', ROW)
    assert value == {"text": "ab�c"}
    json.dumps(value, ensure_ascii=False).encode("utf-8")


def test_a_schema_that_is_none_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="not a JSON schema"):
        check_schema({"type": "sentence"})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@given(JSON, st.sampled_from([None, 1]), st.booleans())
def test_whole_json_comes_back_as_it_is(value: object, indent: int | None, fenced: bool) -> None:
    text = json.dumps(value, indent=indent)
    if fenced:
        text = f"```json\n{text}\n```"
    assert parse(text, {}) == json.loads(json.dumps(value).replace("\\u0000", ""))


def test_brackets_in_the_strings_of_what_was_cut_off_are_words() -> None:
    schema = {"type": "array", "items": {"type": "object"}}
    assert parse('[{"a": "{}", "b": "{}', schema)[:1] == [{"a": "{}"}]


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.text('xyz,{}[]"\\', max_size=5))), st.data())
def test_a_list_cut_off_anywhere_gives_its_whole_items(rows: list, data: st.DataObject) -> None:
    text = json.dumps(rows)
    cut = data.draw(st.integers(1, len(text)))
    schema = {"type": "array", "items": {"type": "object"}}
    value = parse(text[:cut], schema)
    assert value[:-1] == rows[: max(0, len(value) - 1)]
    assert len(value) <= len(rows)
