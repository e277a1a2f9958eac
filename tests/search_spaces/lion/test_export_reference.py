"""Exported optimizers compute what the search evaluated, to the bit, tensor by tensor and in lists."""

from __future__ import annotations

import inspect

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evo.program import Program, lower
from kernels.programs import OPCODES, reference_step
from search_spaces.lion.evaluator import lowered
from search_spaces.lion.export import source
from search_spaces.lion.export.rule import rule_of
from search_spaces.lion.language import LION
from search_spaces.lion.operators import OPERATORS
from search_spaces.lion.programs import adamw, discovered, lion, momentum
from tests.search_spaces.lion.exporting import (
    MATRICES, SEGMENTS, as_exported, flat, give, module_of, optimizer_of, parameters, problem, quiet, trained,
)  # fmt: skip
from tests.search_spaces.lion.helpers import KNOWN, random_program, same

EXACT = (1.0, 0.5, 0.0625)
"""Fractions f for which rate * f / rate is f to the bit, whatever the rate is."""
ANY = (1.0, 0.7, 0.1)


def reference(program: Program, weights: torch.Tensor, gradients: list[torch.Tensor], fractions: tuple[float, ...]):
    """Weights after the steps, by `kernels.programs.reference_step`."""
    code = lowered(program)
    slots = [torch.zeros_like(weights), torch.zeros_like(weights)]
    matrices = {"shapes": MATRICES} if "shapes" in inspect.signature(reference_step).parameters else {}
    for gradient, fraction in zip(gradients, fractions, strict=True):
        result = reference_step(code, weights, gradient, slots, fraction, SEGMENTS, **matrices)
        weights, slots = result.weights, result.slots
    return weights


def stepped(program: Program, weights: torch.Tensor, gradients: list[torch.Tensor], fractions, **options):
    """The same by the exported optimizer, in two groups, its lr scheduled by hand."""
    params = parameters(weights)
    optimizer = optimizer_of(program, params[:2], **options)
    with quiet():
        optimizer.add_param_group({"params": params[2:]})
    scheduled, peak = rule_of(program).rate.scheduled, rule_of(program).rate.default
    for gradient, fraction in zip(gradients, fractions, strict=True):
        give(params, gradient)
        for group in optimizer.param_groups:
            group["lr"] = peak * fraction if scheduled else peak
        optimizer.step()
    return flat(params)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_a_random_program_is_the_reference_to_the_bit(seed: int, foreach: bool) -> None:
    """But for programs whose rate stands among other factors of the update; see the next test."""
    program = random_program(seed)
    expected = as_exported(program) if rule_of(program).rate.moved else program
    weights, gradients = problem(seed)
    found = stepped(program, weights, gradients, EXACT, foreach=foreach)
    assert same(found, reference(expected, weights, gradients, EXACT)), source(program, {})
