"""The words that go before every text."""

from __future__ import annotations

import re

from synalign_jax.text.errors import ModelError

from .files import ModelFiles

# sentence-transformers gives every model these two, without words where its files do not say otherwise.
_ALWAYS = {"query": "", "document": ""}


def prompt_words(files: ModelFiles, prompt: str | None) -> str:
    """The words that a prompt means to a model.

    Args:
        prompt: the name of one of the model's prompts, or the words themselves; None is the default prompt.

    Raises:
        ModelError: a name that the model's files do not have.
    """
    known = {**_ALWAYS, **files.prompts}
    if prompt is None:
        if files.default_prompt is None:
            return ""
        if files.default_prompt not in known:
            raise ModelError(
                f"{files.name}: default_prompt_name {files.default_prompt!r} is none of its prompts"
                f" ({', '.join(known)}); mend config_sentence_transformers.json, or give a prompt"
                " ('' for none)"
            )
        return known[files.default_prompt]
    if prompt in known:
        return known[prompt]
    if re.fullmatch(r"[\w.-]+", prompt):
        raise ModelError(
            f"prompt: {prompt!r} is none of {files.name}'s prompts ({', '.join(known)}); words of your"
            f" own that stand before every text end in what parts them from it, as {prompt + ': '!r}"
        )
    return prompt
