"""A real assessment that is quick: the digits MLP, trained by many programs under many seeds in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evo.program import Instruction, Program
from kernels.programs import optimizer_step, pack
from search_spaces.lion.evaluator import lowered, one_thread
from search_spaces.lion.tasks import layers
from search_spaces.lion.tasks.digits import DigitsMLP, splits
from search_spaces.lion.training import LIMIT, Course


class DigitsAssess:
    """Assess of the simplifier over `digits_mlp`: the same data, network, initial weights, batches and schedule as
    `training.train` uses, but all (program, seed) pairs in one batch: one seed at a time would take minutes.
    Divergence is looked for at the end alone.

    Args:
        course: steps, batch size, schedule.
        rate: every program's update is multiplied by it. Programs bring the learning rate of the paper's long courses;
            whoever trains for a thousand steps takes a larger one, for all programs alike.
    """

    def __init__(self, course: Course, rate: float = 1.0) -> None:
        self.course = course
        self.rate = rate
        self.task = DigitsMLP()
        self.hidden, self.output = layers.chain(*DigitsMLP.sizes)

    def __call__(self, programs: Sequence[Program], seeds: Sequence[int]) -> np.ndarray:
        packed = pack([lowered(self.rated(program)) for program in programs for _ in seeds])
        weights = np.stack([self.task.initial(seed) for seed in seeds])
        weights = np.tile(weights, (len(programs), 1)).astype(np.float32)
        slots, gradient = [np.zeros_like(weights), np.zeros_like(weights)], np.empty_like(weights)
        segments = np.asarray(self.task.segments, np.int64)
        seed_of = np.tile(np.arange(len(seeds)), len(programs))
        tasks = [DigitsMLP() for _ in seeds]  # each remembers the order of its seed's epoch
        with np.errstate(all="ignore"), one_thread():
            for step in range(self.course.steps):
                batches = [t.batch(step, seed, self.course.batch) for t, seed in zip(tasks, seeds, strict=True)]
                images = np.stack([batch.images for batch in batches])[seed_of]
                labels = np.stack([batch.labels for batch in batches])[seed_of]
                self._gradient(weights, images, labels, gradient)
                optimizer_step(packed, weights, gradient, slots, self.course.fraction(step), segments)
            loss = layers.judge(self.task.logits(weights, splits()["validation"].images), splits()["validation"].labels)
        found = np.asarray(loss["loss"], np.float64)
        found = np.where(found <= LIMIT * self.task.chance, found, np.inf)
        return np.log(found).reshape(len(programs), 1, len(seeds))

    def rated(self, program: Program) -> Program:
        """What is trained for a program."""
        return Program((*program.instructions, Instruction("update", "mul", ("update", self.rate))))

    def _gradient(self, weights: np.ndarray, images: np.ndarray, labels: np.ndarray, gradient: np.ndarray) -> None:
        """Cross-entropy's gradient of N networks, each on its own batch (N, B, 64)."""
        scratch = self.task._scratch
        hidden = layers.relu(self.hidden.forward(weights, images, scratch))
        logits = self.output.forward(weights, hidden, scratch)
        delta = np.exp(logits - logits.max(axis=2, keepdims=True))
        delta /= delta.sum(axis=2, keepdims=True)
        np.put_along_axis(delta, labels[:, :, None], np.take_along_axis(delta, labels[:, :, None], 2) - 1.0, 2)
        delta /= labels.shape[1]
        self.output.backward(hidden, delta, gradient)
        inner = layers.relu_backward(self.output.backward_inputs(weights, delta, scratch), hidden)
        self.hidden.backward(images, inner, gradient)
