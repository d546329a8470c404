import pytest
from hypothesis import given
from hypothesis import strategies as st

from synalign_jax.pipeline.data.duplicates import TextIndex


def _index(*texts: str) -> TextIndex:
    index = TextIndex()
    for text in texts:
        index.add(text)
    return index


@given(st.lists(st.text(min_size=1), min_size=1, max_size=6), st.data())
def test_every_added_text_is_found_again(texts: list, data: st.DataObject) -> None:
    assert _index(*texts).find(data.draw(st.sampled_from(texts))) is not None


@pytest.mark.parametrize(
    "again",
    [
        "The plot is thin, but the acting is superb!",
        "the PLOT is thin but the acting is superb",
        "the plot is thin -- but the acting is really superb",
        "ｔｈｅ plot is thin but the acting is superb",
    ],
)
def test_case_punctuation_width_and_one_word_more_do_not_hide_a_repetition(again: str) -> None:
    assert (
        _index("something else entirely here", "the plot is thin, but the acting is superb.").find(again) == 1
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("the plot is thin", "the acting is superb"),
        ("a film about love", "about a love film"),
        ("yes", "no"),
        ("美しい映画", "退屈な映画"),
        ("!!!", "???"),
    ],
)
def test_different_texts_are_not_taken_for_repetitions(first: str, second: str) -> None:
    assert _index(first).find(second) is None


def test_the_most_similar_text_is_named() -> None:
    index = _index("one two three four five six seven x", "one two three four five six seven eight")
    assert index.find("one two three four five six seven eight") == 1
