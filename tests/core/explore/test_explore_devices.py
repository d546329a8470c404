"""The same picks on one device, on eight, in two processes, on other processors; compilations of the loop."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from processes import free_address

PICKS = """
import jax, numpy as np
{setup}
from jax.sharding import Mesh
from synalign_jax.core.explore.explore import explore
rng = np.random.default_rng(0)
centres = rng.normal(size=(10, 12))
x = centres[rng.integers(0, 10, 610)] + rng.normal(size=(610, 12)) * rng.gamma(2.0, 0.4, size=(610, 1))
x = x.astype(np.float32)
mesh = Mesh(np.array(jax.devices()), ("devices",))
for acquisition in ("max_variance", "integrated_variance", "rim_variance"):
    common = dict(
        rounds=25, neighbors=3, key=jax.random.key(2), acquisition=acquisition, project=None,
        observed=x[600:],
    )
    split = explore(x[:600], mesh=mesh, **common)
    alone = explore(x[:600], **common)
    apart = np.flatnonzero((split.clusters != alone.clusters).any(axis=1))[:1]
    gaps = split.variance - alone.variance
    near = [(int(i), split.clusters[i], alone.clusters[i], gaps[i]) for i in apart]
    assert not near, f"{{acquisition}}: round, clusters and how far their variances lie apart: {{near}}"
    np.testing.assert_allclose(split.variance, alone.variance, atol=1e-5)
print("same picks on", jax.device_count(), "devices in", jax.process_count(), "processes")
"""


# Smooth functions of two and five coordinates, that some dozens of rows tell nearly everything of.
EXHAUSTED = """
import json, jax, numpy as np
from synalign_jax.core.explore.explore import explore
from synalign_jax.core.kernels import rbf
found = []
for rows, columns, scale, rounds in ((600, 2, 2.0, 60), (900, 5, 3.0, 140)):
    x = np.random.default_rng(rows).normal(size=(rows, columns)).astype(np.float32)
    for acquisition in ("max_variance", "integrated_variance"):
        picks = explore(
            x, rounds=rounds, kernel=rbf(scale), acquisition=acquisition, project=None, key=jax.random.key(1)
        )
        found.append({"clusters": picks.clusters.tolist(), "variance": picks.variance.tolist()})
print(json.dumps(found))
"""


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "JAX_PLATFORMS": "cpu", **extra}


def test_eight_devices_pick_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PICKS.format(setup="")],
        env=environment(XLA_FLAGS="--xla_force_host_platform_device_count=8"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "same picks on 8 devices in 1 processes" in done.stdout, done.stderr


@pytest.mark.parametrize("processes", [2])
def test_two_processes_pick_the_same(processes: int) -> None:
    address = free_address()
    setup = (
        "import sys\n"
        "jax.config.update('jax_cpu_collectives_implementation', 'gloo')\n"
        f"jax.distributed.initialize('{address}', {processes}, int(sys.argv[1]))"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", PICKS.format(setup=setup), str(i)],
            env=environment(XLA_FLAGS=""),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(processes)
    ]
    try:
        for worker in workers:
            out, err = worker.communicate(timeout=300)
            assert "same picks on 2 devices in 2 processes" in out, err
    finally:
        for worker in workers:
            worker.kill()


def test_processors_without_fused_products_pick_the_same_to_the_last_row() -> None:
    runs = []
    for flags in ("", "--xla_cpu_max_isa=SSE4_2"):
        done = subprocess.run(
            [sys.executable, "-c", EXHAUSTED],
            env=environment(XLA_FLAGS=flags), capture_output=True, text=True, timeout=300, check=True,
        )  # fmt: skip
        runs.append(json.loads(done.stdout))
    for alone, other in zip(*runs, strict=True):
        assert min(alone["variance"]) < 3e-5, "the rows must run out, or the test shows nothing"
        assert alone["clusters"] == other["clusters"]
        np.testing.assert_allclose(alone["variance"], other["variance"], rtol=0, atol=1e-9)


def test_growing_rounds_compile_the_loop_once_a_size_of_the_factor() -> None:
    import jax

    from synalign_jax.core.explore import select
    from synalign_jax.core.explore.explore import explore

    traces = []
    original = select._first

    def counted(*arguments):
        traces.append(1)
        return original(*arguments)

    def after(*rounds: int) -> int:
        for count in rounds:
            explore(x, rounds=count, key=jax.random.key(0), acquisition="max_variance", project=None)
        return len(traces)

    x = np.random.default_rng(3).normal(size=(2000, 7)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select, "_first", counted)
        once = after(1)
        assert 1 <= once <= 3  # a loop body is traced a few times for one compilation
        assert after(2, 5, 10, 40, 100) == once
        # 800 rows begin in a factor of 512 that leaves room for 4,096, and go on in one of 1,024.
        assert after(200) == 3 * once
        assert after(300) == 4 * once  # 1,200 rows need one of 2,048 as well
        assert after(210, 290) == 4 * once
