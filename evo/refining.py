"""`evo refine`: what a search found, given to its space to refine; the engine reads the run and keeps the result.

The run itself is only read, so that it may still be running. Everything written goes to RUN/refined.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evo.cli.options import plain_json
from evo.errors import DamagedRunError, EvoError, UsageError
from evo.executors import make_executor
from evo.executors.base import Limits
from evo.registry import build_space, import_roots_of
from evo.run.lock import RunLock
from evo.run.reader import RunReader
from evo.space import BaseSpace, Candidate, Preparation, Refined, Refinement, SearchSpace, decode_genome

FOLDER = "refined"
RESULT = "result.json"
LEADERS = 100
"""How many leaders a space is given."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class RefinedRun:
    """How a refinement ended.

    Attributes:
        path: RUN/refined/result.json.
        module: the exported module; None where the space exports nothing.
        space: the run's space.
        refined: what the space gave.
    """

    path: Path
    module: Path | None
    space: SearchSpace[Any]
    refined: Refined[Any]


def can_refine(space: SearchSpace[Any]) -> bool:
    """Whether the space has a refinement of its own."""
    method = getattr(type(space), "refine", BaseSpace.refine)
    return method is not BaseSpace.refine


def refine_run(
    path: Path,
    settings: Mapping[str, Any],
    *,
    kind: Literal["inline", "ray"] | None = None,
    workers: int | Literal["auto"] | None = None,
    address: str | None = None,
    progress: Progress = lambda done, total, what: None,
) -> RefinedRun:
    """Refine a run's leaders. What an earlier call computed is not computed again.

    Args:
        path: the run's folder.
        settings: of the space's own.
        kind: where to compute; None: as the run did. So for `workers` and `address`.
        progress: `progress(done, total, what)`.

    Raises:
        UsageError: the space refines nothing, or the run holds no candidate with a value.
        RunLockedError: another process refines this run.
        EvoError: of the kind that fits; what was computed before is kept.
    """
    with RunReader(path) as reader:
        config = reader.config()
        space = build_space(str(config["space"]), config.get("options") or {})
        if not can_refine(space):
            raise UsageError(
                f"space {config['space']} refines nothing: its leaders are its results",
                f"`evo export {path.name} best` writes the best one as a module",
            )
        leaders = leaders_of(reader, space)
        if not leaders:
            raise UsageError(
                f"run {path.name} has no candidate with a value yet: there is nothing to refine",
                f"`evo show {path.name}` says how far it is; `evo resume {path.name}` goes on with it",
            )
        history = list(history_of(reader, space))
        proposals = reader.proposals()
        origin = _origin(reader, config)
    folder = path / FOLDER
    folder.mkdir(exist_ok=True)
    with RunLock(folder):
        given = config["executor"]
        executor = make_executor(
            kind or given["kind"],
            workers if workers is not None else given["workers"],
            address if address is not None else given["address"],
            Limits(threads=given["threads"], attempts=given["attempts"]),
            import_roots=import_roots_of(str(config["space"])),
        )
        try:
            shared = path.parent / ".prepared" / space.name
            shared.mkdir(parents=True, exist_ok=True)
            prepared = space.prepare(Preparation(shared, executor.map, progress))
            work = Refinement(
                folder, leaders, history, int(config["seed"]), prepared, executor.map, progress, dict(settings)
            )
            refined: Refined[Any] = space.refine(work)  # type: ignore[attr-defined]
        finally:
            executor.close()
        return _kept(space, refined, folder, origin, settings, proposals)


def leaders_of(reader: RunReader, space: SearchSpace[Any], n: int = LEADERS) -> list[Candidate[Any]]:
    """The best distinct functions that have a value at the last rung, best first."""
    last = max(0, len(reader.rungs()) - 1)
    return [
        _candidate(reader, space, int(row["id"]), tuple(row["values"]))
        for row in reader.leaders(n)
        if row["values"] and row["rung"] == last
    ]


def history_of(reader: RunReader, space: SearchSpace[Any]) -> Iterator[Candidate[Any]]:
    """The candidates that were the best of the search when they were proposed, by the first objective at the last rung;
    in order of their ids."""
    objectives = reader.objectives()
    sign = -1.0 if objectives and objectives[0]["direction"] == "maximise" else 1.0
    last = max(0, len(reader.rungs()) - 1)
    best = float("inf")
    found = []
    for row in reader.commits():
        if row.kind == 0 and row.status == "ok" and row.rung == last and row.values and sign * row.values[0] < best:
            best = sign * row.values[0]
            found.append((row.id, row.values))
    return (_candidate(reader, space, candidate, values) for candidate, values in found)


