"""Parquet and Arrow files, read a batch at a time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synalign_jax.pipeline.data.errors import DataError
from synalign_jax.pipeline.data.shards import SourceFile

from .rows import REPORT_EVERY


class ArrowFile:
    """One Parquet, Feather or Arrow stream file.

    Attributes:
        names: of the columns, in order; a name may stand twice.
        rows: how many there are.
        class_names: what the numbers of a column stand for, where `datasets` wrote that into the schema.

    Raises:
        DataError: not a whole file of that format.
    """

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        with self._whole():
            if file.suffix == ".parquet":
                with self._parquet() as opened:
                    self.names = list(opened.schema_arrow.names)
                    self.rows = opened.metadata.num_rows
                    self.class_names = _class_names(opened.schema_arrow.metadata)
            else:
                self.names, self.rows, self.class_names = [], 0, {}
                for batch in self._record_batches():
                    self.names = batch.schema.names
                    self.class_names = _class_names(batch.schema.metadata)
                    self.rows += batch.num_rows

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Batches with these columns alone."""
        with self._whole():
            if self.file.suffix == ".parquet":
                with self._parquet() as opened:
                    yield from opened.iter_batches(batch_size=REPORT_EVERY, columns=list(columns))
                return
            for batch in self._record_batches():
                yield batch.select(list(columns))

    @contextlib.contextmanager
    def _parquet(self) -> Iterator[pq.ParquetFile]:
        with contextlib.ExitStack() as stack:
            source: Any = (
                self.file.path if self.file.system is None else stack.enter_context(self.file.open())
            )
            yield stack.enter_context(pq.ParquetFile(source))

    def _record_batches(self) -> Iterator[pa.RecordBatch]:
        with self.file.open() as stream:
            if stream.read(6) == b"ARROW1":
                stream.seek(0)
                reader = pa.ipc.open_file(stream)
                for i in range(reader.num_record_batches):
                    yield reader.get_batch(i)
            else:
                stream.seek(0)
                yield from pa.ipc.open_stream(stream)

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        kind = "Parquet" if self.file.suffix == ".parquet" else "Arrow"
        try:
            yield
        except FileNotFoundError as error:
            raise DataError(f"{self.file.name}: no such file") from error
        except (pa.ArrowInvalid, OSError) as error:
            with self.file.open() as stream:
                pointer = stream.read(64).startswith(b"version https://git-lfs")
            if pointer:
                raise DataError(
                    f"{self.file.name}: this is a Git LFS pointer and not the data; run: git lfs pull"
                ) from None
            raise DataError(
                f"{self.file.name}: not a whole {kind} file ({str(error).splitlines()[0]});"
                " it may have been cut off"
            ) from error


def _class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Of the columns, or of the items of their lists, that are a `ClassLabel` of the library datasets."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        columns = dict(features)
    except (KeyError, TypeError, ValueError):  # no such metadata, or another program's
        return {}
    found = {}
    for column, feature in columns.items():
        # Lists are {"feature": ..., "_type": "Sequence"}, or [...] in older files.
        while isinstance(feature, list) or (isinstance(feature, dict) and "feature" in feature):
            feature = (feature or [None])[0] if isinstance(feature, list) else feature["feature"]
        names = feature.get("names") if isinstance(feature, dict) else None
        if isinstance(names, list) and names and feature.get("_type") == "ClassLabel":
            found[column] = [str(name) for name in names]
    return found


def short_numbers(values: pa.Array) -> list[Any]:
    """The cells of a column; numbers of half and single precision as the decimals that they were: 0.1 for the
    label that is 0.10000000149011612 as a double."""
    cells = values.to_pylist()
    if pa.types.is_float32(values.type) or pa.types.is_float16(values.type):
        kind = values.type.to_pandas_dtype()
        return [cell if cell is None else float(str(kind(cell))) for cell in cells]
    return cells
