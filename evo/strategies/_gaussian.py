"""Small Gaussian processes: Matérn 5/2 regression of a few points, and its upper confidence bound maximised in a box.

The pieces that RoBoT's released code takes from `bayesian-optimization` 1.2.0 (Nogueira) and scikit-learn, with
their settings: one length scale for all coordinates, found by maximum likelihood from six starts in [1e-5, 1e5]; noise
1e-6; values standardised; the bound maximised over 10,000 uniform points and ten L-BFGS-B descents. Gradients are
written out, so that a proposal costs some 20 ms.

Sources: He et al. (ICLR 2024, arXiv 2403.07591) for its use; Rasmussen & Williams, "Gaussian Processes for Machine
Learning" (2006), algorithm 2.1 and equation 4.17; Srinivas et al. (ICML 2010) for the bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi, sqrt

import numpy as np
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

BOUNDS = (log(1e-5), log(1e5))
STARTS = 5
"""Starts of the search for the length scale, beside that from 1."""
PROBES = 10_000
DESCENTS = 10
ROOT5 = sqrt(5.0)


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """A Gaussian process after k observations, in units of the values given.

    Attributes:
        points: (k, d) float64.
        scale: the length scale.
        factor: (k, k) lower Cholesky factor of the covariance.
        solved: (k,) covariance inverse times the standardised values.
        offset: mean of the values.
        unit: standard deviation of the values; 1 where they are all alike.
    """

    points: np.ndarray
    scale: float
    factor: np.ndarray
    solved: np.ndarray
    offset: float
    unit: float

    def predict(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation at (n, d) points, each (n,)."""
        covariance = matern(cdist(at, self.points) / self.scale)
        mean = covariance @ self.solved
        explained = solve_triangular(self.factor, covariance.T, lower=True, check_finite=False)
        variance = np.maximum(1.0 - np.einsum("kn,kn->n", explained, explained), 1e-12)
        return self.offset + self.unit * mean, self.unit * np.sqrt(variance)

    def bound(self, at: np.ndarray, kappa: float) -> tuple[float, np.ndarray]:
        """mean + kappa sd at one point, and its gradient (d,)."""
        away = at - self.points
        distance = np.sqrt(np.einsum("kd,kd->k", away, away)) / self.scale
        covariance = matern(distance)
        decay = np.exp(-ROOT5 * distance)
        slopes = (-(5.0 / 3.0) * (1.0 + ROOT5 * distance) * decay / self.scale**2)[:, None] * away
        inner = cho_solve((self.factor, True), covariance, check_finite=False)
        sd = sqrt(max(1.0 - float(covariance @ inner), 1e-12))
        value = self.offset + self.unit * (float(covariance @ self.solved) + kappa * sd)
        return value, self.unit * (slopes.T @ self.solved - (kappa / sd) * (slopes.T @ inner))


def matern(distance: np.ndarray) -> np.ndarray:
    """The Matérn 5/2 correlation at distances in length scales, any shape."""
    return (1.0 + ROOT5 * distance + (5.0 / 3.0) * distance**2) * np.exp(-ROOT5 * distance)


def fit(points: np.ndarray, values: np.ndarray, rng: np.random.Generator, noise: float = 1e-6) -> Posterior:
    """The posterior at the length scale of the highest marginal likelihood.

    Args:
        points: (k, d) float64, k at least 1.
        values: (k,) float64, finite.
        rng: of the starts.
        noise: variance of an observation, in units of the values' own variance.
    """
    offset, unit = float(values.mean()), float(values.std()) or 1.0
    standard = (values - offset) / unit
    distances = cdist(points, points)
    starts = [0.0, *rng.uniform(*BOUNDS, size=STARTS).tolist()]
    ended = [
        minimize(
            _misfit, [start], args=(distances, standard, noise), jac=True, method="L-BFGS-B", bounds=[BOUNDS]
        )
        for start in starts
    ]  # fmt: skip
    best = min(ended, key=lambda result: float(result.fun))
    scale = float(np.exp(best.x[0]))
    factor = _factor(matern(distances / scale), noise)
    solved = cho_solve((factor, True), standard)
    return Posterior(points, scale, factor, solved, offset, unit)


def upper_confidence_bound(
    posterior: Posterior, low: np.ndarray, high: np.ndarray, kappa: float, rng: np.random.Generator
) -> np.ndarray:
    """The point of the box, (d,), at which mean + kappa sd is highest, as far as probes and descents find it.

    Args:
        posterior: of a function to be maximised.
        low, high: (d,) the box.
        kappa: weight of the standard deviation; RoBoT's is 2.576.
        rng: of probes and starts.
    """
    probes = rng.uniform(low, high, size=(PROBES, len(low)))
    mean, sd = posterior.predict(probes)
    found = mean + kappa * sd
    best, highest = probes[int(np.argmax(found))], float(found.max())

    def negative(at: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = posterior.bound(at, kappa)
        return -value, -slope

    for start in rng.uniform(low, high, size=(DESCENTS, len(low))):
        ended = minimize(negative, start, jac=True, method="L-BFGS-B", bounds=list(zip(low, high, strict=True)))
        if -float(ended.fun) >= highest:
            best, highest = ended.x, -float(ended.fun)
    found_at: np.ndarray = np.clip(best, low, high)
    return found_at


def _factor(covariance: np.ndarray, noise: float) -> np.ndarray:
    """Lower Cholesky factor; points that nearly coincide get as much more noise as that takes."""
    eye = np.eye(len(covariance))
    while True:
        try:
            return np.linalg.cholesky(covariance + noise * eye)
        except np.linalg.LinAlgError:
            noise = max(10.0 * noise, 1e-10)


def _misfit(
    logarithm: np.ndarray, distances: np.ndarray, standard: np.ndarray, noise: float
) -> tuple[float, np.ndarray]:
    """Negative log marginal likelihood at a log length scale, and its derivative."""
    scaled = distances / float(np.exp(logarithm[0]))
    covariance = matern(scaled)
    try:
        factor = np.linalg.cholesky(covariance + noise * np.eye(len(covariance)))
    except np.linalg.LinAlgError:
        return 1e25, np.zeros(1)
    solved = cho_solve((factor, True), standard, check_finite=False)
    k = len(standard)
    value = 0.5 * float(standard @ solved) + float(np.log(np.diag(factor)).sum()) + 0.5 * k * log(2.0 * pi)
    slope = (5.0 / 3.0) * scaled**2 * (1.0 + ROOT5 * scaled) * np.exp(-ROOT5 * scaled)
    inverse = cho_solve((factor, True), np.eye(k), check_finite=False)
    derivative = 0.5 * float(np.einsum("ij,ij->", inverse - np.outer(solved, solved), slope))
    return value, np.array([derivative])
