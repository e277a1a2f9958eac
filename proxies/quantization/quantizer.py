"""A model with quantized weights and activations, simulated in torch: `quantized` makes a copy of the float model.

The copy keeps classes, names and attributes: each layer's weight is a parametrization (`torch.nn.utils.parametrize`)
that rounds `layer.parametrizations.weight.original` to its grid whenever it is read, and a hook rounds the
layer's input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from proxies.errors import ProxyError, UnsupportedModelError
from proxies.quantization.bits import BitConfig
from proxies.quantization.layers import Batch, inputs_of, isolated, quantizable, watched, working_copy
from proxies.quantization.uniform import ActivationScheme, Grid, WeightScheme, fit_activation, fit_weight

_INPUT = "input_quantizer"


class FakeQuantizer(nn.Module):
    """Rounds a tensor to a grid; gradients pass as if it only clipped (straight-through estimator).

    Buffers `scale` and `zero_point` broadcast against what is rounded. After `learn_scale` the scale is trained: LSQ
    (Esser et al., 2020, section 2.1), but of the scale's logarithm, which keeps it positive.
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.register_buffer("scale", grid.scale.clone())
        self.register_buffer("zero_point", grid.zero_point.clone())
        self.low, self.high = grid.low, grid.high
        self.log_scale: nn.Parameter | None = None

    @property
    def grid(self) -> Grid:
        """The grid as it is now."""
        scale = self.scale if self.log_scale is None else self.log_scale.exp()
        return Grid(scale.detach(), self.zero_point, self.low, self.high)

    def learn_scale(self) -> nn.Parameter:
        """Make the scale trainable; returns the parameter."""
        if self.log_scale is None:
            self.log_scale = nn.Parameter(self.scale.log())
        return self.log_scale

    def settle_scale(self) -> None:
        """Make the learned scale the fixed one."""
        if self.log_scale is not None:
            self.scale = self.log_scale.detach().exp()
            self.log_scale = None

    def forward(self, x: Tensor) -> Tensor:
        """x at its nearest grid points."""
        if self.log_scale is None:
            scale = self.scale
        else:
            # LSQ, section 2.2: a scale serves many values, and would outrun them without this
            share = (x.numel() / self.scale.numel() * max(self.high - self.low, 1)) ** -0.5
            scale = _ScaledGradient.apply(self.log_scale, share).exp()
        q = (_StraightThrough.apply(x / scale) + self.zero_point).clamp(self.low, self.high)
        return (q - self.zero_point) * scale


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


def quantized(
    model: nn.Module,
    weight_bits: Mapping[str, int],
    activation_bits: int | Mapping[str, int] | None = 8,
    calibration: Batch | None = None,
    *,
    layers: Iterable[str] | None = None,
    weights: WeightScheme = WeightScheme(),
    activations: ActivationScheme = ActivationScheme(),
    seed: int = 0,
) -> nn.Module:
    """A copy of the model, in evaluation mode, whose layers compute with rounded weights and inputs.

    Weights are rounded to nearest. The grids of the inputs come from the float model's activations on the calibration
    batch. Biases and everything between the layers stay float; batch normalisation is not folded.

    Args:
        model: the float model; left as it is.
        weight_bits: layer to bits, exactly for the layers that are quantized.
        activation_bits: bits of each layer's input: one number, or layer to bits; None leaves inputs float.
        calibration: what the model is called with to see its activations; needed unless `activation_bits` is None.
        layers: the layers to quantize; None for all Conv2d and Linear.
        weights: how weights are quantized.
        activations: how inputs are.
        seed: of the values that calibration looks at, layer by layer.

    Raises:
        BitConfigError: bits for other layers than these, or out of range.
        ProxyError: no calibration batch, or values that are not finite.
        UnsupportedModelError: see `quantizable`; or a layer does not run on the calibration batch.
    """
    with isolated(model, seed):
        copied = working_copy(model)
        modules = quantizable(copied, layers)
        bits = BitConfig(weight_bits).of(modules)
        inputs = _activation_grids(copied, modules, activation_bits, calibration, activations, seed)
        for name, module in modules.items():
            grid = fit_weight(module.weight, bits[name], weights)
            # unsafe: skips a trial run of the parametrization, which these cannot fail
            parametrize.register_parametrization(module, "weight", FakeQuantizer(grid), unsafe=True)
            if name in inputs:
                module.add_module(_INPUT, FakeQuantizer(inputs[name]))
                module.register_forward_pre_hook(_quantize_input, with_kwargs=True)
    for parameter in copied.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return copied


def quantized_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers of a model that `quantized` made, by name.

    Raises:
        UnsupportedModelError: there is none.
    """
    found = {name: module for name, module in model.named_modules() if weight_quantizer(module) is not None}
    if not found:
        raise UnsupportedModelError("the model has no quantized layer", "make it with quantized(model, bits, ...)")
    return found


def weight_quantizer(layer: nn.Module) -> FakeQuantizer | None:
    """What rounds the layer's weight; None for a float layer."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    first = layer.parametrizations.weight[0]
    return first if isinstance(first, FakeQuantizer) else None


def input_quantizer(layer: nn.Module) -> FakeQuantizer | None:
    """What rounds the layer's input; None where it stays float."""
    return getattr(layer, _INPUT, None)


def float_weight(layer: nn.Module) -> nn.Parameter:
    """The weight of a quantized layer before rounding."""
    return layer.parametrizations.weight.original


def _quantize_input(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    if args:
        return (module.input_quantizer(args[0]), *args[1:]), kwargs
    return args, {**kwargs, "input": module.input_quantizer(kwargs["input"])}


def _activation_grids(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    bits: int | Mapping[str, int] | None,
    calibration: Batch | None,
    scheme: ActivationScheme,
    seed: int,
) -> dict[str, Grid]:
    if bits is None:
        return {}
    wanted = BitConfig(bits).of(modules) if isinstance(bits, Mapping) else BitConfig.uniform(modules, bits)
    if calibration is None:
        raise ProxyError(
            "quantized activations need a calibration batch", "give calibration=batch, or activation_bits=None"
        )
    seen: dict[str, list[Tensor]] = {name: [] for name in modules}
    inputs = tuple(x.clone() for x in inputs_of(calibration))
    with torch.no_grad(), watched(modules, lambda name, x, _: seen[name].append(x.flatten().clone())):
        model(*inputs)
    idle = [name for name in modules if not seen[name]]
    if idle:
        raise UnsupportedModelError(
            f"{', '.join(idle)} did not run on the calibration batch", "leave them out: layers=[...]"
        )
    grids = {}
    for name in modules:
        # by layer, so that the values looked at do not depend on which others are quantized
        generator = torch.Generator().manual_seed(seed)
        try:
            grids[name] = fit_activation(torch.cat(seen.pop(name)), wanted[name], scheme, generator)
        except ProxyError as error:
            raise ProxyError(f"the input of {name}: {error.message}", error.hint) from error
    return grids
