"""Bayesian linear regression of a few noisy values on features, noise and prior widths by evidence.

y = b + F w + noise, with w ~ N(0, s^2 / q I), flat b, and noise N(0, s^2): q, the ratio of the two variances, is taken
from a grid at the highest marginal likelihood, with s^2 integrated out under 1 / s^2.

Source: Bishop, "Pattern Recognition and Machine Learning" (2006), section 3.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RATIOS = np.logspace(-4.0, 4.0, 33)


@dataclass(frozen=True, slots=True, eq=False)
class LinearFit:
    """Weights after k observations.

    Attributes:
        weights: (d,) posterior mean.
        intercept: at features of zero.
        noise: standard deviation of an observation.
        precision: (d, d) inverse covariance of the weights, in units of the noise's variance.
        centre: (d,) mean of the features seen.
        seen: k.
    """

    weights: np.ndarray
    intercept: float
    noise: float
    precision: np.ndarray
    centre: np.ndarray
    seen: int

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean of the value without noise and its standard deviation at (n, d) features, each (n,)."""
        away = features - self.centre
        solved = np.linalg.solve(self.precision, away.T)
        variance = np.einsum("nd,dn->n", away, solved) + 1.0 / self.seen
        return self.intercept + features @ self.weights, self.noise * np.sqrt(variance)


def fit_weights(features: np.ndarray, values: np.ndarray) -> LinearFit:
    """The regression of values on features.

    Args:
        features: (k, d) float64, k at least 1, of about one scale.
        values: (k,) float64, finite.
    """
    centre, mean = features.mean(axis=0), float(values.mean())
    left, singular, right = np.linalg.svd(features - centre, full_matrices=False)
    k, rest = len(values), values - mean
    along = left.T @ rest
    outside = max(float(rest @ rest - along @ along), 0.0)
    tiny = 1e-12 * max(float(rest @ rest), 1e-300)
    # for each ratio: residual under the prior, then the log evidence up to a constant
    shrunk = RATIOS[:, None] / (singular**2 + RATIOS[:, None])
    residual = outside + (shrunk * along**2).sum(axis=1) + tiny
    evidence = 0.5 * np.log(shrunk).sum(axis=1) - 0.5 * max(k - 1, 1) * np.log(residual)
    best = int(np.argmax(evidence))
    ratio = float(RATIOS[best])
    weights = right.T @ (singular / (singular**2 + ratio) * along)
    noise = float(np.sqrt(residual[best] / max(k - 1, 1)))
    precision = (right.T * singular**2) @ right + ratio * np.eye(features.shape[1])
    return LinearFit(weights, mean - float(centre @ weights), noise, precision, centre, k)
