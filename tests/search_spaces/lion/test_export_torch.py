"""Exported optimizers keep the conventions of torch.optim."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import torch

from evo.program import Program
from search_spaces.lion.programs import adamw, discovered, lion, momentum
from tests.search_spaces.lion.exporting import (
    SEGMENTS,
    SHAPES,
    flat,
    give,
    module_of,
    optimizer_of,
    parameters,
    problem,
    quiet,
    trained,
)
from tests.search_spaces.lion.helpers import KNOWN, same

MUON = Program.parse(
    "v1 = interp(g, v1, 0.95)\nm = interp(g, v1, 0.95)\nu = orthogonalize(m)\nwd = mul(w, 0.01)\nu = add(u, wd)\n"
    "lr = mul(lr, 0.02)\nupdate = mul(u, lr)"
)
WHOLE = Program.parse(
    "n = norm(g)\nc = cosine_sim(g, v1)\nx = div(g, n)\nc = exp(c)\nx = mul(x, c)\nv1 = interp(x, v1, 0.9)\n"
    "y = arcsinh(v1)\nz = min(y, lr)\nr = mul(lr, 0.01)\nupdate = mul(z, r)"
)
ALL = (*KNOWN, MUON, WHOLE)


@pytest.mark.parametrize("program", ALL)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_lists_of_tensors_give_the_same_bits_as_one_at_a_time(program: Program, dtype: torch.dtype) -> None:
    weights, gradients = problem(1, dtype, steps=5)
    one, many = parameters(weights), parameters(weights)
    expected = trained(optimizer_of(program, one, foreach=False), one, gradients)
    assert same(trained(optimizer_of(program, many, foreach=True), many, gradients), expected)


def test_lists_are_made_of_tensors_of_one_dtype() -> None:
    weights, gradients = problem(2)
    found = []
    for foreach in (False, True):
        params = [torch.nn.Parameter(p.detach().to(d)) for p, d in zip(
            parameters(weights), (torch.float32, torch.float64, torch.float32), strict=True)]  # fmt: skip
        optimizer = optimizer_of(discovered(), params, foreach=foreach)
        for gradient in gradients:
            for p, start, end in zip(params, SEGMENTS, SEGMENTS[1:], strict=False):
                p.grad = gradient[start:end].reshape(p.shape).to(p.dtype)
            optimizer.step()
        found.append(torch.cat([p.detach().double().flatten() for p in params]))
    # shares of the norm are summed in another order
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("program", ALL)
@pytest.mark.parametrize("foreach", [False, True])
def test_lr_may_be_a_tensor(program: Program, foreach: bool) -> None:
    weights, gradients = problem(3)
    number, tensor = parameters(weights), parameters(weights)
    plain = optimizer_of(program, number)
    rate = torch.tensor(plain.param_groups[0]["lr"], dtype=torch.float64)
    other = optimizer_of(program, tensor, lr=rate, foreach=foreach, capturable=True)
    assert same(trained(other, tensor, gradients[:2]), trained(plain, number, gradients[:2]))
    # changed in place, as schedulers and captured graphs do
    rate.mul_(0.5)
    plain.param_groups[0]["lr"] *= 0.5
    assert same(trained(other, tensor, gradients[2:]), trained(plain, number, gradients[2:]))


@pytest.mark.parametrize("program", ALL)
@pytest.mark.parametrize("foreach", [False, True])
def test_no_tensor_is_read_by_the_host(program: Program, foreach: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a step can be captured in a graph: nothing asks a tensor for its value."""
    weights, gradients = problem(4)
    params = parameters(weights)
    rate = torch.tensor(0.01, dtype=torch.float64)
    optimizer = optimizer_of(program, params, lr=rate, foreach=foreach, capturable=True)

    def refuse(*_: object) -> None:
        raise AssertionError("a tensor was read")

    for name in ("item", "__bool__", "__float__", "__int__", "tolist", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    trained(optimizer, params, gradients)


@pytest.mark.parametrize("program", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("foreach", [False, True])
def test_half_precision_weights_are_those_of_float32_rounded(
    program: Program, dtype: torch.dtype, foreach: bool
) -> None:
    weights, gradients = problem(5, torch.float32, steps=1)
    weights, gradients = weights.to(dtype), [gradient.to(dtype) for gradient in gradients]
    half, single = parameters(weights), parameters(weights.float())
    optimizer = optimizer_of(program, half, foreach=foreach)
    found = trained(optimizer, half, gradients)
    expected = trained(optimizer_of(program, single), single, [gradient.float() for gradient in gradients])
    assert found.dtype == dtype
    assert torch.equal(found, expected.to(dtype))
    assert all(x.dtype == torch.float32 for x in optimizer.state[half[0]].values())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_state_is_loaded_without_rounding(dtype: torch.dtype) -> None:
    weights, gradients = problem(6, torch.float32, steps=4)
    weights, gradients = weights.to(dtype), [gradient.to(dtype) for gradient in gradients]
    whole, params = parameters(weights), parameters(weights)
    module = module_of(adamw(0.01))
    expected = trained(module.Discovered(whole), whole, gradients)
    first = module.Discovered(params)
    trained(first, params, gradients[:2])
    second = module.Discovered(params)
    second.load_state_dict(first.state_dict())
    assert second.state[params[0]]["v1"].dtype == torch.float32
    assert second.state[params[0]]["v1"] is not first.state[params[0]]["v1"]
    assert torch.equal(trained(second, params, gradients[2:]), expected)


@pytest.mark.parametrize("program", ALL)
@pytest.mark.parametrize("foreach", [False, True])
def test_a_state_dict_goes_round_and_training_continues_to_the_bit(program: Program, foreach: bool) -> None:
    module, (weights, gradients) = module_of(program), problem(7, steps=4)
    whole, params = parameters(weights), parameters(weights)
    with quiet():
        expected = trained(module.Discovered(whole, foreach=foreach), whole, gradients)
        first = module.Discovered(params, foreach=foreach)
        trained(first, params, gradients[:2])
        saved = pickle.loads(pickle.dumps(first.state_dict()))
        again = [torch.nn.Parameter(p.detach().clone()) for p in params]
        second = module.Discovered(again, lr=0.5, foreach=foreach)
    second.load_state_dict(saved)
    assert same(trained(second, again, gradients[2:]), expected)


def test_it_can_be_copied_and_pickled_whole() -> None:
    weights, gradients = problem(8, steps=4)
    params = parameters(weights)
    optimizer = optimizer_of(discovered(), params)
    trained(optimizer, params, gradients[:2])
    copied = copy.deepcopy(optimizer)
    pickled = pickle.loads(pickle.dumps(optimizer))
    expected = trained(optimizer, params, gradients[2:])
    for other in (copied, pickled):
        assert same(trained(other, other.param_groups[0]["params"], gradients[2:]), expected)


def test_options_that_an_older_pickle_lacks_are_set() -> None:
    optimizer = optimizer_of(lion(), parameters(problem(0)[0]))
    state = optimizer.__getstate__()
    for group in state["param_groups"]:
        del group["foreach"], group["capturable"], group["beta1"]
    optimizer.__setstate__(state)
    assert optimizer.param_groups[0]["beta1"] == 0.9
    assert optimizer.param_groups[0]["foreach"] is None


def test_only_live_state_is_kept() -> None:
    weights, gradients = problem(2)
    params = parameters(weights)
    optimizer = optimizer_of(discovered(), params)
    trained(optimizer, params, gradients)
    assert set(optimizer.state[params[0]]) == {"v2"}
    plain = optimizer_of(Program.parse("r = mul(lr, 0.1)\nupdate = mul(g, r)"), params)
    trained(plain, params, gradients)
    assert not plain.state_dict()["state"]


@pytest.mark.parametrize("foreach", [False, True])
def test_maximize_climbs(foreach: bool) -> None:
    weights, gradients = problem(4)
    down, up = parameters(weights), parameters(weights)
    trained(optimizer_of(adamw(0.01), down), down, gradients)
    trained(optimizer_of(adamw(0.01), up, maximize=True, foreach=foreach), up, [-gradient for gradient in gradients])
    assert same(flat(down), flat(up))
    assert all(torch.equal(p.grad, -g.grad) for p, g in zip(up, down, strict=True))


def test_parameters_without_gradient_are_left_alone() -> None:
    for program in ALL:
        for foreach in (False, True):
            params = parameters(problem(4)[0])
            before = params[1].detach().clone()
            optimizer = optimizer_of(program, params, foreach=foreach)
            optimizer.step()
            assert same(flat(params), problem(4)[0])
            give(params, problem(4)[1][0])
            params[1].grad = None
            optimizer.step()
            assert torch.equal(params[1].detach(), before)
            assert not torch.equal(params[0].detach().flatten(), problem(4)[0][:32])
            assert params[1] not in optimizer.state


def test_groups_may_be_empty_named_or_added() -> None:
    weights, gradients = problem(5)
    params = parameters(weights)
    named = [(f"layer{number}", p) for number, p in enumerate(params)]
    optimizer = optimizer_of(lion(), named)
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["layer0", "layer1", "layer2"]
    trained(optimizer, params, gradients)
    for foreach in (False, True):
        empty = optimizer_of(discovered(), [{"params": []}, {"params": params}], foreach=foreach)
        trained(empty, params, gradients)
    nothing = optimizer_of(discovered(), [{"params": []}])
    nothing.step()
    with pytest.raises(ValueError, match="empty parameter list"):
        optimizer_of(lion(), [])


def test_lone_numbers_and_empty_tensors_are_parameters() -> None:
    for program in ALL:
        for foreach in (False, True):
            for dtype in (torch.float32, torch.float64, torch.bfloat16):
                params = [torch.nn.Parameter(torch.ones(shape, dtype=dtype)) for shape in ((), (0,), (3, 0), (1, 1))]
                for p in params:
                    p.grad = torch.full_like(p, 0.5)
                optimizer = optimizer_of(program, params, lr=0.5, foreach=foreach)
                optimizer.step()
                assert params[0].shape == ()
                assert params[0].item() != 1.0
                assert params[0].item() == params[3].item() or program is MUON


@pytest.mark.parametrize("program", [p for p in ALL if p is not MUON])
@pytest.mark.parametrize("foreach", [False, True])
def test_complex_weights_are_pairs_of_real_ones(program: Program, foreach: bool) -> None:
    values, gradients = torch.randn((2, 8, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    real = torch.nn.Parameter(values.clone())
    both = torch.nn.Parameter(torch.view_as_complex(values.clone()))
    real.grad, both.grad = gradients.clone(), torch.view_as_complex(gradients.clone())
    for parameter in (real, both):
        optimizer = optimizer_of(program, [parameter], foreach=foreach)
        optimizer.step()
        optimizer.step()
    assert same(torch.view_as_real(both.detach()), real.detach())
    assert all(torch.is_complex(x) for x in optimizer.state[both].values())


def test_the_layout_of_weights_is_that_of_their_state() -> None:
    parameter = torch.nn.Parameter(torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last))
    parameter.grad = torch.ones_like(parameter)
    optimizer = optimizer_of(lion(), [parameter])
    optimizer.step()
    assert optimizer.state[parameter]["v1"].stride() == parameter.stride()


@pytest.mark.parametrize("program", [adamw(0.01), momentum(0.1), MUON, lion(), WHOLE, discovered()])
def test_gradients_pass_through_differentiable_steps(program: Program) -> None:
    """The derivative of the weights after three steps with respect to lr, against finite differences."""
    weights, gradients = problem(6)
    gradients = [0.1 * gradient for gradient in gradients]

    def final(rate: torch.Tensor, differentiable: bool) -> torch.Tensor:
        start = torch.zeros_like(weights, requires_grad=True)
        params = [(start + weights)[a:b].reshape(s) for s, a, b in zip(SHAPES, SEGMENTS, SEGMENTS[1:], strict=False)]
        if not differentiable:
            params = [torch.nn.Parameter(p.detach()) for p in params]
        options = {"peak_lr": 0.5} if program in (WHOLE, discovered()) else {}
        optimizer = optimizer_of(program, params, lr=rate, differentiable=differentiable, **options)
        for gradient in gradients:
            for p, a, b in zip(params, SEGMENTS, SEGMENTS[1:], strict=False):
                p.grad = gradient[a:b].reshape(p.shape)
            optimizer.step()
        return sum((p**2).sum() for p in params)

    rate = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(final(rate, True), rate)
    with torch.no_grad():
        high, low = final(rate + 1e-6, False), final(rate - 1e-6, False)
    assert slope.item() == pytest.approx(((high - low) / 2e-6).item(), rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, "lr is -1.0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": torch.ones(1)}, "shape"),
        ({"beta1": float("inf")}, "beta1"),
        ({"beta2": "0.9"}, "beta2"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"eps": -1e-8}, "eps"),
        ({"foreach": True, "differentiable": True}, "exclude"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    with pytest.raises(ValueError, match=message):
        optimizer_of(adamw(), [parameter], **options)
    with pytest.raises(ValueError, match=message):
        optimizer_of(adamw(), [{"params": [parameter], **options}])


def test_a_refused_group_is_not_kept() -> None:
    optimizer = optimizer_of(adamw(), [torch.nn.Parameter(torch.ones(3))])
    other = torch.nn.Parameter(torch.ones(3))
    with pytest.raises(ValueError, match="weight_decay"):
        optimizer.add_param_group({"params": [other], "weight_decay": -1.0})
    optimizer.add_param_group({"params": [other], "weight_decay": 1.0})
    assert len(optimizer.param_groups) == 2


@pytest.mark.parametrize("foreach", [False, True])
def test_sparse_gradients_are_refused(foreach: bool) -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.grad = torch.ones(3).to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer_of(lion(), [parameter], foreach=foreach).step()


def test_betas_beyond_one_extrapolate() -> None:
    optimizer_of(lion(beta2=1.109), [torch.nn.Parameter(torch.ones(3))], beta1=-0.1)


def test_a_rule_that_couples_tensors_warns_and_others_do_not() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    with pytest.warns(UserWarning, match="sharded") as caught:
        module_of(discovered()).Discovered([parameter])
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for program in (adamw(), lion(), momentum(), MUON):
            module_of(program).Discovered([parameter])


def test_hooks_run() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.grad = torch.ones(3)
    optimizer = optimizer_of(lion(), [parameter])
    seen: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    optimizer.step()
    assert seen == ["before", "after"]
