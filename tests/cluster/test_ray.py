"""Work on a real Ray cluster of this machine with two workers, one of which is killed now and then."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from counted import WIDTH, Served, vector

import synalign_jax as sa
from synalign_jax.cli import main
from synalign_jax.llm.ledger import Ledger
from synalign_jax.pipeline.config import Encoder, Llm
from synalign_jax.pipeline.data.copies import TextCopies

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray"),
    # Ray's own: handles that its threads leave open, settings of to-morrow.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[Any]:
    os.environ.pop("RAY_ADDRESS", None)
    from synalign_jax.cluster.connect import connected

    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(num_cpus=4, include_dashboard=False, logging_level=40)
    yield connected()
    ray.shutdown()


@pytest.fixture
def served() -> Iterator[Served]:
    with Served() as found:
        yield found


def write(folder: Path, texts: list[str], files: int) -> str:
    for number in range(files):
        lines = (json.dumps({"text": text}) + "\n" for text in texts[number::files])
        (folder / f"rows-{number}.jsonl").write_text("".join(lines))
    return str(folder / "rows-*.jsonl")


def in_files(texts: list[str], files: int) -> list[str]:
    return [text for number in range(files) for text in texts[number::files]]


def encoder(served: Served) -> Encoder:
    return Encoder(kind="openai", model="counted", base_url=served.url)


def workers(name: str) -> list[int]:
    """Process ids of Ray's workers that run this function of ours, or are about to."""
    found = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in found.splitlines() if "ray::" in line and name in line]


def kill_one(name: str, ready: Callable[[], bool]) -> tuple[threading.Thread, list[int]]:
    """Kill the first worker of that name, once `ready` says so."""
    killed: list[int] = []

    def wait() -> None:
        for _ in range(6_000):
            if ready() and (there := workers(name)):
                os.kill(there[0], signal.SIGKILL)
                killed.append(there[0])
                return
            time.sleep(0.02)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread, killed


def test_vectors_are_those_of_one_process_though_a_worker_is_killed(
    tmp_path: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synalign_jax.cluster import embed_file

    monkeypatch.setenv("SYNALIGN_CACHE", str(tmp_path / "cache"))
    served.latency = 0.3
    texts = [f"text {i} of many" for i in range(8_000)]
    source = write(tmp_path, texts, 3)
    thread, killed = kill_one("MapBatches(_Embedding)", lambda: len(served.embedded) > 1_500)
    found = embed_file(source, tmp_path / "v.npy", encoder(served), workers=2, cache=tmp_path / "cache")
    thread.join(60)
    assert killed, "no worker was killed"
    expected = np.stack([vector(text) for text in in_files(texts, 3)])
    np.testing.assert_array_equal(found.vectors, expected)
    served.embedded.pop("dimension")  # what the adapter asks for, to know it
    again = {text: count for text, count in served.embedded.items() if count > 1}
    # What the killed worker had in hand: one block that embed_texts hands the encoder.
    assert len(again) <= 4_096
    assert not again or max(again.values()) == 2
    asked = served.embedded.total()
    embed_file(source, tmp_path / "v.npy", encoder(served), workers=2, cache=tmp_path / "cache")
    served.embedded.pop("dimension")
    assert served.embedded.total() == asked, "a second call embeds nothing"


def test_answers_are_paid_once_though_a_worker_is_killed(tmp_path: Path, served: Served, ray: Any) -> None:
    from synalign_jax.cluster import ask

    served.latency = 0.1
    llm = Llm(model="counted", base_url=served.url, concurrency=8, max_requests=2_000)
    # Every prompt stands in two blocks, so that both workers come to it.
    prompts = [f"prompt {i % 600}" for i in range(1_200)]
    thread, killed = kill_one("MapBatches(_Asking)", lambda: len(served.asked) > 100)

    def answers() -> list[dict[str, Any]]:
        rows = ray.data.from_items([{"prompt": prompt} for prompt in prompts], override_num_blocks=6)
        return ask(rows, llm, ledger=tmp_path / "ledger.sqlite", workers=2).take_all()

    found = answers()
    thread.join(60)
    assert killed, "no worker was killed"
    assert sorted(row["prompt"] for row in found) == sorted(prompts)
    assert all(row["answer"] == f"about {row['prompt']}" and row["error"] is None for row in found)
    # Requests of the killed worker that were under way, at most its part of the concurrency.
    assert served.asked.total() <= 600 + 4
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.summary().answered == 600
        assert ledger.summary().maybe_paid <= 4
    asked = served.asked.total()
    answers()
    assert served.asked.total() == asked, "a second call asks nothing"


def test_a_cap_holds_for_all_workers_together(tmp_path: Path, served: Served, ray: Any) -> None:
    from synalign_jax.cluster import ask

    llm = Llm(model="counted", base_url=served.url, concurrency=4, max_requests=30)
    rows = ray.data.from_items([{"prompt": f"prompt {i}"} for i in range(100)], override_num_blocks=4)
    found = ask(rows, llm, ledger=tmp_path / "ledger.sqlite", workers=2).take_all()
    assert served.asked.total() == sum(row["answer"] is not None for row in found) == 30
    assert all("budget" in row["error"] for row in found if row["answer"] is None)


def test_repetitions_are_those_of_one_process(tmp_path: Path) -> None:
    from synalign_jax.cluster import find_repeats, read

    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(40)]
    texts = [" ".join(rng.choice(words, 12)) for _ in range(300)]
    texts += [f"{text} more" for text in texts[::3]] + texts[::5]
    known, of = TextCopies(), []
    for row, text in enumerate(in_files(texts, 3)):
        found, _ = known.look(row, text)
        of.append(of[found] if found < row else row)
    assert len(set(of)) < 301
    np.testing.assert_array_equal(find_repeats(read(write(tmp_path, texts, 3)), workers=2), of)


