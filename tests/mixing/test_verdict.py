"""What a verdict says where loss and accuracy differ."""

import pytest

from synalign_jax.mixing.mixture import Gain
from synalign_jax.mixing.verdict import verdict, worth_using


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        (Gain(0.03, -0.01, 0.07), "expected to gain +3.0 points of accuracy (−1.0 to +7.0)"),
        (Gain(-0.009, -0.057, 0.038), "cannot be told from that of the real rows alone (−0.9 points"),
        (Gain(-0.04, -0.07, -0.01), "better in its probabilities and not in its choices (−4.0 points"),
    ],
)
def test_accuracy_is_worded_by_what_the_real_rows_can_tell(accuracy, words):
    said = verdict(accuracy, 0.68, used=True, mute=False, share=0.7, mean_weight=0.7, real_rows=200)

    assert words in said.text
    assert "68% sure that its loss falls" in said.text


def test_an_even_chance_is_enough_for_few_real_rows_alone():
    assert worth_using(0.01, 0.51, 100)
    assert not worth_using(0.01, 0.59, 101)
    assert worth_using(0.01, 0.61, 101)
    assert not worth_using(-0.01, 0.99, 50)
