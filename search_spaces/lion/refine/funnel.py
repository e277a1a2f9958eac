"""The funnel: leaders judged again on fresh seeds, then on tasks ten and a hundred times dearer than the search's.

After Chen et al. (2023), section 2.3: high fitness on the search's tasks is where candidates come from, never why one
is chosen. The choice is by meta-validation, the mean of log(loss / reference) over tasks that the search never saw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from evo.program import Program, canonical
from evo.report.intervals import bootstrap
from evo.space import Candidate
from search_spaces.lion import programs
from search_spaces.lion.language import LION
from search_spaces.lion.refine.assess import Assessor, Trial
from search_spaces.lion.refine.options import RefineOptions
from search_spaces.lion.refine.rate import rescaled

ADAMW = "AdamW, tuned"
LION_NAME = "Lion, tuned"
RATES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
DECAYS = (0.01, 0.1)

Seeds = Callable[[str, int], list[int]]
"""Seeds of a purpose: purpose and how many."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A program on its way through the funnel.

    Attributes:
        name: for people.
        candidate: the leader's id; None for a baseline.
        found: the program as the search found it (a baseline: as it was tuned).
        program: `found` with its overall rate tuned.
        scale: the exponent k of the rate, 4^k; 0 for a baseline, whose learning rate was tuned itself.
        search: fitness as the search knew it; None for a baseline.
        selection: (n_tasks, n_seeds) log relative losses on the selection tasks; None before.
        final: likewise on the final tasks.
    """

    name: str
    candidate: int | None
    found: Program
    program: Program
    scale: float = 0.0
    search: float | None = None
    selection: np.ndarray | None = None
    final: np.ndarray | None = None

    @property
    def score(self) -> float:
        """Meta-validation: the mean over all tasks judged so far, each with the mean of its seeds; lower is better, and
        tuned AdamW has 0."""
        judged = [part.mean(axis=1) for part in (self.selection, self.final) if part is not None]
        return float(np.concatenate(judged).mean())


def baselines(assessor: Assessor, trials: Sequence[Trial], seeds: Sequence[int]) -> list[Contender]:
    """AdamW (the seed program) and Lion as released, with learning rate and weight decay tuned on the given tasks: one
    setting for all of them, of the best mean log loss. AdamW's becomes the assessor's reference."""
    families = {
        ADAMW: [programs.adamw(1e-3 * rate, decay) for rate, decay in product(RATES, DECAYS)],
        LION_NAME: [programs.lion(1e-4 * rate, 10 * decay) for rate, decay in product(RATES, DECAYS)],
    }
    everything = [program for family in families.values() for program in family]
    scores = assessor.logs(everything, trials, seeds).mean(axis=(1, 2))
    found, start = [], 0
    for name, family in families.items():
        best = family[int(np.argmin(scores[start : start + len(family)]))]
        found.append(Contender(name, None, best, best))
        start += len(family)
    assessor.reference = found[0].program
    return found


def elites(
    assessor: Assessor, leaders: Sequence[Candidate[Program]], trials: Sequence[Trial], seeds: Sequence[int], n: int
) -> tuple[list[Candidate[Program]], list[dict[str, Any]]]:
    """The best n leaders by their losses on the search's tasks under fresh seeds, best first, and a record of all.

    A search keeps the luckiest of thousands of noisy values; what was luck does not return.
    """
    logs = assessor.relative([leader.genome for leader in leaders], trials, seeds)
    scores = logs.mean(axis=(1, 2))
    order = [int(place) for place in np.argsort(scores, kind="stable")]
    record = [
        {
            "candidate": leaders[place].id,
            "search": leaders[place].values[0],
            "place_in_search": place + 1,
            **interval(logs[place].mean(axis=0)),
        }
        for place in order
    ]
    return [leaders[place] for place in order[:n]], record


def with_rates(
    assessor: Assessor, found: Sequence[Candidate[Program]], trials: Sequence[Trial], settings: RefineOptions,
    seeds: Sequence[int],
) -> list[Contender]:  # fmt: skip
    """Each candidate with the rate, of `settings.scales`, that has the best mean log loss."""
    variants = [rescaled(candidate.genome, 4.0**k) for candidate in found for k in settings.scales]
    scores = assessor.relative(variants, trials, seeds).mean(axis=(1, 2)).reshape(len(found), len(settings.scales))
    chosen = []
    for row, candidate in enumerate(found):
        # where all diverge, the program as it was found
        best = int(np.argmin(scores[row])) if np.isfinite(scores[row]).any() else settings.scales.index(0.0)
        program = variants[row * len(settings.scales) + best]
        chosen.append(
            Contender(
                f"candidate {candidate.id}",
                candidate.id,
                candidate.genome,
                program,
                settings.scales[best],
                float(candidate.values[0]),
            )
        )
    return chosen


def distinct(contenders: Sequence[Candidate[Program]]) -> list[Candidate[Program]]:
    """The first of each function, in order."""
    seen: dict[bytes, Candidate[Program]] = {}
    for candidate in contenders:
        seen.setdefault(canonical(LION, candidate.genome), candidate)
    return list(seen.values())


def judged_at_selection(
    assessor: Assessor, contenders: Sequence[Contender], trials: Sequence[Trial], seeds: Sequence[int]
) -> list[Contender]:
    """All with their losses on the selection tasks."""
    logs = assessor.relative([contender.program for contender in contenders], trials, seeds)
    return [replace(contender, selection=part) for contender, part in zip(contenders, logs, strict=True)]


def judged_at_the_end(
    assessor: Assessor, contenders: Sequence[Contender], trials: Sequence[Trial], seeds: Sequence[int]
) -> list[Contender]:
    """All with their losses on the final tasks."""
    logs = assessor.relative([contender.program for contender in contenders], trials, seeds)
    return [replace(contender, final=part) for contender, part in zip(contenders, logs, strict=True)]


def survivors(judged: Sequence[Contender], n: int) -> tuple[list[Contender], bool]:
    """The candidates that beat AdamW on the selection tasks, best first, at most n; and whether any did.

    Where none does, the best goes on alone: a refinement ends with a program, and its evidence says what it is worth.
    """
    ranked = ranking(judged)
    better = [contender for contender in ranked if contender.score < 0.0]
    return (better[:n], True) if better else (ranked[:1], False)


def ranking(judged: Sequence[Contender]) -> list[Contender]:
    """Candidates (no baselines) by meta-validation, best first; equal ones by id, the older first."""
    return sorted(
        (contender for contender in judged if contender.candidate is not None),
        key=lambda contender: (contender.score, contender.candidate),
    )


def interval(values: np.ndarray) -> dict[str, float]:
    """{"mean", "low", "high"}: the mean of one value a seed and its 95 % bootstrap interval."""
    if not np.isfinite(values).all():
        mean = float(np.mean(values))  # a seed that diverges leaves nothing to be said about the size of a mean
        return {"mean": mean, "low": mean, "high": mean}
    found = bootstrap([float(value) for value in values])
    return {"mean": found.mean, "low": found.low, "high": found.high}


def difference(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """values - others; 0 where both are infinite alike."""
    same = values == others
    with np.errstate(invalid="ignore"):
        return np.where(same, 0.0, values - others)


def record_of(contender: Contender, trials: Sequence[Trial], final: Sequence[Trial]) -> dict[str, Any]:
    """A line of the funnel's table, JSON."""
    parts: dict[str, Any] = {}
    for name, part, tasks in (("selection", contender.selection, trials), ("final", contender.final, final)):
        if part is None:
            parts[name] = None
            continue
        means = part.mean(axis=1)
        parts[name] = {
            **interval(part.mean(axis=0)),
            "tasks": {trial.task: float(value) for trial, value in zip(tasks, means, strict=True)},
        }
    return {
        "name": contender.name,
        "candidate": contender.candidate,
        "search": contender.search,
        "rate": 4.0**contender.scale,
        "score": contender.score,
        **parts,
    }
