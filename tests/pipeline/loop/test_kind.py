"""Rows unlike every real row are found out; real rows never are."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synalign_jax.pipeline.loop.kind import (
    _other_characters,
    _plain_counts,
    _run,
    _scripts,
    _shares,
    breaks_off,
    learn_kind,
    rules_that_hold,
    without_the_last,
)
from synalign_jax.pipeline.loop.repeats import learn_repeats, said_again
from synalign_jax.pipeline.loop.wording import learn_wording

REAL = [
    "a quiet family drama with a little bit of romance and a dose of darkness .",
    "it just didn't mean much to me and played too skewed to ever get a hold on ( or be entertained by ) .",
    "this one is certainly well-meaning , but it's also simple-minded and contrived .",
    "highly engaging .",
    "the film's 45-minute running time stops shy of overkill , though viewers may be more exhausted .",
]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("}{}", "shorter"),
        ('{"texts": ["a", "b"], "n": [1, 2, 3]}', "made up"),
        ("1 2 3 4 5 6 7 8 9 10 11 12", "made up"),
        ("фильм снят неровно и скучно .", "another script"),
        (
            "it's a comedy that is a comedy that is a comedy that is a comedy that is a comedy .",
            "repeats itself",
        ),
        ("see http://films.example for a warm and funny story", "markup"),
        ("a **warm** and funny story about a dog", "markup"),
        ("so good " * 60, "longer"),
        ("very very very very very very good", "repeats itself"),
    ],
)
def test_rows_of_another_kind_are_named(text: str, reason: str) -> None:
    verdict = learn_kind(REAL).verdict(text)
    assert verdict is not None
    assert verdict.startswith(reason)


def test_rows_of_the_kind_pass() -> None:
    kind = learn_kind(REAL)
    for text in ("a warm , funny and slightly mad film about growing old .", "not as clever as it thinks ."):
        assert kind.verdict(text) is None


@given(st.lists(st.text(min_size=1, max_size=200), min_size=1, max_size=20))
def test_no_text_is_unlike_the_texts_that_it_is_one_of(texts: list[str]) -> None:
    kind = learn_kind(texts)
    assert [kind.verdict(text) for text in texts] == [None] * len(texts)


def test_a_rule_that_real_rows_break_is_no_rule() -> None:
    def no_film(text: str) -> str | None:
        return "film" if "film" in text else None

    def no_cat(text: str) -> str | None:
        return "cat" if "cat" in text else None

    assert rules_that_hold([no_film, no_cat], REAL) == [no_cat]


def test_only_a_row_at_the_limit_can_break_off() -> None:
    assert breaks_off("x" * 99, most=100) == "breaks off"
    assert breaks_off("x" * 98 + ".", most=100) is None
    assert breaks_off("x" * 50, most=100) is None


def test_a_row_that_breaks_off_is_kept_as_far_as_its_last_whole_sentence() -> None:
    text = "The bank said it will cut rates. It gave no reason for the cut, traders say. Analysts were sur"
    assert without_the_last(text, most=len(text)) == text[: text.index(" Analysts")]
    assert without_the_last(text, most=200) == text
    assert without_the_last("Too short. " + "x" * 80, most=90).endswith("x"), "less than half would be left"
    abbreviated = "It rose by 3.5 pct to 1.2 mln dlrs, said the U.S. department of commerce in its report on"
    assert without_the_last(abbreviated, most=len(abbreviated)) == abbreviated


def test_texts_that_say_the_same_again_and_again_are_found_out() -> None:
    news = "the bank of japan will hold its rates , officials said , and the yen falls further"
    again = " ".join(f"the company said that it would sell unit {i} to the bank ." for i in range(12))
    repeats = learn_repeats([news, *REAL, again], ["news"] * 6 + ["figures"])
    assert repeats.verdict(again, "news") == "says the same again and again"
    assert repeats.verdict(again, "figures") is None, "where the real rows do so themselves it is no fault"
    assert [repeats.verdict(text, "news") for text in (news, *REAL)] == [None] * 6
    assert said_again("too short") == 0
    assert said_again(" ".join("abcdefgh" * 4)) == pytest.approx(1 - 8 / 30)


PAGES = [
    "the bank of japan said it will hold its rates this month although traders had expected a cut of"
    " a quarter point after figures showed that prices fell again and factories closed for want of orders",
    "officials in lagos told oil companies on monday to pump less crude until stocks go down which analysts"
    " called a bluff since no minister has ever named how many barrels each field may bring to market",
    "grain shipments left new orleans late because ice kept barges on the upper river for two weeks and"
    " farmers who had sold forward must now pay for storage they never planned nor put into their contracts",
]
CIRCLES = (
    "the market sold and market sold bank rose sold bank and market bank rose market"
    " sold rose and market rose sold market and bank sold market bank sold rose bank"
)


def test_rows_that_go_in_circles_of_few_words_are_found_out_and_kept_as_far_as_they_do_not() -> None:
    repeats = learn_repeats(PAGES, ["news"] * 3)
    assert [repeats.verdict(text, "news") for text in PAGES] == [None] * 3
    assert repeats.verdict(CIRCLES, "news") == "goes in circles of few words"
    begun = f"{PAGES[1]} {CIRCLES} {CIRCLES}"
    kept, why = repeats.beginning(begun, "news")
    assert begun.startswith(kept)
    assert len(PAGES[1]) - 60 < len(kept) < len(PAGES[1]) + 60
    assert repeats.verdict(kept, "news") is why is None
    assert repeats.beginning(PAGES[0], "news") == (PAGES[0], None)
    nothing = CIRCLES, "goes in circles of few words"
    assert repeats.beginning(CIRCLES, "news") == nothing, "nothing that is worth keeping"


HARPING = "the {0} bought the {0} from a {0} that sold the {0}"


@pytest.mark.parametrize(
    "harping",
    [
        HARPING.format("zelder"),
        "leon lindes, leon and lindes to buy leon",
        "アカ, イロ, アカ, アカ, ウタ, エキ, アカ, オト",
    ],
)
def test_a_row_that_comes_back_to_a_word_as_no_real_row_does_is_found_out(harping: str) -> None:
    assert (
        learn_repeats(PAGES, ["news"] * 3).verdict(harping, "news")
        == "comes back to one word again and again"
    )


def test_what_comes_back_in_the_real_rows_is_not_harped_on_and_what_came_before_is_kept() -> None:
    harping = HARPING.format("zelder")
    repeats = learn_repeats(PAGES, ["news"] * 3)
    assert repeats.verdict(HARPING.format("and"), "news") is None, "every text comes back to its articles"
    begun = f"{PAGES[2]} {harping} {harping}"
    kept, _ = repeats.beginning(begun, "news")
    assert begun.startswith(kept)
    assert abs(len(kept) - len(PAGES[2])) < 60
    lists = [HARPING.format(name) for name in ("brannock", "cushing", "delmar")]
    repeats = learn_repeats([*PAGES, *lists], ["news"] * 3 + ["lists"] * 3)
    assert repeats.verdict(harping, "lists") is None, "the real rows of this label do so themselves"
    assert repeats.verdict(harping, "news") is not None


def test_a_beginning_ends_as_the_real_rows_do() -> None:
    repeats = learn_repeats([f"{text}." for text in PAGES], ["news"] * 3)
    first = "Officials in lagos told oil companies on monday to pump less crude until stocks go down again."
    begun = f"{first} {PAGES[2]} {CIRCLES}"
    assert repeats.beginning(begun, "news") == (first, None)
    assert repeats.beginning(f"{PAGES[2]} {CIRCLES}", "news")[0] == f"{PAGES[2]} {CIRCLES}", (
        "no whole sentence"
    )


def _counted(text: str) -> list[int]:
    """Of the categories of Unicode: letters and marks, digits and other numbers, brackets, signs."""
    of = [unicodedata.category(character) for character in text]
    brackets = sum(name in ("Ps", "Pe") for name in of)
    letters, digits, signs = (sum(name[0] in kinds for name in of) for kinds in ("LM", "N", "PS"))
    return [letters, digits, brackets, signs - brackets]


@given(st.one_of(st.text(max_size=80), st.text(" aZ09(){}[]<>.,$+-_é漢²\ud800\x00\n", max_size=80)))
def test_characters_of_ascii_and_others_are_counted_alike(text: str) -> None:
    shares = _shares(_plain_counts(text), _other_characters(text), max(len(text), 1))
    assert [shares[name] for name in ("letters", "digits", "brackets", "signs")] == [
        count / max(len(text), 1) for count in _counted(text)
    ]
    scripts = _scripts(_plain_counts(text), _other_characters(text))
    assert scripts.total() == sum(map(str.isalpha, text))


@given(st.lists(st.text("ab .", max_size=120), min_size=1, max_size=8), st.text("abc .", max_size=300))
def test_a_beginning_is_one_and_not_cut_again(texts: list[str], text: str) -> None:
    repeats = learn_repeats(texts, ["x"] * len(texts))
    kept, why = repeats.beginning(text, "x")
    assert text.startswith(kept)
    assert repeats.verdict(kept, "x") == why
    assert kept == text or why is None
    assert repeats.beginning(kept, "x") == (kept, why)


def test_a_word_of_endless_syllables_is_none() -> None:
    kind = learn_kind(REAL)
    assert (
        kind.verdict(
            f"a warm , mad and well made film of shak{'iri' * 9} , with a dose of darkness . ( it is good )"
        )
        == "a word longer than any real row has"
    )
    assert kind.verdict("a warm and incomprehensibilities-laden film .") is None
    again = "a word of the same syllables again and again"
    assert (
        kind.verdict("a warm , mad and well made film of marracamercamercamerca , with darkness .") == again
    )
    assert (
        kind.verdict("a warm , mad and sooooooooooo well made film , mississippi and all , ha ha .") is None
    )
    laughs = learn_kind([*REAL, "hahahahahahaha , a warm , mad and well made film it is ."])
    assert laughs.verdict("a warm , mad and well made film , hahahahahahaha .") is None, "as real rows laugh"


def test_babble_is_told_by_its_words_and_a_rich_vocabulary_is_not() -> None:
    real = [f"the company said that it {verb} shares of the bank in {month}" for verb in
            ("sold", "bought", "kept", "holds") for month in ("march", "april", "may")]  # fmt: skip
    wording = learn_wording(real)
    assert (
        wording.verdict("womens cagc cg cg hc cg mcl a year ago yrs") == "hardly a word that a real row has"
    )
    assert wording.verdict("the company said that its directors offered bonds of the bank") is None
    assert wording.verdict("edp edpu dpr") is None, "too short to tell"
    # Where every real row has words of its own, so may others.
    rare = [
        "eine kleine frau lief heute fort",
        "jeder zweite hund bellt laut nachts",
        "wir aßen gestern sehr viel brot",
    ]
    assert learn_wording(rare).verdict("dieses lied klang immer wieder anders") is None


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_only_distances_between_equal_words_are_looked_at_and_no_run_is_missed(words: list[str]) -> None:
    """Beside every place, length and number of repetitions tried in turn."""
    most = 1
    for start in range(len(words)):
        for size in range(1, 9):
            said = words[start : start + size]
            times = 1
            while words[start + times * size : start + (times + 1) * size] == said:
                times += 1
            if len(said) == size:
                most = max(most, times)
    assert _run(words) == most