def test_weights_are_those_of_the_alignment(ray: Any) -> None:
    from synalign_jax.cluster import score

    rng = np.random.default_rng(0)
    real, pool = (rng.normal(shift, 1.0, (60, WIDTH)).astype(np.float32) for shift in (0.0, 0.5))
    found = sa.align(real, pool, key=jax.random.key(0), regularization=0.05, spectral_power=0.0)
    rows = ray.data.from_items(
        [{"row": i, "embedding": row.tolist()} for i, row in enumerate(pool)], override_num_blocks=3
    )
    weights = {row["row"]: row["weight"] for row in score(rows, found, workers=2).take_all()}
    np.testing.assert_allclose([weights[i] for i in range(60)], found.score(pool), rtol=1e-5, atol=1e-9)
    assert max(weights.values()) > 2 / 60


def test_a_shard_that_a_worker_cannot_read_is_named(
    tmp_path: Path, served: Served, capsys: pytest.CaptureFixture
) -> None:
    source = write(tmp_path, [f"text {i}" for i in range(30)], 3)
    (tmp_path / "rows-1.jsonl").write_text('{"text": "whole"}\n{"text": "cut o')
    words = ["embed", source, "--engine", "ray", "--workers", "2", "--out", str(tmp_path / "v.npy")]
    words += ["--encoder-kind", "openai", "--encoder", "counted", "--encoder-url", served.url]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "rows-1.jsonl" in said
    assert "Traceback" not in said
    assert main([*words[:1], str(tmp_path / "none-*.jsonl"), *words[2:]]) == 1
    assert "none-*.jsonl" in capsys.readouterr().err


def test_the_command_in_a_process_of_its_own(tmp_path: Path, served: Served) -> None:
    texts = [f"text {i}" for i in range(40)]
    words = ["embed", write(tmp_path, texts, 2), "--engine", "ray", "--out", str(tmp_path / "v.npy")]
    words += ["--encoder-kind", "openai", "--encoder", "counted", "--encoder-url", served.url]
    environment = {**os.environ, "SYNALIGN_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "synalign_jax", *words], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "40 rows of 8 float32" in done.stdout
    assert "rows: 40, " in done.stdout
    assert "rows-1.jsonl; text from 'text'" in done.stdout
    np.testing.assert_array_equal(
        np.load(tmp_path / "v.npy"), np.stack([vector(text) for text in in_files(texts, 2)])
    )
