"""`score` and `score_many`: no side effects, seeds, independence of what else is asked for, types, errors."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from proxies.errors import ProxyError, UnknownProxyError, UnsupportedModelError
from proxies.network import METRICS, NEEDS, Settings, score, score_many
from proxies.network.scoring import FORMULAS
from tests.proxies.network.networks import CLASSES, Residual, batch, residual


class Drawing(nn.Module):
    """Draws whenever it runs, counts its calls in a buffer and in Python, fails when told, changes its input."""

    def __init__(self) -> None:
        super().__init__()
        self.net = residual("inplace")
        self.dropout = nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(()))
        self.count = 0
        self.fail_at: int | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.count += 1
        if self.count == self.fail_at:
            raise RuntimeError("the model fails")
        x = self.dropout(x)
        x += 0.01 * torch.randn(()).to(x)
        return F.dropout(self.net(x), 0.1, self.training)


def prepared(model: nn.Module) -> nn.Module:
    """In a state that is easily lost: mixed modes, gradients, a frozen layer, a user's hook, moved statistics."""
    net = model.net if isinstance(model, Drawing) else model
    net.train()
    net.stem[1].eval()
    net.stem[1].running_mean.fill_(0.3)
    net.blocks[0].first.weight.requires_grad_(False)
    net.classifier.weight.grad = torch.ones_like(net.classifier.weight)
    net.blocks[1].register_forward_hook(lambda module, args, output: None)
    return model


def state(model: nn.Module) -> dict[str, object]:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "values": {
            name: (id(t), t.dtype, t.requires_grad, t._version, t.grad_fn, pickle.dumps(t.detach().numpy()))
            for name, t in tensors.items()
        },
        "gradients": {
            n: None if p.grad is None else (id(p.grad), p.grad.tolist()) for n, p in model.named_parameters()
        },
        "modes": {name: module.training for name, module in model.named_modules()},
        "modules": {name: (id(module), type(module), sorted(vars(module))) for name, module in model.named_modules()},
        "hooks": {
            name: [list(module._forward_hooks), list(module._forward_pre_hooks), list(module._backward_hooks)]
            for name, module in model.named_modules()
        },
        "count": getattr(model, "count", None),
        "random": torch.get_rng_state().tolist(),
        "grad": torch.is_grad_enabled(),
    }


def unchanged(before: dict[str, object], after: dict[str, object]) -> None:
    for key in before:
        assert before[key] == after[key], key


@pytest.mark.parametrize("name", [*METRICS, None])
def test_the_model_the_batch_and_the_random_state_are_as_they_were(name):
    model, (images, labels) = prepared(Drawing()), batch()
    before, given = state(model), (images.clone(), labels.clone())
    score(model, (images, labels), None if name is None else [name])
    unchanged(before, state(model))
    assert torch.equal(images, given[0])
    assert torch.equal(labels, given[1])
    assert images.grad is None
    assert not images.requires_grad


@pytest.mark.parametrize("fail_at", range(1, 9))
def test_also_when_the_model_fails_in_any_pass(fail_at):
    model = prepared(Drawing())
    model.fail_at = fail_at
    before = state(model)
    with pytest.raises(RuntimeError, match="the model fails"):
        score(model, batch())
    unchanged(before, state(model))


def test_also_under_no_grad_and_inference_mode_and_for_a_frozen_model():
    expected = score(residual(), batch())
    with torch.no_grad():
        assert score(residual(), batch()) == expected
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        assert score(residual(), batch()) == expected
    assert score(residual().eval().requires_grad_(False), batch()) == expected


@pytest.mark.parametrize("name", METRICS)
def test_a_value_does_not_depend_on_what_else_is_asked_for(name):
    everything = score(Drawing(), batch(), seed=4)
    assert score(Drawing(), batch(), [name], seed=4) == {name: everything[name]}


def test_many_are_scored_as_each_alone_and_lazily():
    models = [residual(seed=seed) for seed in range(3)]
    together = score_many((model for model in models), batch(), seed=2)
    assert list(together) == list(METRICS)
    for place, model in enumerate(models):
        alone = score(model, batch(), seed=2)
        for name, column in together.items():
            assert column.dtype == np.float64
            assert column.shape == (3,)
            assert column[place] == alone[name]
    assert score_many([], batch(), ["snip"])["snip"].shape == (0,)


def test_the_seed_decides_what_is_random_and_nothing_else():
    first, again, other = (score(residual(), batch(), seed=seed) for seed in (0, 0, 1))
    assert first == again
    for name, metric in METRICS.items():
        assert (first[name] != other[name]) == metric.random, name


