"""Results on other systems, here fsspec's memory: brought there whole, or not at all."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from synalign_jax.cli import main
from synalign_jax.pipeline.data.errors import DataError
from synalign_jax.pipeline.data.remote import outgoing


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryFileSystem]:
    monkeypatch.setenv("SYNALIGN_CACHE", str(tmp_path / "cache"))
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def _files(memory: MemoryFileSystem) -> dict[str, bytes]:
    return {name: memory.cat(name) for name in sorted(memory.store)}


def _command(folder: Path, out: str) -> list[str]:
    rng = np.random.default_rng(0)
    for name, shift in (("real", 0.0), ("pool", 0.3)):
        vectors = rng.normal(shift, 1.0, size=(40, 4)).round(3).tolist()
        rows = [{"text": f"{name} {row}", "embedding": vector} for row, vector in enumerate(vectors)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    paths = ["--real", str(folder / "real.jsonl"), "--synthetic", str(folder / "pool.jsonl")]
    return ["align", *paths, "--regularization", "0.1", "--spectral-power", "0", "--out", out]


def test_an_alignment_is_brought_whole_and_is_that_of_this_machine(
    tmp_path: Path, memory: MemoryFileSystem, capsys: pytest.CaptureFixture
) -> None:
    memory.pipe("/bucket/aligned/resampled.csv", b"of an earlier call")
    memory.pipe("/bucket/aligned/notes.txt", b"not ours")
    assert main(_command(tmp_path, "memory://bucket/aligned")) == 0
    assert "Report: memory://bucket/aligned/report.html" in capsys.readouterr().out
    assert main(_command(tmp_path, str(tmp_path / "here"))) == 0
    there = {Path(name).name: data for name, data in _files(memory).items()}
    assert set(there) == {file.name for file in (tmp_path / "here").iterdir()} | {"notes.txt"}
    for name in ("weights.npy", "distribution.npy", "resampled.jsonl", "alignment.json"):
        assert there[name] == (tmp_path / "here" / name).read_bytes()
    assert np.load(io.BytesIO(there["weights.npy"])).shape == (40,)
    assert b"memory://bucket/aligned/weights.npy" in there["report.html"]
    assert not list((tmp_path / "cache/outgoing").iterdir()), "nothing is left on this machine"
    # What was written there can be read as any file.
    assert main(["push", str(tmp_path / "here"), "--local", "memory://bucket/set"]) == 0
    assert pq.read_table(io.BytesIO(memory.cat("/bucket/set/data/aligned.parquet"))).num_rows


def test_a_file_that_cannot_be_written_leaves_all_as_it_was(
    tmp_path: Path, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/bucket/out/a", b"before")
    before, opened = _files(memory), MemoryFileSystem._open

    def full(self: Any, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode == "wb" and path.endswith("/c"):
            raise OSError(28, "the bucket is full")
        return opened(self, path, mode, **options)

    monkeypatch.setattr(MemoryFileSystem, "_open", full)

    def made() -> Path:
        with outgoing("memory://bucket/out", lambda: tmp_path) as folder:
            folder.mkdir(exist_ok=True)
            for name in "abc":
                (folder / name).write_text(name)
        return folder

    with pytest.raises(DataError, match=r"the bucket is full.*is whole on this machine") as failed:
        made()
    assert _files(memory) == before
    kept = Path(str(failed.value).rpartition(": ")[2])
    assert sorted(file.name for file in kept.iterdir()) == ["a", "b", "c"]
    monkeypatch.undo()
    made()
    assert _files(memory) == {f"/bucket/out/{name}": name.encode() for name in "abc"}


def test_work_that_was_stopped_is_found_again_and_nothing_is_brought(
    tmp_path: Path, memory: MemoryFileSystem
) -> None:
    found = []

    def stopped() -> None:
        with outgoing("memory://bucket/x.npy", lambda: tmp_path) as file:
            found.append(file.with_name("kept").exists())
            file.with_name("kept").write_text("a piece")
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            stopped()
    assert found == [False, True]
    assert not memory.store
    with outgoing("memory://bucket/x.npy", lambda: tmp_path, deliver=False) as file:
        file.write_bytes(b"another process brings it")
    assert not memory.store
    with outgoing("memory://bucket/x.npy", lambda: tmp_path) as file:
        file.write_bytes(b"whole")
    assert _files(memory) == {"/bucket/x.npy": b"whole"}


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("http://127.0.0.1:9/out", "a web server takes no files"),
        ("memory://", "names a whole file system"),
        ("xyz://bucket/out", "Protocol not known"),
    ],
)
def test_a_place_that_takes_no_files_is_refused_before_any_work(
    tmp_path: Path, place: str, message: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(_command(tmp_path, place)) == 1
    assert message in capsys.readouterr().err


def test_clusters_and_their_picture_go_to_a_url(
    tmp_path: Path, memory: MemoryFileSystem, capsys: pytest.CaptureFixture
) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))
    common = ["explore", str(tmp_path / "rows.npy"), "--rounds", "3", "--out"]
    assert main([*common, "memory://bucket.v2/clusters"]) == 0
    assert "picture: memory://bucket.v2/clusters.svg" in capsys.readouterr().out
    assert main([*common, str(tmp_path / "here.jsonl")]) == 0
    assert _files(memory) == {
        "/bucket.v2/clusters": (tmp_path / "here.jsonl").read_bytes(),
        "/bucket.v2/clusters.svg": (tmp_path / "here.svg").read_bytes(),
    }
