"""The quantized model: rounds what it says, keeps its structure; rounding learned, and training through it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from proxies.errors import BitConfigError, ProxyError, UnsupportedModelError
from proxies.quantization import (
    ActivationScheme,
    WeightScheme,
    adaround,
    finetune,
    fit_activation,
    fit_weight,
    quantizable,
    quantized,
    quantized_layers,
)
from proxies.quantization.quantizer import FakeQuantizer, float_weight, input_quantizer, weight_quantizer
from tests.proxies.quantization.networks import images, seeded, small_net

BITS = {"fc": 4, "conv1": 2, "conv2": 3}


def labels_of(net, x):
    with torch.no_grad():
        return net(x).argmax(1)


def test_weights_and_inputs_are_rounded_layer_by_layer():
    net, x = small_net(), images(6)
    small = quantized(net, BITS, 5, x, activations=ActivationScheme(scale="minmax"))
    for name, bits in BITS.items():
        weight = net.get_submodule(name).weight
        torch.testing.assert_close(small.get_submodule(name).weight, fit_weight(weight, bits).quantize(weight))
    with torch.no_grad():
        given = fit_activation(x, 5, ActivationScheme(scale="minmax")).quantize(x)
        first = nn.functional.conv2d(given, small.conv1.weight, padding=1)
        torch.testing.assert_close(small.conv1(x), first)
    assert isinstance(small.conv1, nn.Conv2d)
    assert list(quantized_layers(small)) == ["conv1", "conv2", "fc"]


def test_many_bits_are_the_float_model():
    net, x = small_net(), images(6)
    small = quantized(net, dict.fromkeys(BITS, 16), 16, x, activations=ActivationScheme(scale="minmax"))
    torch.testing.assert_close(small(x), net(x), rtol=1e-3, atol=1e-4)


def test_fewer_bits_are_further_from_it():
    net, x = small_net(), images(6)
    errors = [(quantized(net, dict.fromkeys(BITS, b), None)(x) - net(x)).square().mean() for b in (2, 4, 8)]
    assert errors[0] > errors[1] > errors[2] > 0


def test_bits_of_activations_by_layer_or_none():
    net, x = small_net(), images(6)
    small = quantized(net, BITS, {"conv1": 8, "conv2": 2, "fc": 4}, x)
    assert input_quantizer(small.conv2).high == 3
    assert input_quantizer(quantized(net, BITS, None).conv2) is None
    with pytest.raises(ProxyError, match="calibration"):
        quantized(net, BITS, 8)
    with pytest.raises(BitConfigError, match="conv2"):
        quantized(net, BITS, {"conv1": 8, "fc": 4}, x)


def test_layers_left_out_stay_float():
    net, x = small_net(), images(6)
    small = quantized(net, {"conv2": 2}, 8, x, layers=["conv2"])
    assert list(quantized_layers(small)) == ["conv2"]
    assert torch.equal(small.conv1.weight, net.conv1.weight)
    with pytest.raises(BitConfigError, match="no bits for layer 'fc'"):
        quantized(net, {"conv1": 2, "conv2": 2}, None)


def test_the_same_seed_gives_the_same_model():
    net, x = small_net(), images(64)
    scheme = ActivationScheme(samples=50)
    scales = [
        float(input_quantizer(quantized(net, BITS, 4, x, activations=scheme, seed=seed).conv2).scale)
        for seed in (0, 0, 1, 2)
    ]
    assert scales[0] == scales[1]
    assert len(set(scales)) > 1


def test_a_quantized_model_can_be_copied_saved_and_not_quantized_again():
    net, x = small_net(), images(4)
    small = quantized(net, BITS, 8, x)
    assert torch.equal(copy.deepcopy(small)(x), small(x))
    other = quantized(small_net(seed=9), BITS, 8, images(4, seed=5))
    other.load_state_dict(small.state_dict())
    assert torch.equal(other(x), small(x))
    with pytest.raises(UnsupportedModelError, match="parametrized"):
        quantizable(small)
    with pytest.raises(UnsupportedModelError, match="no quantized layer"):
        quantized_layers(net)


def test_values_that_are_not_finite_are_named_by_layer():
    net, x = small_net(), images(4)
    x[0, 0, 0, 0] = float("inf")
    with pytest.raises(ProxyError, match="the input of conv1"):
        quantized(net, BITS, 8, x)


@pytest.mark.parametrize("symmetric", [True, False])
def test_gradients_pass_the_rounding_and_stop_at_the_clipping(symmetric):
    x = torch.tensor([-9.0, -0.3, 0.4, 9.0])
    grid = fit_weight(torch.tensor([[-1.0, 1.0]]), 3, WeightScheme("tensor", symmetric, "minmax"))
    quantizer = FakeQuantizer(grid)
    given = x.clone()[None].requires_grad_(True)
    quantizer(given).sum().backward()
    assert given.grad.tolist() == [[0.0, 1.0, 1.0, 0.0]]


def test_a_learned_scale_has_the_gradient_of_lsq():
    """Esser et al. (2020), equation 3: round(v/s) - v/s inside, the bound outside; here by log s, over sqrt(N Q)."""
    v = torch.tensor([[0.4, -1.3, 9.0]])
    grid = fit_weight(torch.tensor([[-1.5, 1.5]]), 3, WeightScheme("tensor", True, "minmax"))
    s = float(grid.scale)
    assert s == 0.5
    quantizer = FakeQuantizer(grid)
    log_scale = quantizer.learn_scale()
    quantizer(v).sum().backward()
    by_scale = (1 - 0.4 / s) + (-3 + 1.3 / s) + 3
    assert log_scale.grad.item() == pytest.approx(by_scale * s / (3 * 7) ** 0.5, rel=1e-5)
    before = quantizer(v).detach()
    quantizer.settle_scale()
    assert torch.equal(quantizer(v), before)
    assert not list(quantizer.parameters())


@pytest.fixture(scope="module")
def reconstructed():
    # neighbouring pixels alike, as in pictures: for independent inputs, rounding to nearest is the best there is
    net, x = small_net(seed=2), 3 * nn.functional.avg_pool2d(images(32, size=10, seed=3), 3, 1)
    small = quantized(net, dict.fromkeys(BITS, 2), 8, x)
    return net, x, small, adaround(net, small, x, iterations=300)


def test_learned_rounding_beats_nearest_on_the_layers_outputs(reconstructed):
    net, x, small, result = reconstructed
    assert [layer.name for layer in result.layers] == ["conv1", "conv2", "fc"]
    assert all(layer.learned < 0.8 * layer.nearest and layer.kept for layer in result.layers)
    assert all(0 < layer.changed < 1 for layer in result.layers)
    with torch.no_grad():
        nearest, learned = ((m(x) - net(x)).square().mean() for m in (small, result.model))
    assert learned < 0.7 * nearest


def test_learned_rounding_goes_up_or_down_and_nowhere_else(reconstructed):
    net, _, small, result = reconstructed
    for name in BITS:
        layer, before = result.model.get_submodule(name), net.get_submodule(name).weight
        grid = weight_quantizer(layer).grid
        torch.testing.assert_close(layer.weight, float_weight(layer), rtol=1e-5, atol=1e-6)
        inside = (grid.integers(before) > grid.low) & (grid.integers(before) < grid.high)
        assert bool(((layer.weight - before).abs()[inside] <= 1.001 * grid.scale.expand_as(before)[inside]).all())
        assert torch.equal(grid.scale, weight_quantizer(small.get_submodule(name)).grid.scale)


def test_the_reported_errors_are_those_of_the_model(reconstructed):
    net, x, _, result = reconstructed
    seen = {}
    handles = [
        module.fc.register_forward_hook(lambda m, args, out, key=key: seen.update({key: out}))
        for key, module in (("float", net), ("small", result.model))
    ]
    with torch.no_grad():
        net(x), result.model(x)
    for handle in handles:
        handle.remove()
    found = float((seen["float"] - seen["small"]).square().mean())
    assert found == pytest.approx(result.layers[-1].learned, rel=1e-3)


def test_learned_rounding_is_decided_by_the_seed():
    net, x = small_net(), images(8)
    small = quantized(net, BITS, 8, x)
    models = [adaround(net, small, x, iterations=20, batch_size=3, seed=seed).model for seed in (0, 0)]
    assert torch.equal(models[0](x), models[1](x))


def test_a_rounding_that_does_not_help_is_not_kept():
    """A layer whose weights lie on the grid: nearest is exact."""
    net = seeded(lambda: nn.Sequential(nn.Linear(4, 3)))
    net[0].weight.data = torch.randint(-2, 2, (3, 4), generator=torch.Generator().manual_seed(0)).float()
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
    small = quantized(net, {"0": 2}, None, weights=WeightScheme("tensor", scale="minmax"))
    (layer,) = adaround(net, small, x, iterations=10).layers
    assert (layer.kept, layer.changed) == (False, 0.0)


def test_reconstruction_refuses_what_it_cannot_do():
    net, x = small_net(), images(4)
    small = quantized(net, BITS, 8, x)
    with pytest.raises(UnsupportedModelError, match="no quantized layer"):
        adaround(net, net, x)
    with pytest.raises(UnsupportedModelError, match="float model"):
        adaround(small, small, x)
    with pytest.raises(ProxyError, match="iterations 0"):
        adaround(net, small, x, iterations=0)


@pytest.mark.parametrize("learn_scales", [True, False])
def test_training_lowers_the_loss(learn_scales):
    net, x = small_net(seed=2), images(48, seed=3)
    labels = labels_of(net, x)
    small = quantized(net, dict.fromkeys(BITS, 2), 8, x)
    result = finetune(small, x, labels, epochs=8, batch_size=16, learning_rate=0.05, learn_scales=learn_scales, seed=1)
    with torch.no_grad():
        before, after = (nn.functional.cross_entropy(m(x), labels) for m in (small, result.model))
    assert after < 0.9 * before
    assert len(result.losses) == 8
    assert result.losses[-1] < result.losses[0]
    assert torch.equal(result.model.norm.running_mean, net.norm.running_mean)
    for name, layer in quantized_layers(result.model).items():
        same = torch.equal(weight_quantizer(layer).scale, weight_quantizer(small.get_submodule(name)).scale)
        assert same != learn_scales
        assert all(len(row.unique()) <= 4 for row in layer.weight)


def test_training_is_decided_by_the_seed():
    net, x = small_net(), images(12)
    small = quantized(net, BITS, 8, x)
    losses = [finetune(small, x, labels_of(net, x), batch_size=5, epochs=2, seed=s).losses for s in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_training_refuses_what_it_cannot_do():
    net, x = small_net(), images(4)
    small = quantized(net, BITS, 8, x)
    with pytest.raises(ProxyError, match="3 targets for 4 samples"):
        finetune(small, x, torch.zeros(3, dtype=torch.long))
    with pytest.raises(ProxyError, match="epochs 0"):
        finetune(small, x, torch.zeros(4, dtype=torch.long), epochs=0)
    with pytest.raises(ProxyError, match="lower the learning rate"):
        finetune(small, x, torch.zeros(4, dtype=torch.long), loss=lambda o, t: o.sum() * float("nan"))
    with pytest.raises(UnsupportedModelError, match="no quantized layer"):
        finetune(net, x, torch.zeros(4, dtype=torch.long))
