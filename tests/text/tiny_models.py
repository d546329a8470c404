"""Tiny random encoders of every supported family, written as their authors would: files, no torch."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WIDTH, LAYERS, HEADS, HIDDEN, POSITIONS = 32, 2, 4, 64, 66
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'é字🎬"

# name -> (model_type, changes to config.json, pooling flags or mode, normalised)
MODELS: dict[str, tuple[str, dict[str, Any], dict[str, Any], bool]] = {
    "minilm": ("bert", {}, {"pooling_mode_mean_tokens": True}, True),
    "bge": ("bert", {}, {"pooling_mode_cls_token": True}, True),
    "gte": ("bert", {"hidden_act": "gelu_new"}, {"pooling_mode": "mean"}, False),
    "joined": ("bert", {"hidden_act": "relu"}, {"pooling_mode": ["lasttoken", "weightedmean"]}, False),
    "roberta": ("roberta", {}, {"pooling_mode_mean_sqrt_len_tokens": True}, False),
    "multilingual-e5": ("xlm-roberta", {}, {"pooling_mode_mean_tokens": True}, True),
    "camembert": ("camembert", {}, {"pooling_mode_mean_tokens": True}, False),
    "distilbert": ("distilbert", {}, {"pooling_mode_mean_tokens": True}, False),
    "mpnet": ("mpnet", {}, {"pooling_mode_mean_tokens": True}, True),
}
_SENTENCE = "the film is a quiet, funny and sad story of café life in 1990 that nobody forgets 字 🎬 !"
_WORDS = _SENTENCE.split()
TEXTS = ["", "a", "Hello, world!"] + [
    " ".join(_WORDS[(7 * i + 3 * j * j) % 19] for j in range(i % 21)) for i in range(3, 45)
]


def make(folder: Path, name: str, *, seed: int = 0) -> Path:
    """Write the model `name` of MODELS into `folder`."""
    family, changes, pooling, normalized = MODELS[name]
    folder.mkdir(parents=True, exist_ok=True)
    roberta = family not in ("bert", "distilbert")
    vocabulary = _write_tokenizer(folder, roberta=roberta)
    _write_json(folder / "config.json", _config(family, vocabulary) | changes)
    save_file(_weights(family, vocabulary, np.random.default_rng(seed)), folder / "model.safetensors")
    modules = ["Transformer", "Pooling"] + ["Normalize"] * normalized
    paths = ["", "1_Pooling", "2_Normalize"]
    _write_json(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": paths[i], "type": f"sentence_transformers.models.{kind}"}
            for i, kind in enumerate(modules)
        ],
    )
    (folder / "1_Pooling").mkdir(exist_ok=True)
    _write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": WIDTH} | pooling)
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": 60, "do_lower_case": False})
    return folder


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def _write_tokenizer(folder: Path, *, roberta: bool) -> int:
    begin, end, unknown = ("<s>", "</s>", "<unk>") if roberta else ("[CLS]", "[SEP]", "[UNK]")
    special = [begin, "<pad>", end, unknown] if roberta else ["[PAD]", begin, end, unknown]
    tokens = [*special, *CHARACTERS, *("##" + c for c in CHARACTERS), "the", "film", "story", "##ny"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        special_tokens=[(begin, vocabulary[begin]), (end, vocabulary[end])],
    )
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": 64,
            "pad_token": special[1] if roberta else special[0],
            "unk_token": unknown,
        },
    )
    return len(vocabulary)


def _config(family: str, vocabulary: int) -> dict[str, Any]:
    if family == "distilbert":
        return {
            "model_type": family,
            "architectures": ["DistilBertModel"],
            "vocab_size": vocabulary,
            "dim": WIDTH,
            "n_layers": LAYERS,
            "n_heads": HEADS,
            "hidden_dim": HIDDEN,
            "max_position_embeddings": POSITIONS,
            "activation": "gelu",
            "pad_token_id": 0,
            "sinusoidal_pos_embds": False,
        }
    classes = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert"}
    return {
        "model_type": family,
        "architectures": [classes.get(family, "MPNet") + "Model"],
        "vocab_size": vocabulary,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": HIDDEN,
        "max_position_embeddings": POSITIONS,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12 if family == "bert" else 1e-5,
        "type_vocab_size": 2 if family == "bert" else 1,
        "pad_token_id": 0 if family == "bert" else 1,
        "relative_attention_num_buckets": 32,
    }


def _weights(family: str, vocabulary: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    tensors: dict[str, np.ndarray] = {}

    def normal(name: str, *shape: int, scale: float) -> None:
        tensors[name] = (scale * rng.standard_normal(shape)).astype(np.float32)

    def linear(name: str, inputs: int, outputs: int) -> None:
        normal(f"{name}.weight", outputs, inputs, scale=1.5 / math.sqrt(inputs))
        normal(f"{name}.bias", outputs, scale=0.2)

    def norm(name: str) -> None:
        normal(f"{name}.weight", WIDTH, scale=0.2)
        tensors[f"{name}.weight"] += 1
        normal(f"{name}.bias", WIDTH, scale=0.2)

    normal("embeddings.word_embeddings.weight", vocabulary, WIDTH, scale=1.0)
    normal("embeddings.position_embeddings.weight", POSITIONS, WIDTH, scale=0.5)
    norm("embeddings.LayerNorm")
    if family == "distilbert":
        layer, attention, out = "transformer.layer", ("q_lin", "k_lin", "v_lin"), "attention.out_lin"
        norms, ffn = ("sa_layer_norm", "output_layer_norm"), ("ffn.lin1", "ffn.lin2")
    elif family == "mpnet":
        layer, attention, out = "encoder.layer", ("attn.q", "attn.k", "attn.v"), "attention.attn.o"
        norms, ffn = ("attention.LayerNorm", "output.LayerNorm"), ("intermediate.dense", "output.dense")
        normal("encoder.relative_attention_bias.weight", 32, HEADS, scale=1.0)
    else:
        layer, attention, out = (
            "encoder.layer",
            ("self.query", "self.key", "self.value"),
            "attention.output.dense",
        )
        norms, ffn = (
            ("attention.output.LayerNorm", "output.LayerNorm"),
            ("intermediate.dense", "output.dense"),
        )
        normal("embeddings.token_type_embeddings.weight", 2 if family == "bert" else 1, WIDTH, scale=0.5)
    for i in range(LAYERS):
        for name in attention:
            linear(f"{layer}.{i}.attention.{name}", WIDTH, WIDTH)
        linear(f"{layer}.{i}.{out}", WIDTH, WIDTH)
        linear(f"{layer}.{i}.{ffn[0]}", WIDTH, HIDDEN)
        linear(f"{layer}.{i}.{ffn[1]}", HIDDEN, WIDTH)
        for name in norms:
            norm(f"{layer}.{i}.{name}")
    return tensors
