"""What an export takes for the learning rate, for weight decay and for other options."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from evo.program import Program
from search_spaces.lion.export.flow import Flow, Statement, nonnegative
from search_spaces.lion.export.rule import rule_of
from search_spaces.lion.programs import adamw, discovered, lion, momentum
from tests.search_spaces.lion.exporting import (
    flat,
    give,
    module_of,
    optimizer_of,
    parameters,
    problem,
    quiet,
    trained,
)
from tests.search_spaces.lion.helpers import random_program, same


def rate(text: str) -> tuple[float, bool, bool, bool, bool]:
    found = rule_of(Program.parse(text)).rate
    return found.default, found.found, found.follows, found.fraction, found.moved


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r = mul(lr, 0.02)\nupdate = mul(g, r)", (0.02, True, True, False, False)),
        ("r = mul(lr, 0.02)\nx = mul(g, r)\nwd = mul(w, 0.1)\nwd = mul(wd, r)\nupdate = add(x, wd)",
         (0.02, True, True, False, False)),
        ("r = mul(lr, 0.02)\nx = mul(g, r)\nwd = mul(w, 0.1)\nupdate = add(x, wd)", (0.02, True, True, False, False)),
        ("r = mul(lr, 0.02)\nx = mul(g, r)\nm = mul(v1, 0.9)\nv1 = add(x, m)\nupdate = abs(v1)\nupdate = mul(v1, 1.0)",
         (0.02, True, True, False, False)),
        ("r = mul(lr, 0.02)\nx = min(g, r)\nupdate = mul(x, r)", (0.02, True, True, True, False)),
        ("r = mul(lr, 0.02)\nx = min(g, lr)\nupdate = mul(x, r)", (0.02, True, True, True, False)),
        ("x = sign(g)\nupdate = mul(x, lr)", (1.0, False, True, False, False)),
        ("x = mul(g, lr)\nupdate = mul(x, 0.3)", (0.3, True, True, False, True)),
        ("x = sign(g)\nupdate = mul(x, 0.03)", (0.03, True, True, False, False)),
        ("x = min(g, lr)\nupdate = mul(x, 0.03)", (0.03, True, False, True, False)),
        ("x = min(g, lr)\nupdate = sin(x)", (1.0, False, False, True, False)),
        ("update = sin(g)", (1.0, False, True, False, False)),
        ("a = mul(lr, 0.1)\nb = mul(lr, 0.2)\nx = mul(g, a)\ny = sign(g)\ny = mul(y, b)\nupdate = add(x, y)",
         (1.0, False, False, True, False)),
        ("r = mul(lr, -0.02)\nupdate = mul(g, r)", (1.0, False, False, True, False)),
    ],
)  # fmt: skip
def test_the_rate_is_told_from_other_reads_of_the_schedule(text: str, expected: tuple[object, ...]) -> None:
    """(default, found, follows the current lr, reads the fraction too, was moved)."""
    assert rate(text) == expected


@pytest.mark.parametrize(
    ("program", "default"), [(lion(), 0.0002), (adamw(), 0.001), (discovered(), 0.0002), (momentum(0.3), 0.3)]
)
def test_the_default_learning_rate_is_the_one_that_was_found(program: Program, default: float) -> None:
    optimizer = optimizer_of(program, parameters(problem(0)[0]))
    assert optimizer.param_groups[0]["lr"] == default


@pytest.mark.parametrize("seed", range(40))
def test_lr_scales_the_update_of_every_program_without_state_and_decay(seed: int) -> None:
    """Twice the lr at the same point of the schedule: twice the step, whatever else reads the fraction."""
    program = random_program(seed)
    default = rule_of(program).rate.default
    weights, gradients = problem(seed)
    moved = []
    for factor in (1.0, 2.0):
        params = parameters(weights)
        options = {} if not rule_of(program).decays else {"weight_decay": 0.0}
        trained(optimizer_of(program, params, lr=factor * default, **options), params, gradients[:1])
        moved.append(weights - flat(params))
    finite = torch.isfinite(moved[0]) & torch.isfinite(moved[1])
    torch.testing.assert_close(moved[1][finite], 2.0 * moved[0][finite], rtol=1e-6, atol=1e-9)


def test_a_fraction_is_of_the_schedulers_peak() -> None:
    program = Program.parse("r = mul(lr, 0.02)\nx = min(g, lr)\nupdate = mul(x, r)")
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def step(optimizer: torch.optim.Optimizer) -> float:
        """(fraction) * lr, if the gradient is above any fraction."""
        before = parameter.item()
        parameter.grad = torch.full_like(parameter, 100.0)
        optimizer.step()
        return before - parameter.item()

    plain = optimizer_of(program, [parameter], lr=0.5)
    plain.param_groups[0]["lr"] = 0.25
    assert step(plain) == pytest.approx(0.5 * 0.25)
    given = optimizer_of(program, [parameter], lr=0.5, peak_lr=1.0)
    assert step(given) == pytest.approx(0.5 * 0.5)
    cycle = optimizer_of(program, [parameter], lr=0.5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(cycle, max_lr=0.4, total_steps=10, cycle_momentum=False)
    low = cycle.param_groups[0]["lr"]
    assert step(cycle) == pytest.approx(low / 0.4 * low)
    highest = 0.0
    for _ in range(9):
        schedule.step()
        highest = max(highest, step(cycle))
    assert highest == pytest.approx(1.0 * 0.4)
    warm = optimizer_of(program, [parameter], lr=0.5)
    torch.optim.lr_scheduler.LambdaLR(warm, lambda step: 0.1)
    assert step(warm) == pytest.approx(0.1 * 0.05)


def test_a_fraction_needs_a_peak() -> None:
    with pytest.raises(ValueError, match="peak_lr"):
        optimizer_of(discovered(), [torch.nn.Parameter(torch.ones(2))], lr=0.0)
    optimizer_of(discovered(), [torch.nn.Parameter(torch.ones(2))], lr=0.0, peak_lr=0.1)
    optimizer_of(lion(), [torch.nn.Parameter(torch.ones(2))], lr=0.0)


def test_a_rate_that_is_built_in_warns_of_a_small_lr() -> None:
    module = module_of(Program.parse("x = sign(g)\nupdate = sin(x)"))
    parameter = torch.nn.Parameter(torch.ones(2))
    with pytest.warns(UserWarning, match="as found"):
        module.Discovered([parameter], lr=0.001)
    assert "1.0 is the rule as found" in " ".join(module.Discovered.__doc__.split())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("u = sign(g)\nwd = mul(w, 0.1)\nu = add(u, wd)\nr = mul(lr, 0.01)\nupdate = mul(u, r)", [(True, True, False)]),
        ("u = sign(g)\nwd = mul(w, 0.1)\nr = mul(lr, 0.01)\nu = mul(u, r)\nupdate = add(u, wd)",
         [(True, False, False)]),
        ("u = sign(g)\nu = add(u, w)\nr = mul(lr, 0.01)\nupdate = mul(u, r)", [(True, True, True)]),
        ("wd = mul(w, 0.1)\ng = add(g, wd)\nu = sign(g)\nr = mul(lr, 0.01)\nupdate = mul(u, r)",
         [(False, False, False)]),
        ("wd = mul(w, 0.1)\nx = add(g, wd)\nm = mul(v1, 0.9)\nv1 = add(m, x)\nr = mul(lr, 0.01)\nupdate = mul(v1, r)",
         [(False, True, False)]),
        ("wd = mul(w, 0.1)\nu = mul(g, wd)\nr = mul(lr, 0.01)\nupdate = mul(u, r)", []),
        ("wd = mul(w, 0.1)\nu = sub(g, wd)\nr = mul(lr, 0.01)\nupdate = mul(u, r)", []),
        ("a = mul(w, 0.1)\nx = add(g, a)\nx = sign(x)\nb = mul(w, 0.2)\nu = add(x, b)\nr = mul(lr, 0.01)\n"
         "update = mul(u, r)", [(False, False, False), (True, True, False)]),
    ],
)  # fmt: skip
def test_weight_decay_is_weights_times_a_constant_that_are_added(text: str, found: list[tuple[bool, ...]]) -> None:
    """(decoupled, multiplied by the rate, implicit) of each."""
    rule = rule_of(Program.parse(text))
    assert [(d.decoupled, d.rated, d.implicit) for d in rule.decays] == found
    assert ("weight_decay" in [c.name for c in rule.constants]) == bool(found)


@pytest.mark.parametrize("seed", range(60))
def test_no_weight_decay_in_a_group_removes_every_decay_that_was_found(seed: int) -> None:
    """Without gradient, state and decay, rules that are odd in the gradient leave the weights alone."""
    decays = (
        "a = mul(w, 0.1)\nx = add(g, a)\nm = interp(x, v1, 0.9)\nv1 = interp(x, v1, 0.99)\nx = sign(m)\n"
        "b = mul(w, 0.2)\nu = add(x, b)\nu = add(u, w)\nr = mul(lr, 0.01)\nupdate = mul(u, r)"
    )
    module = module_of(Program.parse(decays))
    weights, gradients = problem(seed)
    params, others = parameters(weights), parameters(weights)
    groups = [{"params": params[:1], "weight_decay": 0.0}, {"params": params[1:]}]
    trained(module.Discovered(groups), params, [0.0 * gradient for gradient in gradients])
    assert same(params[0].detach(), others[0].detach())
    assert not same(params[1].detach(), others[1].detach())


def test_a_rule_without_decay_is_given_that_of_adamw() -> None:
    program = Program.parse("x = sign(g)\nr = mul(lr, 0.01)\nupdate = mul(x, r)")
    weights, gradients = problem(1)
    off, on = parameters(weights), parameters(weights)
    trained(optimizer_of(program, off), off, gradients[:1])
    trained(optimizer_of(program, on, weight_decay=0.5), on, gradients[:1])
    torch.testing.assert_close(flat(on), flat(off) - 0.01 * 0.5 * weights, rtol=1e-12, atol=1e-14)


def test_every_constant_is_an_argument_and_a_group_option() -> None:
    module = module_of(lion(0.01, 0.1, 0.9, 0.99))
    weights, gradients = problem(0)
    params, others = parameters(weights), parameters(weights)
    changed = module.Discovered(params, beta1=0.5, weight_decay=0.0, lr=0.02, beta2=0.8)
    expected = module_of(lion(0.02, 0.0, 0.5, 0.8)).Discovered(others)
    assert same(trained(changed, params, gradients), trained(expected, others, gradients))
    split = module.Discovered([{"params": params[:1]}, {"params": params[1:], "beta1": 0.7}])
    assert [group["beta1"] for group in split.param_groups] == [0.9, 0.7]
    assert set(module.Discovered.CONSTANTS) == {"beta1", "beta2", "weight_decay"}


def test_constants_are_named_by_their_parts() -> None:
    text = (
        "m = mul(v1, 0.9)\nv1 = add(m, g)\na = add(w, 0.5)\ns = square(g)\ns = add(s, 0.001)\nx = div(v1, s)\n"
        "x = max(x, -2.0)\nx = min(x, 2.0)\ny = clip_by_global_norm(a, 3.0)\nz = power(y, 1.5)\nz = mul(z, 7.0)\n"
        "z = sin(z)\nx = mul(x, z)\nr = mul(lr, 0.01)\nupdate = mul(x, r)"
    )
    found = {c.name: c.value for c in rule_of(Program.parse(text)).constants}
    assert found == {
        "momentum": 0.9, "offset": 0.5, "damping": 0.001, "floor": -2.0, "ceiling": 2.0, "max_norm": 3.0,
        "exponent": 1.5, "scale": 7.0,
    }  # fmt: skip


def test_names_of_variables_cannot_hide_functions_or_options() -> None:
    program = Program.parse(
        "torch = sin(g)\nscalar = max(torch, 0.5)\nbeta = interp(scalar, w, 0.3)\nlr = mul(beta, lr)\n"
        "eps = div(lr, g)\nfraction = add(eps, 2.0)\nupdate = mul(fraction, 0.1)"
    )
    params = parameters(problem(6)[0])
    with quiet():
        optimizer = optimizer_of(program, params)
    give(params, problem(6)[1][0])
    optimizer.step()
    assert torch.isfinite(flat(params)).all()


def test_a_literal_is_not_taken_for_the_statement_of_its_number() -> None:
    """1.0 == 1 in Python: statement 1 times the literal 1.0 is no square."""
    statements = (Statement("a", "sin", ("g",)), Statement("b", "cos", (0,)), Statement("c", "mul", (1, 1.0)))
    flow = Flow((*statements, Statement("update", "mul", (2, 2))), {"update": 3})
    assert nonnegative(flow) == {3}
    assert flow.uses(1) == [(2, 0)]


@pytest.mark.parametrize(
    ("text", "warned", "above"),
    [
        ("a = exp2(lr)\nx = mul(g, a)\nupdate = mul(x, 0.03)", True, True),
        ("r = mul(lr, 0.02)\nx = min(g, lr)\nupdate = mul(x, r)", False, True),
        ("r = mul(lr, 0.02)\nx = sign(g)\nupdate = mul(x, r)", False, False),
        ("x = sign(g)\nupdate = mul(x, 0.03)", False, False),
    ],
)
def test_a_rule_that_reads_the_schedule_inside_says_what_schedulers_do_to_it(
    text: str, warned: bool, above: bool
) -> None:
    """(steps need not shrink with lr: a warning when it is built; fractions above 1: in the docstring)."""
    module = module_of(Program.parse(text))
    parameter = torch.nn.Parameter(torch.ones(2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module.Discovered([parameter])
    assert ["need not shrink" in str(one.message) for one in caught] == [True] * warned
    doc = " ".join(module.Discovered.__doc__.split())
    assert ("need not shrink the steps" in doc) == warned
    assert ("never saw a fraction above 1" in doc) == above
    if above:
        with pytest.warns(UserWarning, match="above peak_lr"):
            module.Discovered([parameter], lr=0.02, peak_lr=0.01)


@pytest.mark.parametrize("text", ["x = sign(g)\nupdate = sin(x)", "r = mul(lr, 0.02)\nupdate = mul(g, r)"])
def test_a_rate_that_is_no_number_is_refused_in_words(text: str) -> None:
    module = module_of(Program.parse(text))
    for wrong in ("1e-3", None, [0.1]):
        with pytest.raises(ValueError, match="it must be a number or a tensor"):
            module.Discovered([torch.nn.Parameter(torch.ones(2))], lr=wrong)
    module.Discovered([torch.nn.Parameter(torch.ones(2))], lr=np.float32(0.1))
