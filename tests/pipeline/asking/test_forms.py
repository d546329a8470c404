"""The form of a list: what the grammar allows, and what is read from an answer."""

from synalign_jax.pipeline.asking.calls import row_shape
from synalign_jax.pipeline.asking.forms import (
    CALM,
    CALM_TEMPERATURE,
    JSON,
    LIST,
    line_values,
    list_grammar,
    list_items,
    plain,
    temperature,
    values_grammar,
)
from synalign_jax.pipeline.config_file import parse_config


def test_a_list_is_read_item_by_item() -> None:
    assert list_items(" first one\n- second one\n- third one\n") == ["first one", "second one", "third one"]


def test_what_follows_a_blank_line_is_no_item() -> None:
    assert list_items(" first\n- second\n\nHere are more:\n- third\n") == ["first", "second"]


def test_prose_after_the_items_is_no_item() -> None:
    assert list_items(" first\n- second\nI hope that this helps.\n") == ["first", "second"]


def test_the_last_item_of_an_answer_that_was_cut_off_is_left_out() -> None:
    assert list_items(" first\n- second\n- thi") == ["first", "second"]
    assert list_items(" only") == ["only"]


def test_an_answer_without_items() -> None:
    assert list_items("") == []
    assert list_items("\n\n") == []


def test_numbers_and_bullets_are_no_part_of_the_text() -> None:
    assert plain("12. twelve  monkeys") == "twelve monkeys"
    assert plain("(3) three") == "three"
    assert plain("• dot") == "dot"
    assert plain("2001 is a film") == "2001 is a film"


def test_values_are_read_by_their_names() -> None:
    names = ["subject", "tone"]
    assert line_values(" the plot\ntone: weary\nother: no\n", names) == {
        "subject": "the plot",
        "tone": "weary",
    }
    assert line_values("", names) == {}


def test_grammars_hold_as_many_items_as_are_asked_for() -> None:
    assert list_grammar(3, 3, 80).count("line") == 3  # the first, the repeated, and the rule
    assert "{2}" in list_grammar(3, 3, 80)
    assert list_grammar(1, 3, 80).splitlines()[0] == 'root ::= " " line'
    assert '"tone: " value' in values_grammar(["subject", "tone"])


def test_a_calm_list_is_asked_for_at_a_lower_temperature_and_never_at_a_higher_one() -> None:
    def at(given: float, form: str) -> float:
        llm = {"base_url": "http://127.0.0.1:1", "model": "m", "temperature": given}
        return temperature(parse_config({"run": {"folder": "x"}, "data": {"source": "y"}, "llm": llm}), form)

    assert (at(1.0, LIST), at(1.0, JSON), at(1.0, CALM)) == (1.0, 1.0, CALM_TEMPERATURE)
    assert at(0.2, CALM) == 0.2


def test_a_call_asks_for_rows_as_long_as_those_that_it_shows_and_for_as_many_as_fit() -> None:
    config = parse_config(
        {
            "run": {"folder": "x"},
            "data": {"source": "y"},
            "llm": {"base_url": "http://127.0.0.1:1", "model": "m", "context": 2048},
            "generate": {"rows_per_call": 4},
        }
    )
    shape = row_shape(config, ["x" * 100] * 18 + ["y" * 3000] * 2)
    short, long = shape.of(["x" * 100]), shape.of(["y" * 3000, "x"])
    assert (short.characters, short.rows_per_call) == (128, 4)
    assert (long.characters, long.rows_per_call) == (3750, 1)
    assert shape.rows_per_call == 4, "planned by a row of middling length"
    assert short.max_tokens < long.max_tokens <= 2048
