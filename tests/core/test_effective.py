"""Kish's effective sample size."""

import numpy as np
import pytest

from synalign_jax.core.effective import effective_rows


def test_the_effective_size_of_even_weights_is_their_number() -> None:
    assert effective_rows(np.full(7, 0.3)) == pytest.approx(7)
    assert effective_rows(np.array([1.0, 0.0, 0.0])) == pytest.approx(1)
    assert effective_rows(np.zeros(3)) == 0
