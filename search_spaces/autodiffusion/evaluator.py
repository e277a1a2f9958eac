"""The evaluator: a call's schedules sampled at once from common noise, and their Fréchet distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evo.space import Observation, Request
from kernels.frechet import frechet, moments
from search_spaces.autodiffusion.genome import Schedule
from search_spaces.autodiffusion.options import AutoDiffusionOptions
from search_spaces.autodiffusion.problem import Problem, problem_of
from search_spaces.autodiffusion.sampling.trie import Sampler

VERSION = 1
"""Of the fitness: raise it when equal schedules would get other values."""


class Judge:
    """Fréchet distances of schedules' images.

    Args:
        problem: model, score, blocks.
        options: rows, tile, memory and device.
    """

    def __init__(self, problem: Problem, options: AutoDiffusionOptions) -> None:
        self.problem = problem
        self.sampler = Sampler(
            problem.model, problem.blocks, rows=options.rows, tile=options.tile, limit_mb=options.limit_mb,
            device=options.device, conditions=problem.conditions,
        )  # fmt: skip

    def distances(self, schedules: Sequence[Schedule], seed: int, count: int) -> np.ndarray:
        """(k,) float64, less is better; NaN where images are not finite. All are made from the same noise.

        Args:
            schedules: k.
            seed: of the noise.
            count: images of each, 2 or more.
        """
        score, decode = self.problem.score, self.problem.decode
        features = np.empty((len(schedules), count, score.extractor.size))
        for first, images in self.sampler.sampled(schedules, seed, count):
            for row, own in enumerate(images):
                shown = own if decode is None else decode(own)
                features[row, first : first + len(own)] = score.extractor.features(shown.cpu())
        pairs = [moments(rows) for rows in features]
        if not pairs:
            return np.empty(0)
        means, covariances = (np.stack(parts) for parts in zip(*pairs, strict=True))
        return np.asarray(frechet(means, covariances, score.reference.mean, score.reference.root))


class AutoDiffusionEvaluator:
    """Fréchet distances of schedules; the number of images depends on the rung.

    Args:
        options: of the space.
        samples: images of a candidate, by rung.
        problem: None: that of the options, made when it is first needed (a worker reads it once).
    """

    def __init__(
        self, options: AutoDiffusionOptions, samples: Mapping[str, int], problem: Problem | None = None
    ) -> None:
        self._options = options
        self._samples = dict(samples)
        self._problem = problem
        self._judge: Judge | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_judge": None}

    @property
    def judge(self) -> Judge:
        """What samples and compares, with one thread."""
        if self._judge is None:
            self._judge = Judge(self._problem or problem_of(self._options.model), self._options)
        return self._judge

    def evaluate(self, requests: Sequence[Request]) -> list[list[Observation]]:
        found: list[dict[int, Observation]] = [{} for _ in requests]
        together: dict[tuple[str, int], list[int]] = {}
        for row, request in enumerate(requests):
            wrong = self._misfit(request.genome)
            if wrong:
                found[row] = dict.fromkeys(request.seeds, Observation((), "invalid", message=wrong))
                continue
            for seed in request.seeds:
                together.setdefault((request.rung, seed), []).append(row)
        for (rung, seed), rows in together.items():
            values = self.judge.distances([requests[row].genome for row in rows], seed, self._samples[rung])
            for row, value in zip(rows, values.tolist(), strict=True):
                found[row][seed] = _observation(value)
        return [[own[seed] for seed in request.seeds] for own, request in zip(found, requests, strict=True)]

    def _misfit(self, schedule: Schedule) -> str:
        """Why the model cannot follow a schedule; "" where it can."""
        problem = self.judge.problem
        if schedule.timesteps[0] >= problem.model.schedule.steps:
            return f"timestep {schedule.timesteps[0]} of {problem.model.schedule.steps}"
        block = max((mask[-1] for mask in schedule.masks if mask), default=-1)
        return f"block {block} of {len(problem.blocks)}" if block >= len(problem.blocks) else ""


def _observation(value: float) -> Observation:
    if value == value:
        return Observation((value,))
    return Observation((), "failed", message="the images are not finite")
