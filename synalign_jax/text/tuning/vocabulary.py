"""The part of a token table that training on given texts can move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_PADDING = 0  # what fills a packed row: it has an embedding, though nothing attends to it


class Vocabulary:
    """The tokens of some texts, numbered from 0.

    The other rows of the table get no gradient, and Adam moves nothing that never had one. Training without
    them is the same training; a table is half of a small encoder, and most of it is never touched.
    """

    def __init__(self, texts: Sequence[np.ndarray], size: int) -> None:
        used = np.union1d(np.concatenate(texts), [_PADDING])
        # Powers of two, so that few shapes are compiled; the spare rows are copies that no text asks for.
        rows = min(size, 1 << (len(used) - 1).bit_length())
        self._used = used
        self._rows = np.concatenate([used, np.full(rows - len(used), used[0], used.dtype)])

    def number(self, ids: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._used, ids).astype(ids.dtype)

    def narrow(self, state: Any) -> Any:
        """The state of a classifier with these tokens alone."""
        return _replaced(state, _table(state)[self._rows])

    def widen(self, narrow: Any, whole: Any) -> Any:
        """The state `narrow` with the other tokens of `whole`."""
        known = _table(narrow)[: len(self._used)]
        return _replaced(narrow, _table(whole).at[self._used].set(known))


def _table(state: Any) -> Float[Array, "tokens width"]:
    return state["encoder"]["tokens"]["embedding"][...]


def _replaced(state: Any, table: Float[Array, "tokens width"]) -> Any:
    state = jax.tree.map(jnp.copy, state)
    tokens = state["encoder"]["tokens"]
    tokens["embedding"] = tokens["embedding"].replace(table)
    return state
