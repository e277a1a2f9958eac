"""Behavioural identity: what programs do in float64 on small fixed problems.

Open loop: weights and gradients are prescribed at every step, and the update is recorded. "Mild" gradients look like
those of training; "harsh" ones span 1e-8 to 1e2 with heavy tails; both have zeros and signs that flip, and several
tensors, matrices among them, so that what is reduced per tensor, what over all of them and what is orthogonalised
differ. Closed loop: the weights follow the
program on a quadratic and on a tiny network, and are recorded themselves.

State is never recorded: programs that scale it differently and use it alike are one function. All arithmetic outside
the programs is of the exactly rounded kind, in a fixed order, so that a fingerprint does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from evo.space import Fingerprints
from kernels.programs import optimizer_step, pack

VERSION = 3
SEED = 20230213
SCALE = 1024.0
"""Updates are recorded times this power of two: small ones keep their bits above the digest's absolute floor, while
what is left of a sum that should be zero (1e-17 or so) stays below it."""


class Fixture(NamedTuple):
    """One small problem.

    Attributes:
        segments: offsets of its tensors.
        shapes: (n_tensors, 2) their rows and columns.
        weights: (steps, P) weights before each step if the loop is open, else (1, P): those at the start.
        gradients: (steps, P) if the loop is open; else None.
        gradient: if the loop is closed: weights (N, P), step -> gradients (N, P).
        fractions: (steps,) the schedule's values.
        bits: (steps,) significant bits kept: fewer late in a closed loop, which amplifies rounding.
        groups: (P,) columns of one step that share their scale.
    """

    segments: np.ndarray
    shapes: np.ndarray
    weights: np.ndarray
    gradients: np.ndarray | None
    gradient: Callable[[np.ndarray, int], np.ndarray] | None
    fractions: np.ndarray
    bits: np.ndarray
    groups: np.ndarray


def fingerprint(lowered: Sequence[Any], backend: str | None = None) -> Fingerprints:
    """Columns of N programs (as `evo.program.lower` gives them), computed in float64."""
    packed = pack(lowered)
    columns, bits, groups, group = [], [], [], 0
    with np.errstate(all="ignore"):
        for fixture in fixtures():
            for step, recorded in enumerate(_run(fixture, packed, len(lowered), backend)):
                columns.append(recorded)
                bits.append(np.full(recorded.shape[1], fixture.bits[step]))
                groups.append(group + fixture.groups)
                group += int(fixture.groups[-1]) + 1
    return Fingerprints(np.concatenate(columns, axis=1), np.concatenate(bits), None, np.concatenate(groups))


def _run(fixture: Fixture, packed: Any, n: int, backend: str | None) -> list[np.ndarray]:
    weights = np.repeat(fixture.weights[:1], n, axis=0)
    slots = [np.zeros_like(weights), np.zeros_like(weights)]
    recorded = []
    for step, fraction in enumerate(fixture.fractions):
        if fixture.gradient is None:
            weights[:] = fixture.weights[step]
            gradients = np.repeat(fixture.gradients[step : step + 1], n, axis=0)
        else:
            gradients = fixture.gradient(weights, step)
        optimizer_step(
            packed, weights, gradients, slots, float(fraction), fixture.segments, backend, shapes=fixture.shapes
        )
        recorded.append((fixture.weights[step] - weights) * SCALE if fixture.gradient is None else weights.copy())
    return recorded


@cache
def fixtures() -> tuple[Fixture, ...]:
    """The four fixtures, always the same."""
    rng = np.random.Generator(np.random.Philox(SEED))
    return (_mild(rng), _harsh(rng), _quadratic(rng), _network(rng))


Shapes = tuple[tuple[int, int], ...]


def _sizes(shapes: Shapes) -> list[int]:
    return [rows * columns for rows, columns in shapes]


def _layout(shapes: Shapes) -> tuple[np.ndarray, np.ndarray]:
    """Segments and shapes of a fixture's tensors."""
    return np.concatenate([[0], np.cumsum(_sizes(shapes))]).astype(np.int64), np.array(shapes, np.int64)


def _open(shapes: Shapes, weights: np.ndarray, gradients: np.ndarray, fractions: np.ndarray) -> Fixture:
    tensor = np.repeat(np.arange(len(shapes)), _sizes(shapes))
    return Fixture(*_layout(shapes), weights, gradients, None, fractions, np.full(len(fractions), 32), tensor)


