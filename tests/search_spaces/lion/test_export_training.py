"""Exported optimizers in the loops that people train with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as schedulers

from evo.program import Program
from search_spaces.lion.export import export
from search_spaces.lion.programs import adamw, discovered, lion
from tests.search_spaces.lion.exporting import flat, module_of, optimizer_of, parameters, problem, trained
from tests.search_spaces.lion.helpers import same

MUON = Program.parse(
    "v1 = interp(g, v1, 0.95)\nu = orthogonalize(v1)\nwd = mul(w, 0.01)\nu = add(u, wd)\nlr = mul(lr, 0.02)\n"
    "update = mul(u, lr)"
)
FOUR = (adamw(0.01), lion(0.002), discovered(), MUON)


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 1))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
    return inputs, (inputs[:, :1] * inputs[:, 1:2]).sign()


def loss_of(model: nn.Module) -> torch.Tensor:
    inputs, targets = data()
    return (model(inputs) - targets).square().mean()


def backward(model: nn.Module) -> float:
    model.zero_grad()
    loss = loss_of(model)
    loss.backward()
    return loss.item()


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


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
assert not {"evo", "search_spaces", "kernels", "numpy.testing"} & set(sys.modules)
"""


def test_a_fresh_process_trains_a_network_with_torch_and_the_file_alone(tmp_path: Path) -> None:
    path = export(adamw(0.02), tmp_path / "found.py", {"run": "x"})
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, str(path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], object]] = {
    "lambda": lambda o: schedulers.LambdaLR(o, lambda step: 0.5**step),
    "cosine": lambda o: schedulers.CosineAnnealingLR(o, 6),
    "one cycle": lambda o: schedulers.OneCycleLR(o, max_lr=o.defaults["lr"], total_steps=8, cycle_momentum=False),
    "plateau": lambda o: schedulers.ReduceLROnPlateau(o, factor=0.25, patience=0, threshold=10.0),
    "warm-up": lambda o: schedulers.SequentialLR(
        o, [schedulers.LinearLR(o, 0.25, total_iters=2), schedulers.CosineAnnealingLR(o, 6)], [2]
    ),
}


@pytest.mark.parametrize("program", [adamw(0.01), lion(), MUON])
@pytest.mark.parametrize("name", sorted(SCHEDULERS))
@pytest.mark.parametrize("tensor", [False, True])
def test_schedulers_of_torch_work_as_with_any_optimizer(program: Program, name: str, tensor: bool) -> None:
    """The step is what a fresh rate would give: a scheduler's lr against the same lr set by hand."""
    start, gradients = problem(3, steps=6)
    scheduled, by_hand = parameters(start), parameters(start)
    default = optimizer_of(program, parameters(start)).defaults["lr"]
    rate = torch.tensor(default, dtype=torch.float64) if tensor else default
    optimizer, other = optimizer_of(program, scheduled, lr=rate), optimizer_of(program, by_hand)
    schedule = SCHEDULERS[name](optimizer)
    rates = []
    for step, gradient in enumerate(gradients):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        other.param_groups[0]["lr"] = rates[-1]
        trained(optimizer, scheduled, [gradient])
        trained(other, by_hand, [gradient])
        schedule.step(float(step)) if name == "plateau" else schedule.step()  # type: ignore[attr-defined]
    assert len(set(rates)) > 3
    assert same(flat(scheduled), flat(by_hand))


def test_one_cycle_with_momentum_is_refused_by_torch_with_a_hint_in_the_docstring() -> None:
    module = module_of(lion())
    optimizer = module.Discovered(parameters(problem(0)[0]))
    with pytest.raises(ValueError, match="momentum"):
        schedulers.OneCycleLR(optimizer, max_lr=0.1, total_steps=8)
    assert "cycle_momentum=False" in module.Discovered.__doc__


@pytest.mark.parametrize("program", FOUR)
def test_the_closure_style_of_lightning_trains(program: Program) -> None:
    """step(closure), where the closure clears gradients, computes the loss and goes backward; as a plain loop does."""
    plain, closed = network(), network()
    first = optimizer_of(program, list(plain.parameters()))
    second = optimizer_of(program, list(closed.parameters()))

    def closure() -> torch.Tensor:
        second.zero_grad()
        loss = loss_of(closed)
        loss.backward()
        return loss

    losses = []
    for _ in range(30):
        backward(plain)
        first.step()
        with torch.no_grad():
            losses.append(second.step(closure).item())
    assert torch.equal(weights(plain), weights(closed))
    assert losses[-1] < losses[0]
    assert first.step() is None


