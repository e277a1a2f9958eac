"""The evaluator of a live run: the architecture that a genome stands for is trained, and judged."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from evo.errors import EvaluatorError
from evo.space import Observation, Request
from search_spaces.building.session import one_thread
from search_spaces.robot.benchmark.training import Schedule, Trained, train
from search_spaces.robot.live.recipe import Recipe
from search_spaces.robot.stored import StoredPool

WEIGHTS = 2**31
"""Seeds of weights and of the images' order lie below."""


class LiveEvaluator:
    """Trains networks, one at a time.

    An observation's value is the accuracy on all validation images, in percent. Its `extra` names the architecture and
    has the curve: for each epoch the mean loss (null where it diverged), and the accuracies on training images and on
    watched validation images. Nothing of it depends on test images.

    Args:
        recipe: how to build and train.
        pool: what vectors of weights rank.
    """

    def __init__(self, recipe: Recipe, pool: StoredPool) -> None:
        self._recipe, self._pool = recipe, pool

    def evaluate(self, requests: Sequence[Request]) -> list[list[Observation]]:
        return [[self._observe(request.genome, seed) for seed in request.seeds] for request in requests]

    def _observe(self, genome: tuple[float, ...] | str, seed: int) -> Observation:
        text = genome if isinstance(genome, str) else self._first(genome)
        if self._recipe.canonical(text) is None:
            name = self._recipe.space().name
            return Observation((), "invalid", message=f"{text} is no architecture of {name}")
        result = trained(self._recipe, text, seed)
        curve = [
            [
                round(epoch.loss, 5) if isfinite(epoch.loss) else None,
                round(100 * epoch.train, 3),
                round(100 * epoch.validation, 3),
            ]
            for epoch in result.curve
        ]
        return Observation((100 * result.validation,), "ok", None, {"architecture": text, "curve": curve})

    def _first(self, weights: tuple[float, ...]) -> str:
        row = self._pool.top(weights)
        if row is None:
            raise EvaluatorError(
                f"{len(weights)} weights for the {len(self._pool.metrics)} metrics {', '.join(self._pool.metrics)}"
            )
        return self._pool.architectures[row]


def trained(recipe: Recipe, architecture: str, seed: int) -> Trained:
    """Train an architecture from the weights of a seed, on one thread: more would sum in another order."""
    space, schedule = recipe.space(), recipe.schedule
    with one_thread():
        model = space.build(space.decode(architecture), seed=seed % WEIGHTS)
        settings = Schedule(
            schedule.epochs, schedule.batch, schedule.rate, schedule.momentum, schedule.decay, schedule.shift,
            schedule.mirror, schedule.watched,
        )  # fmt: skip
        return train(model, recipe.pictures(), settings, seed % WEIGHTS)
