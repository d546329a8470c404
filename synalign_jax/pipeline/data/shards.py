"""Which files a name stands for: a file, a folder of shards, a pattern; here or on a remote file system."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote

from .errors import DataError, listed

TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather", ".npy")
PACKED = (".gz", ".zst", ".bz2", ".xz", ".zip")
_SHEET = "save the sheet as CSV UTF-8"
_ARRAY = "write vectors with numpy.save, as .npy, and rows as Parquet or JSONL"
_ROWS = "write the rows as Parquet, CSV or JSONL"
_OTHERS = {
    ".xlsx": _SHEET, ".xls": _SHEET, ".ods": _SHEET, ".numbers": _SHEET,
    ".txt": "write one JSON object a line, or a CSV file with the header 'text'",
    ".pkl": "pickles are never read; write the rows as JSONL or Parquet",
    ".zip": "name the format inside, as in rows.csv.zip, or unpack it",
    ".npz": "write its array with numpy.save, as .npy", ".safetensors": _ARRAY, ".pt": _ARRAY, ".pth": _ARRAY,
    ".bin": _ARRAY, ".h5": _ARRAY, ".hdf5": _ARRAY, ".tfrecord": _ROWS, ".orc": _ROWS, ".avro": _ROWS,
    ".sqlite": _ROWS, ".sqlite3": _ROWS, ".xml": _ROWS, ".yaml": _ROWS, ".yml": _ROWS, ".sav": _ROWS,
    ".dta": _ROWS, ".rds": _ROWS, ".rdata": _ROWS, ".sas7bdat": _ROWS,
    ".tar": "unpack it", ".db": "write the table to CSV or Parquet",
}  # fmt: skip
_DRIVERS = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs",
    "hf": "huggingface_hub", "http": "aiohttp", "https": "aiohttp", "sftp": "paramiko", "ssh": "paramiko",
    "smb": "smbprotocol", "oci": "ocifs", "oss": "ossfs", "webhdfs": "requests",
}  # fmt: skip
# What libraries leave beside the shards of a data set.
_BESIDE = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json"}
_SPLIT = re.compile(r"(?:^|[/_.-])(train|test|validation|valid|val|dev)(?=[/_.-]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class SourceFile:
    """One file. `columns` are those that the folder's names hold, as in `label=pos/part-0.parquet`."""

    name: str
    path: str
    system: Any = None  # an fsspec file system; None is this machine's
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def suffix(self) -> str:
        """The format's ending, that of a compression taken off."""
        return suffix_of(self.path)

    def open(self) -> BinaryIO:
        if self.system is None:
            return open(self.path, "rb")
        return self.system.open(self.path, "rb")


def suffix_of(path: str) -> str:
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def is_data_name(name: str) -> bool:
    """Whether a name looks like data in files rather than like the name of a data set."""
    return (
        suffix_of(name) in TABLES
        or "://" in name
        or os.path.exists(os.path.expanduser(name))
        or any(sign in name for sign in "*?[")
    )


def find_files(name: str) -> list[SourceFile]:
    """The files behind a name, in the order of their paths.

    Args:
        name: a path, a folder, a pattern with `*`, `?`, `**`, or a URL that fsspec knows (`s3://`, `hf://`).

    Raises:
        DataError: nothing there, an unknown format, files of more than one format, or of several splits.
    """
    if "://" in name:
        return _checked(name, *_remote(name))
    path = os.path.expanduser(name)
    if os.path.isfile(path):
        return _checked(name, [SourceFile(name, path)], single=True)
    if os.path.isdir(path):
        found = sorted(os.path.join(folder, file) for folder, _, files in os.walk(path) for file in files)
        return _checked(name, _shards(found, path), single=False)
    if any(sign in path for sign in "*?["):
        found = sorted(file for file in glob.glob(path, recursive=True) if os.path.isfile(file))
        return _checked(name, _shards(found, os.path.dirname(path)), single=False)
    if suffix_of(path) not in TABLES and os.path.splitext(path)[1]:
        raise _unknown(name)
    raise DataError(f"{name}: no such file{_nearby(path)}")