@pytest.mark.parametrize("program", FOUR)
def test_grad_scaler_unscales_and_skips_overflow(program: Program) -> None:
    plain, scaled = network(), network()
    first = optimizer_of(program, list(plain.parameters()))
    second = optimizer_of(program, list(scaled.parameters()))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(5):
        backward(plain)
        first.step()
        second.zero_grad()
        scaler.scale(loss_of(scaled)).backward()
        scaler.step(second)
        scaler.update()
    torch.testing.assert_close(weights(plain), weights(scaled))
    before = weights(scaled)
    second.zero_grad()
    (scaler.scale(loss_of(scaled)) * float("inf")).backward()
    scaler.step(second)
    scaler.update()
    assert torch.equal(weights(scaled), before)
    assert scaler.get_scale() == 512.0


def compiled_is_eager(program: Program, backend: str, foreach: bool) -> None:
    start, gradients = problem(5, torch.float32, steps=4)
    eager, fast = parameters(start), parameters(start)
    rate = torch.tensor(0.01)
    expected = trained(optimizer_of(program, eager, lr=rate.clone()), eager, gradients)
    optimizer = optimizer_of(program, fast, lr=rate, foreach=foreach, capturable=True)
    torch._dynamo.reset()
    step = torch.compile(optimizer.step, backend=backend)
    for gradient in gradients:
        for p, part in zip(fast, gradient.split([p.numel() for p in fast]), strict=True):
            p.grad = part.reshape(p.shape).clone()
        step()
    torch.testing.assert_close(flat(fast), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("program", "backend", "foreach"),
    [
        (lion(0.002), "eager", False),
        (adamw(0.01), "eager", True),
        (MUON, "aot_eager", True),
        (discovered(), "aot_eager", False),
        (discovered(), "eager", True),
    ],
)
def test_a_compiled_step_is_the_step(program: Program, backend: str, foreach: bool) -> None:
    compiled_is_eager(program, backend, foreach)


@pytest.mark.slow
def test_a_step_compiled_by_inductor_is_the_step() -> None:
    compiled_is_eager(adamw(0.01), "inductor", True)


@pytest.mark.parametrize("program", FOUR)
def test_the_decay_split_of_timm(program: Program) -> None:
    """create_optimizer_v2: vectors in a group without decay, 0 as the default, lr and weight_decay by keyword."""
    model = network()
    plain = [p for p in model.parameters() if p.ndim <= 1]
    decayed = [p for p in model.parameters() if p.ndim > 1]
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": 0.5}]
    optimizer = optimizer_of(program, groups, lr=0.1, weight_decay=0.0)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.5]
    before = [p.detach().clone() for p in (*plain, *decayed)]
    for p in (*plain, *decayed):
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for p, old in zip((*plain, *decayed), before, strict=True):
        torch.testing.assert_close(p.detach(), old if p.ndim <= 1 else old * (1 - 0.1 * 0.5))


@pytest.mark.parametrize("program", FOUR)
def test_save_and_load_in_the_middle_of_training_changes_nothing(program: Program, tmp_path: Path) -> None:
    """Weights, optimizer and schedule through a file, then the same bits as without a break."""

    def built(model: nn.Module) -> tuple[torch.optim.Optimizer, schedulers.LRScheduler]:
        optimizer = optimizer_of(program, list(model.parameters()))
        return optimizer, schedulers.CosineAnnealingLR(optimizer, 20)

    def train(model: nn.Module, optimizer: torch.optim.Optimizer, schedule: schedulers.LRScheduler) -> None:
        for _ in range(10):
            backward(model)
            optimizer.step()
            schedule.step()

    whole = network()
    parts = built(whole)
    train(whole, *parts)
    train(whole, *parts)
    first = network()
    optimizer, schedule = built(first)
    train(first, optimizer, schedule)
    saved = {"model": first.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    torch.save(saved, tmp_path / "checkpoint.pt")
    loaded = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    second = network(seed=7)
    optimizer, schedule = built(second)
    second.load_state_dict(loaded["model"])
    optimizer.load_state_dict(loaded["optimizer"])
    schedule.load_state_dict(loaded["schedule"])
    train(second, optimizer, schedule)
    assert torch.equal(weights(second), weights(whole))
