"""What the tests of `lion` share: random programs, and steps by the kernels' reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from evo.program import MutationOptions, Mutator, Program, lower
from kernels.programs import OPCODES, reference_step
from search_spaces.lion.language import LION
from search_spaces.lion.programs import adamw, discovered, lion, momentum

KNOWN = (adamw(), discovered(), lion(), momentum())


def random_program(seed: int, mutations: int = 12) -> Program:
    """A known program after some mutations, or a random one: valid, of any behaviour."""
    rng = np.random.Generator(np.random.Philox(seed))
    mutator = Mutator(LION, MutationOptions())
    program = KNOWN[seed % 4] if seed % 3 else mutator.sample(rng)
    for _ in range(int(rng.integers(0, mutations + 1))):
        program = mutator.mutate(program, rng).genome
    return program


def steps(
    program: Program, weights: torch.Tensor, gradients: Sequence[torch.Tensor], fractions: Sequence[float],
    segments: Sequence[int], shapes: Sequence[tuple[int, int]] | None = None,
) -> list[torch.Tensor]:  # fmt: skip
    """Weights (P,) after each step of a program as it is written, by the reference, in the dtype of the weights."""
    lowered = lower(LION, program, OPCODES)
    slots = [torch.zeros_like(weights), torch.zeros_like(weights)]
    found = []
    for gradient, fraction in zip(gradients, fractions, strict=True):
        result = reference_step(lowered, weights, gradient, slots, fraction, segments, shapes=shapes)
        weights, slots = result.weights, result.slots
        found.append(weights)
    return found


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal to the bit, but for the sign of zeros; NaN equals NaN."""
    return bool(torch.equal(torch.nan_to_num(a, nan=12345.678), torch.nan_to_num(b, nan=12345.678)))
