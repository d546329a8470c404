"""Tiny random encoders of the newer families with the names their authors use; `tiny_models` writes them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

WIDTH, LAYERS, HEADS, HIDDEN, DEPTH = 32, 4, 4, 48, 8
Tensors = dict[str, np.ndarray]


class Draw:
    """Random tensors by name."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.tensors: Tensors = {}

    def normal(self, name: str, *shape: int, scale: float, mean: float = 0.0) -> None:
        self.tensors[name] = (mean + scale * self.rng.standard_normal(shape)).astype(np.float32)

    def linear(self, name: str, inputs: int, outputs: int, *, bias: bool = False) -> None:
        self.normal(f"{name}.weight", outputs, inputs, scale=1.5 / math.sqrt(inputs))
        if bias:
            self.normal(f"{name}.bias", outputs, scale=0.2)

    def norm(self, name: str, width: int = WIDTH, *, bias: bool = False, mean: float = 1.0) -> None:
        self.normal(f"{name}.weight", width, scale=0.2, mean=mean)
        if bias:
            self.normal(f"{name}.bias", width, scale=0.2)


def modernbert(draw: Draw, vocabulary: int) -> dict[str, Any]:
    draw.normal("model.embeddings.tok_embeddings.weight", vocabulary, WIDTH, scale=1.0)
    draw.norm("model.embeddings.norm")
    for i in range(LAYERS):
        layer = f"model.layers.{i}"
        if i:
            draw.norm(f"{layer}.attn_norm")
        draw.linear(f"{layer}.attn.Wqkv", WIDTH, 3 * WIDTH)
        draw.linear(f"{layer}.attn.Wo", WIDTH, WIDTH)
        draw.norm(f"{layer}.mlp_norm")
        draw.linear(f"{layer}.mlp.Wi", WIDTH, 2 * HIDDEN)
        draw.linear(f"{layer}.mlp.Wo", HIDDEN, WIDTH)
    draw.norm("model.final_norm")
    return {
        "model_type": "modernbert",
        "architectures": ["ModernBertForMaskedLM"],
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": HIDDEN,
        "hidden_activation": "gelu",
        "max_position_embeddings": 128,
        "global_attn_every_n_layers": 3,
        "global_rope_theta": 160000.0,
        "local_rope_theta": 100.0,
        "local_attention": 8,
        "norm_eps": 1e-5,
        "attention_bias": False,
        "mlp_bias": False,
        "norm_bias": False,
    }


def nomic(draw: Draw, vocabulary: int) -> dict[str, Any]:
    draw.normal("embeddings.word_embeddings.weight", vocabulary, WIDTH, scale=1.0)
    draw.normal("embeddings.token_type_embeddings.weight", 2, WIDTH, scale=0.5)
    draw.norm("emb_ln", bias=True)
    for i in range(LAYERS):
        layer = f"encoder.layers.{i}"
        draw.linear(f"{layer}.attn.Wqkv", WIDTH, 3 * WIDTH)
        draw.linear(f"{layer}.attn.out_proj", WIDTH, WIDTH)
        draw.norm(f"{layer}.norm1", bias=True)
        draw.linear(f"{layer}.mlp.fc11", WIDTH, HIDDEN)
        draw.linear(f"{layer}.mlp.fc12", WIDTH, HIDDEN)
        draw.linear(f"{layer}.mlp.fc2", HIDDEN, WIDTH)
        draw.norm(f"{layer}.norm2", bias=True)
    # The authors' names and those of transformers stand beside each other in the published file.
    return {
        "model_type": "nomic_bert",
        "architectures": ["NomicBertModel"],
        "n_embd": WIDTH,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "n_inner": HIDDEN,
        "n_positions": 128,
        "activation_function": "swiglu",
        "layer_norm_epsilon": 1e-12,
        "rotary_emb_base": 1000,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_scaling_factor": None,
        "qkv_proj_bias": False,
        "mlp_fc1_bias": False,
        "mlp_fc2_bias": False,
        "prenorm": False,
        "type_vocab_size": 2,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": HIDDEN,
        "max_position_embeddings": 128,
    }


