"""Texts into token ids, by the model's own tokenizer.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as HuggingFaceTokenizer

from .errors import ModelError
from .model.files import ModelFiles


def read_tokenizer(folder: Path) -> HuggingFaceTokenizer:
    """The tokenizer of a folder.

    Raises:
        ModelError: no tokenizer.json, or one that the library does not read.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(
            f"{folder}: no tokenizer.json; write one with"
            " `transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`"
        )
    try:
        return HuggingFaceTokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception for every malformed file
        raise ModelError(f"{path}: not a tokenizer that this version reads ({error})") from None


class Tokenizer:
    """Wraps the `tokenizers` library: runs on all cores and lets other threads run meanwhile.

    Args:
        prompt: words put before every text.

    Raises:
        ModelError: no tokenizer.json, an unreadable one, or one with more tokens than the model has rows.
    """

    def __init__(self, files: ModelFiles, *, max_tokens: int, prompt: str) -> None:
        self._tokenizer = read_tokenizer(files.folder)
        size = max(self._tokenizer.get_vocab().values(), default=-1) + 1
        if size > files.architecture.vocabulary:
            raise ModelError(
                f"{files.folder}: tokenizer.json has {size} tokens but the weights have"
                f" {files.architecture.vocabulary} rows; they are of different models"
            )
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._prompt = prompt
        self._lower_case = files.lower_case

    def __call__(self, texts: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """Token ids of each text, and which texts were cut at the model's limit."""
        if self._prompt:
            texts = [self._prompt + text for text in texts]
        if self._lower_case:
            texts = [text.lower() for text in texts]
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        ids = [np.array(encoding.ids, np.int32) for encoding in encodings]
        return ids, np.array([bool(encoding.overflowing) for encoding in encodings], bool)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt alone with what begins a text, but not what ends it."""
        encoding = self._tokenizer.encode(self._prompt.lower() if self._lower_case else self._prompt)
        return len(encoding.ids) - encoding.special_tokens_mask[-1]
