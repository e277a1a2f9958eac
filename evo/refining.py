"""`evo refine`: what a search found, given to its space to refine; the engine reads the run and keeps the result.

The run itself is only read, so that it may still be running. Everything written goes to RUN/refined: the module and its
evidence under a name of their own for each candidate and settings, and result.json, the latest evidence.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evo.cli.options import plain_json
from evo.errors import DamagedRunError, EvoError, UsageError
from evo.executors import make_executor
from evo.executors.base import Limits
from evo.pooled import Pooled
from evo.registry import build_space, import_roots_of
from evo.run.lock import RunLock
from evo.run.reader import Committed, RunReader
from evo.space import BaseSpace, Candidate, Preparation, Refined, Refinement, SearchSpace, decode_genome

FOLDER = "refined"
REFINED = "_refined"
RESULT = "result.json"
NO_VALUE = ("invalid", "failed", "nan")
"""How a re-evaluation ends that takes a function's value away, as on the leaderboard."""
LEADERS = 100
"""How many leaders a space is given."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class RefinedRun:
    """How a refinement ended.

    Attributes:
        path: the evidence, beside the module and of its name; RUN/refined/result.json is a copy of the latest.
        module: the exported module; None where the space exports nothing.
        space: the run's space.
        refined: what the space gave.
        earlier: evidence of earlier refinements of the run, of other settings or leaders, which stay where they are.
    """

    path: Path
    module: Path | None
    space: SearchSpace[Any]
    refined: Refined[Any]
    earlier: tuple[Path, ...] = ()


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
            exports = getattr(type(space), "export", BaseSpace.export) is not BaseSpace.export
            raise UsageError(
                f"space {config['space']} refines nothing: its leaders are its results",
                f"`evo export {path.name} best` writes the best one as a module"
                if exports
                else f"`evo show {path.name} best --source` prints the best one",
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
    """The course of the search: the candidates that beat all before them in the first objective, in order of their
    ids, each with the mean over all that the run observed of its function at the last rung.

    A first score that leads thousands is mostly luck. So where the run evaluated candidates again, those alone count,
    beside the first candidate with a value, where the search began.
    """
    objectives = reader.objectives()
    sign = -1.0 if objectives and objectives[0]["direction"] == "maximise" else 1.0
    last = max(0, len(reader.rungs()) - 1)
    pooled = _pooled(reader, last)
    best = float("inf")
    found: list[tuple[int, tuple[float, ...]]] = []
    seen: set[int | None] = set()
    for row in reader.commits():
        if row.kind or row.status != "ok" or row.rung != last or not row.values or row.function in seen:
            continue
        seen.add(row.function)
        values = row.values
        if row.function in pooled:
            values = _with_mean(objectives, values, pooled[row.function])
        elif pooled and found:
            continue
        if values and sign * values[0] < best:
            best = sign * values[0]
            found.append((row.id, values))
    return (_candidate(reader, space, candidate, values) for candidate, values in found)


def _pooled(reader: RunReader, last: int) -> dict[int | None, Pooled]:
    """Function -> the mean over its first evaluation and all re-evaluations at the last rung; those that were
    evaluated again."""
    rungs = reader.rungs()
    costs = [bool(objective["cost"]) for objective in reader.objectives()]
    first: dict[int, tuple[float, ...]] = {}
    again: dict[int | None, list[Committed]] = {}
    for row in reader.commits():
        if row.kind == 0 and row.rung == last and row.values:
            first[row.id] = tuple(v for v, cost in zip(row.values, costs, strict=False) if not cost)
        elif row.kind == 1 and (row.rung == last or row.status in NO_VALUE):
            again.setdefault(row.function, []).append(row)
    found: dict[int | None, Pooled] = {}
    for function, rows in again.items():
        before = next((first[row.parents[0]] for row in rows if row.parents[0] in first), ())
        pooled = Pooled(before, int(rungs[last]["replicates"]) if rungs else 1)
        for row in rows:
            own = [o for o in reader.observations(row.id, function) if o["request"] == row.id]
            pooled.failed |= row.status in NO_VALUE
            pooled.add([(o["seed"], tuple(o["values"])) for o in own if o["status"] == "ok"])
        found[function] = pooled
    return found


def _with_mean(objectives: Sequence[Mapping[str, Any]], values: tuple[float, ...], pooled: Pooled) -> tuple[float, ...]:
    """A candidate's values with the observed ones replaced by their means; empty where there is none."""
    means = iter(pooled.mean)
    if not pooled.mean:
        return ()
    return tuple(v if o["cost"] else next(means) for v, o in zip(values, objectives, strict=True))


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
    """Write the module and the evidence beside it, and result.json, which is a copy of the latest evidence; it appears
    whole, last, and says that the refinement is complete. What an earlier refinement wrote is left alone."""
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
    }
    exports = getattr(type(space), "export", BaseSpace.export) is not BaseSpace.export
    before = sorted(path for path in folder.glob(f"*{REFINED}*.json"))
    for number in itertools.count(1):
        stem = refined_name(result) + (f"_{number}" if number > 1 else "")
        result["module"] = f"{stem}.py" if exports else None
        text = json.dumps(plain_json(result), indent=1, allow_nan=False) + "\n"
        path = folder / f"{stem}.json"
        if not path.exists() or path.read_text("utf-8") == text:
            break
    module = export_refined(space, refined.genome, folder / f"{stem}.py", result) if exports else None
    for target in (path, folder / RESULT):
        partial = target.with_name(target.name + ".part")
        partial.write_text(text, "utf-8")
        partial.replace(target)
    return RefinedRun(path, module, space, refined, tuple(other for other in before if other != path))


def refined_name(result: Mapping[str, Any]) -> str:
    """What the module and the evidence of a refinement are called, without suffix: after the space, the run, the
    candidate and the settings, so that no two of them clash: lion_20261123_214502_3509_13191_refined, with "_quick" or
    a digest of the settings behind it where there are any.

    Args:
        result: the contents of result.json.
    """
    space, run = module_name(str(result["space"])), re.sub(r"\W+", "_", str(result["run"]))
    name = run if run.startswith(f"{space}_") else f"{space}_{run}"
    settings = dict(result["settings"])
    tag = "_quick" if settings.pop("quick", False) is True else ""
    if settings:
        given = json.dumps(settings, sort_keys=True, default=str)
        tag += f"_{hashlib.blake2b(given.encode(), digest_size=4).hexdigest()}"
    return f"{name}_{result['candidate']}{REFINED}{tag}"


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
    """RUN/refined/result.json, the latest; None where the run was not refined. Infinities stand there as text ("inf").

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
        path: a file, or a folder that the file goes into; None: `<run>/export/`, under the name of the module in
            `<run>/refined`.

    Raises:
        UsageError: the run was not refined, or the space has no export.
    """
    result = read_result(run)
    if result is None:
        raise UsageError(f"run {run.name} was not refined yet", f"`evo refine {run.name}` does")
    if result["module"] is None:
        raise UsageError(f"space {result['space']} has no export", f"its source stands in {run / FOLDER / RESULT}")
    name = str(result["module"])
    target = run / "export" / name if path is None else path / name if path.is_dir() else path
    return int(result["candidate"]), export_refined(space, space.decode(result["genome"]), target, result)
