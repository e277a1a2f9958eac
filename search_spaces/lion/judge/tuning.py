"""The settings that a subject is tuned over: the same quasi-random points for each, in its own box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import qmc

from search_spaces.lion.judge.boxes import REACH
from search_spaces.lion.judge.subjects import Subject

NO_DECAY = 0.25
"""Share of the trials without weight decay."""
RETRIED = 3
"""How many of the best trials are trained again under a second tuning seed."""
_SEED = 2306


class Setting(NamedTuple):
    """What is tuned: the peak learning rate, and the weight decay (0.0 where a subject has none)."""

    lr: float
    weight_decay: float


def settings(subject: Subject, trials: int) -> list[Setting]:
    """So many settings of a subject: points of one scrambled Halton sequence, mapped into its box.

    The first coordinate is the logarithm of the learning rate. A quarter of the second one stands for no decay, the
    rest for the decay's logarithm. A longer list starts with the shorter.
    """
    points = qmc.Halton(2, scramble=True, rng=np.random.default_rng(_SEED)).random(trials)
    found = []
    for first, second in points:
        lr = subject.lr * REACH ** (2.0 * first - 1.0)
        decay = 0.0
        if subject.weight_decay is not None and second >= NO_DECAY:
            decay = subject.weight_decay * REACH ** (2.0 * (second - NO_DECAY) / (1.0 - NO_DECAY) - 1.0)
        found.append(Setting(float(lr), float(decay)))
    return found


def best_trials(finals: Sequence[float]) -> list[int]:
    """Places of the (at most three) best final losses under the first tuning seed, best first; ties by place."""
    return sorted(range(len(finals)), key=lambda place: (finals[place], place))[:RETRIED]


def chosen(finals: Sequence[float], again: Mapping[int, float]) -> int:
    """Place of the setting that is judged: the best mean over both tuning seeds of the trials trained again."""
    return min(again, key=lambda place: (finals[place] + again[place], finals[place], place))
