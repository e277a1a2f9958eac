"""AdaRound: learn for each weight whether it is rounded up or down, layer by layer, to keep the layer's output.

Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization" (ICML 2020), sections 3.2 to 3.4: the
target is the float layer's output, the input that of the network quantized so far (its asymmetric variant).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from proxies.errors import ProxyError, UnsupportedModelError
from proxies.quantization.layers import Batch, inputs_of, isolated, watched, working_copy
from proxies.quantization.quantizer import float_weight, input_quantizer, quantized_layers, weight_quantizer
from proxies.quantization.uniform import Grid

ZETA, GAMMA = 1.1, -0.1
"""Stretch of the rectified sigmoid (equation 23), so that its gradient does not vanish before it reaches 0 or 1."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """One layer.

    Attributes:
        name: of the layer.
        nearest: mean squared error of its output with weights rounded to nearest, on the calibration batch.
        learned: the same with the learned rounding.
        changed: share of its weights that the result rounds otherwise than to nearest.
    """

    name: str
    nearest: float
    learned: float
    changed: float

    @property
    def kept(self) -> bool:
        """Whether the learned rounding was better, and is what the model has now."""
        return self.learned < self.nearest


@dataclass(frozen=True, slots=True, eq=False)
class Rounded:
    """What `adaround` gives.

    Attributes:
        model: a quantized copy, whose float weights now lie on their grids.
        layers: one entry a layer, in the order in which the model runs them.
    """

    model: nn.Module
    layers: tuple[Reconstruction, ...]


def adaround(
    model: nn.Module,
    quantized_model: nn.Module,
    calibration: Batch,
    *,
    iterations: int = 1000,
    batch_size: int = 32,
    learning_rate: float = 1e-2,
    regularization: float = 0.1,
    temperature: tuple[float, float] = (20.0, 2.0),
    warmup: float = 0.2,
    seed: int = 0,
) -> Rounded:
    """Learn the rounding of each quantized layer, in the order in which they run.

    A layer whose learned rounding is no better than rounding to nearest on the whole calibration batch keeps the
    latter, and its `Reconstruction` says so.

    Args:
        model: the float model; left as it is.
        quantized_model: what `quantized` made of it; left as it is.
        calibration: what the models are called with.
        iterations: steps of Adam a layer.
        batch_size: samples a step, drawn with replacement.
        learning_rate: of Adam.
        regularization: weight of the term that drives each rounding to 0 or 1 (equation 24), as a mean over weights;
            the output error is in units of that of rounding to nearest. (The paper sums both, so that its weight
            suits one scale of outputs.)
        temperature: its exponent, from the first to the last step after the warm-up.
        warmup: share of the steps without that term.
        seed: of the samples drawn.

    Raises:
        ProxyError: a setting out of range.
        UnsupportedModelError: the two are not the same model; a layer runs not once in a forward pass; see `quantized`.
    """
    if iterations < 1 or batch_size < 1 or not 0 <= warmup < 1 or learning_rate <= 0:
        raise ProxyError(
            f"iterations {iterations}, batch_size {batch_size}, warmup {warmup}, learning_rate {learning_rate}",
            "give positive numbers, and a warmup from 0 up to below 1",
        )
    with isolated(model, seed):
        reference, rounded = working_copy(model), working_copy(quantized_model)
        layers = quantized_layers(rounded)
        originals = dict(reference.named_modules())
        _same_model(originals, layers)
        inputs = tuple(x.detach().clone() for x in inputs_of(calibration))
        order = _order(rounded, layers, inputs)
        found = []
        for name in order:
            layer, original = layers[name], originals[name]
            given, target = _capture(rounded, layer, inputs)[0], _capture(reference, original, inputs)[1]
            quantizer = input_quantizer(layer)
            given = given if quantizer is None else quantizer(given)
            # its own stream, so that a layer's result depends on the layers before it alone
            generator = torch.Generator().manual_seed(seed)
            settings = (iterations, batch_size, learning_rate, regularization, temperature, warmup)
            found.append(_reconstruct(name, layer, original, given, target, generator, *settings))
    for parameter in rounded.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return Rounded(rounded, tuple(found))


def _reconstruct(
    name: str,
    layer: nn.Module,
    original: nn.Module,
    given: Tensor,
    target: Tensor,
    generator: torch.Generator,
    iterations: int,
    batch_size: int,
    learning_rate: float,
    regularization: float,
    temperature: tuple[float, float],
    warmup: float,
) -> Reconstruction:
    """Learn one layer's rounding and write it into its float weight."""
    grid, weight = weight_quantizer(layer).grid, float_weight(layer)
    # a plain copy of the layer that runs with any weight: the original's class, padding and bias
    bare = copy.deepcopy(original)
    steps = (weight.detach() / grid.scale).double()
    below, rest = steps.floor(), steps - steps.floor()
    below, rest = below.to(weight.dtype), rest.to(weight.dtype).clamp(1e-4, 1 - 1e-4)
    with torch.no_grad():
        nearest = grid.quantize(weight)
        # both terms in units of their own: neither the scale of the outputs nor the number of weights matters
        unit = max(_error(bare, nearest, given, target), torch.finfo(weight.dtype).tiny)
    # start where the soft rounding is the float weight itself
    raised = -torch.log((ZETA - GAMMA) / (rest - GAMMA) - 1)
    raised = raised.detach().requires_grad_(True)
    optimizer = torch.optim.Adam([raised], lr=learning_rate)
    first = int(warmup * iterations)
    for iteration in range(iterations):
        rows = torch.randint(len(given), (batch_size,), generator=generator).to(given.device)
        up = _soft(raised)
        output = _run(bare, _on_grid(grid, below + up), given[rows])
        loss = (output - target[rows]).square().mean() / unit
        if iteration >= first:
            done = (iteration - first) / max(iterations - first, 1)
            exponent = temperature[1] + 0.5 * (temperature[0] - temperature[1]) * (1 + math.cos(math.pi * done))
            loss = loss + regularization * (1 - (2 * up - 1).abs().pow(exponent)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        learned = _on_grid(grid, below + (_soft(raised) >= 0.5).to(weight.dtype))
        errors = [_error(bare, candidate, given, target) for candidate in (nearest, learned)]
        result = Reconstruction(name, *errors, changed=0.0)
        if result.kept:
            differs = (grid.integers(learned) != grid.integers(nearest)).double().mean()
            result = Reconstruction(name, *errors, changed=float(differs))
        weight.copy_(learned if result.kept else nearest)
    return result


def _soft(raised: Tensor) -> Tensor:
    """The rectified sigmoid (equation 23): 0 for down, 1 for up."""
    return (torch.sigmoid(raised) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def _on_grid(grid: Grid, steps: Tensor) -> Tensor:
    return ((steps + grid.zero_point).clamp(grid.low, grid.high) - grid.zero_point) * grid.scale


def _run(bare: nn.Module, weight: Tensor, given: Tensor) -> Tensor:
    return torch.func.functional_call(bare, {"weight": weight}, (given,))


def _error(bare: nn.Module, weight: Tensor, given: Tensor, target: Tensor) -> float:
    return float((_run(bare, weight, given) - target).double().square().mean())


def _order(model: nn.Module, layers: Mapping[str, nn.Module], inputs: Sequence[Tensor]) -> list[str]:
    names: list[str] = []
    with torch.no_grad(), watched(layers, lambda name, _, __: names.append(name)):
        model(*inputs)
    wrong = [name for name in layers if names.count(name) != 1]
    if wrong:
        raise UnsupportedModelError(
            f"{', '.join(wrong)} run not exactly once in a forward pass", "quantize the model without: layers=[...]"
        )
    return names


def _capture(model: nn.Module, layer: nn.Module, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Input (before any rounding) and output of a layer."""
    kept: dict[str, Tensor] = {}

    def before(module: nn.Module, args: tuple, kwargs: dict) -> None:
        kept["input"] = (args[0] if args else kwargs["input"]).clone()

    handle = layer.register_forward_pre_hook(before, with_kwargs=True, prepend=True)
    try:
        with torch.no_grad(), watched({"": layer}, lambda _, __, output: kept.update(output=output.clone())):
            model(*inputs)
    finally:
        handle.remove()
    return kept["input"], kept["output"]


def _same_model(originals: Mapping[str, nn.Module], layers: Mapping[str, nn.Module]) -> None:
    for name, layer in layers.items():
        original = originals.get(name)
        weight = getattr(original, "weight", None)
        if weight is None or weight.shape != layer.weight.shape or weight_quantizer(original) is not None:
            raise UnsupportedModelError(
                f"the float model has no layer {name} of the quantized model's shape",
                "give the model that quantized(model, ...) was made from",
            )
