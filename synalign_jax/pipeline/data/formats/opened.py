"""A file's bytes, unpacked where they are packed; what is no table at all is told by its first bytes."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from synalign_jax.pipeline.data.errors import DataError, listed
from synalign_jax.pipeline.data.shards import SourceFile

_OTHER = {
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save the sheet as CSV UTF-8",
    b"version https://git-lfs": "a Git LFS pointer and not the data; run: git lfs pull",
    b"SQLite format 3": "an SQLite database; write the table to CSV or Parquet",
    b"\x80\x04\x95": "a pickle, which is never read; write the rows as JSONL or Parquet",
}
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|table)\b", re.IGNORECASE)
_BINARY = {b"PAR1": "Parquet", b"ARROW1": "Arrow", b"\x93NUMPY": ".npy"}


@contextlib.contextmanager
def opened(file: SourceFile) -> Iterator[Any]:
    """A buffered binary stream of the file's unpacked bytes.

    Raises:
        DataError: no such file, or it is of a kind that holds no table; in the block: it was cut off.
    """
    try:
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(file.open())
            stream = io.BufferedReader(_unpacked(file.name, raw, stack))  # type: ignore[arg-type]
            head = stream.peek(64)[:64]
            if head.startswith(b"\x1f\x8b"):
                raise DataError(f"{file.name}: packed with gzip twice; unpack it once: gunzip")
            for start, what in _OTHER.items():
                if head.startswith(start):
                    raise DataError(f"{file.name}: this is {what}")
            if _PAGE.match(head):
                raise DataError(f"{file.name}: this is a web page and not the data; download the raw file")
            yield stream
    except FileNotFoundError as error:
        raise DataError(f"{file.name}: no such file") from error
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise _cut(file, error) from error
    except OSError as error:
        if file.system is not None:
            raise DataError(f"{file.name}: could not be read to its end ({error}); try again") from error
        if error.errno is not None:
            raise
        raise _cut(file, error) from error


def _cut(file: SourceFile, error: Exception) -> DataError:
    return DataError(f"{file.name}: not a whole compressed file ({error}); it may have been cut off")


def _unpacked(name: str, raw: Any, stack: contextlib.ExitStack) -> Any:
    head = raw.read(8)
    raw.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return stack.enter_context(gzip.GzipFile(fileobj=raw))
    if head.startswith(b"BZh"):
        return stack.enter_context(bz2.BZ2File(raw))
    if head.startswith(b"\xfd7zXZ\0"):
        return stack.enter_context(lzma.LZMAFile(raw))
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return stack.enter_context(pa.CompressedInputStream(raw, "zstd"))
    if head.startswith(b"PK\x03\x04"):
        return _only_member(name, stack.enter_context(zipfile.ZipFile(raw)), stack)
    return raw


def _only_member(name: str, archive: zipfile.ZipFile, stack: contextlib.ExitStack) -> Any:
    """The one file of an archive."""
    if "[Content_Types].xml" in archive.namelist():
        raise DataError(f"{name}: this is an Excel workbook; save the sheet as CSV UTF-8")
    # What macOS and file managers put beside the files is none of them.
    inside = [
        one
        for one in archive.infolist()
        if not one.is_dir() and not any(part.startswith((".", "__")) for part in one.filename.split("/"))
    ]
    if len(inside) != 1:
        names = listed([one.filename for one in inside], 5)
        raise DataError(f"{name}: the zip archive holds {len(inside):,} files ({names}); unpack it")
    if inside[0].flag_bits & 1:
        raise DataError(f"{name}: the zip archive is locked by a password; unpack it")
    return stack.enter_context(archive.open(inside[0]))


def check_is_text(file: SourceFile, head: bytes) -> None:
    """Raise for bytes that are a binary table under the name of a text one."""
    for start, what in _BINARY.items():
        if head.startswith(start):
            raise DataError(f"{file.name}: this is a {what} file under another name; rename it")
