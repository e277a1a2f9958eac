"""Short quantization-aware fine-tuning: train the weights through their rounding, and the scales if wanted.

Gradients pass the rounding unchanged (straight-through estimator, Bengio et al., 2013); scales learn as in LSQ
(Esser et al., 2020). Batch normalisation keeps its statistics, as is usual in short fine-tuning.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from proxies.errors import ProxyError
from proxies.quantization.layers import Batch, inputs_of, isolated, working_copy
from proxies.quantization.quantizer import input_quantizer, quantized_layers, weight_quantizer


@dataclass(frozen=True, slots=True, eq=False)
class Finetuned:
    """What `finetune` gives.

    Attributes:
        model: the trained copy, in evaluation mode; its scales are fixed again.
        losses: mean loss of each epoch, over the batches as they were seen.
    """

    model: nn.Module
    losses: tuple[float, ...]


def finetune(
    quantized_model: nn.Module,
    inputs: Batch,
    targets: Tensor,
    *,
    epochs: int = 1,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    learn_scales: bool = True,
    scale_learning_rate: float | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
    seed: int = 0,
) -> Finetuned:
    """Train a quantized model by SGD with momentum under a cosine schedule that ends near 0.

    Args:
        quantized_model: what `quantized` or `adaround` gave; left as it is.
        inputs: (n, ...), or the several arguments of the model.
        targets: (n, ...), what `loss` takes.
        epochs: passes over the data; each draws a new order.
        batch_size: samples a step; the last of an epoch may be smaller.
        learning_rate: of the first step.
        momentum, weight_decay: of SGD; scales are not decayed.
        learn_scales: whether the scales of weights and inputs are trained too.
        scale_learning_rate: of the scales' logarithms; None for `learning_rate`.
        loss: of (outputs, targets).
        seed: of the orders, and of a model that draws.

    Raises:
        ProxyError: settings out of range, targets of another length, or a loss that is not finite.
        UnsupportedModelError: the model has no quantized layer.
    """
    data = inputs_of(inputs)
    if epochs < 1 or batch_size < 1 or learning_rate <= 0:
        raise ProxyError(
            f"epochs {epochs}, batch_size {batch_size}, learning_rate {learning_rate}", "give positive numbers"
        )
    if len(targets) != len(data[0]):
        raise ProxyError(f"{len(targets)} targets for {len(data[0])} samples", "give as many of each")
    with isolated(quantized_model, seed):
        model = working_copy(quantized_model)
        quantizers = _quantizers(model)
        weights = [p for p in model.parameters() if p.is_floating_point()]
        groups = [{"params": weights, "weight_decay": weight_decay, "lr": learning_rate}]
        if learn_scales:
            rate = learning_rate if scale_learning_rate is None else scale_learning_rate
            scales = [quantizer.learn_scale() for quantizer in quantizers]
            groups.append({"params": scales, "weight_decay": 0.0, "lr": rate})
        for parameter in weights:
            parameter.requires_grad_(True)
        optimizer = torch.optim.SGD(groups, momentum=momentum)
        steps = epochs * math.ceil(len(targets) / batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        generator = torch.Generator().manual_seed(seed)
        losses = []
        for epoch in range(epochs):
            total = 0.0
            for rows in torch.randperm(len(targets), generator=generator).split(batch_size):
                outputs = model(*(x[rows.to(x.device)] for x in data))
                value = loss(outputs, targets[rows.to(targets.device)])
                if not bool(torch.isfinite(value)):
                    raise ProxyError(f"the loss is {float(value.detach())} in epoch {epoch}", "lower the learning rate")
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                schedule.step()
                total += float(value.detach()) * len(rows)
            losses.append(total / len(targets))
        model.zero_grad(set_to_none=True)
        for quantizer in quantizers:
            quantizer.settle_scale()
    return Finetuned(model, tuple(losses))


def _quantizers(model: nn.Module) -> list:
    found = []
    for layer in quantized_layers(model).values():
        found.append(weight_quantizer(layer))
        if input_quantizer(layer) is not None:
            found.append(input_quantizer(layer))
    return found
