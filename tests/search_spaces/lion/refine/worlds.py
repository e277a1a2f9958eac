"""What the tests of the refinement share: a small refinement's inputs, and a stand-in for training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from evo.program import Program
from evo.space import Candidate, Refinement
from search_spaces.lion.options import LionOptions
from search_spaces.lion.programs import adamw, discovered, lion

OPTIONS = LionOptions(tasks=("digits_mlp", "digits_conv"), steps=8, probe_task=None, screen_hurdle=None)
SMALL: dict[str, Any] = {
    "selection": ("digits_mlp", "digits_conv"), "selection_stretch": 1.5, "final": ("digits_mlp",),
    "final_stretch": 2.0, "leaders": 4, "elite_seeds": 2, "entrants": 3, "scales": (0.0, 0.5), "scale_seeds": 1,
    "baseline_seeds": 1, "selection_seeds": 2, "survivors": 2, "final_seeds": 2, "curve_points": 3, "curve_seeds": 1,
    "finalists": 1, "generations": 2, "population": 4, "test_seeds": 4, "simplify_tasks": (),
    "simplify_seeds": 8, "simplify_tests": 2, "comparison_seeds": 2,
}  # fmt: skip


def candidates() -> list[Candidate[Program]]:
    """Leaders, best first as a search would say; their values are made up."""
    found = [adamw(0.02), lion(0.004), adamw(0.005, beta1=0.95), discovered(), adamw(0.02, weight_decay=0.02)]
    return [Candidate(10 * place, program, (0.5 + 0.1 * place,)) for place, program in enumerate(found)]


def refinement(folder: Path, map: Callable[..., list[Any]] | None = None, **settings: Any) -> Refinement[Program]:
    """Inputs for a refinement of seconds."""
    leaders = candidates()
    return Refinement(
        folder, leaders, leaders[::-1], 7, None, map or (lambda function, items: [function(item) for item in items]),
        lambda done, total, what: None, {**SMALL, **settings},
    )  # fmt: skip


class Oracle:
    """Stands for an assessor: what a program is worth is a function of it, and each seed adds noise.

    Args:
        value: log relative loss of a program.
        noise: standard deviation of what a seed adds to a program, independently for each.
    """

    def __init__(self, value: Callable[[Program], float], noise: float = 0.0) -> None:
        self._value = value
        self._noise = noise
        self.reference: Program | None = None
        self.stage = ""
        self.seeds: list[tuple[int, ...]] = []

    def relative(self, programs: Sequence[Program], trials: Sequence[Any], seeds: Sequence[int]) -> np.ndarray:
        """As `Assessor.relative`."""
        self.seeds.append(tuple(seeds))
        rows = [[self._value(p) + self._noise * _normal(f"{p}/{seed}") for seed in seeds] for p in programs]
        return np.repeat(np.array(rows)[:, None, :], len(trials), axis=1)


def _normal(text: str) -> float:
    return float(np.random.Generator(np.random.Philox(xxhash.xxh3_64_intdigest(text.encode()))).normal())
