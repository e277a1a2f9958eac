"""Whether two programs take the same course: steps in float64, compared up to what rounding can do to them.

How far apart two ways to write one function may come depends on the function: a difference of nearly equal numbers
magnifies rounding, a sign passes it on whole or not at all. So the tolerance is measured: every operand of the first
program is disturbed by parts in 1e10, about a million times float64's rounding, and the second program may differ by
as much as that moves the update. A change of meaning is far above that, a change of rounding far below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from evo.program import Lowered, Program, lower
from kernels.programs import OPCODES, reference_step
from search_spaces.lion.language import LION

STEPS = 8
SCALES = (1.0, 1e-3, 30.0)
"""Of the gradients."""
SEGMENTS = (0, 1, 5, 12)
DISTURBANCE = 1e-10
DRAWS = 3
FLOOR = 1e-13
"""Of the largest element of an update: what may differ where the disturbance moved nothing."""


def same_course(first: Program, second: Program, seed: int = 0) -> bool:
    """Whether both programs give the same updates over some steps with state carried over, on random weights and
    gradients of several scales. NaN equals NaN, an infinity itself."""
    for scale in SCALES:
        given = inputs(scale, seed)
        one, two = updates(first, given), updates(second, given)
        rng = np.random.Generator(np.random.Philox([seed, 1]))
        apart = np.zeros_like(one)
        for _ in range(DRAWS):
            disturbed = updates(first, given, _disturbance(rng))
            with np.errstate(invalid="ignore"):
                apart = np.fmax(apart, np.abs(disturbed - one))
            odd = ~np.isfinite(disturbed) | ~np.isfinite(one)
            apart[odd & ~_alike(disturbed, one)] = np.inf  # at the edge of a domain or of the number range
        if not _close(one, two, apart):
            return False
    return True


def _close(one: np.ndarray, two: np.ndarray, apart: np.ndarray) -> bool:
    """(steps, P) updates that may differ by `apart`; what a step could have done to any element of a step, it may do to
    all of them, since sums tie elements together."""
    finite = np.where(np.isfinite(one), np.abs(one), 0.0)
    allowed = apart.max(axis=1, keepdims=True) + FLOOR * finite.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        near = np.abs(one - two) <= allowed
    return bool((near | _alike(one, two) | np.isinf(allowed)).all())


def _alike(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return (one == two) | (np.isnan(one) & np.isnan(two))


def inputs(scale: float, seed: int) -> tuple[list[torch.Tensor], list[torch.Tensor], list[float]]:
    """Weights, gradients and schedule fractions of `STEPS` steps."""
    rng = np.random.Generator(np.random.Philox([seed, 0]))
    size = SEGMENTS[-1]
    spread = np.repeat([1.0, 0.1, 0.02], np.diff(SEGMENTS))
    weights = [torch.from_numpy(0.5 * rng.standard_normal(size)) for _ in range(STEPS)]
    gradients = [torch.from_numpy(scale * spread * rng.standard_normal(size)) for _ in range(STEPS)]
    return weights, gradients, np.linspace(1.0, 0.05, STEPS).tolist()


def _disturbance(rng: np.random.Generator) -> Callable[[torch.Tensor, str], torch.Tensor]:
    def disturb(value: torch.Tensor, operator: str) -> torch.Tensor:
        return value * (1.0 + DISTURBANCE * torch.from_numpy(np.asarray(rng.standard_normal(tuple(value.shape)))))

    return disturb


def updates(program: Program, given: tuple[list[Any], list[Any], list[float]], disturb: Any = None) -> np.ndarray:
    """(steps, P) updates. Weights do not follow them, so that programs that differ a little stay comparable."""
    lowered: Lowered = lower(LION, program, OPCODES)
    weights, gradients, fractions = given
    slots = [torch.zeros_like(weights[0]), torch.zeros_like(weights[0])]
    found = []
    for weight, gradient, fraction in zip(weights, gradients, fractions, strict=True):
        step = reference_step(lowered, weight, gradient, slots, fraction, SEGMENTS, disturb)
        slots = step.slots
        found.append(step.update.numpy())
    return np.array(found)
