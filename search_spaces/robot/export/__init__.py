"""A candidate of `robot` as Python modules of its own: the architecture, and of weights the metric that found it.

`export` is the entry; `architecture.py` and `metric.py` write a module each; `slicing.py` takes what they need out of
our own source, word for word; `probe.py` is what an exported metric tests itself on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evo.errors import EvoError, UsageError

if TYPE_CHECKING:
    from search_spaces.robot.space import Genome, Robot
    from search_spaces.robot.stored import StoredPool

METRIC = "_metric"
"""What follows the file's name in that of the metric's module."""


def export(space: Robot, genome: Genome, path: Path, origin: Mapping[str, Any]) -> Path:
    """Write the module `path`, whose `build()` makes the architecture that a genome stands for; where the genome is a
    vector of weights also the module `<path>_metric.py`, whose `score(model, batch)` is the weighted sum.

    Of a table whose architectures cannot be built here the metric alone is written, to `path`.

    Args:
        space: the space; prepared, or told where a run prepared it.
        genome: weights, or an architecture.
        path: the file.
        origin: where the genome comes from.

    Returns:
        `path`.

    Raises:
        UsageError: neither can be written.
        EvoError: the pool that weights were searched over is not there.
    """
    from search_spaces.robot.export.architecture import architecture_source, buildable

    weights = None if isinstance(genome, str) else genome
    pool = _pool(space) if weights is not None else None
    found = space.architecture(genome)
    if found is None:
        raise EvoError("the pool that the weights rank is not known here", "`evo resume` of the run makes it again")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.stem}{METRIC}.py")
    builds = buildable(space, found)
    if builds:
        note = f"It ranks first by the metric in {beside.name}." if pool is not None else ""
        path.write_text(architecture_source(space, found, observed(space, origin), note, origin), encoding="utf-8")
    elif pool is None:
        raise UsageError(
            f"{found}: architectures of this table cannot be built here", "export a vector of weights: its metric"
        )
    if pool is not None and weights is not None:
        from search_spaces.robot.export.metric import metric_source

        options = space.options
        batch = f"{options.metric_batch} training images" if options.live else "what the table's makers took"
        see = f": see {path.name}" if builds else ""
        first = f"The architecture that it ranks first there is\n{found}{see}.\n\n"
        text = metric_source(pool, weights, options.metric_seed, batch, first, origin)
        (beside if builds else path).write_text(text, encoding="utf-8")
    return path


def observed(space: Robot, origin: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the run holds of the candidate beside its value (`Observation.extra`); empty where the run is not there."""
    from evo.run.reader import RunReader

    run = None if space.folder is None else space.folder.parent.parent / str(origin.get("run"))
    if run is None or not (run / "run.db").is_file() or origin.get("candidate") is None:
        return {}
    with RunReader(run) as reader:
        found: Mapping[str, Any] = reader.candidate(int(origin["candidate"]))["extra"] or {}
    return found


def _pool(space: Robot) -> StoredPool:
    if space.stored is None:
        raise EvoError(
            "the pool that the weights rank, and its metrics' scales, are not here",
            "`evo resume` of the run makes them again; in Python: call prepare first",
        )
    return space.stored
