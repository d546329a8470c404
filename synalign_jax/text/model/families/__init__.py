"""One file a family of models: what its config.json means, and the names of its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from synalign_jax.text.errors import ModelError
from synalign_jax.text.model.architecture import ACTIVATIONS, Architecture, Names

from . import albert, bert, decoder, distilbert, electra, gemma3, gte, modernbert, mpnet, nomic

Reader = Callable[[Mapping[str, Any]], tuple[Architecture, Names]]

# What to do with a model that is refused.
WAY_OUT = (
    "embed with sentence-transformers (--encoder-kind sentence-transformers, [encoder] kind), by an"
    " embeddings endpoint (kind openai), or yourself and give the vectors as a column 'embedding'"
)

# model_type of config.json -> who reads it
FAMILIES: Mapping[str, Reader] = {
    "bert": bert.read,
    "roberta": bert.read,
    "xlm-roberta": bert.read,
    "camembert": bert.read,
    "electra": electra.read,
    "albert": albert.read,
    "distilbert": distilbert.read,
    "mpnet": mpnet.read,
    "modernbert": modernbert.read,
    "nomic_bert": nomic.read,
    "new": gte.read,
    "gte": gte.read,
    "qwen3": decoder.read,
    "qwen2": decoder.read,
    "llama": decoder.read,
    "mistral": decoder.read,
    "eurobert": decoder.read,
    "gemma3_text": gemma3.read,
}


def read_architecture(config: Mapping[str, Any]) -> tuple[Architecture, Names]:
    """The architecture that a Hugging Face config.json describes, and its weight names.

    Raises:
        ModelError: a family, an activation or a kind of position embedding that is not supported, or a
            missing entry; the message says what to do instead.
    """
    family = config.get("model_type")
    read = FAMILIES.get(str(family))
    if read is None:
        raise ModelError(
            f"config.json: model_type {family!r} is not supported; supported are {', '.join(FAMILIES)};"
            f" for other models: {WAY_OUT}"
        )
    if config.get("quantization_config"):
        raise ModelError(f"config.json: quantised weights are not supported; {WAY_OUT}")
    try:
        architecture, names = read(config)
    except KeyError as error:
        raise ModelError(f"config.json: {error.args[0]!r} is missing for model_type {family!r}") from None
    except ModelError as error:
        raise ModelError(f"config.json: {error}; {WAY_OUT}") from None
    if architecture.activation not in ACTIVATIONS:
        raise ModelError(
            f"config.json: activation {architecture.activation!r} is not supported;"
            f" supported are {', '.join(ACTIVATIONS)}; {WAY_OUT}"
        )
    return architecture, names