def _unknown(name: str) -> DataError:
    suffixes = PurePosixPath(name).suffixes
    packed = len(suffixes) > 1 and suffixes[-1].lower() in PACKED
    suffix = suffixes[-2 if packed else -1] if suffixes else ""
    mend = _OTHERS.get(suffix.lower(), f"use one of {', '.join(TABLES)}")
    return DataError(f"{name}: unknown format '{suffix}'; {mend}")


def _nearby(path: str) -> str:
    import difflib

    folder, file = os.path.split(path)
    try:
        close = difflib.get_close_matches(file, os.listdir(folder or "."), 1)
    except OSError:
        return f"; there is no folder {folder}"
    return f"; did you mean {os.path.join(folder, close[0])}?" if close else ""


def _remote(name: str) -> tuple[list[SourceFile], bool]:
    with reached(name):
        import fsspec

        system, path = fsspec.core.url_to_fs(name)
        if any(sign in path for sign in "*?["):
            found, single = system.glob(path), False
        elif system.isdir(path):
            found, single = system.find(path), False
        elif system.exists(path):
            found, single = [path], True
        else:
            raise DataError(f"{name}: nothing is there")
    root = "" if single else str(path)
    return _shards(sorted(str(file) for file in found), root, system, single), single


@contextlib.contextmanager
def reached(name: str, what: str = "cannot be reached") -> Iterator[None]:
    """What a driver of fsspec's raises in the block is a DataError that says what to do."""
    try:
        yield
    except ImportError as error:
        protocol = name.partition("://")[0]
        package = _DRIVERS.get(protocol)
        mend = f"run: pip install {package}" if package else str(error)
        raise DataError(f"{name}: files on {protocol}:// need another package; {mend}") from error
    except DataError:
        raise
    except Exception as error:  # each driver raises its own, of which few are OSErrors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{name}: {what} ({reason})") from error


def _shards(paths: list[str], root: str, system: Any = None, single: bool = False) -> list[SourceFile]:
    files = []
    for path in paths:
        inside = os.path.relpath(path, root) if root and not system else path.removeprefix(root)
        parts = [part for part in inside.split("/") if part not in ("", "..", ".")]
        if not single and any(part.startswith((".", "_")) for part in parts):
            continue
        keys = dict(part.split("=", 1) for part in parts[:-1] if "=" in part)
        shown = path if system is None else str(system.unstrip_protocol(path))
        files.append(SourceFile(shown, path, system, {key: unquote(value) for key, value in keys.items()}))
    return files


def _checked(name: str, files: list[SourceFile], single: bool) -> list[SourceFile]:
    if single:
        if files[0].suffix not in TABLES:
            raise _unknown(name)
        return files
    tables = [
        file for file in files if file.suffix in TABLES and PurePosixPath(file.path).name not in _BESIDE
    ]
    if not tables:
        raise DataError(f"{name}: no data files there; known formats are {', '.join(TABLES)}")
    kinds = Counter(file.suffix for file in tables)
    if len(kinds) > 1:
        counted = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
        raise DataError(
            f"{name}: files of several formats ({counted}); name one kind, as in"
            f" '{name.rstrip('/')}/*{kinds.most_common(1)[0][0]}'"
        )
    base = os.path.commonpath([os.path.dirname(file.path) for file in tables]) if len(tables) > 1 else ""
    splits: dict[str, str] = {}
    for file in tables:
        for found in _SPLIT.findall(file.path[len(base) :]):
            splits.setdefault(found.lower(), file.path)
    if len(splits) > 1:
        raise DataError(
            f"{name}: holds the splits {listed(sorted(splits))}, which are not to be mixed; name one,"
            f" as in '{name.rstrip('/*')}/*{min(splits)}*'"
        )
    return tables
