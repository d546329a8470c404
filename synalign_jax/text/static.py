"""Static embeddings: a table of token vectors and a mean, of model2vec or sentence-transformers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from tokenizers import Tokenizer as HuggingFaceTokenizer

from .errors import ModelError, check_texts
from .model.find import find_model, label_of
from .model.prompts import read_prompts
from .model.tensors import find_weights, read_file, read_json, read_optional
from .tokens import read_tokenizer

_CHUNK = 8_192  # texts tokenised ahead while the table is summed
_MODEL2VEC_TOKENS = 512  # the longest text of a model2vec model that does not say
_WAY_OUT = "embed with sentence-transformers or yourself, and give the vectors as a column 'embedding'"


@dataclass(frozen=True)
class _Files:
    """What a folder says.

    Attributes:
        inside: of the table and its tokenizer.
        of_model2vec: its rules hold: unknown tokens count for nothing, and texts have a longest length.
    """

    folder: Path
    inside: Path
    of_model2vec: bool
    normalize: bool
    max_tokens: int | None


def is_static(folder: Path) -> bool:
    """Whether a model's folder holds static embeddings."""
    return str(_modules(folder)[0].get("type")).endswith(".StaticEmbedding") or _of_model2vec(folder)


def _modules(folder: Path) -> list[dict[str, Any]]:
    path = folder / "modules.json"
    return (read_json(path) if path.is_file() else []) or [{}]


def _of_model2vec(folder: Path) -> bool:
    config = read_optional(folder / "config.json")
    return config.get("model_type") == "model2vec" or config.get("architectures") == ["StaticModel"]


def _read_files(folder: Path) -> _Files:
    if not is_static(folder):
        raise ModelError(
            f"{folder}: not static embeddings: neither config.json (model_type 'model2vec') nor modules.json"
            " (StaticEmbedding) says so; leave the kind out, or take kind 'flax'"
        )
    config = read_optional(folder / "config.json")
    modules = _modules(folder)
    inside = folder / (modules[0].get("path") or "")
    kinds = [str(module.get("type")).rsplit(".", 1)[-1] for module in modules[1:]]
    unknown = [kind for kind in kinds if kind not in ("Normalize", "Dropout")]
    if unknown:
        raise ModelError(
            f"{folder}: module {unknown[0]} behind a StaticEmbedding is not supported; {_WAY_OUT}"
        )
    of_model2vec = _of_model2vec(folder)
    return _Files(
        folder,
        inside,
        of_model2vec,
        normalize=bool(config.get("normalize")) if of_model2vec else "Normalize" in kinds,
        max_tokens=config.get("max_length", _MODEL2VEC_TOKENS) if of_model2vec else None,
    )