def test_the_global_generator_has_no_say():
    values = []
    for seed in (0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            values.append(score(Drawing(), batch()))
    assert values[0] == values[1]


def test_the_default_type_has_no_say():
    model, data = residual(), batch()
    expected = score(model, data)
    torch.set_default_dtype(torch.float64)
    try:
        assert score(model, data) == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_float64_models_agree_with_float32_ones():
    images, labels = batch(12)
    single = score(residual(), (images, labels))
    double = score(residual().double(), (images.double(), labels))
    for name, value in double.items():
        assert single[name] == pytest.approx(value, rel=2e-3, abs=1e-3), name


def test_results_are_plain_finite_floats_in_the_order_asked_for():
    found = score(residual(), batch(), ("zico", "params", "zico"))
    assert list(found) == ["zico", "params"]
    assert all(type(value) is float and math.isfinite(value) for value in score(residual(), batch()).values())


def test_a_dead_network_has_nan_or_documented_values_and_no_error():
    class Dead(Residual):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.classifier(self.blocks(torch.zeros_like(self.stem(x))).mean((2, 3)))

    found = score(Dead(), batch())
    for name in ("synflow", "naswot", "jacov", "epe_nas", "zen"):
        assert math.isnan(found[name]), name
    assert found["snip"] == found["grad_norm"] - 0 or found["snip"] >= 0
    assert found["az_trainability"] < 0
    assert found["zico"] >= 0


def test_overflow_is_nan():
    model = residual()
    with torch.no_grad():
        model.classifier.weight.fill_(3e38)
    found = score(model, batch())
    assert math.isnan(found["grad_norm"])


def test_every_metric_says_what_it_is():
    assert set(FORMULAS) == set(METRICS)
    assert len(METRICS) == 22
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.formula
        assert metric.needs <= set(NEEDS)
        assert metric.cost
        assert metric.direction in (-1, 1)
    assert {name for name, metric in METRICS.items() if metric.direction < 0} == {"ntk_cond", "plain"}


def test_names_are_checked():
    with pytest.raises(UnknownProxyError, match="snipp") as caught:
        score(residual(), batch(), ["snipp"])
    assert "'snip'" in caught.value.hint
    for wrong in ("snip", []):
        with pytest.raises(ProxyError):
            score(residual(), batch(), wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:1], y[:1]), "1 sample"),
        (lambda x, y: (x, y[:-1]), "same n"),
        (lambda x, y: (x, y - 1), "a label is -1"),
        (lambda x, y: (x, y + CLASSES), "has 4 classes"),
        (lambda x, y: (x, y.float()), "whole numbers"),
        (lambda x, y: (x.int(), y), "floating"),
        (lambda x, y: (torch.where(x > 1, math.nan, x), y), "finite"),
        (lambda x, y: (x.double(), y), "float64"),
        (lambda x, y: x, "pair"),
        (lambda x, y: (x, y, y), "pair"),
    ],
)
def test_batches_are_checked(change, message):
    with pytest.raises(ProxyError, match=message):
        score(residual(), change(*batch()))


def test_models_are_checked():
    class Pair(Residual):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x), x

    with pytest.raises(ProxyError, match="logits"):
        score(Pair(), batch(), ["snip"])
    with pytest.raises(UnsupportedModelError, match="no Conv2d"):
        score(nn.Sequential(nn.Flatten(), nn.Softmax(1)), batch(4, (CLASSES,)), ["snip"])
    normalised = residual()
    torch.nn.utils.parametrizations.weight_norm(normalised.classifier)
    with pytest.raises(UnsupportedModelError, match="classifier"):
        score(normalised, batch(), ["snip"])
    with pytest.raises(UnsupportedModelError, match="lazy"):
        score(nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), batch(), ["flops"])
    graphed = residual()
    graphed.kept = graphed.classifier.weight * 2
    with pytest.raises(UnsupportedModelError, match="copied"):
        score(graphed, batch(), ["snip"])


def test_settings_are_checked():
    for wrong in (
        {"zico_parts": 1}, {"swap_samples": 1}, {"swap_samples": 21}, {"swap_mu": 1.0}, {"zen_step": 0.0},
        {"swap_mu": 1.0, "swap_sigma": 0.0},
    ):  # fmt: skip
        with pytest.raises(ProxyError):
            Settings(**wrong)


def test_parameters_and_l2_norm_of_shared_layers_count_once():
    shared = nn.Linear(6, 6)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(6, CLASSES))
    found = score(model, batch(4, (6,)), ["params", "l2_norm"])
    assert found["params"] == 42 + 7 * CLASSES
    assert found["l2_norm"] == pytest.approx(float((shared.weight.norm() + model[3].weight.norm()).detach()))


def test_the_caller_s_model_can_be_trained_afterwards():
    model = residual()
    twin = copy.deepcopy(model)
    images, labels = batch()
    score(model, (images, labels))
    for each in (model, twin):
        F.cross_entropy(each(images), labels).backward()
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine.grad, theirs.grad)
