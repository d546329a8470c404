"""Rows of the files that a command is given, and their embeddings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from synalign_jax.pipeline.config import Encoder
    from synalign_jax.pipeline.data.table import Table
    from synalign_jax.pipeline.progress import Terminal
    from synalign_jax.text.protocol import Embedder

from .machines import Machines

_COLUMNS = ("text", "label", "embedding")
_EMBEDDED = "all-MiniLM-L6-v2"


def add_options(parser: argparse.ArgumentParser, sides: Sequence[str] = ()) -> None:
    """The settings that `read_rows` and `embed_rows` look at.

    Args:
        sides: files whose columns may have names of their own, as "real" for --real-text.
    """
    helps = {
        "text": "the text column, or a template over several: '{question}\\n{answer}' (default: text)",
        "label": "the label column (default: label)",
        "embedding": "the vectors' column (default: embedding)",
    }
    for name in _COLUMNS:
        parser.add_argument(f"--{name}", metavar="COLUMN", help=helps[name])
    for side in sides:
        for name in _COLUMNS:
            parser.add_argument(f"--{side}-{name}", metavar="COLUMN", help=f"that of the {side} rows alone")
    parser.add_argument("--no-labels", action="store_true", help="read no labels")
    parser.add_argument(
        "--multi-label", action="store_true", help="a row may have several labels: a list, or 'a|b'"
    )
    parser.add_argument(
        "--file-encoding", metavar="NAME", help="of text files (default: found out, else UTF-8), as cp1252"
    )
    add_encoder_options(parser)


def add_encoder_options(parser: argparse.ArgumentParser) -> None:
    """The settings of [encoder], as `open_encoder` reads them."""
    parser.add_argument(
        "--encoder",
        default=_EMBEDDED,
        metavar="NAME",
        help=f"what embeds texts without vectors: folder, hub name or {_EMBEDDED} (default)",
    )
    parser.add_argument(
        "--encoder-kind",
        default="flax",
        choices=("flax", "static", "sentence-transformers", "openai"),
        help="flax: a network's files, or static embeddings' (default); openai: an endpoint's model",
    )
    parser.add_argument(
        "--encoder-url", metavar="URL", help="of --encoder-kind openai: the endpoint's base URL"
    )
    parser.add_argument("--encoder-key-env", metavar="VARIABLE", help="that holds the endpoint's key")
    parser.add_argument(
        "--prompt",
        metavar="WORDS",
        help="a prompt of the model's by name, or words before every text; '' for none (default: its own)",
    )
    parser.add_argument(
        "--max-tokens", type=int, metavar="N", help="cut texts at fewer tokens than the model"
    )
    parser.add_argument("--truncate-dim", type=int, metavar="N", help="keep only so many leading columns")
    parser.add_argument(
        "--dtype", default="float32", choices=("float32", "bfloat16"), help="of a network (default: float32)"
    )


def open_encoder(options: argparse.Namespace) -> Embedder:
    """The source of vectors that the options ask for.

    Raises:
        ConfigError: what `encoder_settings` raises.
        ModelError: a model that cannot be used.
    """
    from synalign_jax.api.wiring import cache_folder, open_embedder
    from synalign_jax.text import keep_compiled

    settings = encoder_settings(options)
    keep_compiled(cache_folder() / "xla")
    return open_embedder(settings)


def encoder_settings(options: argparse.Namespace) -> Encoder:
    """The options as a run's [encoder].

    Raises:
        ConfigError: options that do not go together, or a key that is not there.
    """
    from synalign_jax.api.wiring import check_key
    from synalign_jax.pipeline.config import ConfigError, Encoder
    from synalign_jax.pipeline.config_file import encoder_faults

    remote = options.encoder_kind == "openai"
    if remote and (options.encoder == _EMBEDDED or not options.encoder_url):
        raise ConfigError("--encoder-kind openai: needs the model's name (--encoder) and --encoder-url")
    if options.encoder_url and not remote:
        raise ConfigError("--encoder-url: it is for --encoder-kind openai")
    for name in ("max_tokens", "truncate_dim"):
        if (given := vars(options)[name]) is not None and given < 1:
            raise ConfigError(f"--{name.replace('_', '-')}: {given}; give 1 or more")
    settings = Encoder(
        kind=options.encoder_kind,
        model=options.encoder,
        max_tokens=options.max_tokens,
        prompt=options.prompt,
        truncate_dim=options.truncate_dim,
        dtype=options.dtype,
        base_url=options.encoder_url,
        api_key_env=options.encoder_key_env,
    )
    if wrong := encoder_faults(settings):
        raise ConfigError(f"--{wrong.replace('_', '-')}")
    if settings.api_key_env is not None:
        check_key(settings.api_key_env)
    return settings


def read_rows(
    path: str,
    options: argparse.Namespace,
    terminal: Terminal,
    scratch: Path,
    side: str | None = None,
    ours: Machines | None = None,
) -> Table:
    """The rows of a file, a folder of shards, a pattern or a URL.

    Args:
        scratch: a folder that will hold vectors which are too many to be held in memory; it, or the nearest
            above it that exists, serves.
        side: whose own column names count before the common ones.
        ours: processes of which each reads its own files, where these are enough.

    Raises:
        DataError: what `read_table` raises; a column that was typed is not there.
    """
    from synalign_jax.pipeline.data.errors import DataError
    from synalign_jax.pipeline.data.tables import read_table

    given = vars(options)
    names = {name: _given(given, side, name) for name in _COLUMNS}
    if names["label"] == "":
        raise DataError("--label: an empty name; give --no-labels to read none")
    if options.no_labels and names["label"] is not None:
        raise DataError("--no-labels: it cannot stand beside --label; leave one of them out")
    with terminal.bar(f"Reading {Path(path).name}", None, "rows") as bar:
        return read_table(
            path,
            text=names["text"] or "text",
            label=None if options.no_labels else names["label"] or "label",
            embedding=names["embedding"] or "embedding",
            required=[name for name in names.values() if name is not None],
            multi_label=options.multi_label,
            encoding=options.file_encoding,
            progress=bar.reach,
            scratch=next(folder for folder in (scratch, *scratch.absolute().parents) if folder.is_dir()),
            peers=ours,
        )


def _given(options: dict[str, Any], side: str | None, name: str) -> str | None:
    """A column's name: that of the side, or of all files."""
    own = options.get(f"{side}_{name}")
    return options.get(name) if own is None else own


