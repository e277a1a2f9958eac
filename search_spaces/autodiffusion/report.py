"""The final comparison, on noise that no search saw: found schedules beside closed forms, random search and DDPM."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evo.seeds import replicate_seed
from search_spaces.autodiffusion.evaluator import Judge
from search_spaces.autodiffusion.genome import Schedule
from search_spaces.autodiffusion.problem import Problem
from search_spaces.autodiffusion.random_search import known_best, random_best
from search_spaces.autodiffusion.schedules import closed_forms
from search_spaces.autodiffusion.text import NAMES, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from search_spaces.autodiffusion.space import AutoDiffusion, Prepared

HELD_OUT = -2
"""Salt of the report's noise; the search takes 0 and above, the closing phase -1."""


def rows(
    space: AutoDiffusion, genomes: Sequence[Schedule], seeds: Sequence[int], prepared: Prepared
) -> list[dict[str, Any]]:
    """Rows for the report's table: Fréchet distances, a value a seed, each of `options.held_out` images.

    The first row is uniform DDIM, which differences refer to, paired by seed: all schedules are sampled from the same
    noise. DDPM with all its steps and sets of real images are known from when the model was made: where they were of
    other numbers of images they are left out, as the distance falls with that number.
    """
    options, problem = space.options, space.problem
    levels = problem.model.schedule.alphas_cumprod.tolist()
    grids = closed_forms(levels, options.steps)
    schedules: dict[str, Schedule] = {f"{NAMES['ddim']}, uniform leading": Schedule(grids["uniform leading"])}
    for solver in options.solvers:
        for name, times in grids.items():
            schedules.setdefault(f"{NAMES[solver]}, {name}", Schedule(times, solver))
    folder = Path(prepared.folder)
    drawn = known_best(space, folder)
    if drawn is None and options.random:
        with _judges(space) as judges:
            drawn = random_best(space, judges, folder)
    if drawn is not None:
        schedules[f"best of {options.random} random schedules"] = drawn
    found = {f"found {number + 1}": genome for number, genome in enumerate(genomes)}
    values = held_out(space, [*schedules.values(), *found.values()], seeds, folder)
    task = f"{problem.model.name}, {options.steps} full calls" if options.budget != "steps" else (
        f"{problem.model.name}, {options.steps} steps"
    )  # fmt: skip
    metric = f"FID, {options.held_out} images"
    listed = []
    for number, ((name, schedule), own) in enumerate(zip([*schedules.items(), *found.items()], values, strict=True)):
        index = number - len(schedules) if number >= len(schedules) else None
        shown = one_line(schedule) if index is not None else name
        listed.append(
            {"name": shown, "task": task, "metric": metric, "values": own, "genome_index": index,
             "setting": one_line(schedule)}
        )  # fmt: skip
    return listed + _references(problem, task, metric, options.held_out, len(seeds))


def held_out(
    space: AutoDiffusion, schedules: Sequence[Schedule], seeds: Sequence[int], folder: Path
) -> list[list[float]]:
    """Fréchet distances of schedules on the report's noise: for each a value a seed. What was computed for this model
    before, with these numbers of images and rows, is read from the folder."""
    count = space.options.held_out
    path = folder / f"held-out-{_digest(space)}.json"
    kept: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}

    def place(schedule: Schedule, seed: int) -> str:
        return f"{schedule.key().decode()} {seed} {count}"

    wanted = {
        place(schedule, seed): (schedule, seed)
        for seed in seeds
        for schedule in schedules
        if place(schedule, seed) not in kept
    }
    with _judges(space) as judges:
        work = []
        for seed in seeds:
            own = [schedule for schedule, other in wanted.values() if other == seed]
            # halves, so that two threads end together; each in the order of its timesteps, which shares most calls
            own.sort(key=lambda schedule: (schedule.timesteps, schedule.solver))
            half = -(-len(own) // judges.threads)
            work += [(seed, own[start : start + half]) for start in range(0, len(own), half)] if own else []

        def judged(seed: int, own: Sequence[Schedule]) -> list[float]:
            noise = replicate_seed("held-out", seed, HELD_OUT)
            return [float(v) for v in judges.run(lambda judge: judge.distances(own, noise, count))]

        for (seed, own), values in zip(work, judges.map(judged, work), strict=True):
            kept.update({place(schedule, seed): value for schedule, value in zip(own, values, strict=True)})
    if wanted:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.part")
        beside.write_text(json.dumps(kept))
        beside.replace(path)
    return [[kept[place(schedule, seed)] for seed in seeds] for schedule in schedules]


class Judges:
    """Judges for some threads, one each: hooks and calls of one network may not mix."""

    def __init__(self, space: AutoDiffusion, threads: int) -> None:
        self.threads = threads
        own = space.problem
        problems = [own, *(replace(own, model=_copied(own)) for _ in range(threads - 1))]
        self._free = [Judge(problem, space.options) for problem in problems]
        self._pool = ThreadPoolExecutor(threads)

    def run(self, work: Callable[[Judge], Any]) -> Any:
        """Do something with a judge that nobody else has meanwhile; call it from `map`'s functions."""
        judge = self._free.pop()
        try:
            return work(judge)
        finally:
            self._free.append(judge)

    def map(self, function: Callable[..., Any], items: Sequence[tuple[Any, ...]]) -> list[Any]:
        """function(*item) for each, in order, on the threads."""
        return list(self._pool.map(lambda item: function(*item), items))

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


@contextmanager
def _judges(space: AutoDiffusion) -> Iterator[Judges]:
    """Judges for as many threads as there are processors, at most 4, each with one thread of torch's; one on a GPU."""
    import torch

    before = torch.get_num_threads()
    judges = Judges(space, 1 if space.options.device != "cpu" else max(1, min(4, len(os.sched_getaffinity(0)))))
    torch.set_num_threads(1)
    try:
        yield judges
    finally:
        judges.close()
        torch.set_num_threads(before)


def _copied(problem: Problem) -> Any:
    return replace(problem.model, unet=deepcopy(problem.model.unet))


def _digest(space: AutoDiffusion) -> str:
    given = space.options
    text = f"{space.problem.digest} {given.rows} {given.tile} {given.device}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _references(problem: Problem, task: str, metric: str, count: int, seeds: int) -> list[dict[str, Any]]:
    """DDPM with all its steps and sets of real images, as measured when the model was made."""
    from search_spaces.autodiffusion.models.shipped import NAMES as SHIPPED
    from search_spaces.autodiffusion.models.shipped import about

    if problem.model.name not in SHIPPED:
        return []
    known = about(problem.model.name)
    found = []
    ddpm = known.get("ddpm")
    if ddpm and ddpm["samples"] == count:
        found.append((f"DDPM, {ddpm['steps']} steps", ddpm["fid"]))
    floor = known.get("floor", {}).get(str(count))
    if floor:
        found.append(("real images, drawn", floor))
    return [
        {"name": name, "task": task, "metric": metric, "values": values[:seeds], "genome_index": None}
        for name, values in found
        if len(values) >= seeds
    ]
