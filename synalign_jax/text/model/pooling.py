"""From hidden states to one vector a text, as sentence-transformers' 1_Pooling/config.json says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from synalign_jax.text.errors import ModelError

# All modes but "max" are weighted sums of a text's hidden states, so packed rows are pooled by one product.
# The older files hold one flag a mode, and join the vectors in this order.
MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def read_pooling(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The pooling modes of a 1_Pooling/config.json, in the order in which their vectors are joined.

    Raises:
        ModelError: a mode that is not supported.
    """
    modes = config.get("pooling_mode")
    if modes is None:
        flags = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
        modes = [name for key, name in MODES.items() if key in flags]
        modes += [key for key in flags if key not in MODES]
    modes = [modes] if isinstance(modes, str) else list(modes)
    unknown = [mode for mode in modes if mode not in MODES.values()]
    if unknown:
        raise ModelError(
            f"1_Pooling/config.json: {', '.join(unknown)} is not supported;"
            f" supported are {', '.join(MODES.values())}"
        )
    return tuple(modes) or ("mean",)


def pool(
    hidden: Float[Array, "rows length width"],
    positions: Int[Array, "rows length"],
    segments: Int[Array, "rows length"],
    *,
    modes: tuple[str, ...],
    texts: int,
    skip: int = 0,
) -> Float[Array, "rows texts pooled"]:
    """One vector for each of the up to `texts` texts of a row, in float32; zeros where there is no text.

    Args:
        skip: leading tokens of each text that are not pooled: those of a prompt.
    """
    member = (segments[:, None, :] == jnp.arange(1, texts + 1)[None, :, None]).astype(jnp.float32)
    position = positions[:, None, :].astype(jnp.float32)
    last = (member * (position + 1)).max(axis=-1, keepdims=True) - 1
    if skip:
        member = member * (position >= skip)
    count = jnp.maximum(member.sum(axis=-1, keepdims=True), 1.0)
    rising = member * (position + 1)
    weights = {
        "cls": lambda: member * (position == skip),
        "mean": lambda: member / count,
        "mean_sqrt_len_tokens": lambda: member / jnp.sqrt(count),
        "weightedmean": lambda: rising / jnp.maximum(rising.sum(axis=-1, keepdims=True), 1.0),
        "lasttoken": lambda: member * (position == last),
    }
    hidden = hidden.astype(jnp.float32)
    pooled = [
        _largest(hidden, jnp.where(positions >= skip, segments, 0), texts)
        if mode == "max"
        else jnp.einsum("rtl,rlw->rtw", weights[mode](), hidden, precision=jax.lax.Precision.HIGHEST)
        for mode in modes
    ]
    return jnp.concatenate(pooled, axis=-1)


def _largest(
    hidden: Float[Array, "rows length width"], segments: Int[Array, "rows length"], texts: int
) -> Float[Array, "rows texts width"]:
    """The largest value of each column over a text's tokens."""
    found = jax.vmap(lambda row, ids: jax.ops.segment_max(row, ids, texts + 1))(hidden, segments)[:, 1:]
    return jnp.where(jnp.isfinite(found), found, 0.0)
