"""Repeating stages of a finished run."""

from __future__ import annotations


def repeat(folder: str, stages: tuple[str, ...], *, seeds: int | None = None) -> int:
    import msgspec

    from synalign_jax.api.wiring import tools_for
    from synalign_jax.pipeline.config import ConfigError
    from synalign_jax.pipeline.folder import open_finished
    from synalign_jax.pipeline.run import again
    from synalign_jax.pipeline.stages.report import summary

    config = open_finished(folder)
    if seeds is not None:
        if seeds < 2:
            raise ConfigError(f"--seeds {seeds}: at least 2 are needed for an interval")
        config = msgspec.structs.replace(
            config, evaluate=msgspec.structs.replace(config.evaluate, seeds=seeds)
        )
    report = again(config, tools_for(config), stages)
    print(summary(report.parent))
    print(f"\nReport: {report}")
    return 0
