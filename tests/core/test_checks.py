"""What every entry point asks of a key."""

import jax
import pytest

from synalign_jax.core.checks import InputError, check_prng_key


@pytest.mark.parametrize("key", [0, None, "seed", [1, 2], jax.random.split(jax.random.key(0))])
def test_what_is_no_key_is_refused_with_one_that_is(key: object) -> None:
    with pytest.raises(InputError, match=r"is no PRNG key; give jax.random.key\(0\)"):
        check_prng_key(key)


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey])
def test_keys_of_both_kinds_are_keys(make) -> None:
    check_prng_key(make(3))