class StaticEncoder:
    """The mean of a text's token vectors; satisfies `protocol.Truncating`.

    A hundred times as fast as a small transformer on a CPU, and coarser. Make one with `from_pretrained`.

    Args:
        table: (tokens, dimension) float32, each token's vector times its weight.
        unknown: the id of the token that counts for nothing, if any.
        longest: characters after which a text is cut before it is tokenised, as model2vec does.
    """

    def __init__(
        self,
        table: np.ndarray,
        tokenizer: HuggingFaceTokenizer,
        *,
        identity: str,
        prompt: str = "",
        normalize: bool = False,
        max_tokens: int | None = None,
        unknown: int | None = None,
        longest: int | None = None,
    ) -> None:
        self._table, self._tokenizer = table, tokenizer
        self._tokenizer.no_padding()
        if max_tokens is None:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(max_tokens)
        self._prompt, self._normalize = prompt, normalize
        self._unknown, self._longest = unknown, longest
        self.identity = identity
        self.dimension = table.shape[1]

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        max_tokens: int | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
    ) -> StaticEncoder:
        """Load a table as its own files describe it.

        Args:
            name: a folder or a Hugging Face hub name, of model2vec's files or of a sentence-transformers
                model that is a StaticEmbedding.
            max_tokens: cut texts at fewer tokens than the model does.
            prompt: as of `Encoder.from_pretrained`.
            truncate_dim: keep only so many leading columns, before vectors are made to have unit length.

        Raises:
            ModelError: files that are missing, of something else or of different models; a setting that does
                not fit the model.
        """
        folder = find_model(name)
        files = _read_files(folder)
        (weights,) = find_weights(files.inside)
        table = _read_table(weights)
        tokenizer = read_tokenizer(files.inside)
        size = max(tokenizer.get_vocab().values(), default=-1) + 1
        if size > len(table):
            raise ModelError(
                f"{files.inside}: tokenizer.json has {size} tokens but the table {len(table)} rows;"
                " they are of different models"
            )
        if truncate_dim is not None and not 1 <= truncate_dim <= table.shape[1]:
            raise ModelError(f"truncate_dim: {truncate_dim}; {name} has 1 to {table.shape[1]} columns")
        if max_tokens is not None and (max_tokens < 1 or (files.max_tokens or max_tokens) < max_tokens):
            raise ModelError(
                f"max_tokens: {max_tokens}; {name} takes 1 to {files.max_tokens or 'any number'}"
            )
        label = label_of(name, folder)
        words = read_prompts(folder, label).words(prompt)
        given = max_tokens or files.max_tokens
        digest = hashlib.sha256(weights.read_bytes())
        digest.update((files.inside / "tokenizer.json").read_bytes())
        return cls(
            np.ascontiguousarray(table[:, :truncate_dim]),
            tokenizer,
            identity=f"{label}@{digest.hexdigest()[:16]} static {given} tokens"
            + (" normalized" if files.normalize else "")
            + (f" first {truncate_dim} columns" if truncate_dim else "")
            + (f" prompt {words!r}" if words else ""),
            prompt=words,
            normalize=files.normalize,
            max_tokens=given,
            **(_rules_of_model2vec(tokenizer, given) if files.of_model2vec else {}),
        )

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(len(texts), dimension) float32, in the order given; zeros for a text without a known token.

        Raises:
            ModelError: an item that is not a text, with its index.
        """
        return self.embed_marked(texts)[0]

    def embed_marked(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """`embed`, and a (len(texts),) bool array of the texts that were cut."""
        vectors = np.empty((len(texts), self.dimension), np.float32)
        cut = np.zeros(len(texts), bool)
        done = 0
        for ids, lengths, ends in self._tokens(texts):
            stop = done + len(lengths)
            vectors[done:stop], cut[done:stop] = self._mean(ids, lengths), ends
            done = stop
        return vectors, cut

    def _tokens(self, texts: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each chunk the ids of all its texts, how many each has, and which were cut; one chunk ahead."""

        def tokenise(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            chunk = texts[start : start + _CHUNK]
            check_texts(chunk, start)
            whole = [self._prompt + text for text in chunk]
            read = [text[: self._longest] for text in whole]
            # The library works on all cores, and other threads run meanwhile.
            found = self._tokenizer.encode_batch_fast(read, add_special_tokens=False)
            ids = [encoding.ids for encoding in found]
            lengths = np.fromiter(map(len, ids), np.int64, len(ids))
            flat = np.fromiter(chain.from_iterable(ids), np.int32, int(lengths.sum()))
            cut = np.fromiter((bool(encoding.overflowing) for encoding in found), bool, len(found))
            if self._longest is not None:
                cut |= np.fromiter((len(text) > self._longest for text in whole), bool, len(whole))
            return flat, lengths, cut

        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(tokenise, 0)
            for start in range(0, len(texts), _CHUNK):
                chunk = ahead.result()
                ahead = pool.submit(tokenise, start + _CHUNK)
                yield chunk

    def _mean(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """(texts, dimension): a sparse matrix of each text's tokens, times the table."""
        starts = np.concatenate([[0], np.cumsum(lengths)])
        if self._unknown is not None:
            known = ids != self._unknown
            starts = np.concatenate([[0], np.cumsum(known)])[starts]
            ids = ids[known]
        shape = (len(lengths), len(self._table))
        sums = csr_array((np.ones(len(ids), np.float32), ids, starts), shape=shape) @ self._table
        means = sums / np.maximum(np.diff(starts), 1)[:, None].astype(np.float32)
        if self._normalize:
            means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-32)
        return means


def _read_table(path: Path) -> np.ndarray:
    """(tokens, dimension) float32: mapped and weighted as a model2vec file says."""
    tensors: dict[str, Any] = read_file(path)
    rows = next((tensors[name] for name in ("embeddings", "embedding.weight") if name in tensors), None)
    if rows is None or rows.ndim != 2:
        raise ModelError(f"{path}: no table 'embeddings' or 'embedding.weight' in it; download it again")
    table = rows.astype(np.float32)
    if "mapping" in tensors:
        if tensors["mapping"].max(initial=0) >= len(table):
            raise ModelError(
                f"{path}: 'mapping' names rows that 'embeddings' does not have; download it again"
            )
        table = table[tensors["mapping"]]
    if "weights" in tensors:
        if tensors["weights"].shape != (len(table),):
            raise ModelError(f"{path}: 'weights' are {tensors['weights'].shape} for {len(table)} tokens")
        table *= tensors["weights"].astype(np.float32)[:, None]
    return table


def _rules_of_model2vec(tokenizer: HuggingFaceTokenizer, max_tokens: int | None) -> dict[str, int | None]:
    vocabulary = tokenizer.get_vocab()
    if hasattr(tokenizer.model, "unk_token"):
        token = tokenizer.model.unk_token
        unknown = None if token is None else tokenizer.token_to_id(token)
    else:  # a unigram model tells it in its file alone
        unknown = json.loads(tokenizer.to_str())["model"].get("unk_id")
    typical = int(np.median([len(token) for token in vocabulary])) if vocabulary else 1
    return {
        "unknown": unknown,
        "longest": None if max_tokens is None else max_tokens * typical,
    }
