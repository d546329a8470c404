"""Tensors out of safetensors files. Nothing pickled is ever read: a pickle can run code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from synalign_jax.text.errors import ModelError

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_CONVERT = (
    'python -c "import torch, safetensors.torch as s; s.save_file({k: v.contiguous().clone() for k, v in'
    " torch.load('FILE.bin', weights_only=True).items()}, 'model.safetensors')\""
)


def read_json(path: Path) -> Any:
    """
    Raises:
        ModelError: no such file, or no JSON in it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path.parent}: no {path.name}; this is not the folder of an encoder") from None
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON ({error})") from None


def read_optional(path: Path) -> dict[str, Any]:
    """What is in the file; nothing where there is none."""
    return read_json(path) if path.is_file() else {}


def find_weights(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a folder, one or those that its index names.

    Raises:
        ModelError: there are none, or pickled ones alone.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return (single,)
    if index.is_file():
        parts = tuple(folder / part for part in sorted(set(read_json(index)["weight_map"].values())))
        missing = [part.name for part in parts if not part.is_file()]
        if missing:
            raise ModelError(f"{folder}: {missing[0]}, which {index.name} names, is not here; download it")
        return parts
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"{folder}: the weights are pickled ({pickles[0]}), and a pickle can run code when it is read;"
            " convert them once where torch is installed:"
            " `transformers.AutoModel.from_pretrained(folder).save_pretrained(folder)`, or for one file:"
            f" {_CONVERT.replace('FILE.bin', pickles[0])}"
        )
    raise ModelError(f"{folder}: no model.safetensors here; download the model's weights")


def read_file(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of a file by its name.

    Raises:
        ModelError: no such file, or not whole safetensors.
    """
    if not path.is_file():
        find_weights(path.parent)
    try:
        with safe_open(path, framework="numpy") as stream:
            return {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); download it again") from None
