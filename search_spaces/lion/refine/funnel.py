"""The funnel: leaders judged again on fresh seeds, then on tasks ten and a hundred times dearer than the search's.

After Chen et al. (2023), section 2.3: high fitness on the search's tasks is where candidates come from, never why one
is chosen. The choice is by meta-validation, the mean of log(loss / reference) over tasks that the search never saw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evo.errors import EvaluatorError
from evo.program import Program, canonical
from evo.space import Candidate
from search_spaces.lion.language import LION
from search_spaces.lion.refine import grids
from search_spaces.lion.refine.assess import CHECK_TASK, Assessor, Trial
from search_spaces.lion.refine.options import RefineOptions
from search_spaces.lion.refine.paired import interval
from search_spaces.lion.refine.rate import rescaled
from search_spaces.lion.refine.subjects import Subject

TUNED = " (rate, decay tuned)"
ADAMW = f"AdamW{TUNED}"
"""The unit of all losses of a refinement."""
REACH = 3.0
"""The largest |k| of a rate 4^k that a program is tried with."""

Seeds = Callable[[str, int], list[int]]
"""Seeds of a purpose: purpose and how many."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A program on its way through the funnel.

    Attributes:
        name: for people.
        candidate: the leader's id; None for a baseline.
        found: the program as the search found it, its rate for the search's short courses (a baseline: as it was
            tuned).
        program: `found` with its overall rate tuned.
        scale: the exponent k of the rate, 4^k; 0 for a baseline, whose learning rate was tuned itself.
        search: fitness as the search knew it; None for a baseline.
        selection: (n_tasks, n_seeds) log relative losses on the selection tasks; None before.
        final: likewise on the final tasks.
    """

    name: str
    candidate: int | None
    found: Subject
    program: Subject
    scale: float = 0.0
    search: float | None = None
    selection: np.ndarray | None = None
    final: np.ndarray | None = None

    @property
    def score(self) -> float:
        """The mean over all tasks judged so far, each with the mean of its seeds: meta-validation, where the search saw
        none of them. Lower is better, and the unit (`ADAMW`) has 0."""
        judged = [part.mean(axis=1) for part in (self.selection, self.final) if part is not None]
        return float(np.concatenate(judged).mean())


def baselines(
    assessor: Assessor, trials: Sequence[Trial], seeds: Sequence[int], further: Sequence[int], known: Sequence[str]
) -> tuple[list[Contender], list[dict[str, Any]]]:
    """AdamW, Lion and the programs that the search began with, rate and decay of each tuned on the given tasks (see
    `grids`): one setting for all of them, of the best mean log loss. AdamW's becomes the assessor's reference. Also a
    record of each, JSON.

    Args:
        seeds: that all points of the grids are judged on.
        further: on which the best few are judged as well.
        known: names of the search's seed programs.

    Raises:
        EvaluatorError: AdamW diverges on some task whatever its rate.
    """

    def score(subjects: Sequence[Subject], shortlisted: bool) -> np.ndarray:
        logs = assessor.logs(subjects, trials, [*seeds, *further] if shortlisted else seeds)
        return np.asarray(logs.mean(axis=(1, 2)))

    families = grids.families(known)
    found = grids.tuned(families, score)
    if found[0].subject is None:
        raise EvaluatorError(_why_none(assessor, families[0], trials, seeds), CHECK_TASK)
    assessor.reference = found[0].subject
    records = [{"name": item.family + TUNED, **item.record} for item in found]
    contenders = [
        Contender(item.family + TUNED, None, item.subject, item.subject) for item in found if item.subject is not None
    ]
    return contenders, records


def _why_none(assessor: Assessor, family: grids.Family, trials: Sequence[Trial], seeds: Sequence[int]) -> str:
    """Which tasks no setting of a family bears."""
    subjects = [family.make(rate, decay) for rate in family.rates for decay in family.decays]
    finite = np.isfinite(assessor.logs(subjects, trials, seeds)).all(axis=2).any(axis=0)
    lost = [trial.task for trial, sound in zip(trials, finite.tolist(), strict=True) if not sound]
    where = ", ".join(lost) if lost else "one or another of " + ", ".join(trial.task for trial in trials)
    return f"{family.name} has no finite loss on {where}, whatever its rate: nothing can be compared there"


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
    """Each candidate with the rate that has the best mean log loss: of `settings.scales`, and beyond them while the
    best lies at an end, as far as `REACH`. Where all diverge it stays as it was found.
    """
    scores: list[dict[float, float]] = [{} for _ in found]
    wanted = [(row, k) for row in range(len(found)) for k in settings.scales]
    while wanted:
        variants = [rescaled(found[row].genome, 4.0**k) for row, k in wanted]
        values = assessor.relative(variants, trials, seeds).mean(axis=(1, 2)).tolist()
        for (row, k), value in zip(wanted, values, strict=True):
            scores[row][k] = value
        beyond = [(row, _beyond(scores[row])) for row in range(len(found))]
        wanted = [(row, k) for row, k in beyond if k is not None]
    chosen = []
    for tried, candidate in zip(scores, found, strict=True):
        best = min(tried, key=lambda k: (tried[k], abs(k), k)) if np.isfinite(list(tried.values())).any() else 0.0
        program = rescaled(candidate.genome, 4.0**best)
        name = f"candidate {candidate.id}"
        chosen.append(Contender(name, candidate.id, candidate.genome, program, best, float(candidate.values[0])))
    return chosen


def _beyond(tried: Mapping[float, float]) -> float | None:
    """The next exponent to try: beyond the end that the best lies at, or downwards where all diverge."""
    order = sorted(tried)
    if len(order) < 2:
        return None
    best = min(order, key=lambda k: (tried[k], abs(k), k))
    if not np.isfinite(tried[best]) or best == order[0]:
        following = 2.0 * order[0] - order[1]
    elif best == order[-1]:
        following = 2.0 * order[-1] - order[-2]
    else:
        return None
    return following if abs(following) <= REACH else None


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
