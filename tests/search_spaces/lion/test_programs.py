"""Known programs compute what they are named after."""

from __future__ import annotations

import pytest
import torch

from evo.program import Program, canonical, live_slots, simplify
from search_spaces.lion.language import LION
from search_spaces.lion.programs import adamw, discovered, lion, momentum, muon
from tests.search_spaces.lion.helpers import KNOWN, same, steps

FRACTIONS = (1.0, 0.8, 0.5, 0.2, 0.05)


def problem() -> tuple[torch.Tensor, torch.Tensor]:
    weights, *gradients = torch.randn((6, 32), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return weights, torch.stack(gradients)


def test_adamw_is_adamw_without_bias_correction() -> None:
    weights, gradients = problem()
    found = steps(adamw(0.01, 0.1, 0.8, 0.95), weights, gradients, FRACTIONS, (0, 32))
    m = v = torch.zeros_like(weights)
    for gradient, fraction, after in zip(gradients, FRACTIONS, found, strict=True):
        m, v = 0.8 * m + 0.2 * gradient, 0.95 * v + 0.05 * gradient**2
        weights = weights - 0.01 * fraction * (m / (v.sqrt() + 1e-8) + 0.1 * weights)
        torch.testing.assert_close(after, weights, rtol=1e-12, atol=0)


def test_lion_is_the_released_lion() -> None:
    weights, gradients = problem()
    found = steps(lion(0.01, 0.1, 0.9, 0.99), weights, gradients, FRACTIONS, (0, 32))
    m = torch.zeros_like(weights)
    for gradient, fraction, after in zip(gradients, FRACTIONS, found, strict=True):
        weights = weights * (1 - 0.01 * fraction * 0.1)
        weights = weights - 0.01 * fraction * torch.sign(0.9 * m + 0.1 * gradient)
        m = 0.99 * m + 0.01 * gradient
        torch.testing.assert_close(after, weights, rtol=1e-12, atol=1e-15)


def test_one_step_of_lion_at_1e_3_from_1_is_0_999() -> None:
    """Golden value of Keras (keras-core pull request 610): positive gradients, rate 1e-3: x falls by the rate."""
    one = torch.ones(4, dtype=torch.float64)
    assert steps(lion(0.001, 0.0), one, [one], (1.0,), (0, 4))[0].tolist() == [0.999] * 4


def test_momentum_is_torch_sgd() -> None:
    weights, gradients = problem()
    parameter = torch.nn.Parameter(weights.clone())
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9, weight_decay=0.01)
    found = steps(momentum(0.1, 0.01, 0.9), weights, gradients, (1.0,) * 5, (0, 32))
    for gradient, after in zip(gradients, found, strict=True):
        parameter.grad = gradient.clone()
        optimizer.step()
        torch.testing.assert_close(after, parameter.data, rtol=1e-12, atol=0)


def test_muon_is_torchs_muon_within_its_half_precision() -> None:
    """torch rounds the products to bfloat16; its rate that matches AdamW's is 0.2 times ours, decay apart."""
    generator = torch.Generator().manual_seed(2)
    start, *gradients = torch.randn((6, 12, 20), dtype=torch.float64, generator=generator)
    parameter = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.Muon([parameter], lr=0.05, weight_decay=0.5, adjust_lr_fn="match_rms_adamw")
    flat = [gradient.reshape(-1) for gradient in gradients]
    found = steps(muon(0.01, 2.5), start.reshape(-1), flat, (1.0,) * 5, (0, 240), ((12, 20),))
    before = start.reshape(-1)
    for gradient, after in zip(gradients, found, strict=True):
        parameter.grad = gradient.clone()
        optimizer.step()
        theirs = parameter.data.reshape(-1)
        torch.testing.assert_close(after, theirs, rtol=0, atol=0.02 * 0.01 * 5)
        assert (after - before).square().mean().sqrt() > 0.5 * 0.01
        before = after


def test_the_discovered_program_loses_its_dead_statement_and_keeps_one_slot() -> None:
    short = simplify(LION, discovered())
    assert len(short) == len(discovered()) - 1
    assert "cosh" not in {step.operator for step in short.instructions}
    assert live_slots(LION, discovered()) == ("v2",)


def test_the_discovered_program_without_clip_and_arcsin_is_lion() -> None:
    """Its two chained averages are one: v <- b1 b2 v + ((1 - b2) + b2 (1 - b1)) g; (0.9, 1.1) gives 0.99 and 0.01."""
    text = str(discovered()).replace("0.899", "0.9").replace("1.109", "1.1")
    kept = [line for line in text.splitlines() if "arcsin" not in line and "clip" not in line]
    weights, gradients = problem()
    ours = steps(Program.parse("\n".join(kept)), weights, gradients, FRACTIONS, (0, 32))
    theirs = steps(lion(0.0002, 0.4602, 0.9, 0.99), weights, gradients, FRACTIONS, (0, 32))
    for a, b in zip(ours, theirs, strict=True):
        # m / |m| is guarded by 1e-8, so for small m it is a little less than a sign; a step is 2e-4
        torch.testing.assert_close(a, b, rtol=0, atol=1e-7)


@pytest.mark.parametrize("program", KNOWN)
def test_known_programs_are_valid_and_told_apart(program: Program) -> None:
    LION.infer(program)
    others = [other for other in KNOWN if other != program]
    assert canonical(LION, program) not in {canonical(LION, other) for other in others}


def test_written_otherwise_it_is_the_same_program() -> None:
    rewritten = Program.parse(
        """
        rate = mul(0.001, lr)
        junk = exp(w)
        minus = negative(g)
        a = square(minus)
        v2 = interp(a, v2, 0.999)
        v1 = interp(g, v1, 0.9)
        decay = mul(0.01, w)
        root = sqrt(v2)
        scaled = div(v1, root)
        update = add(decay, scaled)
        update = mul(rate, update)
        """
    )
    assert canonical(LION, rewritten) == canonical(LION, adamw())
    weights, gradients = problem()
    a, b = (steps(p, weights, gradients, FRACTIONS, (0, 32))[-1] for p in (rewritten, adamw()))
    assert same(a, b)
