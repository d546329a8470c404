"""A sentence encoder's folder: what its own files say, and its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synalign_jax.text.errors import ModelError

from .architecture import Architecture, Names
from .families import WAY_OUT, read_architecture
from .find import find_model, label_of
from .head import Step, read_step
from .pooling import read_pooling
from .prompts import Prompts, read_prompts
from .tensors import find_weights, read_file, read_json, read_optional

# The names under which sentence-transformers has written a Transformer's settings.
_SETTINGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)


@dataclass(frozen=True)
class ModelFiles:
    """What a model's own files say about how it turns a text into a vector.

    Attributes:
        folder: of the network and its tokenizer.
        weights: the safetensors files of the network.
        max_tokens: the longest text, special tokens included.
        pool_prompt: whether the tokens of a prompt are pooled too.
        head: what comes behind the pooling.
        truncate_dim: leading columns that are kept of a vector; None for all.
    """

    name: str
    folder: Path
    architecture: Architecture
    names: Names
    weights: tuple[Path, ...]
    max_tokens: int
    lower_case: bool
    pooling: tuple[str, ...]
    pool_prompt: bool
    head: tuple[Step, ...]
    prompts: Prompts
    truncate_dim: int | None

    @property
    def dimension(self) -> int:
        """Columns of a vector before any truncation."""
        widths = [step.width for step in self.head if step.width]
        return widths[-1] if widths else self.architecture.width * len(self.pooling)


def read_model(name: str | Path) -> ModelFiles:
    """Read everything but the weights.

    A folder without modules.json is read as sentence-transformers reads it: mean pooling, not normalised.

    Raises:
        ModelError: an unsupported architecture, pooling or module; missing, pickled or unreadable files.
    """
    folder = find_model(name)
    modules = _Modules(folder)
    body = modules.body
    architecture, names = read_architecture(read_json(body / "config.json"))
    settings = next((read_json(body / file) for file in _SETTINGS if (body / file).is_file()), {})
    label = label_of(name, folder)
    return ModelFiles(
        name=label,
        folder=body,
        architecture=architecture,
        names=names,
        weights=find_weights(body),
        max_tokens=_longest(architecture, settings, read_optional(body / "tokenizer_config.json")),
        lower_case=bool(settings.get("do_lower_case")),
        pooling=modules.pooling,
        pool_prompt=modules.pool_prompt,
        head=tuple(modules.head),
        prompts=read_prompts(folder, label),
        truncate_dim=read_optional(folder / "config_sentence_transformers.json").get("truncate_dim"),
    )


class _Modules:
    """modules.json: the network's folder, the pooling, and what comes behind it."""

    def __init__(self, folder: Path) -> None:
        self.body = folder
        self.pooling: tuple[str, ...] = ("mean",)
        self.pool_prompt = True
        self.head: list[Step] = []
        if not (folder / "modules.json").is_file():
            return
        pooled = False
        for module in read_json(folder / "modules.json"):
            path = folder / (module.get("path") or "")
            package, _, kind = str(module.get("type")).rpartition(".")
            if package.split(".")[0] != "sentence_transformers":
                kind = ""
            if kind == "Transformer" and not pooled:
                self.body = path
            elif kind == "Pooling" and not pooled:
                settings = read_json(path / "config.json")
                self.pooling = read_pooling(settings)
                self.pool_prompt = settings.get("include_prompt", True)
                pooled = True
            elif kind in ("Dense", "LayerNorm", "Normalize") and pooled:
                self.head.append(read_step(kind, path, read_optional(path / "config.json")))
            elif kind != "Dropout":  # drops nothing when a text is embedded
                raise ModelError(
                    f"modules.json: module {module.get('type')!r} at {module.get('path')!r} is not supported;"
                    " supported are a Transformer, Pooling, then Dense, LayerNorm and Normalize;"
                    f" for other models: {WAY_OUT}"
                )
        if not pooled:
            raise ModelError(
                f"modules.json: no Pooling, so tokens have vectors but texts have none; {WAY_OUT}"
            )


def _longest(architecture: Architecture, settings: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> int:
    given = settings.get("max_seq_length")
    if given and not architecture.positions:
        return int(given)  # rotary positions have no table that would end
    limits = (architecture.max_tokens, given, tokenizer.get("model_max_length"))
    return min(int(limit) for limit in limits if limit)


def hash_weights(files: ModelFiles) -> str:
    """SHA-256 over the weight files and the tokenizer: what makes two models of one name different."""
    digest = hashlib.sha256()
    behind = [step.folder / "model.safetensors" for step in files.head if step.folder is not None]
    for path in (*files.weights, files.folder / "tokenizer.json", *behind):
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def read_tensors(files: ModelFiles) -> dict[str, np.ndarray]:
    """Every tensor of the encoder by its name, any prefix ("bert.", "model.") taken off.

    Raises:
        ModelError: a file that is not safetensors, or cut short.
    """
    tensors: dict[str, np.ndarray] = {}
    for path in files.weights:
        tensors |= read_file(path)
    (table,) = files.names.outside["tokens"][0]
    marker = f"{table}.weight"
    prefix = next((key.removesuffix(marker) for key in tensors if key.endswith(marker)), None)
    if prefix is None:
        # The table is kept under the name of the output map that shares it, or is not there at all.
        first = files.names.layer[0].format(i=0)
        prefix = next((key[: key.index(first)] for key in tensors if first in key), "")
        if "lm_head.weight" in tensors:
            tensors[prefix + marker] = tensors["lm_head.weight"]
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
