"""The examples run, and do what their text says."""

import importlib.util
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).parents[2] / "examples"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_aligned_weights_train_a_better_model_for_the_real_rows() -> None:
    equal, aligned = _load("weighted_training").main()
    assert aligned > equal + 0.02


def test_the_regulariser_brings_the_domains_together() -> None:
    without, with_it = _load("mmd_regulariser").main()
    assert with_it < 0.2 * without


def test_batches_follow_the_weights() -> None:
    before, after = _load("weighted_batches").main()
    assert after < 0.2 * before
