"""Deterministic solvers as numbers: for each step, how a prediction is read and what it does to sample and memory.

All solvers here predict the image (x_0) and are linear in what they have seen, so a step is two numbers and a small
matrix, which `kernels.diffusion.advance` applies. They are computed in float64 from alphas_cumprod; samples equal
those of diffusers' schedulers (final sigma zero: the last step lands on the image) to 1e-5:

| solver | diffusers | remembers |
|---|---|---|
| ddim | DPMSolverMultistepScheduler(solver_order=1), which is DDIM with eta = 0 (noise re-derived from a clipped image) | nothing |
| dpmpp_2m | DPMSolverMultistepScheduler(solver_order=2), midpoint, lower order at the last step | the last image |
| euler | EulerDiscreteScheduler: DDIM, but its first sample is scaled by the first noise level, and nothing is clipped | nothing |
| unipc | UniPCMultistepScheduler(solver_order=2), bh2, predictor and corrector, on given sigmas | two images and a sample |

With a clipped prediction they are those with thresholding=True, sample_max_value=1. Sources: Song et al., "Denoising
Diffusion Implicit Models" (2021), equation 12; Lu et al., "DPM-Solver++" (2022), algorithm 2; Zhao et al., "UniPC" (2023),
equations 3 and 9.
"""  # noqa: E501

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evo.errors import ConfigError
from search_spaces.autodiffusion.genome import SOLVERS


