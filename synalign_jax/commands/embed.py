"""synalign embed: the vectors of a file's texts, in a .npy file."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import machines
from .layout import HelpFormatter
from .rows import add_encoder_options, encoder_settings, open_encoder

EXAMPLE = (
    "Examples:\n"
    "  synalign embed reviews.jsonl --out vectors.npy\n"
    "  synalign embed reviews.csv --encoder Qwen/Qwen3-Embedding-0.6B --prompt query --out vectors.npy\n"
    "  synalign embed reviews.parquet --encoder minishlab/potion-base-8M --out vectors.npy\n"
    "  RAY_ADDRESS=head:6379 synalign embed 'shards/*.parquet' --engine ray --workers 8 --out vectors.npy"
)

_BLOCK = 65_536  # rows that are copied at a time


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "embed",
        help="turn texts into vectors",
        description="Embed the texts of a JSONL, CSV, TSV or Parquet file, one float32 row a text. Stopped at"
        " any moment, the same command goes on where it was; no text is ever embedded twice.",
        usage="%(prog)s [-h] DATA --out FILE [OPTION ...]",
        epilog=EXAMPLE,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("data", metavar="DATA", help="the file with the texts")
    parser.add_argument("--out", required=True, metavar="FILE", help="the .npy file to write; may be a URL")
    parser.add_argument(
        "--text",
        default="text",
        metavar="COLUMN",
        help="the text column, or a template: '{question} {answer}'",
    )
    parser.add_argument(
        "--file-encoding", metavar="NAME", help="of text files (default: found out, else UTF-8), as cp1252"
    )
    add_encoder_options(parser)
    parser.add_argument(
        "--engine",
        choices=("here", "ray"),
        default="here",
        help="ray: by the workers of a Ray cluster, that of $RAY_ADDRESS or of this machine (extra `ray`);"
        " vectors are kept on this machine as they come, and the same command goes on from these",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="of --engine ray (default: one a GPU, else one a machine)"
    )
    machines.add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from synalign_jax.api.wiring import cache_folder
    from synalign_jax.pipeline.data.remote import outgoing

    if options.engine == "ray":
        return _on_ray(options)
    with (
        machines.joined(options) as ours,
        outgoing(options.out, cache_folder, deliver=ours.first) as out,
    ):
        return _embed(options, out, ours)


def _on_ray(options: argparse.Namespace) -> int:
    from synalign_jax.api.wiring import cache_folder
    from synalign_jax.cluster import embed_file
    from synalign_jax.core.checks import InputError
    from synalign_jax.pipeline.data.intake import Intake
    from synalign_jax.pipeline.data.remote import outgoing
    from synalign_jax.pipeline.progress import Terminal
    from synalign_jax.pipeline.together import alone

    if options.distributed or options.coordinator is not None:
        raise InputError("--engine ray: Ray knows its machines; leave out --distributed and --coordinator")
    settings, heard = encoder_settings(options), list[Intake]()
    with outgoing(options.out, cache_folder) as out, Terminal().bar("Embedding", None, "texts") as bar:
        _check_out(options.out, out)
        with alone(out):
            found = embed_file(
                options.data,
                out,
                settings,
                workers=options.workers,
                text=options.text,
                encoding=options.file_encoding,
                on_progress=bar.advance,
                on_intake=heard.append,
            )
    print("\n".join(line for intake in heard for line in intake.lines()))
    vectors = found.vectors
    print(f"{options.out}: {len(vectors):,} rows of {vectors.shape[1]} float32, by {options.encoder}")
    _tell_cut(found.truncated)
    return 0


def _tell_cut(texts: int) -> None:
    if texts:
        print(f"{texts:,} texts are longer than the encoder reads; their ends do not count")


def _check_out(name: str, out: Path) -> None:
    from synalign_jax.pipeline.data.errors import DataError

    if out.suffix != ".npy":
        raise DataError(f"--out: {name} does not end in .npy")
    if not out.parent.is_dir():
        raise DataError(f"--out: there is no folder {out.parent}")


def _embed(options: argparse.Namespace, out: Path, ours: machines.Machines) -> int:
    import numpy as np

    from synalign_jax.api.wiring import cache_folder
    from synalign_jax.pipeline.data.errors import DataError
    from synalign_jax.pipeline.data.remote import is_remote
    from synalign_jax.pipeline.progress import Terminal
    from synalign_jax.pipeline.together import alone
    from synalign_jax.text import EmbeddingCache, embed_texts

    _check_out(options.out, out)
    if ours.count > 1 and (is_remote(options.out) or out.exists()):
        what = "is not a path that all processes see" if is_remote(options.out) else "is there already"
        raise DataError(f"--out: {options.out} {what}; name a new file on a file system that they share")
    texts, rows = _own_texts(options, ours)
    encoder, own = open_encoder(options), out if ours.count == 1 else _part(out, ours.index, ours.count)
    terminal = Terminal(quiet=not ours.first)
    with (
        alone(own),
        terminal.bar("Embedding", len(texts), "texts") as bar,
        EmbeddingCache(cache_folder()) as cache,
    ):
        embedded = embed_texts(encoder, texts, cache=cache, out=own, on_progress=bar.advance)
    # Once every process has told this, every part is whole.
    truncated = int(ours.gathered(np.array([embedded.truncated]), ours.count).sum())
    if not ours.first:
        return 0
    if ours.count > 1:
        _join(out, ours.count, (rows, encoder.dimension))
    print(f"{options.out}: {rows:,} rows of {encoder.dimension} float32, by {encoder.identity}")
    _tell_cut(truncated)
    return 0


def _own_texts(options: argparse.Namespace, ours: machines.Machines) -> tuple[list[str], int]:
    """The texts that are this process's to embed, and how many all processes have.

    Each reads files of its own where there are enough of them, else all files, of which it takes its part.
    """
    import numpy as np

    from synalign_jax.pipeline.data.intake import intake_of
    from synalign_jax.pipeline.data.shards import find_files
    from synalign_jax.pipeline.data.tables import read_table

    names = [options.data]
    shared = False
    if ours.count > 1:
        files = [file.name for file in find_files(options.data)]
        shared = len(files) < ours.count
        if not shared:
            first, last = (len(files) * i // ours.count for i in (ours.index, ours.index + 1))
            names = files[first:last]
            print(f"{options.data}: {len(files):,} files, of which each process reads its own")
    texts: list[str] = []
    for name in names:
        table = read_table(
            name,
            text=options.text,
            label=None,
            embedding=None,
            required=(options.text,),
            encoding=options.file_encoding,
            keep_blank=True,
        )
        for line in intake_of("rows", table).lines():
            print(line)
        texts += table.texts or []
    if shared:
        return texts[ours.part(len(texts))], len(texts)
    return texts, int(ours.gathered(np.array([len(texts)]), ours.count).sum())


def _part(out: Path, index: int, count: int) -> Path:
    """The file of one process among several."""
    return out.with_name(f"{out.stem}.part-{index}-of-{count}.npy")


def _join(out: Path, count: int, shape: tuple[int, int]) -> None:
    """The parts of all processes as one file, in their order; then they are gone.

    Raises:
        DataError: a part is not there.
    """
    import numpy as np

    from synalign_jax.pipeline.data.errors import DataError
    from synalign_jax.pipeline.folder import replacing

    parts = [_part(out, index, count) for index in range(count)]
    if absent := [part for part in parts if not part.exists()]:
        raise DataError(
            f"--out: {absent[0]} is not there, though its process has written it: name a file on a file"
            " system that all processes share"
        )
    with replacing(out) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for part in parts:
            # NumPy cannot map a file without rows, as the part of a process may be.
            rows = np.load(part, mmap_mode="r" if part.stat().st_size > _BLOCK else None)
            for start in range(0, len(rows), _BLOCK):
                file.write(np.ascontiguousarray(rows[start : start + _BLOCK]).tobytes())
    for part in parts:
        part.unlink()
        part.with_name(f"{part.name}.progress").unlink(missing_ok=True)
