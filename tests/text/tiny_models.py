"""Tiny random encoders of every supported family, written as their authors would: files, no torch."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import tiny_rotary
from safetensors.numpy import load_file, save_file
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
ALL = [*MODELS, *tiny_rotary.MODELS]
LONGEST = 60
# name -> (model of ALL, changes to files)
SETTINGS: dict[str, tuple[str, dict[str, dict[str, Any]]]] = {
    "instructor": (
        "minilm",
        {
            "1_Pooling/config.json": {"include_prompt": False},
            "config_sentence_transformers.json": {
                "prompts": {"query": "the film: ", "document": ""},
                "default_prompt_name": "query",
                "similarity_fn_name": "dot",
                "truncate_dim": 20,
            },
        },
    ),
    "prompted-last-token": (
        "qwen3",
        {
            "1_Pooling/config.json": {
                "include_prompt": False,
                "pooling_mode": ["cls", "max", "mean"],
            },
            "config_sentence_transformers.json": {
                "prompts": {"query": "Instruct: the story, funny. Query:"},
                "default_prompt_name": "query",
            },
        },
    ),
    "lower-cased": (
        "bge",
        {
            "tokenizer.json": {"normalizer": None},
            "sentence_bert_config.json": {"do_lower_case": True, "max_seq_length": 40},
            "config_sentence_transformers.json": {"prompts": {"p": "The FILM "}, "default_prompt_name": "p"},
        },
    ),
}
_SENTENCE = "the film is a quiet, funny and sad story of café life in 1990 that nobody forgets 字 🎬 !"
_WORDS = _SENTENCE.split()
TEXTS = ["", "a", "Hello, world!"] + [
    " ".join(_WORDS[(7 * i + 3 * j * j) % 19] for j in range(i % 21)) for i in range(3, 45)
]


def make(folder: Path, name: str, *, seed: int = 0) -> Path:
    """Write the model `name` of ALL into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    if name in tiny_rotary.MODELS:
        family, changes, pooling, dense = tiny_rotary.MODELS[name]
        config = make_rotary(folder, family, rng) | changes
        _write_json(folder / "config.json", config)
        width, normalized = tiny_rotary.WIDTH, name not in ("qwen2", "electra")
    else:
        kind, changes, pooling, normalized = MODELS[name]
        width, dense = WIDTH, []
        vocabulary = write_tokenizer(folder, roberta=kind not in ("bert", "distilbert"))
        _write_json(folder / "config.json", _config(kind, vocabulary) | changes)
        save_file(_weights(kind, vocabulary, rng), folder / "model.safetensors")
    modes = pooling.get("pooling_mode")
    write_modules(
        folder, pooling, dense, normalized, rng, width * (len(modes) if isinstance(modes, list) else 1)
    )
    return folder


def make_with_settings(folder: Path, name: str) -> Path:
    """Write the model `name` of SETTINGS into `folder`."""
    model, changes = SETTINGS[name]
    make(folder, model)
    for file, values in changes.items():
        path = folder / file
        old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        old.pop("pooling_mode_lasttoken", None)
        _write_json(path, old | values)
    return folder


def make_rotary(folder: Path, family: tiny_rotary.Family, rng: np.random.Generator) -> dict[str, Any]:
    """Write weights and tokenizer of a newer family, and return its config."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = write_tokenizer(folder, roberta=False, ends_only=family is tiny_rotary.qwen3)
    draw = tiny_rotary.Draw(rng)
    config = family(draw, vocabulary) | {"vocab_size": vocabulary, "pad_token_id": 0}
    save_file(draw.tensors, folder / "model.safetensors")
    return config


def load_tensors(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "model.safetensors")


def write_modules(
    folder: Path,
    pooling: dict[str, Any],
    dense: list[tuple[int, str]],
    normalized: bool,
    rng: np.random.Generator,
    width: int,
) -> None:
    modules = [
        ("Transformer", "", {}),
        ("Pooling", "1_Pooling", {"word_embedding_dimension": WIDTH} | pooling),
    ]
    for outputs, activation in dense:
        path = f"{len(modules)}_Dense"
        settings = {"in_features": width, "out_features": outputs, "bias": outputs != 96}
        modules.append(("Dense", path, settings | {"activation_function": activation}))
        draw = tiny_rotary.Draw(rng)
        draw.linear("linear", width, outputs, bias=outputs != 96)
        (folder / path).mkdir(exist_ok=True)
        save_file(draw.tensors, folder / path / "model.safetensors")
        width = outputs
    modules += [("Normalize", f"{len(modules)}_Normalize", {})] * normalized
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path, _) in enumerate(modules)
    ]
    _write_json(folder / "modules.json", listed)
    for _, path, settings in modules[1:]:
        (folder / path).mkdir(exist_ok=True)
        if settings:
            _write_json(folder / path / "config.json", settings)
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": LONGEST, "do_lower_case": False})


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def write_tokenizer(folder: Path, *, roberta: bool, ends_only: bool = False) -> int:
    """Vocabulary size. `ends_only` tokenizers put no token before a text, and pad on the left."""
    begin, end, unknown = ("<s>", "</s>", "<unk>") if roberta else ("[CLS]", "[SEP]", "[UNK]")
    special = [begin, "<pad>", end, unknown] if roberta else ["[PAD]", begin, end, unknown]
    tokens = [*special, *CHARACTERS, *("##" + c for c in CHARACTERS), "the", "film", "story", "##ny"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}" if ends_only else f"{begin} $A {end}",
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
            "sep_token": end,
            "padding_side": "left" if ends_only else "right",
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
