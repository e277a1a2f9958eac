"""Figures of a refinement as people read them: losses as ratios."""

from __future__ import annotations

from typing import Any

import numpy as np


def tuning_words(line: dict[str, Any]) -> str:
    """What became of one program's tuning."""
    head = f"{line['name']} loss x {with_interval(line['change'])} on the tasks tuned on"
    if not line["accepted"]:
        return f"{head}: rejected by the paired test"
    words = f"{factor(line['score_after'])} after {factor(line['score_before'])} in meta-validation"
    return f"{head}, {words}: {'kept' if line['kept'] else 'not kept'}"


def factor(log: float) -> str:
    """A log relative loss as a ratio."""
    return f"{np.exp(log):.3f}" if np.isfinite(log) else "diverged"


def with_interval(found: dict[str, float]) -> str:
    """A {"mean", "low", "high"} of log relative losses as ratios."""
    if not np.isfinite(found["mean"]):
        return "diverged"
    return f"{np.exp(found['mean']):.3f} ({np.exp(found['low']):.3f} to {np.exp(found['high']):.3f})"
