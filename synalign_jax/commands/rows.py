"""Rows of the files that a command is given, and their embeddings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from synalign_jax.pipeline.data.tables import Table
    from synalign_jax.pipeline.progress import Terminal


def add_options(parser: argparse.ArgumentParser) -> None:
    """The settings that `read_rows` and `embed_rows` look at."""
    parser.add_argument("--text", default="text", metavar="COLUMN", help="the text column (default: text)")
    parser.add_argument(
        "--label", default="label", metavar="COLUMN", help="the label column (default: label)"
    )
    parser.add_argument(
        "--embedding", default="embedding", metavar="COLUMN", help="the vectors' column (default: embedding)"
    )
    parser.add_argument(
        "--encoder",
        default="all-MiniLM-L6-v2",
        metavar="NAME",
        help="embeds texts where there are no vectors (default: all-MiniLM-L6-v2)",
    )


def read_rows(path: str, options: argparse.Namespace, terminal: Terminal, scratch: Path) -> Table:
    """The rows of a file; `scratch` is a folder for vectors that are too many to be held in memory."""
    from synalign_jax.pipeline.data.tables import read_table

    with terminal.bar(f"Reading {Path(path).name}", None, "rows") as bar:
        return read_table(
            path,
            text=options.text,
            label=options.label,
            embedding=options.embedding,
            progress=bar.reach,
            scratch=scratch,
        )


def embed_rows(
    files: Sequence[tuple[str, Table]], options: argparse.Namespace, terminal: Terminal
) -> list[np.ndarray]:
    """The files' own embeddings where all of them have some, else all texts through one encoder.

    Vectors computed here are cached, so that a command that was stopped does not compute them again.

    Args:
        files: path and rows of each.

    Raises:
        InputError: a file with neither what the others have nor texts.
    """
    import numpy as np

    from synalign_jax.core.checks import InputError

    if all(table.embeddings is not None for _, table in files):
        return [np.asarray(table.embeddings) for _, table in files]
    for path, table in files:
        if table.texts is None:
            raise InputError(
                f"{path}: no texts to embed (column {options.text!r}), and not every file has vectors"
                f" (column {options.embedding!r}, of one model); --text and --embedding name the columns"
            )
    from synalign_jax.text import EmbeddingCache, Encoder, embed_texts, keep_compiled

    from .wiring import cache_folder

    keep_compiled(cache_folder() / "xla")
    encoder = Encoder.from_pretrained(options.encoder)
    vectors = []
    with EmbeddingCache(cache_folder()) as cache:
        for path, table in files:
            texts = table.texts or []
            with terminal.bar(f"Embedding {Path(path).name}", len(texts), "texts") as bar:
                embedded = embed_texts(encoder, texts, cache=cache, on_progress=bar.advance)
            if embedded.truncated:
                terminal.say(f"{path}: {embedded.truncated:,} texts are longer than the encoder reads")
            vectors.append(embedded.vectors)
    return vectors
