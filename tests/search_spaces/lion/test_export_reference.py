"""Exported optimizers compute what the search evaluated, to the bit, tensor by tensor and in lists."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.program import Program
from kernels.programs import reference_step
from search_spaces.lion.evaluator import lowered
from search_spaces.lion.export import source
from search_spaces.lion.export.rule import rule_of
from search_spaces.lion.language import LION
from search_spaces.lion.operators import OPERATORS
from search_spaces.lion.programs import adamw, lion, momentum
from tests.search_spaces.lion.exporting import (
    MATRICES,
    SEGMENTS,
    as_exported,
    flat,
    give,
    optimizer_of,
    parameters,
    problem,
    quiet,
    trained,
)  # fmt: skip
from tests.search_spaces.lion.helpers import KNOWN, random_program, same

ANY = (1.0, 0.7, 0.1)
fractions = st.lists(st.floats(1e-6, 1.0), min_size=3, max_size=3).map(tuple)


def as_read(program: Program, fractions: tuple[float, ...]) -> tuple[float, ...]:
    """What an exported rule makes of lr = peak * fraction, where it reads fractions: lr / peak, which may differ from
    the one that lr came from in its last bit."""
    rate = rule_of(program).rate
    return tuple(rate.default * f / rate.default for f in fractions) if rate.fraction else fractions


def reference(
    program: Program, weights: torch.Tensor, gradients: list[torch.Tensor], fractions: tuple[float, ...]
) -> torch.Tensor:
    """Weights after the steps, by `kernels.programs.reference_step`."""
    code = lowered(program)
    slots = [torch.zeros_like(weights), torch.zeros_like(weights)]
    for gradient, fraction in zip(gradients, fractions, strict=True):
        result = reference_step(code, weights, gradient, slots, fraction, SEGMENTS, shapes=MATRICES)
        weights, slots = result.weights, result.slots
    return weights


def stepped(
    program: Program,
    weights: torch.Tensor,
    gradients: list[torch.Tensor],
    fractions: tuple[float, ...],
    **options: object,
) -> torch.Tensor:
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


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), fractions)
def test_a_random_program_is_the_reference_to_the_bit_at_any_fraction(
    seed: int, foreach: bool, fractions: tuple[float, ...]
) -> None:
    """But for programs whose rate stands among other factors of the update; see the test of those."""
    program = random_program(seed)
    expected = as_exported(program) if rule_of(program).rate.moved else program
    weights, gradients = problem(seed)
    found = stepped(program, weights, gradients, fractions, foreach=foreach)
    assert same(found, reference(expected, weights, gradients, as_read(program, fractions))), source(program, {})


@settings(max_examples=40, deadline=None)
@given(st.floats(1e-6, 1.0), st.floats(1e-6, 10.0))
def test_the_fraction_that_is_read_is_the_one_given_within_a_bit(fraction: float, peak: float) -> None:
    """So a scheduler that multiplies the peak by the search's own fractions gives the program as it was searched."""
    (read,) = (peak * fraction / peak,)
    assert abs(read - fraction) <= np.spacing(fraction)


@settings(max_examples=300, deadline=None)
@given(st.floats(1e-6, 1.0), st.floats(1e-6, 10.0))
def test_lr_is_the_fraction_read_times_the_peak_to_the_bit(fraction: float, peak: float) -> None:
    """So a rule that reads both reads what the program would at that one fraction."""
    lr = peak * fraction
    assert lr / peak * peak == lr


@pytest.mark.parametrize("program", KNOWN)
def test_known_programs_are_the_reference_at_any_fraction(program: Program) -> None:
    """The paper's discovered program divides lr by its peak, so its fraction may be off by a rounding."""
    weights, gradients = problem(3)
    found, expected = stepped(program, weights, gradients, ANY), reference(program, weights, gradients, ANY)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    assert same(found, reference(program, weights, gradients, as_read(program, ANY)))


MOVED = (
    "m = interp(g, v1, 0.9)\nv1 = sin(m)\nx = sign(m)\nx = mul(x, 0.3)\nx = mul(x, lr)\nupdate = mul(x, 0.5)",
    "x = mul(g, lr)\nupdate = mul(x, 0.3)",
    "m = interp(g, v1, 0.9)\nv1 = sinh(m)\nx = mul(m, 0.3)\nn = norm(g)\nx = mul(x, n)\nupdate = mul(x, lr)",
)


@pytest.mark.parametrize("text", MOVED)
def test_a_rate_among_other_factors_is_moved_within_rounding(text: str) -> None:
    program = Program.parse(text)
    assert rule_of(program).rate.moved
    weights, gradients = problem(4)
    found = stepped(program, weights, gradients, ANY)
    torch.testing.assert_close(found, reference(program, weights, gradients, ANY), rtol=1e-13, atol=1e-15)
    assert same(found, reference(as_exported(program), weights, gradients, as_read(program, ANY)))


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_every_operator_on_every_mixture_of_types(operator: str, foreach: bool) -> None:
    """Trees, leaves, scalars and literals, where the operator accepts them."""
    arity = OPERATORS[operator].arity
    mixtures = [("g", "w", "v1"), ("lr", "lr", "g"), ("g", "lr", "lr"), ("leaf", "leaf", "leaf"), ("leaf", "lr", 0.3)]
    mixtures += [("leaf", "g", "leaf"), (0.5, "g", 0.3), ("g", 0.3, "g"), ("lr", "leaf", 1.7), (0.5, 0.3, 0.2)]
    checked = 0
    for arguments in dict.fromkeys(mixture[:arity] for mixture in mixtures):
        text = ", ".join(map(str, arguments))
        program = Program.parse(
            f"leaf = norm(w)\nx = {operator}({text})\ny = mul(x, g)\nv1 = add(v1, y)\nupdate = mul(v1, lr)"
        )
        if LION.trace(program) is None:
            continue
        checked += 1
        weights, gradients = problem(7)
        found = stepped(program, weights, gradients, ANY, foreach=foreach)
        assert same(found, reference(program, weights, gradients, as_read(program, ANY))), source(program, {})
    assert checked


