"""synalign embed: the vectors of a file's texts, in a .npy file."""

from __future__ import annotations

import argparse
from pathlib import Path

from .layout import HelpFormatter
from .rows import add_encoder_options, open_encoder

EXAMPLE = (
    "Examples:\n"
    "  synalign embed reviews.jsonl --out vectors.npy\n"
    "  synalign embed reviews.csv --encoder Qwen/Qwen3-Embedding-0.6B --prompt query --out vectors.npy\n"
    "  synalign embed reviews.parquet --encoder minishlab/potion-base-8M --out vectors.npy"
)


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
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from synalign_jax.api.wiring import cache_folder
    from synalign_jax.pipeline.data.remote import outgoing

    with outgoing(options.out, cache_folder) as out:
        return _embed(options, out)


def _embed(options: argparse.Namespace, out: Path) -> int:
    from synalign_jax.api.wiring import cache_folder
    from synalign_jax.pipeline.data.errors import DataError
    from synalign_jax.pipeline.data.intake import intake_of
    from synalign_jax.pipeline.data.tables import read_table
    from synalign_jax.pipeline.progress import Terminal
    from synalign_jax.text import EmbeddingCache, embed_texts

    if out.suffix != ".npy":
        raise DataError(f"--out: {options.out} does not end in .npy")
    if not out.parent.is_dir():
        raise DataError(f"--out: there is no folder {out.parent}")
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
    encoder = open_encoder(options)
    with Terminal().bar("Embedding", len(texts), "texts") as bar, EmbeddingCache(cache_folder()) as cache:
        embedded = embed_texts(encoder, texts, cache=cache, out=out, on_progress=bar.advance)
    rows, width = embedded.vectors.shape
    print(f"{options.out}: {rows:,} rows of {width} float32, by {encoder.identity}")
    if embedded.truncated:
        print(f"{embedded.truncated:,} texts are longer than the encoder reads; their ends do not count")
    return 0
