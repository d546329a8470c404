"""What modules.json, the settings beside it and the prompts mean, under every name they were written by."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_models
from flax import nnx
from safetensors.numpy import load_file, save_file

from synalign_jax.text import Encoder, ModelError
from synalign_jax.text.model.files import hash_weights, read_model, read_tensors
from synalign_jax.text.model.head import apply_steps, load_steps
from synalign_jax.text.model.weights import load_network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_models.make(tmp_path / "tiny", "minilm")


@pytest.fixture
def gemma(tmp_path: Path) -> Path:
    """With two Dense modules."""
    return tiny_models.make(tmp_path / "gemma", "embeddinggemma")


def change(path: Path, **values: Any) -> None:
    old = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(old | values))


def rename_modules(folder: Path, rename: Any) -> None:
    path = folder / "modules.json"
    modules = json.loads(path.read_text())
    path.write_text(json.dumps([{**module, "type": rename(module["type"])} for module in modules]))


def refused(folder: Path, match: str, **settings: Any) -> None:
    with pytest.raises(ModelError, match=match):
        Encoder.from_pretrained(folder, **settings)


@pytest.mark.parametrize("package", ["models", "base.modules", "sentence_transformer.modules.dense"])
def test_modules_under_the_names_of_all_versions(package: str, gemma: Path) -> None:
    expected = read_model(gemma)
    assert [step.width for step in expected.head] == [96, 40, 0]
    rename_modules(gemma, lambda name: f"sentence_transformers.{package}.{name.rsplit('.', 1)[-1]}")
    assert read_model(gemma) == expected


def test_a_network_in_a_folder_of_its_own(folder: Path) -> None:
    expected = read_model(folder)
    whole = hash_weights(expected)
    inside = folder / "0_Transformer"
    inside.mkdir()
    for path in folder.glob("*.*"):
        if path.name != "modules.json":
            path.rename(inside / path.name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    found = read_model(folder)
    assert hash_weights(found) == whole
    assert replace(found, folder=folder, weights=expected.weights) == expected


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"])
def test_settings_under_every_name(kind: str, folder: Path) -> None:
    (folder / "sentence_bert_config.json").rename(folder / f"sentence_{kind}_config.json")
    change(folder / f"sentence_{kind}_config.json", max_seq_length=17)
    assert read_model(folder).max_tokens == 17


def test_without_a_table_of_positions_the_stated_length_counts(gemma: Path) -> None:
    change(gemma / "sentence_bert_config.json", max_seq_length=300)
    assert read_model(gemma).max_tokens == 300
    (gemma / "sentence_bert_config.json").unlink()
    assert read_model(gemma).max_tokens == 64  # the tokenizer's, which is below the network's


def test_a_layer_norm_behind_the_pooling(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules[2] = {"idx": 2, "name": "2", "path": "2_Norm", "type": "sentence_transformers.models.LayerNorm"}
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "2_Norm").mkdir()
    scale, bias, *x = np.random.default_rng(0).standard_normal((6, 32)).astype(np.float32)
    save_file({"norm.weight": scale, "norm.bias": bias}, folder / "2_Norm/model.safetensors")
    head = read_model(folder).head
    centred = np.stack(x) - np.mean(x, axis=1, keepdims=True)
    expected = centred / np.sqrt(centred.var(1, keepdims=True) + 1e-5) * scale + bias
    found = apply_steps(jnp.asarray(np.stack(x)), head, load_steps(head, 32))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (
            {"activation_function": "my.own.Act"},
            "activation_function 'Act' is not supported; supported are Iden",
        ),
        (
            {"module_input_name": "token_embeddings"},
            "module_input_name = 'token_embeddings' is not supported",
        ),
        ({"out_features": 50}, r"\(40, 96\) weights for 96 columns in and 50 out"),
    ],
)
def test_a_dense_module_that_cannot_be_used(settings: dict[str, Any], match: str, gemma: Path) -> None:
    change(gemma / "3_Dense/config.json", **settings)
    refused(gemma, match)


def test_a_dense_module_whose_weights_are_pickled(gemma: Path) -> None:
    (gemma / "2_Dense/model.safetensors").rename(gemma / "2_Dense/pytorch_model.bin")
    refused(
        gemma,
        r"2_Dense.*pickled \(pytorch_model\.bin\).*torch\.load\('pytorch_model\.bin', weights_only=True",
    )


@pytest.mark.parametrize("name", ["sentence_transformers.models.CNN", "custom_st.Transformer"])
def test_a_module_that_is_not_known(name: str, folder: Path) -> None:
    rename_modules(folder, lambda old: name if old.endswith("Transformer") else old)
    refused(folder, f"module '{name}' at '' is not supported.*column 'embedding'")


def test_no_pooling(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:1]))
    refused(folder, "no Pooling")


def test_a_prompt_is_a_name_or_the_words(folder: Path) -> None:
    change(
        folder / "config_sentence_transformers.json",
        prompts={"query": "the story: ", "document": "", "none": None},
        default_prompt_name="query",
    )
    prompts = read_model(folder).prompts
    assert prompts.words(None) == prompts.words("query") == "the story: "
    assert prompts.words("passage: ") == "passage: "
    assert prompts.words("") == prompts.words("document") == prompts.words("none") == ""
    refused(
        folder,
        r"prompt: 'pasage' is none of tiny's prompts \(query, document, none\).*'pasage: '",
        prompt="pasage",
    )


@pytest.mark.parametrize("prompts", [None, {}, {"query": "", "document": ""}])
def test_every_model_has_an_empty_prompt_for_queries_and_documents(prompts: Any, folder: Path) -> None:
    change(folder / "config_sentence_transformers.json", prompts=prompts, default_prompt_name="document")
    for prompt in (None, "query", "document"):
        assert read_model(folder).prompts.words(prompt) == ""


def test_a_default_prompt_that_is_not_there(folder: Path) -> None:
    change(
        folder / "config_sentence_transformers.json", prompts={"query": "q: "}, default_prompt_name="passage"
    )
    refused(folder, r"default_prompt_name 'passage' is none of its prompts \(query, document\)")
    assert Encoder.from_pretrained(folder, prompt="query").identity.endswith("prompt 'q: '")


def test_fewer_columns_are_asked_for_by_the_caller_or_the_files(folder: Path) -> None:
    whole = Encoder.from_pretrained(folder)
    change(folder / "config_sentence_transformers.json", truncate_dim=8)
    cut = Encoder.from_pretrained(folder)
    assert (cut.dimension, Encoder.from_pretrained(folder, truncate_dim=12).dimension) == (8, 12)
    assert cut.identity != whole.identity
    refused(folder, "truncate_dim: 33; tiny has 1 to 32 columns", truncate_dim=33)


@pytest.mark.parametrize("prefix", ["", "model.", "language_model.model."])
def test_a_table_under_the_name_of_the_output_map_that_shares_it(prefix: str, tmp_path: Path) -> None:
    qwen = tiny_models.make(tmp_path / "qwen", "qwen3")
    expected = read_tensors(read_model(qwen))
    tensors = {prefix + name: tensor for name, tensor in load_file(qwen / "model.safetensors").items()}
    tensors["lm_head.weight"] = tensors.pop(f"{prefix}embed_tokens.weight")
    save_file(tensors, qwen / "model.safetensors")
    found = read_tensors(read_model(qwen))
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_the_names_that_transformers_saves_by(tmp_path: Path) -> None:
    nomic = tiny_models.make(tmp_path / "nomic", "nomic")
    expected = read_model(nomic)
    weights = nnx.state(load_network(expected, dtype="float32"))
    renamed = {}
    pairs = {
        "encoder.": "", "emb_ln": "embeddings.LayerNorm", "attn.out_proj": "self_attn.o_proj",
        "fc11": "up_proj", "fc12": "gate_proj", "fc2": "down_proj", "norm1": "post_attention_layernorm",
        "norm2": "post_mlp_layernorm",
    }  # fmt: skip
    for name, tensor in load_file(nomic / "model.safetensors").items():
        for old, new in pairs.items():
            name = name.replace(old, new)
        if "attn.Wqkv" in name:
            for letter, part in zip("qkv", np.split(tensor, 3), strict=True):
                renamed[name.replace("attn.Wqkv", f"self_attn.{letter}_proj")] = np.ascontiguousarray(part)
        else:
            renamed[name] = tensor
    save_file(renamed, nomic / "model.safetensors")
    config = json.loads((nomic / "config.json").read_text())
    named = {key: value for key, value in config.items() if not key.startswith(("n_", "rotary_", "mlp_"))}
    del named["activation_function"], named["layer_norm_epsilon"]
    rope = {"rope_type": "default", "rope_theta": 1000.0}
    named |= {"hidden_act": "silu", "layer_norm_eps": 1e-12, "rope_parameters": rope}
    (nomic / "config.json").write_text(json.dumps(named))
    found = read_model(nomic)
    assert found.architecture == expected.architecture
    jax.tree.map(np.testing.assert_array_equal, nnx.state(load_network(found, dtype="float32")), weights)


def test_a_shard_that_is_missing_is_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"embeddings.word_embeddings.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, "model-00001-of-00002.safetensors, which model.safetensors.index.json names, is not here")
