"""AdamW as torch has it, for many settings at once: the baseline that no program of the language can express."""

from __future__ import annotations

import numpy as np


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
