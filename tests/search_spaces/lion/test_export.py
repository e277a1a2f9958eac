"""Exported optimizers: what the search evaluated, to the bit, with the manners of torch.optim."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.program import Program
from kernels.programs import reference_step
from search_spaces.lion.evaluator import lowered
from search_spaces.lion.export import export, rule_of, source
from search_spaces.lion.language import LION
from search_spaces.lion.programs import adamw, discovered, lion
from tests.search_spaces.lion.helpers import KNOWN, random_program, same

SHAPES = ((4, 8), (16,), (2, 4, 8))
"""Sizes are whole vectors: torch may round an element of `pow` by its place beyond the last whole one."""
SEGMENTS = (0, 32, 48, 112)
FRACTIONS = (1.0, 0.7, 0.1)


def module_of(program: Program, **origin: object) -> types.ModuleType:
    module = types.ModuleType("exported")
    exec(compile(source(program, origin), "exported.py", "exec"), module.__dict__)
    return module


def parameters(flat: torch.Tensor) -> list[torch.nn.Parameter]:
    parts = zip(SHAPES, SEGMENTS, SEGMENTS[1:], strict=False)
    return [torch.nn.Parameter(flat[start:end].reshape(shape).clone()) for shape, start, end in parts]


def give(params: list[torch.nn.Parameter], gradient: torch.Tensor) -> None:
    for parameter, start, end in zip(params, SEGMENTS, SEGMENTS[1:], strict=False):
        parameter.grad = gradient[start:end].reshape(parameter.shape).clone()


def flat(params: list[torch.nn.Parameter]) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in params])


def problem(seed: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, list[torch.Tensor]]:
    weights, *gradients = torch.randn((4, 112), dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return weights, gradients


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_it_is_the_reference_to_the_bit(seed: int) -> None:
    program = random_program(seed)
    weights, gradients = problem(seed)
    params = parameters(weights)
    optimizer = module_of(program).Discovered(params[:2])
    optimizer.add_param_group({"params": params[2:]})
    code, slots = lowered(program), [torch.zeros_like(weights), torch.zeros_like(weights)]
    for gradient, fraction in zip(gradients, FRACTIONS, strict=True):
        give(params, gradient)
        for group in optimizer.param_groups:
            group["lr"] = fraction
        optimizer.step()
        result = reference_step(code, weights, gradient, slots, fraction, SEGMENTS)
        weights, slots = result.weights, result.slots
        assert same(flat(params), weights), source(program, {})


@pytest.mark.parametrize(
    "operator", ["norm", "global_norm", "dot", "cosine_sim", "clip_by_global_norm", "power", "max"]
)
@pytest.mark.parametrize(
    "arguments", [("g", "w"), ("lr", "lr"), ("g", "lr"), ("leaf", "leaf"), ("leaf", "lr"), ("leaf", "g"), (0.5, 0.3)]
)
def test_reductions_and_mixtures_of_types(operator: str, arguments: tuple[str | float, ...]) -> None:
    """Each of them on trees, leaves, scalars and literals, where it accepts them."""
    if operator in ("norm", "global_norm"):
        arguments = arguments[:1]
    text = ", ".join(map(str, arguments))
    program = Program.parse(
        f"leaf = norm(w)\nx = {operator}({text})\ny = mul(x, g)\nv1 = add(v1, y)\nupdate = mul(v1, lr)"
    )
    if LION.trace(program) is None:
        pytest.skip("not a program: the bound of a clip is a scalar")
    for dtype in (torch.float64, torch.float32):
        weights, gradients = problem(7, dtype)
        params = parameters(weights)
        optimizer = module_of(program).Discovered(params)
        slots = [torch.zeros_like(weights), torch.zeros_like(weights)]
        for gradient in gradients:
            give(params, gradient)
            optimizer.step()
            result = reference_step(lowered(program), weights, gradient, slots, 1.0, SEGMENTS)
            weights, slots = result.weights, result.slots
            assert same(flat(params), weights)


def trained(
    optimizer: torch.optim.Optimizer, params: list[torch.nn.Parameter], gradients: list[torch.Tensor]
) -> torch.Tensor:
    for gradient in gradients:
        give(params, gradient)
        optimizer.step()
    return flat(params)


def test_every_constant_is_an_argument_and_a_group_option() -> None:
    module = module_of(lion(0.01, 0.1, 0.9, 0.99))
    weights, gradients = problem(0)
    params, others = parameters(weights), parameters(weights)
    changed = module.Discovered(params, beta1=0.5, weight_decay=0.0, base_lr=0.02, beta2=0.8)
    expected = module_of(lion(0.02, 0.0, 0.5, 0.8)).Discovered(others)
    assert same(trained(changed, params, gradients), trained(expected, others, gradients))
    split = module.Discovered([{"params": params[:1]}, {"params": params[1:], "weight_decay": 0.0}])
    assert [group["weight_decay"] for group in split.param_groups] == [0.1, 0.0]
    assert set(module.Discovered.CONSTANTS) == {"beta1", "beta2", "weight_decay", "base_lr"}


def test_the_state_continues_after_save_and_load() -> None:
    module, (weights, gradients) = module_of(adamw(0.01)), problem(1)
    whole, params = parameters(weights), parameters(weights)
    expected = trained(module.Discovered(whole), whole, gradients)
    first = module.Discovered(params)
    trained(first, params, gradients[:2])
    saved = pickle.loads(pickle.dumps(first.state_dict()))
    again = [torch.nn.Parameter(p.detach().clone()) for p in params]
    second = module.Discovered(again)
    second.load_state_dict(saved)
    assert same(trained(second, again, gradients[2:]), expected)
    assert copy.deepcopy(second).state_dict()["param_groups"] == second.state_dict()["param_groups"]


def test_only_live_state_is_kept() -> None:
    weights, gradients = problem(2)
    params = parameters(weights)
    optimizer = module_of(discovered()).Discovered(params)
    trained(optimizer, params, gradients)
    assert set(optimizer.state[params[0]]) == {"v2"}


@pytest.mark.parametrize("program", [adamw(0.01), discovered()])
def test_a_schedule_gives_the_fraction_and_the_first_lr_scales(program: Program) -> None:
    module, (weights, gradients) = module_of(program), problem(3)
    params = parameters(weights)
    optimizer = module.Discovered(params, lr=torch.tensor(1.0, dtype=torch.float64))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: FRACTIONS[min(step, 2)])
    slots = [torch.zeros_like(weights), torch.zeros_like(weights)]
    start = weights
    for gradient, fraction in zip(gradients, FRACTIONS, strict=True):
        give(params, gradient)
        optimizer.step()
        schedule.step()
        result = reference_step(lowered(program), weights, gradient, slots, fraction, SEGMENTS)
        weights, slots = result.weights, result.slots
    torch.testing.assert_close(flat(params), weights, rtol=1e-9, atol=1e-12)
    full, half = parameters(start), parameters(start)
    trained(module.Discovered(full), full, gradients[:1])
    trained(module.Discovered(half, lr=0.5), half, gradients[:1])
    torch.testing.assert_close(start - flat(half), 0.5 * (start - flat(full)), rtol=1e-9, atol=1e-16)


def test_closures_maximize_and_missing_gradients() -> None:
    module, (weights, gradients) = module_of(adamw(0.01, 0.0)), problem(4)
    down, up = parameters(weights), parameters(weights)
    trained(module.Discovered(down), down, gradients)
    trained(module.Discovered(up, maximize=True), up, [-gradient for gradient in gradients])
    assert same(flat(down), flat(up))
    params = parameters(weights)
    optimizer = module.Discovered(params)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (params[0] ** 2).sum()
        loss.backward()
        return loss

    losses = [float(optimizer.step(closure).detach()) for _ in range(20)]
    assert losses[-1] < losses[0]
    assert params[1].grad is None
    assert same(params[1].detach().flatten(), weights[32:48])


def test_what_it_cannot_do_is_refused() -> None:
    module = module_of(adamw())
    parameter = torch.nn.Parameter(torch.ones(3))
    with pytest.raises(ValueError, match="positive"):
        module.Discovered([parameter], lr=0.0)
    parameter.grad = torch.ones(3).to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        module.Discovered([parameter]).step()


def test_complex_weights_are_pairs_of_real_ones() -> None:
    module = module_of(discovered())
    values, gradients = torch.randn((2, 8, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    real = torch.nn.Parameter(values.clone())
    both = torch.nn.Parameter(torch.view_as_complex(values.clone()))
    real.grad, both.grad = gradients.clone(), torch.view_as_complex(gradients.clone())
    for parameter in (real, both):
        module.Discovered([parameter]).step()
    assert same(torch.view_as_real(both.detach()), real.detach())


def test_the_docstring_tells_the_origin_and_warns_of_coupling() -> None:
    module = module_of(discovered(), run="a-run", candidate=17, note='quotes """ and \\ are harmless')
    assert "run: a-run" in module.__doc__
    assert "candidate: 17" in module.__doc__
    assert "couples all tensors" in module.Discovered.__doc__
    assert "Warning" not in module_of(lion()).Discovered.__doc__
    per_tensor = Program.parse("n = norm(g)\nupdate = div(g, n)")
    assert "sharded" in module_of(per_tensor).Discovered.__doc__