def gte(draw: Draw, vocabulary: int, *, types: int = 1) -> dict[str, Any]:
    draw.normal("new.embeddings.word_embeddings.weight", vocabulary, WIDTH, scale=1.0)
    if types:
        draw.normal("new.embeddings.token_type_embeddings.weight", types, WIDTH, scale=0.5)
    draw.norm("new.embeddings.LayerNorm", bias=True)
    for i in range(LAYERS):
        layer = f"new.encoder.layer.{i}"
        draw.linear(f"{layer}.attention.qkv_proj", WIDTH, 3 * WIDTH, bias=True)
        draw.linear(f"{layer}.attention.o_proj", WIDTH, WIDTH, bias=True)
        draw.norm(f"{layer}.attn_ln", bias=True)
        draw.linear(f"{layer}.mlp.up_gate_proj", WIDTH, 2 * HIDDEN)
        draw.linear(f"{layer}.mlp.down_proj", HIDDEN, WIDTH, bias=True)
        draw.norm(f"{layer}.mlp_ln", bias=True)
    return {
        "model_type": "gte",
        "architectures": ["GteModel"],
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": HIDDEN,
        "hidden_act": "gelu",
        "max_position_embeddings": 128,
        "type_vocab_size": types,
        "layer_norm_eps": 1e-12,
        "rope_theta": 160000,
        "pack_qkv": True,
        "layer_norm_type": "layer_norm",
        "position_embedding_type": "rope",
        "logn_attention_scale": False,
    }


def gte_v15(draw: Draw, vocabulary: int) -> dict[str, Any]:
    """gte-base-en-v1.5: no token types, stretched frequencies. No class of transformers reads it."""
    scaling = {"type": "ntk", "factor": 2.0}
    return gte(draw, vocabulary, types=0) | {
        "model_type": "new",
        "rope_theta": 500000,
        "rope_scaling": scaling,
    }


def _decoder(draw: Draw, vocabulary: int, *, keys: int, bias: bool, norms: bool, gemma: bool = False) -> None:
    mean = 0.0 if gemma else 1.0
    draw.normal("embed_tokens.weight", vocabulary, WIDTH, scale=0.2 if gemma else 1.0)
    for i in range(LAYERS):
        layer = f"layers.{i}"
        draw.linear(f"{layer}.self_attn.q_proj", WIDTH, HEADS * DEPTH, bias=bias)
        draw.linear(f"{layer}.self_attn.k_proj", WIDTH, keys * DEPTH, bias=bias)
        draw.linear(f"{layer}.self_attn.v_proj", WIDTH, keys * DEPTH, bias=bias)
        draw.linear(f"{layer}.self_attn.o_proj", HEADS * DEPTH, WIDTH)
        for name in ("q_norm", "k_norm") if norms else ():
            draw.norm(f"{layer}.self_attn.{name}", DEPTH, mean=mean)
        feed_forward = ("pre_feedforward_layernorm", "post_feedforward_layernorm") if gemma else ()
        for name in ("input_layernorm", "post_attention_layernorm", *feed_forward):
            draw.norm(f"{layer}.{name}", mean=mean)
        draw.linear(f"{layer}.mlp.gate_proj", WIDTH, HIDDEN)
        draw.linear(f"{layer}.mlp.up_proj", WIDTH, HIDDEN)
        draw.linear(f"{layer}.mlp.down_proj", HIDDEN, WIDTH)
    draw.norm("norm", mean=mean)


def _decoder_config(family: str, architecture: str, keys: int) -> dict[str, Any]:
    return {
        "model_type": family,
        "architectures": [architecture],
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": keys,
        "head_dim": DEPTH,
        "intermediate_size": HIDDEN,
        "hidden_act": "silu",
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "attention_bias": False,
    }


def qwen3(draw: Draw, vocabulary: int) -> dict[str, Any]:
    _decoder(draw, vocabulary, keys=2, bias=False, norms=True)
    return _decoder_config("qwen3", "Qwen3ForCausalLM", 2) | {
        "rope_theta": 1000000,
        "use_sliding_window": False,
    }


def qwen2(draw: Draw, vocabulary: int) -> dict[str, Any]:
    _decoder(draw, vocabulary, keys=2, bias=True, norms=False)
    config = _decoder_config("qwen2", "Qwen2Model", 2)
    del config["attention_bias"], config["head_dim"]
    return config


def mistral(draw: Draw, vocabulary: int) -> dict[str, Any]:
    _decoder(draw, vocabulary, keys=1, bias=False, norms=False)
    return _decoder_config("mistral", "MistralModel", 1) | {"sliding_window": 6}


def llama(draw: Draw, vocabulary: int) -> dict[str, Any]:
    _decoder(draw, vocabulary, keys=4, bias=False, norms=False)
    scaling = {"rope_type": "linear", "factor": 4.0}
    return _decoder_config("llama", "LlamaModel", 4) | {"rope_scaling": scaling}


def eurobert(draw: Draw, vocabulary: int) -> dict[str, Any]:
    _decoder(draw, vocabulary, keys=2, bias=False, norms=False)
    return _decoder_config("eurobert", "EuroBertModel", 2) | {"rms_norm_eps": 1e-5, "rope_theta": 250000}


