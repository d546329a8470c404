"""The cluster that is there, or one of this machine's cores; what goes wrong there, in one sentence."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

_PATIENCE = 5.0  # seconds for a cluster to take a connection
_OURS = ("synalign_jax", "synalign_adapters")


class ClusterError(RuntimeError):
    """Ray is not there, or workers have died more often than is normal."""


def connected() -> Any:
    """The module ray, connected: to $RAY_ADDRESS, to a cluster on this machine, else to one begun here.

    Raises:
        ClusterError: ray is not installed, or no cluster is reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it reports to its makers
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.data  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ClusterError(
            "engine ray: ray is not installed; run: pip install 'synalign-jax[ray]'"
        ) from error
    if not ray.is_initialized():
        check_address(os.environ.get("RAY_ADDRESS", ""))
        try:
            ray.init(include_dashboard=False, configure_logging=True, logging_level=logging.WARNING)
        except Exception as error:  # Ray raises that very class where it does not start in time
            where = os.environ.get("RAY_ADDRESS", "this machine")
            raise ClusterError(
                f"engine ray: no cluster is reached at {where}: {_first_line(error)}"
            ) from error
        logging.getLogger("ray.data").setLevel(logging.WARNING)
    return ray


def check_address(address: str) -> None:
    """Whether anything listens there: Ray itself would try for two minutes.

    Args:
        address: HOST:PORT, or ray://HOST:PORT; of words such as "auto" nothing can be said.

    Raises:
        ClusterError: nothing does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"engine ray: no cluster is reached at {address}: {error}. Start one there (ray start --head), or"
            " unset RAY_ADDRESS to work on this machine"
        ) from error


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """What a worker has raised in the block, while a data set is computed, is raised as itself.

    An error of Ray's own is a ClusterError.
    """
    try:
        yield
    except Exception as error:
        found = _ours(error)
        if found is error:
            raise
        raise found from error


def _ours(error: BaseException) -> BaseException:
    open_, seen = [error], set()
    while open_:
        one = open_.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        # `cause` is what a task has raised, behind Ray's copy of it.
        inner = getattr(one, "cause", None)
        if type(one).__module__.split(".")[0] in _OURS:
            return one
        open_ += [e for e in (inner, one.__cause__, one.__context__) if isinstance(e, BaseException)]
    if type(error).__module__.split(".")[0] == "ray":
        return ClusterError(
            f"engine ray: {_first_line(error)}; what was embedded and answered is kept: call it again"
        )
    return error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def check_workers(workers: int) -> None:
    """
    Raises:
        ClusterError: fewer than one.
    """
    if workers < 1:
        raise ClusterError(f"workers: {workers}; give 1 or more")


def one_a_machine(ray: Any) -> int:
    """A worker for each GPU of the cluster, or where it has none for each machine."""
    machines = sum(node["Alive"] for node in ray.nodes())
    return int(ray.cluster_resources().get("GPU", 0)) or machines
