"""Families whose published code is no class of transformers: against its formulas, one text at a time."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import tiny_rotary
from scipy.special import erf
from tiny_rotary import DEPTH, HEADS, HIDDEN, LAYERS, WIDTH

from synalign_jax.text import Encoder, ModelError

Tensors = dict[str, np.ndarray]


def norm(x: np.ndarray, t: Tensors, name: str, epsilon: float) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    return centred / spread * t[f"{name}.weight"] + t[f"{name}.bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def attention(qkv: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """(tokens, 3 width) of queries, keys and values, in this order; rotary positions in halves."""
    q, k, v = qkv.reshape(len(qkv), 3, HEADS, DEPTH).transpose(1, 2, 0, 3)
    angles = np.arange(len(qkv))[:, None] * inverse
    cos, sin = (np.concatenate([f(angles)] * 2, axis=-1) for f in (np.cos, np.sin))

    def turned(x: np.ndarray) -> np.ndarray:
        half = np.concatenate([-x[..., DEPTH // 2 :], x[..., : DEPTH // 2]], axis=-1)
        return x * cos + half * sin

    scores = turned(q) @ turned(k).transpose(0, 2, 1) / np.sqrt(DEPTH)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return (weights @ v).transpose(1, 0, 2).reshape(len(qkv), WIDTH)


def gte(t: Tensors, ids: np.ndarray) -> np.ndarray:
    """NewModel of new-impl with gte-base-en-v1.5's settings; the first token's vector."""
    factor, theta = 2.0, 500_000.0
    inverse = 1 / (theta * factor) ** (np.arange(0, DEPTH, 2) / DEPTH) / factor ** (2 / DEPTH)
    x = norm(t["new.embeddings.word_embeddings.weight"][ids], t, "new.embeddings.LayerNorm", 1e-12)
    for i in range(LAYERS):
        p = f"new.encoder.layer.{i}"
        qkv = x @ t[f"{p}.attention.qkv_proj.weight"].T + t[f"{p}.attention.qkv_proj.bias"]
        mixed = (
            attention(qkv, inverse) @ t[f"{p}.attention.o_proj.weight"].T + t[f"{p}.attention.o_proj.bias"]
        )
        x = norm(x + mixed, t, f"{p}.attn_ln", 1e-12)
        up, gate = np.split(x @ t[f"{p}.mlp.up_gate_proj.weight"].T, 2, axis=-1)
        down = (gelu(gate) * up) @ t[f"{p}.mlp.down_proj.weight"].T + t[f"{p}.mlp.down_proj.bias"]
        x = norm(x + down, t, f"{p}.mlp_ln", 1e-12)
    return x[0]


def nomic(t: Tensors, ids: np.ndarray) -> np.ndarray:
    """NomicBertModel with geglu and biases in its maps, as its config allows; the first token's vector."""
    inverse = 1 / 1000.0 ** (np.arange(0, DEPTH, 2) / DEPTH)
    types = t["embeddings.token_type_embeddings.weight"]
    x = norm(t["embeddings.word_embeddings.weight"][ids] + types[0], t, "emb_ln", 1e-6)
    for i in range(LAYERS):
        p = f"encoder.layers.{i}"
        qkv = x @ t[f"{p}.attn.Wqkv.weight"].T + t[f"{p}.attn.Wqkv.bias"]
        mixed = attention(qkv, inverse) @ t[f"{p}.attn.out_proj.weight"].T + t[f"{p}.attn.out_proj.bias"]
        x = norm(mixed + x, t, f"{p}.norm1", 1e-6)
        gated = x @ t[f"{p}.mlp.fc11.weight"].T * gelu(x @ t[f"{p}.mlp.fc12.weight"].T)
        x = norm(gated @ t[f"{p}.mlp.fc2.weight"].T + t[f"{p}.mlp.fc2.bias"] + x, t, f"{p}.norm2", 1e-6)
    return x[0]


def biased_nomic(draw: tiny_rotary.Draw, vocabulary: int) -> dict[str, Any]:
    """Settings under GPT-2's names alone, as the authors' own code reads them."""
    config = tiny_rotary.nomic(draw, vocabulary)
    for i in range(LAYERS):
        p = f"encoder.layers.{i}"
        for name, outputs in (("attn.Wqkv", 3 * WIDTH), ("attn.out_proj", WIDTH), ("mlp.fc2", WIDTH)):
            draw.normal(f"{p}.{name}.bias", outputs, scale=0.2)
    of_gpt2 = {
        name: value for name, value in config.items() if not name.startswith(("hidden", "num_", "inter"))
    }
    return of_gpt2 | {
        "activation_function": "geglu",
        "layer_norm_epsilon": 1e-6,
        "qkv_proj_bias": True,
        "mlp_fc2_bias": True,
        "pad_vocab_size_multiple": 16,
        "rotary_scaling_factor": 2,
        "max_trained_positions": 64,
    }


@pytest.mark.parametrize(("family", "reference"), [(tiny_rotary.gte_v15, gte), (biased_nomic, nomic)])
def test_it_is_what_its_formulas_say(family: Any, reference: Any, tmp_path: Path) -> None:
    config = tiny_models.make_rotary(tmp_path, family, np.random.default_rng(3))
    (tmp_path / "config.json").write_text(json.dumps(config))
    tiny_models.write_modules(tmp_path, {"pooling_mode": "cls"}, [], False, np.random.default_rng(0), WIDTH)
    encoder = Encoder.from_pretrained(tmp_path)
    tensors = tiny_models.load_tensors(tmp_path)
    assert f"{HIDDEN}" in str(encoder.files.architecture)
    ours = encoder.embed(tiny_models.TEXTS)
    theirs = np.stack([reference(tensors, ids) for ids in encoder.tokenizer(tiny_models.TEXTS)[0]])
    cosine = np.sum(ours * theirs, axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine.min() > 0.99999
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


@pytest.mark.parametrize(
    ("family", "changes", "match"),
    [
        (tiny_rotary.nomic, {"num_experts": 8}, "num_experts = 8 is not supported"),
        (tiny_rotary.nomic, {"prenorm": True}, "prenorm = True is not supported"),
        (tiny_rotary.gte, {"logn_attention_scale": True}, "logn_attention_scale"),
        (tiny_rotary.qwen3, {"rope_scaling": {"rope_type": "yarn", "factor": 4}}, "scaled by 'yarn'"),
        (tiny_rotary.gemma3, {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
        (tiny_rotary.qwen3, {"quantization_config": {"quant_method": "fp8"}}, "quantised weights"),
    ],
)
def test_what_a_family_cannot_do_is_refused_with_a_way_out(
    family: Any, changes: dict[str, Any], match: str, tmp_path: Path
) -> None:
    config = tiny_models.make_rotary(tmp_path, family, np.random.default_rng(0))
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ModelError, match=f"{match}.*sentence-transformers.*endpoint.*column 'embedding'"):
        Encoder.from_pretrained(tmp_path)
