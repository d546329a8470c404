"""The 1,000 real texts of mixed length whose torch vectors are recorded, and the sketch they are kept as."""

import numpy as np

SKETCH = 128


def mixed_texts(reviews: dict[str, list[str]]) -> list[str]:
    """850 sentences, and the openings of 150 reviews at lengths up to beyond the model's limit."""
    opening = [text[: 40 + 10 * i] for i, text in enumerate(reviews["imdb"][:150])]
    return reviews["rotten_tomatoes"][:850] + opening


def sketch(vectors: np.ndarray) -> np.ndarray:
    """(rows, SKETCH): products with fixed Gaussian directions.

    For any fixed u and v, ||sketch(u) - sketch(v)||^2 is an unbiased estimate of ||u - v||^2 with relative
    standard deviation sqrt(2 / SKETCH), one eighth (Johnson and Lindenstrauss 1984). Of unit vectors,
    1 - cosine is half of that.
    """
    directions = np.random.default_rng(20_240_607).standard_normal((vectors.shape[1], SKETCH))
    return np.asarray(vectors, np.float64) @ directions / np.sqrt(SKETCH)
