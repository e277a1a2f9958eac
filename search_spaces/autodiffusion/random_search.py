"""Random search with the budget of a search, for the report: its best schedule, computed once and kept.

For the defaults it ships (`random.json`), as computing it takes as long as the search itself. Made by
`python -m search_spaces.autodiffusion.random_search digits ddim 4 300`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evo.seeds import replicate_seed
from search_spaces.autodiffusion.genome import Schedule

if TYPE_CHECKING:
    from search_spaces.autodiffusion.report import Judges
    from search_spaces.autodiffusion.space import AutoDiffusion

SHIPPED = Path(__file__).parent / "random.json"
BEST, AGAIN = 12, 4
"""The best so many are judged on so many fresh noises, as a run's closing phase does by default."""
BLOCK = 10


def known_best(space: AutoDiffusion, folder: Path) -> Schedule | None:
    """The best of a random search for this model and these options, where somebody computed it."""
    for path in (SHIPPED, _kept(folder)):
        if path.is_file():
            found = json.loads(path.read_text()).get(_name(space))
            if found is not None:
                return Schedule.from_json(found["schedule"])
    return None


def random_best(space: AutoDiffusion, judges: Judges, folder: Path) -> Schedule:
    """The best of `options.random` samples of the space, judged as a search judges them; kept in the folder."""
    options = space.options
    rng = np.random.Generator(np.random.Philox(key=[2026, options.random]))
    drawn = list(dict.fromkeys(space.sample(rng) for _ in range(options.random)))
    values = np.concatenate(_judged(judges, drawn, replicate_seed("search", 0, 0), options.samples))
    best = [drawn[row] for row in np.argsort(values, kind="stable")[:BEST]]
    again = [
        np.concatenate(_judged(judges, best, replicate_seed("search", r, -1), options.samples)) for r in range(AGAIN)
    ]
    means = np.mean(again, 0)
    found = best[int(np.argmin(np.where(np.isnan(means), np.inf, means)))]
    _keep(_kept(folder), _name(space), {"schedule": found.to_json(), "draws": len(drawn)})
    return found


def _judged(judges: Judges, schedules: list[Schedule], noise: int, count: int) -> list[np.ndarray]:
    parts = [(schedules[start : start + BLOCK],) for start in range(0, len(schedules), BLOCK)]
    return judges.map(lambda own: judges.run(lambda judge: judge.distances(own, noise, count)), parts)


def _name(space: AutoDiffusion) -> str:
    given = space.options
    parts: tuple[Any, ...] = (
        space.problem.digest, given.solvers, given.steps, given.budget, given.most_steps, given.masks, given.max_skip,
        given.gap, given.samples, given.random, given.rows, given.tile, given.device,
    )  # fmt: skip
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def _kept(folder: Path) -> Path:
    return folder / "random.json"


def _keep(path: Path, name: str, value: Any) -> None:
    known = json.loads(path.read_text()) if path.is_file() else {}
    known[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    beside.replace(path)


def main(model: str, solver: str, steps: int, draws: int) -> None:
    """Compute the best of a random search and put it where it ships."""
    from search_spaces.autodiffusion.options import AutoDiffusionOptions
    from search_spaces.autodiffusion.report import Judges
    from search_spaces.autodiffusion.space import AutoDiffusion

    space = AutoDiffusion(AutoDiffusionOptions(model=model, solvers=(solver,), steps=steps, random=draws))
    judges = Judges(space, 1)
    found = random_best(space, judges, Path("runs/.prepared/autodiffusion"))
    judges.close()
    value = {"schedule": found.to_json(), "draws": draws, "command": f"{model} {solver} {steps} {draws}"}
    _keep(SHIPPED, _name(space), value)
    print(found)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
