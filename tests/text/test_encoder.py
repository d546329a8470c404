import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_models

from synalign_jax.text import Embedder, Encoder, ModelError, keep_compiled
from synalign_jax.text.model.pooling import pool
from synalign_jax.text.protocol import Truncating


def test_it_is_an_embedder_with_unit_vectors(minilm: Encoder) -> None:
    assert isinstance(minilm, Embedder)
    assert isinstance(minilm, Truncating)
    assert "all-MiniLM-L6-v2@" in minilm.identity
    vectors = minilm.embed(["A dull film.", "A bright, funny film."])
    assert vectors.shape == (2, minilm.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert minilm.embed([]).shape == (0, minilm.dimension)


def test_a_vector_does_not_depend_on_its_neighbours(minilm: Encoder, reviews: dict[str, list[str]]) -> None:
    texts = reviews["rotten_tomatoes"][:60] + reviews["imdb"][:3]
    together = minilm.embed(texts)
    for i in (0, 17, 59, 62):
        np.testing.assert_allclose(minilm.embed([texts[i]])[0], together[i], atol=2e-6)


def test_strange_texts_are_embedded_and_long_ones_counted(minilm: Encoder) -> None:
    texts = ["", "   ", "\x00\x07\x1b[31m", "слово 字 كلمة 🎬", "a" * 100_000, "word " * 20_000]
    vectors, cut = minilm.embed_marked(texts)
    assert np.isfinite(vectors).all()
    assert cut.tolist() == [False, False, False, False, False, True]
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError, match="dtype: 'float8'; one of float32, bfloat16"):
        Encoder.from_pretrained("all-MiniLM-L6-v2", dtype="float8")
    with pytest.raises(ModelError, match=r"max_tokens: 300; .* takes 3 to 256"):
        Encoder.from_pretrained("all-MiniLM-L6-v2", max_tokens=300)


def test_few_shapes_are_compiled_and_none_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traces = []

    def counting(*args, **kwargs):
        traces.append(kwargs["texts"])
        return pool(*args, **kwargs)

    monkeypatch.setattr("synalign_jax.text.encoder.pool", counting)
    # A batch size of its own, so that no other test has compiled these shapes.
    encoder = Encoder.from_pretrained(tiny_models.make(tmp_path, "bge"), batch_tokens=1536)
    rng = np.random.default_rng(0)
    for count in (1, 3, 40, 700):
        texts = [" ".join(["film"] * n) for n in rng.integers(0, 60, count)]
        encoder.embed(texts)
    assert 1 <= len(traces) <= 8
    first = len(traces)
    Encoder.from_pretrained(tmp_path, batch_tokens=1536).embed(texts)
    assert len(traces) == first


_MESH = """
import sys
import jax, numpy as np
from synalign_jax.text import Encoder
texts = [" ".join(["film", "story"] * (i % 20)) for i in range(300)]
plain = Encoder.from_pretrained(sys.argv[1])
shared = Encoder.from_pretrained(sys.argv[1], mesh=jax.make_mesh((8,), ("data",)))
devices = set()
run = shared._run
shared._run = lambda batch: (result := run(batch), devices.update(result.sharding.device_set))[0]
np.testing.assert_allclose(shared.embed(texts), plain.embed(texts), atol=1e-5)
assert len(devices) == 8, devices
"""


def test_a_mesh_of_eight_devices_gives_the_same_vectors(tmp_path: Path) -> None:
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    folder = tiny_models.make(tmp_path, "mpnet")
    subprocess.run([sys.executable, "-c", _MESH, str(folder)], env=environment, check=True, timeout=300)


_START = """
import sys
import jax
from synalign_jax.text import Encoder, keep_compiled
keep_compiled(sys.argv[2])
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
Encoder.from_pretrained(sys.argv[1]).embed(["a film", "a story " * 20])
print(*(sum(name.endswith(end) for name in hits) for end in ("/cache_misses", "/cache_hits")))
"""


def test_a_second_start_compiles_nothing_and_says_nothing(tmp_path: Path) -> None:
    folder = tiny_models.make(tmp_path / "model", "minilm")
    command = [sys.executable, "-W", "error", "-c", _START, str(folder), str(tmp_path / "compiled")]
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, env=environment)
        for _ in range(2)
    )
    misses, hits = map(int, second.stdout.split())
    assert int(first.stdout.split()[0]) > 0
    assert misses == 0
    assert hits > 0
    assert second.stderr == ""


def test_the_folder_that_the_environment_names_jax_is_used(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "theirs"))
    before = dict(jax.config.values)
    assert keep_compiled(tmp_path / "ours") == tmp_path / "theirs"
    assert not (tmp_path / "ours").exists()
    assert jax.config.values == before


def test_where_no_programs_can_be_kept_nothing_is(tmp_path: Path, monkeypatch) -> None:
    """A home that cannot be written: the work goes on."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    (tmp_path / "file").write_text("", encoding="utf-8")
    before = dict(jax.config.values)
    keep_compiled(tmp_path / "file" / "xla")
    assert jax.config.values == before
