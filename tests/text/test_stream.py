import errno
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from processes import child

from synalign_jax.text import EmbeddingCache, ModelError, embed_texts


class Counting:
    """An embedder of two numbers a text, that keeps what it was asked and can be made to die."""

    identity = "counting"
    dimension = 2

    def __init__(self, die_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.die_after = die_after

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        if self.die_after is not None and len(self.asked) >= self.die_after:
            raise KeyboardInterrupt
        self.asked += texts
        return np.array([[len(text), sum(text.encode()) % 97] for text in texts], np.float32)


TEXTS = [f"text {i % 2500} {'x' * (i % 7)}" for i in range(3000)]


def expected(texts: Sequence[str]) -> np.ndarray:
    return Counting().embed(texts)


def test_vectors_come_in_the_order_given_and_progress_adds_up() -> None:
    seen: list[int] = []
    result = embed_texts(Counting(), iter(TEXTS), on_progress=seen.append)
    np.testing.assert_array_equal(result.vectors, expected(TEXTS))
    assert sum(seen) == len(TEXTS)
    assert result.truncated == 0


def test_the_cache_answers_for_every_text_it_has_seen(tmp_path: Path) -> None:
    first, second, other = Counting(), Counting(), Counting()
    other.identity = "another model"
    with EmbeddingCache(tmp_path) as cache:
        embed_texts(first, TEXTS[:1000], cache=cache)
    with EmbeddingCache(tmp_path) as cache:
        result = embed_texts(second, TEXTS, cache=cache)
        embed_texts(other, TEXTS[:10], cache=cache)
    assert len(first.asked) == len(set(first.asked))
    assert not set(first.asked) & set(second.asked)
    assert len(other.asked) == 10
    np.testing.assert_array_equal(result.vectors, expected(TEXTS))


def test_a_file_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    out = tmp_path / "vectors.npy"
    with pytest.raises(KeyboardInterrupt):
        embed_texts(Counting(die_after=512), TEXTS, out=out)
    with out.open("ab") as stream:
        stream.write(b"half a ro")
    again = Counting()
    result = embed_texts(again, iter(TEXTS), out=out)
    assert isinstance(result.vectors, np.memmap)
    np.testing.assert_array_equal(np.load(out), expected(TEXTS))
    assert "text 0 " not in again.asked
    done = Counting()
    np.testing.assert_array_equal(embed_texts(done, TEXTS, out=out).vectors, expected(TEXTS))
    assert done.asked == []


@pytest.mark.parametrize("change", ["texts", "fewer", "embedder"])
def test_a_file_of_other_texts_or_another_embedder_starts_over(tmp_path: Path, change: str) -> None:
    out = tmp_path / "vectors.npy"
    embed_texts(Counting(), TEXTS[:100], out=out)
    embedder = Counting()
    texts = TEXTS[:100]
    if change == "texts":
        texts = ["changed", *TEXTS[1:100]]
    elif change == "fewer":
        texts = TEXTS[:50]
    else:
        embedder.identity = "another model"
    np.testing.assert_array_equal(embed_texts(embedder, texts, out=out).vectors, expected(texts))


def test_no_texts_give_no_rows(tmp_path: Path) -> None:
    assert embed_texts(Counting(), []).vectors.shape == (0, 2)
    assert embed_texts(Counting(), [], out=tmp_path / "none.npy").vectors.shape == (0, 2)


def test_a_file_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "mine.npy"
    out.write_text("precious")
    with pytest.raises(ModelError, match="was not written by this command"):
        embed_texts(Counting(), TEXTS[:10], out=out)
    assert out.read_text() == "precious"


def test_a_bad_text_is_named_by_its_place_in_the_whole_list() -> None:
    with pytest.raises(ModelError, match="text 2999: expected a str, got NoneType"):
        embed_texts(Counting(), [*TEXTS[:2999], None])  # type: ignore[list-item]
    with pytest.raises(ModelError, match="text 1: character 4 is half of a surrogate pair"):
        embed_texts(Counting(), ["fine", "bad \ud800"])
    with pytest.raises(ModelError, match="texts: expected a list of texts, got one str"):
        embed_texts(Counting(), "fine")


_CHILD = """
import sys, time
import numpy as np
from synalign_jax.text import EmbeddingCache, embed_texts

class Slow:
    identity, dimension = "slow", 8
    def embed(self, texts):
        time.sleep(0.05)
        print("asked", len(texts), flush=True)
        return np.array([[len(t) + i for i in range(8)] for t in texts], np.float32)

texts = [f"text {i} " + "x" * (i % 9) for i in range(20_000)]
with EmbeddingCache(sys.argv[1]) as cache:
    embed_texts(Slow(), texts, cache=cache, out=sys.argv[1] + "/vectors.npy")
"""


@pytest.mark.parametrize("answers", [1, 3])
def test_nothing_is_embedded_twice_after_a_kill(tmp_path: Path, answers: int) -> None:
    command = [sys.executable, "-c", _CHILD, str(tmp_path)]
    with child(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(answers)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    again = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    first, second = (
        sum(int(line.split()[1]) for line in part) for part in (lines, again.stdout.splitlines())
    )
    # The block that was in hand may have been lost; everything before it was kept.
    in_hand = int(lines[-1].split()[1])
    assert 20_000 <= first + second <= 20_000 + in_hand
    expected = [[len(f"text {i} ") + i % 9 + j for j in range(8)] for i in range(20_000)]
    np.testing.assert_array_equal(np.load(tmp_path / "vectors.npy"), expected)


@pytest.mark.parametrize("damage", ["rubbish", "half"])
def test_a_damaged_cache_is_set_aside_and_begun_anew(tmp_path: Path, damage: str) -> None:
    texts = [f"text {i}" for i in range(400)]
    vectors = np.random.default_rng(0).normal(size=(400, 64)).astype("f4")
    with EmbeddingCache(tmp_path) as cache:
        cache.put("model", texts, vectors, np.zeros(400, bool))
    path = tmp_path / "embeddings.sqlite"
    whole = path.read_bytes()
    path.write_bytes(b"this is not sqlite" * 8 if damage == "rubbish" else whole[: len(whole) // 2])

    def use() -> None:
        with EmbeddingCache(tmp_path) as cache:
            cache.get("model", texts)
            cache.put("model", texts, vectors, np.zeros(400, bool))

    with pytest.warns(UserWarning, match="cache was damaged"):
        use()
    with EmbeddingCache(tmp_path) as cache:
        np.testing.assert_array_equal(cache.get("model", texts)["text 7"][0], vectors[7])
    assert (tmp_path / "embeddings.sqlite.damaged").exists()


def test_a_cache_whose_disk_is_full_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    texts, vectors = ["one", "two"], np.ones((2, 64), "f4")
    with EmbeddingCache(tmp_path) as cache:
        cache.put("model", texts, vectors, np.zeros(2, bool))
        cache._database.execute("PRAGMA max_page_count = 5")
        many = [f"text {i}" for i in range(400)]
        with pytest.raises(OSError, match="full") as heard:
            cache.put("model", many, np.ones((400, 64), "f4"), np.zeros(400, bool))
        assert heard.value.errno == errno.ENOSPC
        assert heard.value.filename == str(tmp_path / "embeddings.sqlite")
    with EmbeddingCache(tmp_path) as cache:
        assert set(cache.get("model", [*texts, *many])) == set(texts)
