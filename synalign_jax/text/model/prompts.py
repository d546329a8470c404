"""The words that go before every text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from synalign_jax.text.errors import ModelError

from .tensors import read_optional

# sentence-transformers gives every model these two, without words where its files do not say otherwise.
_ALWAYS = {"query": "", "document": ""}


@dataclass(frozen=True)
class Prompts:
    """The prompts of one model.

    Attributes:
        model: its name, for messages.
        named: prompt name -> the words that go before each text; no words are a prompt, too.
        default: the name of the prompt that is used when none is asked for.
    """

    model: str
    named: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None

    def words(self, prompt: str | None) -> str:
        """The words that a prompt means to the model.

        Args:
            prompt: the name of one of the model's prompts, or the words themselves; None is the default
                prompt, "" none.

        Raises:
            ModelError: a name that the model's files do not have.
        """
        if prompt is None:
            if self.default is None:
                return ""
            if self.default not in self.named:
                raise ModelError(
                    f"{self.model}: default_prompt_name {self.default!r} is none of its prompts"
                    f" ({self._names}); mend config_sentence_transformers.json, or give a prompt"
                    " ('' for none)"
                )
            return self.named[self.default]
        if prompt in self.named:
            return self.named[prompt]
        if re.fullmatch(r"[\w.-]+", prompt):
            raise ModelError(
                f"prompt: {prompt!r} is none of {self.model}'s prompts ({self._names}); words of your own"
                f" that stand before every text end in what parts them from it, as {prompt + ': '!r}"
            )
        return prompt

    @property
    def _names(self) -> str:
        return ", ".join(self.named) or "it has none"


def read_prompts(folder: Path, model: str) -> Prompts:
    """The prompts that config_sentence_transformers.json names."""
    settings = read_optional(folder / "config_sentence_transformers.json")
    given = {name: words or "" for name, words in (settings.get("prompts") or {}).items()}
    return Prompts(model, {**_ALWAYS, **given}, settings.get("default_prompt_name"))