def test_orthogonalize_takes_weights_as_first_by_rest() -> None:
    """Singular values of a matrix end near 1 times the root of the longer side; a vector's root mean square is 1."""
    program = Program.parse("update = orthogonalize(g)\nupdate = mul(update, lr)")
    weights, gradients = problem(9)
    params = parameters(weights)
    before = [p.detach().clone() for p in params]
    trained(optimizer_of(program, params), params, gradients[:1])
    moved = [b - p.detach() for b, p in zip(before, params, strict=True)]
    for change, (rows, columns) in ((moved[0], MATRICES[0]), (moved[2], MATRICES[2])):
        values = torch.linalg.svdvals(change.reshape(rows, columns)) / max(rows, columns) ** 0.5
        assert ((values > 0.6) & (values < 1.3)).all()
    assert moved[1].square().mean().sqrt().item() == pytest.approx(1.0, abs=1e-6)


def reference_lion(
    p: torch.Tensor, g: torch.Tensor, m: torch.Tensor, lr: float, b1: float, b2: float, decay: float
) -> None:
    """Chen et al. 2023, the released torch implementation (google/automl, lion_pytorch.py)."""
    p.mul_(1 - lr * decay)
    update = m * b1 + g * (1 - b1)
    p.add_(torch.sign(update), alpha=-lr)
    m.mul_(b2).add_(g, alpha=1 - b2)


@pytest.mark.parametrize(("decay", "tolerance"), [(0.0, 0.0), (0.1, 1e-12)])
def test_lion_is_the_released_lion_for_a_thousand_steps(decay: float, tolerance: float) -> None:
    """On a least-squares problem, in float64: to the bit without decay; with it, w - (s + c w) r is w (1 - c r) - s r
    but for rounding."""
    inputs, targets = torch.randn((2, 32, 8), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = torch.zeros(8, 8, dtype=torch.float64)
    ours, theirs = torch.nn.Parameter(weights.clone()), weights.clone()
    average = torch.zeros_like(theirs)
    optimizer = optimizer_of(lion(0.002, decay, 0.9, 0.99), [ours])
    for _ in range(1000):
        ours.grad = inputs.T @ (inputs @ ours.detach() - targets) / 32
        gradient = inputs.T @ (inputs @ theirs - targets) / 32
        optimizer.step()
        reference_lion(theirs, gradient, average, 0.002, 0.9, 0.99, decay)
    assert theirs.abs().max() > 0.1
    torch.testing.assert_close(ours.detach(), theirs, rtol=0.0, atol=tolerance)


def test_keras_golden_value_of_lion() -> None:
    """keras-core PR 610: with lr 0.001, weights of 1 and positive gradients, every step takes off exactly lr."""
    parameter = torch.nn.Parameter(torch.ones(10, dtype=torch.float64))
    optimizer = optimizer_of(lion(), [parameter], lr=0.001, weight_decay=0.0)
    expected = torch.ones(10, dtype=torch.float64)
    for _ in range(10):
        parameter.grad = torch.arange(0.1, 1.1, 0.1, dtype=torch.float64)
        optimizer.step()
        expected -= 0.001
        assert torch.equal(parameter.detach(), expected)


def test_adamw_is_adamw_without_bias_correction() -> None:
    weights, gradients = problem(5, steps=20)
    params = parameters(weights)
    found = trained(optimizer_of(adamw(0.01, 0.1), params), params, gradients)
    w, m, v = weights.clone(), torch.zeros_like(weights), torch.zeros_like(weights)
    for g in gradients:
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        w = w * (1 - 0.01 * 0.1) - 0.01 * m / (v.sqrt() + 1e-8)
    torch.testing.assert_close(found, w, rtol=1e-12, atol=1e-14)


def test_momentum_is_sgd_of_torch() -> None:
    weights, gradients = problem(6, steps=20)
    ours, theirs = parameters(weights), parameters(weights)
    found = trained(optimizer_of(momentum(0.1, 0.01, 0.9), ours), ours, gradients)
    expected = trained(torch.optim.SGD(theirs, 0.1, 0.9, weight_decay=0.01), theirs, gradients)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_the_discovered_program_without_its_ornaments_is_lion() -> None:
    """The paper's simplification by hand: no clip, no arcsin, and two averages of one state are one."""
    b1, b2 = 0.9, 1.1
    ornate = Program.parse(
        f"v1 = interp(g, v2, {b1})\nm2 = mul(v1, v1)\nv2 = interp(g, v1, {b2})\na = sqrt(m2)\nupdate = div(v1, a)\n"
        "wd = mul(w, 0.46)\nupdate = add(update, wd)\nlr = mul(lr, 0.0002)\nupdate = mul(update, lr)"
    )
    weights, gradients = problem(8, steps=50)
    first, second = parameters(weights), parameters(weights)
    found = trained(optimizer_of(ornate, first), first, gradients)
    expected = trained(optimizer_of(lion(0.0002, 0.46, b1, b1 * b2), second), second, gradients)
    # steps of 2e-4; m / (|m| + 1e-8) is a sign but for the guard
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-6)