@dataclass(frozen=True, slots=True)
class Step:
    """One network call and what is done with it.

    Attributes:
        timestep: that the network is told.
        reads: (p, q): the predicted image is p x + q output.
        matrix: 1 + s rows of 2 + s numbers: the next sample and memory from (sample, image, memory); see
            `kernels.diffusion`.
    """

    timestep: int
    reads: tuple[float, float]
    matrix: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole trajectory.

    Attributes:
        scale: of the first noise.
        slots: s, images and samples that are remembered.
        clips: whether predicted images are clipped to [-1, 1].
        steps: in order. What a step is depends on the timesteps up to the next one and on whether there is a next one,
            so that trajectories which begin alike are alike until they part.
    """

    scale: float
    slots: int
    clips: bool
    steps: tuple[Step, ...]


class _Level:
    """A noise level: x = alpha x_0 + sigma noise; lam is log(alpha / sigma)."""

    def __init__(self, alpha_cumprod: float) -> None:
        self.alpha, self.sigma = math.sqrt(alpha_cumprod), math.sqrt(1 - alpha_cumprod)
        self.lam = math.log(self.alpha / self.sigma) if self.sigma else math.inf


def plan(
    alphas_cumprod: np.ndarray,
    timesteps: Sequence[int],
    solver: str,
    prediction_type: str = "epsilon",
    clip: bool = False,
) -> Plan:
    """The trajectory of a solver over timesteps.

    Args:
        alphas_cumprod: (T,) float64.
        timesteps: strictly descending whole numbers below T.
        solver: of `SOLVERS`.
        prediction_type: what the network predicts: "epsilon", "v_prediction" or "sample".
        clip: clip predicted images to [-1, 1]; `euler` never does.

    Raises:
        ConfigError: the timesteps do not descend or lie outside; solver or prediction type is unknown.
    """
    steps = [int(t) for t in timesteps]
    if not steps or any(b >= a for a, b in itertools.pairwise(steps)):
        raise ConfigError(f"timesteps {steps} do not descend", "give strictly descending whole numbers")
    if steps[0] >= len(alphas_cumprod) or steps[-1] < 0:
        raise ConfigError(f"timesteps {steps} leave 0 .. {len(alphas_cumprod) - 1}", "give timesteps below T")
    if solver not in _MATRICES:
        raise ConfigError(f"there is no solver {solver!r}", f"say one of {', '.join(SOLVERS)}")
    levels = [*(_Level(float(alphas_cumprod[t])) for t in steps), _Level(1.0)]
    matrices = _MATRICES[solver](levels)
    return Plan(
        levels[0].sigma if solver == "euler" else 1.0,
        len(matrices[0]) - 1,
        clip and solver != "euler",
        tuple(
            Step(t, _reads(level, prediction_type), matrix)
            for t, level, matrix in zip(steps, levels, matrices, strict=False)
        ),
    )


Matrix = tuple[tuple[float, ...], ...]


def _reads(level: _Level, prediction_type: str) -> tuple[float, float]:
    if prediction_type == "epsilon":
        return 1 / level.alpha, -level.sigma / level.alpha
    if prediction_type == "v_prediction":
        return level.alpha, -level.sigma
    if prediction_type == "sample":
        return 0.0, 1.0
    raise ConfigError(f"prediction type {prediction_type!r} is unknown", "say epsilon, v_prediction or sample")


def _first_order(now: _Level, after: _Level) -> tuple[float, float]:
    """Weights of sample and image; e^{-h} is sigma' alpha / (sigma alpha'), 0 at the end."""
    ratio = after.sigma / now.sigma
    return ratio, after.alpha - ratio * now.alpha


def _ddim(levels: Sequence[_Level]) -> list[Matrix]:
    return [(_first_order(now, after),) for now, after in itertools.pairwise(levels)]


def _dpmpp_2m(levels: Sequence[_Level]) -> list[Matrix]:
    """Memory: the last image."""
    found: list[Matrix] = []
    remember = (0.0, 1.0, 0.0)
    for i, (now, after) in enumerate(itertools.pairwise(levels)):
        on_sample, on_image = _first_order(now, after)
        on_last = 0.0
        if i > 0 and after.sigma > 0:
            r = (now.lam - levels[i - 1].lam) / (after.lam - now.lam)
            on_last = -0.5 * on_image / r
        found.append(((on_sample, on_image - on_last, on_last), remember))
    return found


def _unipc(levels: Sequence[_Level]) -> list[Matrix]:
    """Memory: the corrected sample, the last image, the one before."""
    found: list[Matrix] = []
    for i, (now, after) in enumerate(itertools.pairwise(levels)):
        # the corrected sample, as weights of (sample, image, last corrected sample, last image, the one before)
        corrected = (1.0, 0.0, 0.0, 0.0, 0.0) if i == 0 else _corrector(levels, i)
        on_sample, on_image = _first_order(now, after)
        on_last = 0.0
        if i > 0 and after.sigma > 0:
            # order 2: -alpha B(h) / 2 (m_1 - m_0) / r_1, B(h) = e^{-h} - 1
            r = (levels[i - 1].lam - now.lam) / (after.lam - now.lam)
            on_last = 0.5 * on_image / r
        weights = [on_sample * weight for weight in corrected]
        weights[1] += on_image - on_last
        weights[3] += on_last
        found.append((tuple(weights), corrected, (0.0, 1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0, 0.0)))
    return found


def _corrector(levels: Sequence[_Level], i: int) -> tuple[float, ...]:
    """UniC at level i, from the step that led there; of order 1 for the first such step, else of order 2."""
    before, now = levels[i - 1], levels[i]
    on_sample, on_image = _first_order(before, now)  # on_image = -alpha (e^{-h} - 1) = -alpha B(h)
    if i == 1:
        at_last, at_new = 0.0, 0.5
        r = 1.0
    else:
        h = now.lam - before.lam
        r = (levels[i - 2].lam - before.lam) / h
        scale = math.expm1(-h)
        first = scale / -h - 1
        second = first / -h - 0.5
        at_last, at_new = np.linalg.solve([[1.0, 1.0], [r, 1.0]], [first / scale, 2 * second / scale]).tolist()
    # x = on_sample x_last + on_image (m_0 + at_last (m_1 - m_0) / r + at_new (m_new - m_0))
    older = on_image * at_last / r
    newer = on_image * at_new
    return 0.0, newer, on_sample, on_image - older - newer, older


_MATRICES: dict[str, Callable[[Sequence[_Level]], list[Matrix]]] = {
    "ddim": _ddim,
    "dpmpp_2m": _dpmpp_2m,
    "euler": _ddim,
    "unipc": _unipc,
}
