"""Where evaluations run: in this process, or on Ray. One contract (`evo.executors.base`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from evo.errors import ConfigError
from evo.executors.base import Block, Completed, EvaluatorRecipe, Executor, ExecutorState, Limits, Outcome


def make_executor(
    kind: Literal["inline", "ray"],
    workers: int | Literal["auto"] = "auto",
    address: str | None = None,
    limits: Limits | None = None,
    *,
    import_roots: Sequence[str] = (),
    gpus_per_worker: float = 0.0,
) -> Executor:
    """An executor, not started yet; Ray is imported only for kind "ray".

    Args:
        kind: "inline" or "ray".
        workers: worker processes, or "auto" for one a CPU; ignored inline.
        address: a Ray cluster to join; None starts a local one.
        limits: what an evaluation may use.
        import_roots: directories of plug-ins, for functions mapped before `start`.
        gpus_per_worker: a share of a GPU for each Ray worker.

    Raises:
        ConfigError: an unknown kind.
        ExecutorError: Ray cannot be reached.
    """
    if kind == "inline":
        from evo.executors.inline import InlineExecutor

        return InlineExecutor(limits)
    if kind == "ray":
        from evo.executors.cluster import prepare_environment

        prepare_environment(address)
        from evo.executors.ray import RayExecutor

        return RayExecutor(workers, address, limits, import_roots=import_roots, gpus_per_worker=gpus_per_worker)
    raise ConfigError(f"executor.kind is {kind!r}", 'use "inline" or "ray"')


__all__ = [
    "Block",
    "Completed",
    "EvaluatorRecipe",
    "Executor",
    "ExecutorState",
    "Limits",
    "Outcome",
    "make_executor",
]
