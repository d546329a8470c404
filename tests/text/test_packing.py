import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synalign_jax.text.packing import Packer, pack_rows, row_lengths, segments_per_row


@pytest.mark.parametrize(
    ("max_tokens", "lengths"),
    [(128, (64, 128, 256, 512)), (512, (64, 128, 256, 512)), (8192, (64, 256, 2048, 8192))],
)
def test_row_lengths(max_tokens: int, lengths: tuple[int, ...]) -> None:
    assert row_lengths(max_tokens) == lengths


@given(st.lists(st.integers(1, 64), max_size=200))
def test_every_text_gets_one_place_and_no_row_overflows(sizes: list[int]) -> None:
    rows = pack_rows(np.array(sizes, int), 64)
    assert sorted(text for row in rows for text in row) == list(range(len(sizes)))
    for row in rows:
        assert sum(sizes[text] for text in row) <= 64
        assert len(row) <= segments_per_row(64)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 256), max_size=300), st.integers(1, 3), st.sampled_from([1, 8]))
def test_batches_hold_every_token_once_in_few_shapes(sizes: list[int], parts: int, multiple: int) -> None:
    texts = [(i, np.arange(size, dtype=np.int32) + i) for i, size in enumerate(sizes)]
    packer = Packer(256, tokens=2048, multiple=multiple)
    batches = [batch for part in range(parts) for batch in packer.add(texts[part::parts])]
    batches += packer.finish()
    found = {}
    for batch in batches:
        assert batch.ids.shape[0] % multiple == 0
        for text, (row, place) in zip(batch.texts, batch.places, strict=True):
            member = batch.segments[row] == place + 1
            found[int(text)] = batch.ids[row][member]
            np.testing.assert_array_equal(batch.positions[row][member], np.arange(member.sum()))
    assert sorted(found) == list(range(len(sizes)))
    for i, ids in texts:
        np.testing.assert_array_equal(found[i], ids)
    assert len({batch.ids.shape for batch in batches}) <= 8
    assert packer.used_tokens == sum(sizes)
    assert packer.batch_tokens == sum(batch.ids.size for batch in batches)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.poisson(25, n) + 3,
        lambda rng, n: np.full(n, 70),
        lambda rng, n: np.full(n, 4),
        lambda rng, n: np.minimum(rng.lognormal(5.2, 0.7, n).astype(int) + 3, 256),
        lambda rng, n: rng.integers(3, 257, n),
        lambda rng, n: np.where(rng.random(n) < 0.5, 256, 10),
    ],
)
def test_less_than_a_tenth_is_padding(draw) -> None:
    sizes = draw(np.random.default_rng(0), 4000)
    packer = Packer(256, tokens=2048)
    for start in range(0, len(sizes), 1024):
        chunk = sizes[start : start + 1024]
        list(packer.add([(start + i, np.zeros(n, np.int32)) for i, n in enumerate(chunk)]))
    list(packer.finish())
    assert packer.used_tokens > 0.9 * packer.batch_tokens