def embed_rows(
    files: Sequence[tuple[str, Table]],
    options: argparse.Namespace,
    terminal: Terminal,
    ours: Machines | None = None,
) -> tuple[list[np.ndarray], str]:
    """The files' own embeddings where all of them have some, else all texts through one encoder.

    Vectors computed here are cached, so that a command that was stopped does not compute them again.

    Args:
        files: path and rows of each.
        ours: processes that share the texts.

    Returns:
        The vectors of each file, and where they are from.

    Raises:
        InputError: a file with neither what the others have nor texts; vectors of two widths.
    """

    from synalign_jax.core.checks import InputError

    ours = ours or Machines()
    have = [path for path, table in files if table.embeddings is not None]
    if len(have) == len(files):
        vectors = [table.embeddings for _, table in files]
        for (path, _), of_file in zip(files, vectors, strict=True):
            if of_file.shape[1] != vectors[0].shape[1]:
                raise InputError(
                    f"{path}: its vectors are {of_file.shape[1]} wide, those of {files[0][0]}"
                    f" {vectors[0].shape[1]}; embed both with the same model"
                )
        return vectors, "those of the files"
    for path, table in files:
        if table.texts is None:
            raise InputError(
                f"{path}: no texts to embed, and not every file has vectors of the same model;"
                " --text and --embedding name the columns"
            )
    source = f"texts embedded by {options.encoder}"
    if have:
        lacking = [path for path, table in files if table.embeddings is None]
        terminal.say(
            f"{have[0]} has vectors and {lacking[0]} has none: all texts are embedded by {options.encoder}"
        )
        source += f", since {lacking[0]} has no vectors"
    from synalign_jax.api.wiring import cache_folder
    from synalign_jax.text import EmbeddingCache, embed_texts

    encoder = open_encoder(options)
    found = []
    with EmbeddingCache(cache_folder()) as cache:
        for path, table in files:
            rows = len(table.texts or [])
            texts = (table.texts or [])[ours.part(rows)]
            with terminal.bar(f"Embedding {Path(path).name}", len(texts), "texts") as bar:
                embedded = embed_texts(encoder, texts, cache=cache, on_progress=bar.advance)
            if embedded.truncated:
                terminal.say(
                    f"{path}: {embedded.truncated:,} texts are longer than the encoder reads;"
                    " their ends do not count"
                )
            found.append(ours.gathered(embedded.vectors, rows))
    return found, source
