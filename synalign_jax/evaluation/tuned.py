"""Students that are the encoder itself, fine-tuned on the texts: slow, and the ones that people deploy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from synalign_jax.core.effective import effective_rows
from synalign_jax.text.encoder import Encoder
from synalign_jax.text.tuning.classifier import finetune

from .scores import Comparison, Scored, draw_resamples, score_counts, summarise

_EPOCHS = 4


def compare_tuned(
    sets: Mapping[str, tuple[Sequence[str], np.ndarray, np.ndarray]],
    test_texts: Sequence[str],
    test_labels: np.ndarray,
    *,
    encoder: Encoder,
    key: Any,
    confidence: float = 0.95,
    on_progress: Callable[[int], None] | None = None,
) -> Comparison:
    """`compare_training_sets` for the encoder fine-tuned end to end, once a set.

    The intervals cover the test rows alone: what other training rows or another start would have given is not
    measured, for each would cost another fine-tuning.

    Args:
        sets: name -> texts, labels and weights; the first is the baseline.
        test_texts, test_labels: real rows that nothing was trained on.
        encoder: the encoder to start from; it is left as it is.
        key: starts, batches and resamples.
        on_progress: called with 1 after each set.

    Raises:
        ModelError: texts, labels or an encoder that cannot be trained on.
    """
    classes, codes = np.unique(
        np.concatenate([test_labels, *(own[1] for own in sets.values())]), return_inverse=True
    )
    truth, *coded = np.split(
        codes.astype(np.int32), np.cumsum([len(test_labels), *(len(s[1]) for s in sets.values())])[:-1]
    )
    resample_key, *set_keys = jax.random.split(key, len(sets) + 1)
    resamples = draw_resamples(resample_key, len(truth))
    everything = np.ones((1, len(truth)), np.float32)
    scored: dict[str, Scored] = {}
    for (name, (texts, _, weights)), labels, set_key in zip(sets.items(), coded, set_keys, strict=True):
        tuned = finetune(
            encoder, texts, labels, classes=len(classes), key=set_key, weights=weights, epochs=_EPOCHS
        )
        predicted = tuned.predict(test_texts).argmax(axis=1)
        scored[name] = Scored(
            effective_rows=effective_rows(weights),
            point=score_counts(truth, predicted, everything, len(classes))[:, 0],
            spread=np.zeros(2 + 2 * len(classes)),
            resampled=score_counts(truth, predicted, resamples, len(classes)),
        )
        if on_progress is not None:
            on_progress(1)
    base = next(iter(sets))
    return Comparison(
        tuple(
            summarise(
                name, len(sets[name][0]), own, scored[base], truth, tuple(map(str, classes)), confidence
            )
            for name, own in scored.items()
        ),
        base,
        len(truth),
        tuple(str(c) for c in classes),
        1,
        confidence,
    )
