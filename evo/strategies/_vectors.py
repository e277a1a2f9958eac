"""Samplers of vectors in a box: from the vectors told so far to the next one, with nothing kept in between.

Each is a function of the history and of one random stream, so that a strategy can be rebuilt from what it was told.
`gp` and `tpe` are Optuna's samplers, in a study made of the history. `cmaes` and `qmc` are the packages behind
Optuna's samplers of these names, called directly: Optuna's own keep state in a study, which a rebuilt one lacks. `ucb`
is the Gaussian process of RoBoT (`_gaussian.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """What a sampler sees.

    Attributes:
        low, high: (d,) the box.
        points: (k, d) vectors told, in the order of telling, then those that are out.
        values: (k,) finite, larger is better; of those that are out, the mean of what was told.
        told: how many of them were told.
        drawn: (k,) bool, True for those that came from the sampler, not from a warm start.
        number: how many vectors the sampler has drawn in this run.
        seed: one number for the whole run.
        kappa: weight of the standard deviation, for `ucb`.
    """

    low: np.ndarray
    high: np.ndarray
    points: np.ndarray
    values: np.ndarray
    told: int
    drawn: np.ndarray
    number: int
    seed: int
    kappa: float


Sampler = Callable[[History, np.random.Generator], np.ndarray]
"""The next vector, (d,), inside the box."""


def uniform(history: History, rng: np.random.Generator) -> np.ndarray:
    """Independent and uniform: random weights."""
    return rng.uniform(history.low, history.high)


def ucb(history: History, rng: np.random.Generator) -> np.ndarray:
    """The highest upper confidence bound of a Gaussian process."""
    from evo.strategies._gaussian import fit, upper_confidence_bound

    if not len(history.values):
        return uniform(history, rng)
    posterior = fit(history.points, history.values, rng)
    return upper_confidence_bound(posterior, history.low, history.high, history.kappa, rng)


def gp(history: History, rng: np.random.Generator) -> np.ndarray:
    """Optuna's GPSampler: log expected improvement of a Gaussian process with noise."""
    from optuna.samplers import GPSampler

    seed = _seed(rng)
    return _asked(history, lambda: GPSampler(seed=seed, n_startup_trials=2, deterministic_objective=False))


def tpe(history: History, rng: np.random.Generator) -> np.ndarray:
    """Optuna's TPESampler, multivariate."""
    from optuna.samplers import TPESampler

    seed = _seed(rng)
    return _asked(history, lambda: TPESampler(seed=seed, multivariate=True, n_startup_trials=5))


def cmaes(history: History, rng: np.random.Generator) -> np.ndarray:
    """CMA-ES around the best of the warm start; its generations are what was told, in order."""
    from cmaes import CMA

    width = history.high - history.low
    first = ~history.drawn[: history.told]
    started = history.values[: history.told][first]
    centre = history.low + 0.5 * width
    if len(started):
        centre = history.points[: history.told][first][int(np.argmax(started))]
    # it works in the unit cube: axes may differ in width
    inside = np.clip((centre - history.low) / width, 0.0, 1.0)
    search = CMA(mean=inside, sigma=0.3, bounds=np.tile([0.0, 1.0], (len(width), 1)), seed=_seed(rng))
    told = np.flatnonzero(history.drawn[: history.told])
    points = (history.points[told] - history.low) / width
    size = search.population_size
    for start in range(0, len(told) - size + 1, size):
        rows = slice(start, start + size)
        search.tell([(x, -float(y)) for x, y in zip(points[rows], history.values[told][rows], strict=True)])
    drawn: np.ndarray = np.clip(history.low + width * search.ask(), history.low, history.high)
    return drawn


def qmc(history: History, rng: np.random.Generator) -> np.ndarray:
    """Scrambled Sobol points, evenly spread; it learns nothing."""
    from scipy.stats.qmc import Sobol

    points = Sobol(len(history.low), scramble=True, rng=np.random.default_rng(history.seed))
    if history.number:
        points.fast_forward(history.number)
    drawn: np.ndarray = history.low + (history.high - history.low) * points.random(1)[0]
    return drawn


SAMPLERS: Mapping[str, Sampler] = {
    "ucb": ucb, "gp": gp, "tpe": tpe, "cmaes": cmaes, "qmc": qmc, "random": uniform,
}  # fmt: skip
MODELS = ("ucb", "gp", "tpe", "cmaes")
"""Those that learn from values; without any, vectors are drawn evenly."""


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _asked(history: History, make: Callable[[], Any]) -> np.ndarray:
    """What an Optuna sampler proposes in a study made of the history."""
    import optuna

    with _quiet():
        study = optuna.create_study(direction="maximize", sampler=make())
        names = [f"x{i:03d}" for i in range(len(history.low))]
        spread = {
            name: optuna.distributions.FloatDistribution(float(low), float(high))
            for name, low, high in zip(names, history.low, history.high, strict=True)
        }
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params=dict(zip(names, point, strict=True)), distributions=spread, value=value
                )
                for point, value in zip(history.points.tolist(), history.values.tolist(), strict=True)
            ]
        )
        params = study.ask(fixed_distributions=spread).params
    return np.array([params[name] for name in names])


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna announces studies and experimental features; the run is no place for that."""
    import warnings

    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
