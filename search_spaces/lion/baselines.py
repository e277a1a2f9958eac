"""What a found program is compared with: tuned AdamW, Lion and momentum, and the seeds of the search."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from search_spaces.lion import programs
from search_spaces.lion.evaluator import lowered
from search_spaces.lion.training import Optimizers, Programs


class AdamW:
    """`torch.optim.AdamW` (Loshchilov and Hutter 2019, algorithm 2), bias correction included, for N settings at once.

    Programs have no step counter, so the seed of the search lacks the correction; the baseline shall not.

    Args:
        lr: (N,) peak learning rates.
        weight_decay: (N,).
        beta1, beta2: (N,) weights of the averages of the gradient and of its square; None: torch's 0.9 and 0.999.
    """

    epsilon = 1e-8

    def __init__(
        self, lr: np.ndarray, weight_decay: np.ndarray, beta1: np.ndarray | None = None,
        beta2: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self._lr = np.asarray(lr, np.float64)
        self._decay = np.asarray(weight_decay, np.float64)
        self._beta1 = np.full(len(self._lr), 0.9) if beta1 is None else np.asarray(beta1, np.float64)
        self._beta2 = np.full(len(self._lr), 0.999) if beta2 is None else np.asarray(beta2, np.float64)

    def __len__(self) -> int:
        return len(self._lr)

    def step(
        self, number: int, weights: np.ndarray, gradients: np.ndarray, slots: list[np.ndarray], fraction: float,
        segments: np.ndarray, shapes: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        rate = _column(self._lr) * np.float32(fraction)
        weights *= 1.0 - rate * _column(self._decay)
        first, second = slots
        first += (gradients - first) * _column(1.0 - self._beta1)
        second += (gradients * gradients - second) * _column(1.0 - self._beta2)
        corrected = np.sqrt(second) / _column((1.0 - self._beta2 ** (number + 1)) ** 0.5) + np.float32(self.epsilon)
        weights -= rate / _column(1.0 - self._beta1 ** (number + 1)) * (first / corrected)
        return np.isfinite(weights).all(axis=1)

    def take(self, rows: np.ndarray) -> AdamW:
        return AdamW(self._lr[rows], self._decay[rows], self._beta1[rows], self._beta2[rows])


def _column(values: np.ndarray) -> np.ndarray:
    """(N,) to (N, 1) float32, one value an optimizer."""
    return values.astype(np.float32)[:, None]


class Baseline(NamedTuple):
    """A known optimizer and the settings among which it is tuned.

    Attributes:
        name: for people.
        settings: (lr, weight decay) of each.
        optimizers: one a setting.
    """

    name: str
    settings: Sequence[tuple[float, float]]
    optimizers: Optimizers


def baselines(backend: str | None, seeds: Sequence[str] = ()) -> list[Baseline]:
    """All of them; the first is the one that the others are compared with. Each is tuned over 40 settings: ten learning
    rates a factor of about two apart, four decays.

    Args:
        backend: of `kernels.programs.optimizer_step`.
        seeds: names of the programs that the search began with (`LionOptions.seeds`); Muon is a baseline where it was
            one of them, and the others always are.
    """
    rates = (1.0, 2.0, 3.5, 6.0, 10.0, 20.0, 35.0, 60.0, 100.0, 200.0)
    adam = list(product((1e-3 * rate for rate in rates), (0.0, 0.01, 0.1, 1.0)))
    lion = list(product((3e-4 * rate for rate in rates), (0.0, 0.1, 1.0, 3.0)))
    momentum = list(product((1e-2 * rate for rate in rates), (0.0, 1e-4, 1e-3, 1e-2)))
    found = [
        Baseline("AdamW, tuned", adam, AdamW(*np.array(adam).T)),
        Baseline("AdamW, seed program", [(0.001, 0.01)], Programs([lowered(programs.adamw())], backend)),
        Baseline("Lion, tuned", lion, Programs([lowered(programs.lion(*s)) for s in lion], backend)),
        Baseline(
            "SGD momentum, tuned", momentum, Programs([lowered(programs.momentum(*s)) for s in momentum], backend)
        ),
    ]
    if "muon" in seeds:
        found.append(Baseline("Muon, tuned", adam, Programs([lowered(programs.muon(*s)) for s in adam], backend)))
    return found