def test_names_of_variables_cannot_hide_functions() -> None:
    program = Program.parse(
        "torch = sin(g)\nscalar = max(torch, 0.5)\nbeta = interp(scalar, w, 0.3)\nupdate = mul(beta, lr)"
    )
    assert {constant.name for constant in rule_of(program).constants} == {"constant", "beta_"}
    params = parameters(problem(6)[0])
    trained(module_of(program).Discovered(params), params, problem(6)[1])


@pytest.mark.parametrize("program", KNOWN)
def test_exported_source_is_clean(program: Program, tmp_path: Path) -> None:
    path = export(program, tmp_path / "folder" / "found.py", {"run": "x"})
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length=120", "--select=E,F,I", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


TRAINING = """
import sys, importlib.util, torch
spec = importlib.util.spec_from_file_location("found", sys.argv[1])
found = importlib.util.module_from_spec(spec)
spec.loader.exec_module(found)
torch.manual_seed(0)
inputs = torch.randn(256, 8)
wanted = (inputs[:, :1] * inputs[:, 1:2]).sign()
network = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
optimizer = found.Discovered(network.parameters())
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 150)
losses = []
for step in range(150):
    optimizer.zero_grad()
    loss = (network(inputs) - wanted).square().mean()
    loss.backward()
    optimizer.step()
    schedule.step()
    losses.append(loss.item())
assert losses[-1] < 0.5 * losses[0], losses
assert not {"evo", "search_spaces", "kernels"} & set(sys.modules)
"""


def test_a_fresh_process_trains_a_network_with_torch_and_the_file_alone(tmp_path: Path) -> None:
    path = export(adamw(0.02), tmp_path / "found.py", {"run": "x"})
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, str(path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
