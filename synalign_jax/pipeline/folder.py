"""A run's folder: what each stage left, whether it finished, and who may read what."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import json
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .config import Config
from .on_disk import RowsOnDisk
from .outcome import differences, outcome_settings
from .together import interrupted_later

_ROW_GROUP = 65_536  # rows of a Parquet file that are written together


class RunFolderError(ValueError):
    """A run folder that cannot be used as asked."""


class SealedError(RuntimeError):
    """A stage reached for something that it has not declared: a mistake in our code, never the user's."""


@dataclass(frozen=True)
class Stage:
    """One step of a run. A stage can read only what `reads` names and write only what `writes` names.

    That is what keeps the held-out rows out of reach: evaluation alone declares them.
    """

    name: str
    run: Callable[..., None]
    reads: tuple[str, ...]
    writes: tuple[str, ...]


@dataclass
class StageView:
    """The part of a run folder that one stage may touch. Writes appear whole or not at all."""

    root: Path
    stage: Stage
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    ledger: Path | None = None

    def read_rows(self, name: str) -> list[dict[str, Any]]:
        """All rows as dictionaries: for few."""
        return self.read_table(name).to_pylist()

    def read_table(
        self, name: str, columns: Sequence[str] | None = None, coded: Sequence[str] = ()
    ) -> pa.Table:
        """All rows, or some of their columns, a tenth as large as dictionaries.

        Args:
            coded: columns whose values many rows share, each value held once.
        """
        path = self._readable(name, ".parquet")
        return pq.read_table(path, columns=columns and list(columns), read_dictionary=list(coded))

    def read_column(self, name: str, column: str, *, coded: bool = False) -> list[Any]:
        """The values of a column; where many rows share them, `coded` has one object for all of these."""
        return values_of(self.read_table(name, (column,), (column,) if coded else ())[column])

    def write_rows(self, name: str, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
        self.write_table(name, pa.Table.from_pylist(rows, schema=schema))

    def write_table(self, name: str, table: pa.Table) -> None:
        with self.writing(name, ".parquet") as path:
            pq.write_table(table, path)

    def write_batches(self, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """`write_table` of rows that come in batches, of which some are held at a time."""
        with self.writing(name, ".parquet") as path, pq.ParquetWriter(path, schema) as writer:
            held = []
            for batch in batches:
                held.append(batch)
                if sum(map(len, held)) >= _ROW_GROUP:
                    writer.write_table(pa.Table.from_batches(held, schema))
                    held = []
            writer.write_table(pa.Table.from_batches(held, schema))

    def read_array(self, name: str) -> np.ndarray:
        array = np.load(self._readable(name, ".npy"), mmap_mode="r", allow_pickle=False)
        # float16 is what vectors are kept in, not what is computed in.
        return array.astype(np.float32) if array.dtype == np.float16 else array

    def rows_on_disk(self, name: str) -> RowsOnDisk:
        """An array of which blocks are read."""
        return RowsOnDisk(self._readable(name, ".npy"))

    def write_array(self, name: str, array: np.ndarray) -> None:
        with self.writing(name, ".npy") as path, path.open("wb") as file:
            np.save(file, array, allow_pickle=False)

    def read_json(self, name: str) -> Any:
        return json.loads(self._readable(name, ".json").read_text(encoding="utf-8"))

    def write_json(self, name: str, value: Any) -> None:
        self.write_text(name, ".json", json.dumps(value, indent=1))

    def write_text(self, name: str, suffix: str, text: str) -> None:
        with self.writing(name, suffix) as path:
            path.write_text(text, encoding="utf-8", errors="replace")

    def warn(self, message: str) -> None:
        """Keep a message that the user must hear; it is printed at the end and stands in the report."""
        self.warnings.append(message)

    @property
    def ledger_path(self) -> Path:
        return self.ledger or self.root / "ledger.sqlite"

    def _readable(self, name: str, suffix: str) -> Path:
        if name not in self.stage.reads:
            raise SealedError(f"stage '{self.stage.name}' does not declare that it reads '{name}'")
        return self.root / f"{name}{suffix}"

    @contextlib.contextmanager
    def writing(self, name: str, suffix: str) -> Iterator[Path]:
        """A temporary path that becomes the file when the block ends well."""
        if name not in self.stage.writes:
            raise SealedError(f"stage '{self.stage.name}' does not declare that it writes '{name}'")
        with replacing(self.root / f"{name}{suffix}") as temporary:
            yield temporary


def _give_back() -> None:
    """Memory that a stage has freed, to the system: a stage after it may need as much, in other pieces."""
    with interrupted_later():  # Python drops what is raised in a finalizer
        gc.collect()
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def values_of(column: pa.ChunkedArray) -> list[Any]:
    """The values of a column, where it is coded one object for all rows of a value."""
    if not pa.types.is_dictionary(column.type):
        return column.to_pylist()
    whole = column.combine_chunks()
    values = whole.dictionary.to_pylist()
    return [values[code] for code in whole.indices.to_pylist()]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that takes the place of `path` once the block ends well, durably and in one step."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class RunFolder:
    """Opens or continues a run. Use as a context manager: one process at a time may hold a folder.

    `amend` takes the config as the run's new one: for repeating stages of a finished run with other settings.
    `ledger` is where requests go on record; None is the folder's own.
    """

    def __init__(self, config: Config, *, amend: bool = False, ledger: Path | None = None) -> None:
        self.root = Path(config.run.folder)
        self.config = config
        self._amend = amend
        self._ledger = ledger

    def __enter__(self) -> RunFolder:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock = (self.root / ".lock").open("w")
        except OSError as error:
            raise RunFolderError(
                f"{self.root}: cannot be written ({error.strerror}); set [run] folder"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise RunFolderError(
                f"{self.root}: another synalign is at work in this folder;"
                " wait for it, or set another [run] folder"
            ) from error
        try:
            self._keep_config()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def _keep_config(self) -> None:
        path = self.root / "config.json"
        settings = msgspec.to_builtins(self.config)
        if path.exists() and not self._amend:
            earlier = json.loads(path.read_text(encoding="utf-8"))
            # Settings that came after the run was started were at their defaults.
            with contextlib.suppress(msgspec.ValidationError):
                earlier = msgspec.to_builtins(msgspec.convert(earlier, Config))
            changed = differences(outcome_settings(earlier), outcome_settings(settings))
            if changed:
                raise RunFolderError(
                    f"{self.root} holds a run with other settings:\n  "
                    + "\n  ".join(changed)
                    + "\nTake the change back to go on with it, or set another [run] folder for a new run."
                )
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(settings, indent=1), encoding="utf-8")

    def record(self, stage: str) -> dict[str, Any] | None:
        return stage_record(self.root, stage)

    def view(self, stage: Stage) -> StageView:
        return StageView(self.root, stage, ledger=self._ledger)

    def run(self, stage: Stage, *arguments: Any) -> dict[str, Any]:
        """Run a stage, and record that it finished only after all it wrote is on disk."""
        view = self.view(stage)
        start, worked = time.monotonic(), time.process_time()
        stage.run(view, self.config, *arguments)
        _give_back()
        record = {
            "stage": stage.name,
            "seconds": round(time.monotonic() - start, 3),
            "cpu_seconds": round(time.process_time() - worked, 3),
            "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,  # of the process so far
            "facts": view.facts,
            "warnings": view.warnings,
        }
        done = self.root / "done"
        done.mkdir(exist_ok=True)
        with replacing(done / f"{stage.name}.json") as temporary:
            temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")
        return record

    def forget(self, stage: str) -> None:
        """Make a finished stage run again."""
        (self.root / "done" / f"{stage}.json").unlink(missing_ok=True)


def stage_record(folder: Path, stage: str) -> dict[str, Any] | None:
    """What a finished stage noted about itself: seconds, facts, warnings. None while it is unfinished."""
    path = folder / "done" / f"{stage}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def open_finished(folder: str | Path) -> Config:
    """The settings of an existing run folder.

    Raises:
        RunFolderError: the folder holds no run.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        if (page := path.with_name("report.html")).is_file():
            raise RunFolderError(f"{folder}: this is no run but what another command wrote; open {page}")
        raise RunFolderError(f"{folder}: no run here; 'synalign run CONFIG.toml' makes one")
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["run"]["folder"] = str(folder)
    return msgspec.convert(settings, Config)