def _mild(rng: np.random.Generator) -> Fixture:
    """Ten steps of gradients between 0.001 and 0.5, drifting, an element in six zero. The fractions go down to
    where a cosine of some hundred steps ends: programs that compare `lr` with a small constant part ways there."""
    steps, shapes = 10, ((1, 1), (5, 1), (2, 5))
    sizes = _sizes(shapes)
    scale = np.repeat([0.2, 0.05, 0.005], sizes)
    drift = rng.standard_normal(sum(sizes))
    gradients = scale * (drift + rng.standard_normal((steps, sum(sizes))))
    gradients[rng.random(gradients.shape) < 1 / 6] = 0.0
    weights = 0.3 * rng.standard_normal((steps, sum(sizes)))
    return _open(shapes, weights, gradients, np.array([1.0, 0.9, 0.7, 0.5, 0.35, 0.2, 0.1, 0.05, 3e-3, 2e-4]))


def _harsh(rng: np.random.Generator) -> Fixture:
    """Six steps; tensors of gradient scale 1e-8, 1e-5, 1e-2, 1 and 1e2, Student's t of 1.5 degrees, one element always
    zero; weights from 1e-3 to 10, some zero."""
    steps, shapes = 6, ((3, 1), (3, 1), (2, 2), (3, 1), (3, 1))
    sizes = _sizes(shapes)
    scale = np.repeat([1e-8, 1e-5, 1e-2, 1.0, 1e2], sizes)
    gradients = scale * rng.standard_t(1.5, (steps, sum(sizes)))
    gradients[:, 7] = 0.0
    weights = np.repeat([1.0, 1e-3, 0.1, 10.0, 1.0], sizes) * rng.standard_normal((steps, sum(sizes)))
    weights[:, ::5] = 0.0
    return _open(shapes, weights, gradients, np.array([0.1, 1.0, 0.7, 0.7, 0.3, 0.02]))


def _closed(
    shapes: Shapes, start: np.ndarray, gradient: Callable[[np.ndarray, int], np.ndarray], steps: int
) -> Fixture:
    bits = np.linspace(30, 14, steps).astype(int)
    groups = np.zeros(len(start), np.int64)
    return Fixture(*_layout(shapes), start[None], None, gradient, np.linspace(1.0, 0.1, steps), bits, groups)


def _quadratic(rng: np.random.Generator) -> Fixture:
    """Ten steps on 0.5 (w - c)' A (w - c) in six dimensions, eigenvalues from 0.03 to 3, in two tensors."""
    size = 6
    basis = np.linalg.qr(rng.standard_normal((size, size)))[0]
    matrix = np.round((basis * np.geomspace(0.03, 3.0, size)) @ basis.T, 6)  # rounded: LAPACK may differ by an ulp
    centre, start = rng.standard_normal((2, size))

    def gradient(weights: np.ndarray, step: int) -> np.ndarray:
        away = weights - centre
        total = away[:, :1] * matrix[0]
        for row in range(1, size):
            total = total + away[:, row : row + 1] * matrix[row]
        return total

    return _closed(((2, 1), (2, 2)), start, gradient, 10)


def _network(rng: np.random.Generator) -> Fixture:
    """Ten steps of a regression: 2 inputs -> 3 softsign units -> 1, five examples, squared error; 13 weights in four
    tensors. Softsign x / (1 + |x|) stands in for tanh, because it is exactly rounded everywhere."""
    hidden, examples = 3, 5
    inputs = rng.standard_normal((examples, 2))
    wanted = inputs[:, 0] * inputs[:, 1]
    start = 0.7 * rng.standard_normal(13)

    def gradient(weights: np.ndarray, step: int) -> np.ndarray:
        out = np.zeros_like(weights)
        for x, target in zip(inputs, wanted, strict=True):
            units, slopes = [], []
            value = weights[:, 12]
            for unit in range(hidden):
                drive = x[0] * weights[:, unit] + x[1] * weights[:, 3 + unit] + weights[:, 6 + unit]
                below = 1.0 + np.abs(drive)
                units.append(drive / below)
                slopes.append(1.0 / (below * below))
                value = value + units[unit] * weights[:, 9 + unit]
            error = (value - target) * (2.0 / examples)
            out[:, 12] += error
            for unit in range(hidden):
                out[:, 9 + unit] += error * units[unit]
                inner = error * weights[:, 9 + unit] * slopes[unit]
                out[:, unit] += inner * x[0]
                out[:, 3 + unit] += inner * x[1]
                out[:, 6 + unit] += inner
        return out

    return _closed(((2, 3), (3, 1), (3, 1), (1, 1)), start, gradient, 10)