def gemma3(draw: Draw, vocabulary: int) -> dict[str, Any]:
    _decoder(draw, vocabulary, keys=1, bias=False, norms=True, gemma=True)
    own = {
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": 20,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        "use_bidirectional_attention": True,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 100.0,
    }
    return _decoder_config("gemma3_text", "Gemma3TextModel", 1) | own


def electra(draw: Draw, vocabulary: int) -> dict[str, Any]:
    _bert_embeddings(draw, "electra.embeddings", vocabulary, DEPTH)
    draw.linear("electra.embeddings_project", DEPTH, WIDTH, bias=True)
    for i in range(LAYERS):
        layer = f"electra.encoder.layer.{i}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            draw.linear(f"{layer}.attention.{name}", WIDTH, WIDTH, bias=True)
        draw.norm(f"{layer}.attention.output.LayerNorm", bias=True)
        draw.linear(f"{layer}.intermediate.dense", WIDTH, HIDDEN, bias=True)
        draw.linear(f"{layer}.output.dense", HIDDEN, WIDTH, bias=True)
        draw.norm(f"{layer}.output.LayerNorm", bias=True)
    return _bert_config("electra", "ElectraModel") | {"hidden_act": "gelu"}


def albert(draw: Draw, vocabulary: int) -> dict[str, Any]:
    _bert_embeddings(draw, "albert.embeddings", vocabulary, DEPTH)
    draw.linear("albert.encoder.embedding_hidden_mapping_in", DEPTH, WIDTH, bias=True)
    layer = "albert.encoder.albert_layer_groups.0.albert_layers.0"
    for name in ("query", "key", "value", "dense"):
        draw.linear(f"{layer}.attention.{name}", WIDTH, WIDTH, bias=True)
    draw.norm(f"{layer}.attention.LayerNorm", bias=True)
    draw.linear(f"{layer}.ffn", WIDTH, HIDDEN, bias=True)
    draw.linear(f"{layer}.ffn_output", HIDDEN, WIDTH, bias=True)
    draw.norm(f"{layer}.full_layer_layer_norm", bias=True)
    return _bert_config("albert", "AlbertModel") | {"hidden_act": "gelu_new"}


def _bert_embeddings(draw: Draw, name: str, vocabulary: int, width: int) -> None:
    for table, rows in (("word", vocabulary), ("position", 66), ("token_type", 2)):
        draw.normal(f"{name}.{table}_embeddings.weight", rows, width, scale=0.7)
    draw.norm(f"{name}.LayerNorm", width, bias=True)


def _bert_config(family: str, architecture: str) -> dict[str, Any]:
    return {
        "model_type": family,
        "architectures": [architecture],
        "hidden_size": WIDTH,
        "embedding_size": DEPTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": HIDDEN,
        "max_position_embeddings": 66,
        "layer_norm_eps": 1e-12,
        "type_vocab_size": 2,
        "pad_token_id": 0,
    }


Family = Callable[[Draw, int], dict[str, Any]]
# name -> (family, changes to config.json, pooling, columns and activation of the Dense modules behind it)
MODELS: dict[str, tuple[Family, dict[str, Any], dict[str, Any], list[tuple[int, str]]]] = {
    "modernbert": (modernbert, {}, {"pooling_mode": "mean"}, []),
    "modernbert-layers": (
        modernbert,
        {"layer_types": ["sliding_attention"] * 2 + ["full_attention"] * 2, "hidden_activation": "silu"},
        {"pooling_mode": "cls"},
        [(24, "torch.nn.modules.activation.Tanh")],
    ),
    "nomic": (nomic, {}, {"pooling_mode_mean_tokens": True}, []),
    "gte-multilingual": (gte, {}, {"pooling_mode_cls_token": True}, []),
    "qwen3": (qwen3, {}, {"pooling_mode_lasttoken": True}, []),
    "qwen2": (
        qwen2,
        {"rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}},
        {"pooling_mode": "max"},
        [],
    ),
    "mistral": (mistral, {}, {"pooling_mode": "weightedmean"}, []),
    "llama": (llama, {}, {"pooling_mode": ["lasttoken", "mean"]}, []),
    "eurobert": (eurobert, {}, {"pooling_mode": "mean"}, []),
    "embeddinggemma": (
        gemma3,
        {},
        {"pooling_mode_mean_tokens": True},
        [(96, "torch.nn.modules.linear.Identity"), (40, "torch.nn.modules.linear.Identity")],
    ),
    "gemma3-causal": (
        gemma3,
        {"use_bidirectional_attention": False},
        {"pooling_mode": ["lasttoken", "mean"]},
        [(24, "torch.nn.modules.activation.GELU")],
    ),
    "electra": (electra, {}, {"pooling_mode": "mean"}, []),
    "albert": (albert, {}, {"pooling_mode": "mean"}, []),
}