def _candidate(reader: RunReader, space: SearchSpace[Any], candidate: int, values: tuple[float, ...]) -> Candidate[Any]:
    genome = decode_genome(space, reader.genome(candidate), reader.genome)
    return Candidate(candidate, genome, tuple(float(value) for value in values))


def _origin(reader: RunReader, config: Mapping[str, Any]) -> dict[str, Any]:
    meta = reader.meta()
    return {
        "run": reader.path.name,
        "space": str(config["space"]),
        "seed": config.get("seed"),
        "versions": meta.get("versions"),
        "commit": meta.get("commit"),
    }


def _kept(
    space: SearchSpace[Any],
    refined: Refined[Any],
    folder: Path,
    origin: Mapping[str, Any],
    settings: Mapping[str, Any],
    proposals: int,
) -> RefinedRun:
    """Write the module and result.json; the latter appears whole, last, and says that the refinement is complete."""
    result: dict[str, Any] = {
        "format": 1,
        **origin,
        "candidate": refined.candidate,
        "proposals": proposals,
        "settings": dict(settings),
        "genome": space.encode(refined.genome),
        "summary": space.summary(refined.genome),
        "source": space.describe(refined.genome),
        "steps": list(refined.steps),
        "evidence": refined.evidence,
        "module": None,
    }
    module: Path | None = None
    if getattr(type(space), "export", BaseSpace.export) is not BaseSpace.export:
        module = export_refined(space, refined.genome, folder / f"{module_name(origin['space'])}_refined.py", result)
        result["module"] = module.name
    path = folder / RESULT
    partial = path.with_name(RESULT + ".part")
    partial.write_text(json.dumps(plain_json(result), indent=1, allow_nan=False) + "\n", "utf-8")
    partial.replace(path)
    return RefinedRun(path, module, space, refined)


def module_name(spec: str) -> str:
    """What the modules of a space are called: "lion", or the attribute's name of a "module:attr"."""
    return re.sub(r"\W+", "_", spec.rpartition(":")[2].rpartition(".")[2].lower())


def export_refined(space: SearchSpace[Any], genome: Any, path: Path, result: Mapping[str, Any]) -> Path:
    """Write a refined genome as a module, its origin and what was done to it in the docstring.

    Args:
        result: the contents of result.json.
    """
    origin = {
        "run": result["run"],
        "candidate": result["candidate"],
        "space": result["space"],
        "seed": result["seed"],
        **{f"refinement {number}": step for number, step in enumerate(result["steps"], 1)},
        "versions": result["versions"],
        "commit": result["commit"],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return space.export(genome, path, origin)
    except OSError as error:
        raise EvoError(f"cannot write {path}: {error.strerror or error}", "give another file with -o") from error


def read_result(run: Path) -> dict[str, Any] | None:
    """RUN/refined/result.json; None where the run was not refined. Infinities stand there as text ("inf").

    Raises:
        DamagedRunError: the file is broken.
    """
    path = run / FOLDER / RESULT
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DamagedRunError(f"{path} cannot be read: {error}", f"`evo refine {run.name}` writes it anew") from error


def export_result(run: Path, space: SearchSpace[Any], path: Path | None = None) -> tuple[int, Path]:
    """Write what a run was refined to as a module; returns the leader's id and the file.

    Args:
        path: a file, or a folder that the file goes into; None: `<run>/export/<space>_refined.py`.

    Raises:
        UsageError: the run was not refined, or the space has no export.
    """
    result = read_result(run)
    if result is None:
        raise UsageError(f"run {run.name} was not refined yet", f"`evo refine {run.name}` does")
    if result["module"] is None:
        raise UsageError(f"space {result['space']} has no export", f"its source stands in {run / FOLDER / RESULT}")
    name = f"{module_name(result['space'])}_refined.py"
    target = run / "export" / name if path is None else path / name if path.is_dir() else path
    return int(result["candidate"]), export_refined(space, space.decode(result["genome"]), target, result)
