"""Folders that cannot be used, each with an error that says what to do."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from safetensors.numpy import load_file, save_file

from synalign_jax.text import Encoder, ModelError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_models.make(tmp_path / "tiny", "minilm")


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refused(folder: Path, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        Encoder.from_pretrained(folder)


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    refused(folder, r"no model\.safetensors here; download")


def test_pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, r"pickled \(pytorch_model\.bin\).*save_pretrained")


def test_an_unsupported_architecture(folder: Path) -> None:
    change(folder / "config.json", model_type="t5")
    refused(
        folder,
        "model_type 't5' is not supported; supported are bert, roberta.*--encoder-kind sentence-transformers"
        ".*endpoint.*'embedding'",
    )


def test_relative_positions_of_bert(folder: Path) -> None:
    change(folder / "config.json", position_embedding_type="relative_key")
    refused(folder, "only learned absolute position embeddings")


def test_a_config_without_sizes(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')
    refused(folder, "'vocab_size' is missing for model_type 'bert'")


def test_an_unsupported_activation(folder: Path) -> None:
    change(folder / "config.json", hidden_act="quick_gelu")
    refused(folder, "activation 'quick_gelu' is not supported; supported are gelu")


def test_weights_of_another_width(folder: Path) -> None:
    change(folder / "config.json", intermediate_size=128)
    refused(folder, r"kernel has shape \(2, 64, 32\), config\.json says \(2, 128, 32\)")


def test_weights_with_a_tensor_missing(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors")
    refused(folder, r"no tensor 'encoder\.layer\.1\.output\.dense\.weight'")


def test_weights_cut_short(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    refused(folder, r"model\.safetensors: cannot be read .*; download it again")


def test_a_tokenizer_of_another_model(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] |= {f"extra{i}": 200 + i for i in range(50)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    refused(folder, r"tokenizer\.json has 250 tokens but the weights have \d+ rows")


def test_no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    refused(folder, r"no tokenizer\.json; write one with `transformers\.AutoTokenizer")


def test_a_broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": 3}')
    refused(folder, r"tokenizer\.json: not a tokenizer")


def test_an_empty_folder(tmp_path: Path) -> None:
    refused(tmp_path, r"no config\.json; this is not the folder of an encoder")


def test_a_name_that_is_nowhere() -> None:
    with pytest.raises(ModelError, match="nobody/no-such-model: neither a folder here nor a model"):
        Encoder.from_pretrained("nobody/no-such-model")


def test_sharded_prefixed_half_precision_weights_give_the_same_vectors(folder: Path) -> None:
    expected = Encoder.from_pretrained(folder).embed(tiny_models.TEXTS)
    tensors = {
        f"bert.{name}": t.astype(np.float16) for name, t in load_file(folder / "model.safetensors").items()
    }
    parts = {"a.safetensors": list(tensors)[::2], "b.safetensors": list(tensors)[1::2]}
    for name, keys in parts.items():
        save_file({key: tensors[key] for key in keys}, folder / name)
    (folder / "model.safetensors").unlink()
    index = {key: name for name, keys in parts.items() for key in keys}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    np.testing.assert_allclose(Encoder.from_pretrained(folder).embed(tiny_models.TEXTS), expected, atol=5e-3)


def test_the_identity_follows_the_weights_and_the_settings(folder: Path, tmp_path: Path) -> None:
    encoder = Encoder.from_pretrained(folder)
    assert encoder.identity == Encoder.from_pretrained(folder).identity
    other = tiny_models.make(tmp_path / "other" / "tiny", "minilm", seed=1)
    identities = {
        encoder.identity,
        Encoder.from_pretrained(other).identity,
        Encoder.from_pretrained(folder, max_tokens=30).identity,
        Encoder.from_pretrained(folder, dtype="bfloat16").identity,
    }
    assert len(identities) == 4


def test_lower_case_is_the_models_wish(folder: Path) -> None:
    change(folder / "sentence_bert_config.json", do_lower_case=True)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    encoder = Encoder.from_pretrained(folder)
    np.testing.assert_array_equal(encoder.embed(["The FILM"]), encoder.embed(["the film"]))
