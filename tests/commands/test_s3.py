"""Shards from and results to a server of the S3 protocol on this machine."""

import importlib.util
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synalign_jax.cli import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("moto") is None or importlib.util.find_spec("s3fs") is None,
        reason="needs the extra far",
    ),
    # botocore's and moto's own.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """A file system with an empty bucket `rows`, found by commands as a user's own would be."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    import fsspec

    system = fsspec.filesystem("s3")
    system.mkdir("rows")
    yield system
    server.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNALIGN_CACHE", str(tmp_path / "cache"))


def shards(system: Any, folder: Path) -> None:
    """Real rows and a pool of two shards, here and there."""
    rng = np.random.default_rng(0)
    for name, shift, rows in (("real", 0.0, 60), ("pool/part-0", 0.3, 50), ("pool/part-1", 0.3, 51)):
        labels = rng.integers(0, 2, rows)
        vectors = rng.normal(shift, 1.0, (rows, 6)).astype(np.float32) + labels[:, None].astype(np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 6)
        table = pa.table({"text": [f"{name} {i}" for i in range(rows)], "label": labels, "embedding": column})
        (folder / name).parent.mkdir(exist_ok=True)
        pq.write_table(table, folder / f"{name}.parquet")
        system.put(str(folder / f"{name}.parquet"), f"rows/{name}.parquet")


def test_what_is_read_and_written_there_is_what_it_is_here(
    tmp_path: Path, bucket: Any, capsys: pytest.CaptureFixture
) -> None:
    shards(bucket, tmp_path)
    for place, root in (("there", "s3://rows"), ("here", str(tmp_path))):
        words = ["--real", f"{root}/real.parquet", "--synthetic", f"{root}/pool"]
        few = ["--regularization", "0.1", "--spectral-power", "0", "--weights", "distribution"]
        assert main(["align", *words, *few, "--out", f"{root}/aligned"]) == 0, place
        numbers = ["--out", f"{root}/numbers.json", "--report", f"{root}/report.html", "--seeds", "2"]
        assert main(["evaluate", *words, *numbers, "--students", "linear"]) == 0, place
        assert main(["explore", f"{root}/pool", "--rounds", "3", "--out", f"{root}/clusters.jsonl"]) == 0
    said = capsys.readouterr().out
    assert "Numbers: s3://rows/numbers.json" in said
    assert "picture: s3://rows/clusters.svg" in said
    names = ["numbers.json", "clusters.jsonl", "clusters.svg"]
    names += [f"aligned/{name}" for name in ("weights.npy", "distribution.npy", "resampled.jsonl")]
    for name in names:
        assert bucket.cat(f"rows/{name}") == (tmp_path / name).read_bytes(), name
    assert {Path(name).name for name in bucket.ls("rows/aligned")} == set(os.listdir(tmp_path / "aligned"))
    assert b"<html" in bucket.cat("rows/report.html")
    assert not list((tmp_path / "cache/outgoing").iterdir())
    assert main(["push", str(tmp_path / "aligned"), "--local", "s3://rows/set"]) == 0
    assert pq.read_table(io.BytesIO(bucket.cat("rows/set/data/aligned.parquet"))).num_rows


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cut/part-1.parquet", None, "part-1.parquet"),
        ("wide/part-1.jsonl", json.dumps({"text": "a", "embedding": [1.0, 2.0]}), "2"),
    ],
)
def test_a_shard_there_that_is_cut_off_or_of_another_width_is_named(
    tmp_path: Path, bucket: Any, capsys: pytest.CaptureFixture, name: str, content: str | None, said: str
) -> None:
    shards(bucket, tmp_path)
    folder, whole = name.partition("/")[0], (tmp_path / "pool/part-0.parquet").read_bytes()
    if content is None:
        bucket.pipe(f"rows/{folder}/part-0.parquet", whole)
        bucket.pipe(f"rows/{name}", whole[:-200])
    else:
        bucket.pipe(
            f"rows/{folder}/part-0.jsonl", json.dumps({"text": "b", "embedding": [1.0, 2.0, 3.0]}).encode()
        )
        bucket.pipe(f"rows/{name}", content.encode())
    words = ["--real", str(tmp_path / "real.parquet"), "--synthetic", f"s3://rows/{folder}"]
    assert main(["align", *words, "--out", "s3://rows/never"]) == 1
    heard = capsys.readouterr().err
    assert name.rpartition("/")[2] in heard
    assert said in heard
    assert not bucket.exists("rows/never")


def test_a_bucket_that_is_not_there_is_named_before_any_work(
    tmp_path: Path, bucket: Any, capsys: pytest.CaptureFixture
) -> None:
    shards(bucket, tmp_path)
    pool = str(tmp_path / "pool")
    assert main(["explore", "s3://rows/none", "--rounds", "1", "--out", str(tmp_path / "c.jsonl")]) == 1
    assert "s3://rows/none: nothing is there" in capsys.readouterr().err
    assert main(["explore", pool, "--rounds", "1", "--out", "s3://no-such/c.jsonl"]) == 1
    assert "there is no bucket 'no-such'; make it first" in capsys.readouterr().err
    assert not bucket.exists("no-such"), "a slip of the pen makes no bucket"
