"""Files on other systems: in fsspec's memory, and from a server over HTTP."""

import contextlib
import gzip
import http.server
import io
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synalign_jax.pipeline.data.errors import DataError
from synalign_jax.pipeline.data.tables import read_table


@pytest.fixture
def bucket() -> Iterator[str]:
    memory = fsspec.filesystem("memory")
    parquet, array = io.BytesIO(), io.BytesIO()
    pq.write_table(
        pa.table({"text": ["c", "d"], "embedding": [[1.0, 2.0], [3.0, 4.0]], "id": [7, 8]}), parquet
    )
    np.save(array, np.ones((3, 4), "f2"))
    for name, data in {
        "real/a.jsonl": b'{"text": "a", "label": "x"}\n',
        "real/b.jsonl": b'{"text": "b", "label": "y"}\n',
        "pool/label=z/part-0.parquet": parquet.getvalue(),
        "packed/rows.csv.gz": gzip.compress(b"text,label\nq,r\n"),
        "vectors.npy": array.getvalue(),
        "odd/rows.docx": b"",
    }.items():
        with memory.open(f"/bucket/{name}", "wb") as file:
            file.write(data)
    yield "memory://bucket"
    memory.rm("/bucket", recursive=True)


def test_a_folder_a_pattern_and_a_file(bucket: str) -> None:
    for name in ("real", "real/*.jsonl", "real/"):
        table = read_table(f"{bucket}/{name}")
        assert (table.texts, table.labels) == (["a", "b"], ["x", "y"])
        assert table.files == ("memory:///bucket/real/a.jsonl", "memory:///bucket/real/b.jsonl")
    assert read_table(f"{bucket}/packed/rows.csv.gz").texts == ["q"]
    assert (read_table(f"{bucket}/vectors.npy").embeddings == np.ones((3, 4))).all()


def test_parquet_with_vectors_a_label_in_its_folder_and_other_columns(bucket: str) -> None:
    table = read_table(f"{bucket}/pool")
    assert table.labels == ["z", "z"]
    assert table.embeddings is not None
    assert table.embeddings.tolist() == [[1, 2], [3, 4]]
    assert [row["id"] for row in table.others.take([1, 0])] == [8, 7]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("memory://bucket/none.csv", "nothing is there"),
        ("memory://bucket/none/*.csv", "no data files there"),
        ("memory://bucket/odd/rows.docx", "unknown format '.docx'"),
        ("memory://bucket", "files of several formats"),
        ("xyz://bucket/rows.csv", "Protocol not known"),
        ("http://127.0.0.1:9/rows.csv", "cannot be reached"),
    ],
)
def test_what_is_not_there_is_refused(bucket: str, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(name)


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(url: str) -> None:
        raise ImportError("Install something")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(DataError, match="pip install s3fs"):
        read_table("s3://bucket/rows.csv")
    with pytest.raises(DataError, match="Install something"):
        read_table("dbfs://bucket/rows.csv")


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_over_http(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\na,x\nb,y\n")
    pq.write_table(pa.table({"text": ["c"], "label": ["z"]}), tmp_path / "rows.parquet")
    with _served(tmp_path) as address:
        assert read_table(f"{address}/rows.csv").texts == ["a", "b"]
        assert read_table(f"{address}/rows.parquet").labels == ["z"]
        with pytest.raises(DataError, match=r"none\.csv"):
            read_table(f"{address}/none.csv")
