"""The meta-overfitting curve: the best so far at growing proposals, judged on tasks that the search never saw.

After Chen et al. (2023), section 2.3 and figure 3: search fitness can only improve along a search, and meta-validation
may turn round and grow worse. Where it does, the rest of the search fitted its own tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evo.program import Program
from evo.space import Candidate
from search_spaces.lion.refine.assess import Assessor, Trial
from search_spaces.lion.refine.funnel import Seeds, difference, distinct, with_rates
from search_spaces.lion.refine.options import RefineOptions
from search_spaces.lion.refine.paired import interval
from search_spaces.lion.refine.words import PERCENT

META = "meta-validation"
CHECK_SEEDS = 4
"""Fresh seeds for the comparison of the best point with the last: the best of twenty noisy points is partly luck."""


def thinned(history: Sequence[Candidate[Program]], n: int) -> list[Candidate[Program]]:
    """At most n of them, evenly spaced in the order of improvement, the first and the last among them; candidates of
    one function once."""
    points = distinct(history)
    if len(points) <= n:
        return points
    return [points[round(place)] for place in np.linspace(0, len(points) - 1, n)]


def meta_overfitting(
    assessor: Assessor, history: Sequence[Candidate[Program]], trials: Sequence[Trial], settings: RefineOptions,
    seeds: Seeds, judged: str = META,
) -> dict[str, Any] | None:  # fmt: skip
    """The curve and what it says, JSON; None where the history holds fewer than two functions.

    Args:
        judged: what a mean over the trials is, `words.validation`: meta-validation where the search saw none of them.

    Each point gets the tuning of its rate that the funnel gives, or the curve would mostly show learning rates that
    fit short courses.
    """
    points = thinned(history, settings.curve_points)
    if len(points) < 2:
        return None
    rated = with_rates(assessor, points, trials, settings, seeds("curve rate", 1))
    values = assessor.relative([point.program for point in rated], trials, seeds("curve", settings.curve_seeds))
    scores = values.mean(axis=(1, 2))
    best, last = int(np.argmin(scores)), len(points) - 1
    pair = [rated[best].program, rated[last].program]
    check = assessor.relative(pair, trials, seeds("curve check", CHECK_SEEDS)).mean(axis=1)
    change = interval(difference(check[1], check[0]))
    record = {
        "points": [
            {
                "candidate": point.id,
                "search": float(point.values[0]),
                "rate": 4.0**contender.scale,
                **interval(part.mean(axis=0)),
                "tasks": {trial.task: float(mean) for trial, mean in zip(trials, part.mean(axis=1), strict=True)},
            }
            for point, contender, part in zip(points, rated, values, strict=True)
        ],
        "judged": judged,
        "best": best,
        "change": change,
        "overfits": best < last and change["low"] > 0.0,
    }
    return {**record, "sentence": sentence(record)}


def sentence(record: dict[str, Any]) -> str:
    """Whether the search overfits its tasks, and from where on; without that word where it saw the tasks that judge."""
    points, change, judged = record["points"], record["change"], record["judged"]
    best, last = points[record["best"]], points[-1]
    meta = judged == META
    if best is last:
        head = "No meta-overfitting: " if meta else ""
        return _begun(f"{head}{judged} is best at the last improvement of the search (candidate {last['candidate']}).")
    gap = (
        f"{_percent(change['mean'])} ({PERCENT} interval {_percent(change['low'])} to {_percent(change['high'])}, "
        f"{CHECK_SEEDS} fresh seeds)"
    )
    where = (
        f"{judged} was best at candidate {best['candidate']}, and the last best of the search "
        f"(candidate {last['candidate']}) stands {gap} from it"
    )
    if record["overfits"]:
        head = f"Meta-overfitting from candidate {best['candidate']} on: " if meta else ""
        return _begun(
            f"{head}{where}, while the search's fitness went on improving from {best['search']:.4g} to "
            f"{last['search']:.4g}."
        )
    return _begun(f"No {'meta-overfitting' if meta else 'decline'} beyond noise: {where}.")


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]


def _percent(log: float) -> str:
    return f"{100 * np.expm1(log):+.1f} %" if np.isfinite(log) else "diverged"
