"""Whatever is called, the caller's model, gradients, mode, hooks, buffers and random state are as they were."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from proxies.quantization import adaround, finetune, gather, layer_shapes, quantized, score
from tests.proxies.quantization.networks import images, small_net

BITS = {"conv1": 4, "conv2": 3, "fc": 4}


class Drawing(nn.Module):
    """Draws a random number whenever it runs, in evaluation mode too; counts its calls in a buffer and in Python."""

    def __init__(self):
        super().__init__()
        self.net = small_net()
        self.register_buffer("calls", torch.zeros(()))
        self.count = 0
        self.fail_at = None

    def forward(self, x):
        self.calls += 1
        self.count += 1
        if self.count == self.fail_at:
            raise RuntimeError("the model fails")
        return self.net(x) * (1 + 0.1 * torch.randn(()))


def prepared(model):
    """A model in a state that is easily lost: mixed modes, gradients, a frozen layer, a user's hook."""
    net = model.net if isinstance(model, Drawing) else model
    model.train()
    net.norm.eval()
    net.conv1.weight.requires_grad_(False)
    net.fc.weight.grad = torch.ones_like(net.fc.weight)
    net.conv2.register_forward_hook(lambda module, args, output: None)
    return model


def state(model):
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    hooks = {
        name: [list(module._forward_hooks), list(module._forward_pre_hooks), list(module._backward_hooks)]
        for name, module in model.named_modules()
    }
    return {
        "values": {name: (id(t), t.detach().clone(), t.requires_grad) for name, t in tensors.items()},
        "gradients": {n: None if p.grad is None else (id(p.grad), p.grad.clone()) for n, p in model.named_parameters()},
        "modes": {name: module.training for name, module in model.named_modules()},
        "classes": {name: type(module) for name, module in model.named_modules()},
        "hooks": hooks,
        "count": getattr(model, "count", None),
        "random": torch.get_rng_state(),
        "grad_mode": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
    }


def assert_same(before, after):
    for key in before:
        torch.testing.assert_close(after[key], before[key], rtol=0, atol=0) if key == "random" else None
        if key in ("values", "gradients"):
            assert before[key].keys() == after[key].keys()
            for name, old in before[key].items():
                new = after[key][name]
                assert (old is None) == (new is None), (key, name)
                if old is not None:
                    assert old[0] == new[0], f"{name} is another tensor"
                    assert torch.equal(old[1], new[1]), f"{name} has other values"
                    assert old[2:] == new[2:], f"{name} asks for a gradient otherwise"
        elif key != "random":
            assert before[key] == after[key], key


CALLS = {
    "layer_shapes": lambda model, x, prefix: layer_shapes(model, x),
    "gather": lambda model, x, prefix: gather(model, x),
    "score": lambda model, x, prefix: score(model, {prefix + k: v for k, v in BITS.items()}, x),
    "quantized": lambda model, x, prefix: quantized(model, {prefix + k: v for k, v in BITS.items()}, 8, x),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", ["plain", "drawing"])
def test_a_call_leaves_the_model_as_it_was(name, kind):
    model = prepared(small_net() if kind == "plain" else Drawing())
    x = images(3)
    given, before = x.clone(), state(model)
    CALLS[name](model, x, "" if kind == "plain" else "net.")
    assert_same(before, state(model))
    assert torch.equal(x, given)


@pytest.mark.parametrize(("name", "fail_at"), [("layer_shapes", 1), ("gather", 1), ("gather", 2), ("gather", 3)])
def test_so_does_one_that_fails(name, fail_at):
    """At the first pass, at that of the virtual gradient, and at Synflow's."""
    model = prepared(Drawing())
    model.fail_at = fail_at
    before = state(model)
    with pytest.raises(RuntimeError, match="the model fails"):
        CALLS[name](model, images(3), "net.")
    assert_same(before, state(model))


def test_so_does_a_loss_that_fails():
    model = prepared(small_net())
    before = state(model)

    def loss(outputs, targets):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        gather(model, images(3), loss=loss)
    assert_same(before, state(model))


def test_reconstruction_and_training_leave_both_models_as_they_were():
    model, x = prepared(small_net()), images(8)
    small = quantized(model, BITS, 8, x)
    small.fc.parametrizations.weight.original.grad = torch.zeros(4, 6)
    states = [state(model), state(small)]
    adaround(model, small, x, iterations=3)
    finetune(small, x, torch.arange(8) % 4, epochs=1)
    assert_same(states[0], state(model))
    assert_same(states[1], state(small))


def test_a_model_that_draws_is_decided_by_the_seed():
    first, again, other = (gather(Drawing(), images(3), collect=["gradients"], seed=s).loss for s in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_copy_is_a_copy():
    model = small_net()
    small = quantized(model, BITS, 8, images(3))
    kept = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
