"""Tiny random tables of static embeddings, in the layouts of model2vec and sentence-transformers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tiny_models
from safetensors.numpy import save_file

COLUMNS = 12
# "§" is no token, so that unknown ones stand in some texts; two texts are too long for 20 tokens.
TEXTS = [*tiny_models.TEXTS, "§ film § §", "§ §", "the film " * 40, "film" + "§" * 400]
# name -> changes to config.json; what the tensors are
MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "potion": ({"normalize": True}, "float32"),
    "half": ({"normalize": False, "max_length": 20}, "float16"),
    "quantised": ({"normalize": True, "max_length": None}, "int8"),
}


def make(folder: Path, name: str) -> Path:
    """Write the model2vec model `name`."""
    changes, kind = MODELS[name]
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    tokens = tiny_models.write_tokenizer(folder, roberta=False)
    tensors: dict[str, Any] = {"embeddings": rng.standard_normal((tokens, COLUMNS)).astype(np.float32)}
    if kind == "float16":
        tensors["embeddings"] = tensors["embeddings"].astype(np.float16)
    if kind == "int8":
        # Rows shared between tokens, and a weight for each token.
        tensors["embeddings"] = rng.integers(-127, 128, (10, COLUMNS)).astype(np.int8)
        tensors["mapping"] = rng.integers(0, 10, tokens)
        tensors["weights"] = rng.random(tokens).astype(np.float32)
    save_file(tensors, folder / "model.safetensors")
    config = {"model_type": "model2vec", "architectures": ["StaticModel"], "hidden_dim": COLUMNS}
    (folder / "config.json").write_text(json.dumps(config | changes))
    modules = [{"idx": 0, "name": "0", "path": ".", "type": "sentence_transformers.models.StaticEmbedding"}]
    if changes["normalize"]:
        modules.append({"idx": 1, "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"})
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def make_of_sentence_transformers(folder: Path) -> Path:
    """Write a StaticEmbedding, as sentence-transformers 5 and later save it."""
    inside = folder / "0_StaticEmbedding"
    inside.mkdir(parents=True)
    tokens = tiny_models.write_tokenizer(inside, roberta=False)
    table = np.random.default_rng(1).standard_normal((tokens, COLUMNS)).astype(np.float32)
    save_file({"embedding.weight": table}, inside / "model.safetensors")
    kind = "sentence_transformers.sentence_transformer.modules.static_embedding.StaticEmbedding"
    modules = [{"idx": 0, "name": "0", "path": "0_StaticEmbedding", "type": kind}]
    (folder / "modules.json").write_text(json.dumps(modules))
    settings = {"prompts": {"query": "the film: ", "document": ""}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    return folder
