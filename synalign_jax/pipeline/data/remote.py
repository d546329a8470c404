"""Results on a remote file system: made on this machine, and brought there whole once they are finished."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import DataError
from .shards import reached

_BLOCK = 1 << 22  # bytes that are brought at a time


def is_remote(place: str | Path) -> bool:
    """Whether a place is a URL, as `s3://bucket/name`."""
    return "://" in str(place)


@contextlib.contextmanager
def outgoing(
    place: str, scratch: Callable[[], Path], *, deliver: bool = True, gone: tuple[str, ...] = ()
) -> Iterator[Path]:
    """Where on this machine a result is made: `place` itself, or for a URL a path that goes there at the end.

    The path is the same whenever the URL is: what a stopped command has kept beside it is found again. Files
    are brought together: none takes its place before all are there, and what fails leaves what was there
    (as far as the file system can: S3, Google's and Azure's, a disk, and memory do).

    Args:
        place: a path, or a URL of fsspec's: a file, or a folder where the block makes a folder.
        scratch: names a folder of this machine for results under way.
        deliver: whether this process brings it; another one does, if not.
        gone: names in a folder that belong to an earlier result, if this one lacks them.

    Raises:
        DataError: the file system cannot be reached or takes no files; what was made stays on this machine,
            and the message says where.
    """
    if not is_remote(place):
        yield Path(place)
        return
    with reached(place):
        import fsspec

        system, path = fsspec.core.url_to_fs(place)
        path = str(path).rstrip("/")
        name = PurePosixPath(path).name
        if place.startswith(("http://", "https://")):
            raise DataError(f"{place}: a web server takes no files; name a bucket, as s3://bucket/name")
        if not name:
            raise DataError(f"{place}: names a whole file system; name a file or folder on it")
        system.exists(path)  # a wrong key or address says so before hours of work
        if _in_bucket(place):
            bucket = path.partition("/")[0]
            # Who may only write is not told whether it is there, and goes on.
            with contextlib.suppress(PermissionError):
                try:
                    system.info(bucket)
                except FileNotFoundError:
                    raise DataError(f"{place}: there is no bucket '{bucket}'; make it first") from None
    own = scratch() / "outgoing" / hashlib.blake2b(place.encode(), digest_size=8).hexdigest()
    own.mkdir(parents=True, exist_ok=True)
    local = own / name
    yield local
    if not deliver:
        return
    try:
        with reached(place, "cannot be written"):
            _bring(local, system, path, gone, folders=not _in_bucket(place))
    except DataError as error:
        raise DataError(f"{error}. The result is whole on this machine: {local}") from error
    shutil.rmtree(own, ignore_errors=True)


def _in_bucket(place: str) -> bool:
    """Whether there are no folders on the way, but a bucket, which is never made unasked."""
    return place.partition("://")[0] in ("s3", "s3a", "gs", "gcs")


def _bring(local: Path, system: Any, path: str, gone: tuple[str, ...], *, folders: bool) -> None:
    files = sorted(file for file in local.rglob("*") if file.is_file()) if local.is_dir() else [local]
    places = {
        file: f"{path}/{file.relative_to(local).as_posix()}" if file != local else path for file in files
    }
    for folder in sorted({str(PurePosixPath(one).parent) for one in places.values()} if folders else ()):
        system.makedirs(folder, exist_ok=True)
    with system.transaction:
        for file, there in places.items():
            with file.open("rb") as source, system.open(there, "wb") as target:
                shutil.copyfileobj(source, target, _BLOCK)
    for name in gone:
        if not (local / name).exists() and system.exists(there := f"{path}/{name}"):
            system.rm(there)
