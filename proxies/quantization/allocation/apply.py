"""Bits put to the test: the quantized model, its rounding optimised and fine-tuned where wanted, and its accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from proxies.errors import ProxyError
from proxies.quantization.adaround import adaround
from proxies.quantization.finetune import finetune
from proxies.quantization.layers import Batch, inputs_of, isolated, working_copy
from proxies.quantization.quantizer import quantized
from proxies.quantization.uniform import ActivationScheme, WeightScheme


@dataclass(frozen=True, slots=True)
class QuantizeOptions:
    """How bits become a quantized model.

    Attributes:
        activation_bits: of each layer's input; None leaves inputs float.
        weights, activations: the schemes.
        adaround: steps of the rounding optimisation a layer; 0: rounding to nearest.
        finetune: epochs of quantization-aware fine-tuning; 0: none.
        batch_norm: whether means and variances of batch normalisations are estimated anew on the calibration batch
            (after the rounding, before the fine-tuning): rounding to few bits shifts what they see.
        learning_rate: of the fine-tuning.
        batch_size: of the fine-tuning.
        seed: of everything that draws.
    """

    activation_bits: int | None = 8
    weights: WeightScheme = field(default_factory=WeightScheme)
    activations: ActivationScheme = field(default_factory=ActivationScheme)
    adaround: int = 0
    finetune: int = 0
    batch_norm: bool = True
    learning_rate: float = 1e-3
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.adaround < 0 or self.finetune < 0:
            raise ProxyError(
                f"adaround {self.adaround}, finetune {self.finetune}", "give steps and epochs of 0 or more"
            )


def quantize(
    model: nn.Module,
    bits: Mapping[str, int],
    calibration: Batch,
    labels: Tensor | None = None,
    options: QuantizeOptions = QuantizeOptions(),
) -> nn.Module:
    """A quantized copy of a model.

    Args:
        model: left as it is.
        bits: layer to weight bits; layers that it does not name stay float.
        calibration: what the model is called with to fit scales, roundings and weights.
        labels: of the calibration batch; fine-tuning needs them.
        options: how.

    Raises:
        ProxyError: fine-tuning without labels; see also `quantized`, `adaround`, `finetune`.
        BitConfigError, UnsupportedModelError: as `quantized`.
    """
    if options.finetune and labels is None:
        raise ProxyError("fine-tuning needs labels", "give labels=..., or finetune=0")
    made = quantized(
        model, bits, options.activation_bits, calibration, layers=list(bits), weights=options.weights,
        activations=options.activations, seed=options.seed,
    )  # fmt: skip
    if options.adaround:
        made = adaround(model, made, calibration, iterations=options.adaround, seed=options.seed).model
    if options.batch_norm:
        made = with_estimated_norms(made, calibration, options.seed)
    if options.finetune:
        assert labels is not None
        made = finetune(
            made, calibration, labels, epochs=options.finetune, batch_size=options.batch_size,
            learning_rate=options.learning_rate, seed=options.seed,
        ).model  # fmt: skip
    return made


def with_estimated_norms(model: nn.Module, calibration: Batch, seed: int = 0) -> nn.Module:
    """A copy whose batch normalisations have the means and variances of one pass over a batch (Sun et al., "Hybrid
    8-bit Floating Point Training and Inference", NeurIPS 2019, section 3.2).

    Args:
        model: left as it is.
        calibration: what the model is called with.
        seed: of a model that draws.
    """
    with isolated(model, seed), torch.no_grad():
        copied = working_copy(model)
        norms = [m for m in copied.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        momenta = [norm.momentum for norm in norms]
        if norms:
            for norm in norms:
                norm.train()
                norm.reset_running_stats()
                norm.momentum = None  # the plain mean over calls: here, of one
            copied(*(x.clone() for x in inputs_of(calibration)))
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
                norm.eval()
    for parameter in copied.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return copied


def accuracy(model: nn.Module, inputs: Batch, labels: Tensor, batch_size: int = 256) -> float:
    """Share of samples that the model gets right. Arguments and errors as `correct`."""
    return float(correct(model, inputs, labels, batch_size).double().mean())


def correct(model: nn.Module, inputs: Batch, labels: Tensor, batch_size: int = 256) -> Tensor:
    """(n,) bool: samples whose largest output is the label's, in evaluation mode; the model is left as it is.

    Args:
        model: gives (batch, classes).
        inputs: (n, ...), or the several arguments of the model.
        labels: (n,) whole numbers.
        batch_size: samples a pass.

    Raises:
        ProxyError: labels of another length, or outputs that are no (batch, classes).
    """
    data = inputs_of(inputs)
    if labels.shape != (len(data[0]),):
        raise ProxyError(f"{tuple(labels.shape)} labels for {len(data[0])} samples", "give one class a sample")
    right = []
    with isolated(model), torch.no_grad():
        copied = working_copy(model)
        for rows in torch.arange(len(labels)).split(batch_size):
            outputs = copied(*(x[rows.to(x.device)] for x in data))
            if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(rows):
                shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
                raise ProxyError(f"the model gives {shape}, expected (batch, classes)", "accuracy is of classifiers")
            right.append(outputs.argmax(1).cpu() == labels[rows.to(labels.device)].cpu())
    return torch.cat(right)
