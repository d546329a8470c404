from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synalign_jax.pipeline.config_file import parse_config
from synalign_jax.pipeline.folder import StageView
from synalign_jax.pipeline.progress import Silent
from synalign_jax.pipeline.run import STAGES
from synalign_jax.pipeline.stages import align


@pytest.mark.parametrize("checked", [True, False])
def test_a_verdict_says_where_a_student_of_the_real_rows_has_sorted_the_pool(
    tmp_path: Path, checked: bool
) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 12)) * 0.5

    def table(name: str, vectors: str, count: int, **columns: list) -> None:
        codes = np.arange(count) % 2
        np.save(tmp_path / vectors, (centres[codes] + rng.normal(size=(count, 12))).astype(np.float32))
        labels = [f"label {code}" for code in codes]
        pq.write_table(pa.table({"label": labels, **columns}), tmp_path / f"{name}.parquet")

    table("few_shot", "real_vectors.npy", 40)
    table("synthetic", "synthetic_vectors.npy", 300, cluster=[0] * 300)
    config = parse_config(
        {
            "run": {"folder": str(tmp_path)},
            "data": {"source": "rotten_tomatoes"},
            "llm": {"base_url": "http://127.0.0.1:9/v1", "model": "m"},
            "judge": {"student": checked},
        }
    )
    stage = next(stage for stage in STAGES if stage.name == "align")
    view = StageView(tmp_path, stage)
    align.run(view, config, SimpleNamespace(reporter=Silent()))  # type: ignore[arg-type]  # all that it uses
    written = (tmp_path / "mixture.json").read_text(encoding="utf-8")
    assert view.facts["decision"] == "use"
    assert ("which flatters this" in written) == checked
