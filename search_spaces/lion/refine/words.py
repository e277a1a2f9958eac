"""Figures of a refinement as people read them: losses as ratios, and what a judgement may be called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from search_spaces.lion.refine.funnel import Contender
from search_spaces.lion.refine.options import RefineOptions
from search_spaces.lion.refine.paired import FEW_SEEDS, LEVEL
from search_spaces.lion.refine.simplify import Simplified

PERCENT = f"{100 * LEVEL:.0f} %"


def validation(seen: Sequence[str], tasks: Sequence[str]) -> str:
    """What a mean over tasks is: meta-validation only where the search saw none of them.

    Args:
        seen: those of the tasks that are the search's own.
        tasks: all of them.
    """
    if not seen:
        return "meta-validation"
    if set(tasks) <= set(seen):
        return "longer training on the search's own tasks"
    return "training on tasks some of which are the search's own"


def rehearsal(seen: Sequence[str]) -> str:
    """The first thing to know of a refinement that was judged on tasks of the search."""
    return (
        f"note: {', '.join(seen)} among the tasks that judge are the search's own, trained longer: this is a "
        "rehearsal, no meta-validation, and shows nothing about work that the search never saw"
    )


def few_seeds(settings: RefineOptions) -> str:
    """A warning about intervals over fewer seeds than they deserve; empty where there is none."""
    few = [
        f"{name} = {getattr(settings, name)}"
        for name in ("elite_seeds", "selection_seeds", "final_seeds", "curve_seeds", "comparison_seeds")
        if getattr(settings, name) < FEW_SEEDS
    ]
    return (
        f"note: fewer than {FEW_SEEDS} seeds ({', '.join(few)}): an interval over two rests on the assumption of "
        "normal noise alone, and over one there is none"
        if few
        else ""
    )


def tuning_words(line: dict[str, Any], judged: str) -> str:
    """What became of one program's tuning."""
    head = f"{line['name']} loss x {with_interval(line['change'])} on the tasks tuned on"
    if not line["accepted"]:
        return f"{head}: rejected by the paired test"
    words = f"{factor(line['score_after'])} after {factor(line['score_before'])} in {judged}"
    return f"{head}, {words}: {'kept' if line['kept'] else 'not kept'}"


def beaten_words(judged: Sequence[Contender]) -> str:
    """How many candidates have a better mean than AdamW, and than the best baseline where that is another.

    Args:
        judged: baselines, AdamW first, and candidates.
    """
    baselines = [contender for contender in judged if contender.candidate is None]
    best = min(baselines, key=lambda contender: contender.score)
    scores = [contender.score for contender in judged if contender.candidate is not None]
    said = f"{sum(score < baselines[0].score for score in scores)} beat {baselines[0].name}"
    if best is not baselines[0]:
        beaten = sum(score < best.score for score in scores)
        said += f", {beaten} the best baseline, {best.name} ({factor(best.score)})"
    return said


def grid_words(record: dict[str, Any]) -> str:
    """What became of a baseline's grid."""
    if record["optimizer"] is None:
        return f"{record['name']}: no finite loss, so it is left out"
    edge = f", at the grid's edge all the same ({', '.join(record['at_edge'])})" if record["at_edge"] else ""
    return f"{record['name']} to {record['rate']:g} and {record['decay']:g} of {record['points']} settings{edge}"


def simplification_words(found: Simplified, harm: dict[str, Any], sound: bool, before: int, after: int) -> str:
    """What the simplification did."""
    accepted = sum(step.outcome == "accepted" for step in found.steps)
    why = "the last comparison did not confirm" if not found.confirmed else "the selection tasks do not confirm"
    return (
        f"simplified from {before} to {after} statements; {accepted} of {len(found.steps)} "
        f"rewrites stood their tests ({found.evidence['tests']} paired tests, on fresh seeds each)"
        + (
            f", and it ended early: all {found.evidence['tests']} tests that simplify_tests allows were made, so more "
            "might have gone"
            if found.evidence["ended_early"]
            else ""
        )
        + f"; all together: loss x {np.exp(found.final.difference):.4f} on {found.final.seeds} more seeds, "
        f"{with_interval(harm)} on the selection tasks"
        + ("" if sound else f"; {why} it, so the closed form stands, equal to the original")
    )


def factor(log: float) -> str:
    """A log relative loss as a ratio."""
    return _ratio(log) if np.isfinite(log) else "diverged"


def with_interval(found: dict[str, Any]) -> str:
    """A {"mean", "low", "high", "seeds"} of log relative losses (see `paired.interval`) as ratios."""
    if not np.isfinite(found["mean"]):
        return "diverged"
    if found["seeds"] < 2:
        return f"{_ratio(found['mean'])} (one seed)"
    few = f"; {found['seeds']} seeds" if found["seeds"] < FEW_SEEDS else ""
    return f"{_ratio(found['mean'])} ({_ratio(found['low'])} to {_ratio(found['high'])}{few})"


def _ratio(log: float) -> str:
    with np.errstate(over="ignore"):
        return f"{np.exp(log):.3f}"
