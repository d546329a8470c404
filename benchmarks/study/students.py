"""The study's students, of another library than the project's own, so that no method is judged by its own
tool.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier

NAMES = ("linear", "mlp", "encoder")
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)  # on the mean loss, rows of unit mean squared length
_FOLDS = 3
_FOLD_ROWS = 1_500


@dataclass(frozen=True)
class Train:
    """Rows to train on: embeddings, texts for the encoder that is fine-tuned, labels and weights."""

    vectors: np.ndarray
    texts: list[str]
    labels: np.ndarray
    weights: np.ndarray

    def standing(self) -> Train:
        """Only the rows with weight."""
        kept = np.flatnonzero(self.weights > 0)
        texts = [self.texts[i] for i in kept] if self.texts else []
        return Train(self.vectors[kept], texts, self.labels[kept], self.weights[kept])


def predict(student: str, train: Train, test: np.ndarray, test_texts: list[str], seed: int) -> np.ndarray:
    """Predicted labels of the test rows."""
    train = train.standing()
    if len(np.unique(train.labels)) < 2:
        return np.full(len(test), train.labels[0])
    if student == "encoder":
        return _encoder(train, test_texts, seed)
    scale = _Scale(train)
    x = scale(train.vectors)
    model = _linear(x, train, seed) if student == "linear" else _mlp(x, train, seed)
    return model.predict(scale(test))


class _Scale:
    """Centred and of unit mean squared length by the weighted training rows."""

    def __init__(self, train: Train) -> None:
        share = (train.weights / train.weights.sum()).astype(np.float32)
        self._center = share @ train.vectors
        squares = np.square(train.vectors - self._center).sum(axis=1)
        self._scale = np.sqrt(max(float(share @ squares), 1e-12))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return ((rows - self._center) / self._scale).astype(np.float32)


def logistic(x: np.ndarray, labels: np.ndarray, weights: np.ndarray, penalty: float) -> LogisticRegression:
    """Softmax regression: weighted mean cross-entropy + (penalty / 2) ||W||^2."""
    model = LogisticRegression(C=1.0 / (penalty * weights.sum()), max_iter=300, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, labels, sample_weight=weights)


def _linear(x: np.ndarray, train: Train, seed: int) -> LogisticRegression:
    """The penalty is chosen by the weighted Brier score in 3-fold cross-validation inside the training
    rows.
    """
    rows = np.random.default_rng(seed).permutation(len(x))[:_FOLD_ROWS]
    labels, weights = train.labels[rows], train.weights[rows]
    losses = np.zeros(len(_PENALTIES))
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) > 1 and counts.min() >= 2:
        folds = StratifiedKFold(min(_FOLDS, int(counts.min())), shuffle=True, random_state=seed)
        for fit, held in folds.split(x[rows], labels):
            for i, penalty in enumerate(_PENALTIES):
                model = logistic(x[rows[fit]], labels[fit], weights[fit], penalty)
                truth = labels[held][:, None] == model.classes_[None, :]
                losses[i] += weights[held] @ np.square(model.predict_proba(x[rows[held]]) - truth).sum(axis=1)
    return logistic(x, train.labels, train.weights, _PENALTIES[int(np.argmin(losses))])


def _mlp(x: np.ndarray, train: Train, seed: int) -> Any:
    batch = min(128, len(x))
    epochs = max(20, min(300, 600 * batch // len(x)))
    model = MLPClassifier(
        (64,), alpha=1e-2, batch_size=batch, learning_rate_init=3e-3, max_iter=epochs, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, train.labels, sample_weight=train.weights / train.weights.mean())


def _encoder(train: Train, test_texts: list[str], seed: int) -> np.ndarray:
    import jax

    from synalign_jax.text.encoder import Encoder
    from synalign_jax.text.tuning.classifier import finetune

    classes, codes = np.unique(train.labels, return_inverse=True)
    tuned = finetune(
        Encoder.from_pretrained("all-MiniLM-L6-v2", max_tokens=64),
        train.texts,
        codes.astype(np.int32),
        classes=len(classes),
        key=jax.random.key(seed),
        weights=train.weights,
        epochs=4,
        patience=2,
    )
    return classes[tuned.predict(test_texts).argmax(axis=1)]
