"""synalign embed: the vectors of a file's texts, in a .npy file."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import machines
from .layout import HelpFormatter
from .rows import add_encoder_options, open_encoder

EXAMPLE = (
    "Examples:\n"
    "  synalign embed reviews.jsonl --out vectors.npy\n"
    "  synalign embed reviews.csv --encoder Qwen/Qwen3-Embedding-0.6B --prompt query --out vectors.npy\n"
    "  synalign embed reviews.parquet --encoder minishlab/potion-base-8M --out vectors.npy"
)

_BLOCK = 65_536  # rows that are copied at a time


def register(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "embed",
        help="turn texts into vectors",
        description="Embed the texts of a JSONL, CSV, TSV or Parquet file, one float32 row a text. Stopped at"
        " any moment, the same command goes on where it was; no text is ever embedded twice.",
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
    machines.add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from synalign_jax.api.wiring import cache_folder
    from synalign_jax.pipeline.data.remote import outgoing

    with (
        machines.joined(options) as ours,
        outgoing(options.out, cache_folder, deliver=ours.first) as out,
    ):
        return _embed(options, out, ours)


def _embed(options: argparse.Namespace, out: Path, ours: machines.Machines) -> int:
    import numpy as np

    from synalign_jax.api.wiring import cache_folder
    from synalign_jax.pipeline.data.errors import DataError
    from synalign_jax.pipeline.data.intake import intake_of
    from synalign_jax.pipeline.data.remote import is_remote
    from synalign_jax.pipeline.data.tables import read_table
    from synalign_jax.pipeline.progress import Terminal
    from synalign_jax.text import EmbeddingCache, embed_texts

    if out.suffix != ".npy":
        raise DataError(f"--out: {options.out} does not end in .npy")
    if not out.parent.is_dir():
        raise DataError(f"--out: there is no folder {out.parent}")
    if ours.count > 1 and (is_remote(options.out) or out.exists()):
        what = "is not a path that all processes see" if is_remote(options.out) else "is there already"
        raise DataError(f"--out: {options.out} {what}; name a new file on a file system that they share")
    table = read_table(
        options.data,
        text=options.text,
        label=None,
        embedding=None,
        required=(options.text,),
        encoding=options.file_encoding,
        keep_blank=True,
    )
    for line in intake_of("rows", table).lines():
        print(line)
    texts = table.texts or []
    encoder, own = open_encoder(options), out if ours.count == 1 else _part(out, ours.index, ours.count)
    mine = texts[ours.part(len(texts))]
    terminal = Terminal(quiet=not ours.first)
    with terminal.bar("Embedding", len(mine), "texts") as bar, EmbeddingCache(cache_folder()) as cache:
        embedded = embed_texts(encoder, mine, cache=cache, out=own, on_progress=bar.advance)
    # Once every process has told this, every part is whole.
    truncated = int(ours.gathered(np.array([embedded.truncated]), ours.count).sum())
    if not ours.first:
        return 0
    if ours.count > 1:
        _join(out, ours.count, (len(texts), encoder.dimension))
    print(f"{options.out}: {len(texts):,} rows of {encoder.dimension} float32, by {encoder.identity}")
    if truncated:
        print(f"{truncated:,} texts are longer than the encoder reads; their ends do not count")
    return 0


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
            rows = np.load(part, mmap_mode="r" if shape[0] else None)
            for start in range(0, len(rows), _BLOCK):
                file.write(np.ascontiguousarray(rows[start : start + _BLOCK]).tobytes())
    for part in parts:
        part.unlink()
        part.with_name(f"{part.name}.progress").unlink(missing_ok=True)
