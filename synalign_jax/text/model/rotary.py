"""Rotary positions (Su et al. 2021): a token's queries and keys are turned by its place in its text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from synalign_jax.text.errors import ModelError


@dataclass(frozen=True)
class RotarySettings:
    """`base` (theta), and how its frequencies are stretched for texts longer than the training's.

    Attributes:
        kind: "default", "linear", or "ntk" as gte's own code has it (kexue.fm/archives/9706, fixed or mixed).
        mixed: the exponent b of mixed NTK scaling; None for the fixed form.
    """

    base: float
    kind: str = "default"
    factor: float = 1.0
    mixed: float | None = None


def rotary_settings(
    config: Mapping[str, Any], layer_type: str | None = None, *, base: float
) -> RotarySettings:
    """What a config.json says of rotary positions, in the older form (rope_theta, rope_scaling) or the newer.

    Args:
        layer_type: the entry of `rope_parameters` where it has one for each type of layer.
        base: theta where none is given.

    Raises:
        ModelError: a scaling that is not supported.
    """
    newer = config.get("rope_parameters") or {}
    if layer_type is not None and any(isinstance(value, Mapping) for value in newer.values()):
        newer = newer.get(layer_type) or {}
    scaling = {**(config.get("rope_scaling") or {}), **newer}
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    if kind not in ("default", "linear", "ntk"):
        raise ModelError(f"rotary positions scaled by {kind!r} are not supported (default, linear, ntk are)")
    return RotarySettings(
        base=float(scaling.get("rope_theta") or base),
        kind=kind,
        factor=float(scaling.get("factor", 1.0)),
        mixed=scaling.get("mixed_b"),
    )


def inverse_frequencies(depth: int, settings: RotarySettings) -> tuple[float, ...]:
    """(depth / 2,) radians a token, for each pair of a head's columns."""
    exponents = np.arange(0, depth, 2) / depth
    if settings.kind != "ntk":
        found = settings.base**-exponents / settings.factor
    elif settings.mixed is None:
        found = (settings.base * settings.factor) ** -exponents / settings.factor ** (2 / depth)
    else:
        slope = math.log(settings.factor) / (depth / 2) ** settings.mixed
        found = settings.base**-exponents / np.exp(slope * np.arange(1, depth // 2 + 1) ** settings.mixed)
    return tuple(found.tolist())


def turns(
    positions: Int[Array, "rows length"], frequencies: tuple[float, ...]
) -> tuple[Float[Array, "1 rows length half"], Float[Array, "1 rows length half"]]:
    """Cosines and sines, in float32."""
    angles = positions[None, :, :, None].astype(jnp.float32) * jnp.asarray(frequencies, jnp.float32)
    return jnp.cos(angles), jnp.sin(angles)


def turn(
    x: Float[Array, "heads rows length depth"],
    by: tuple[Float[Array, "1 rows length half"], Float[Array, "1 rows length half"]],
) -> Float[Array, "heads rows length depth"]:
    """Column j and column j + depth / 2 are turned together."""
    cosine, sine = by
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = [first * cosine - second * sine, second * cosine + first * sine]
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)
