"""What every benchmark prints: the machine, the peak memory, and a copy of it all in results/."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine(*packages: str) -> str:
    """Processor, cores, memory, Python, and the versions of the named packages that are installed."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), processor)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = []
    for name in packages:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    return (
        f"{processor}, {os.cpu_count()} cores, {memory:.0f} GiB; {platform.system()},"
        f" Python {platform.python_version()}; {', '.join(versions)}"
    )


def peak_rss() -> float:
    """The most memory that this process has held so far, in GiB; memory-mapped pages count."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def timed(call: Callable[[], Any], repeats: int = 1) -> tuple[Any, float]:
    """The last result and the median seconds of `repeats` calls."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return result, statistics.median(seconds)


class Report:
    """Prints lines and writes them to results/NAME.txt at the end of the block."""

    def __init__(self, name: str) -> None:
        self._path = RESULTS / f"{name}.txt"
        self._lines: list[str] = []

    def __call__(self, line: str = "") -> None:
        print(line, flush=True)
        self._lines.append(line)

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *_: object) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text("\n".join(self._lines) + "\n", encoding="utf-8")
