"""What proxies look at, gathered once: for each layer its tensors, curvature, quantization error and costs.

The model is copied and watched in evaluation mode; the caller's model, its gradients, mode, hooks and buffers and the
global random state are as they were, also after an error. The same arguments give the same statistics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from proxies.errors import MissingStatisticError, ProxyError
from proxies.quantization.hessian import Estimate, HessianOptions, top_eigenvalue, trace
from proxies.quantization.layers import (
    Batch,
    LayerShape,
    inputs_of,
    isolated,
    quantizable,
    shapes_of,
    watched,
    working_copy,
)
from proxies.quantization.saliency import linear_cka, ones_like, synflow
from proxies.quantization.uniform import WeightScheme, squared_error

GROUPS = (
    "activations",
    "gradients",
    "virtual_gradients",
    "hessian_trace",
    "hessian_eigenvalue",
    "errors",
    "similarity",
    "synflow",
)
"""Groups of statistics that can be asked for; weights, shapes and costs are always there."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) -> scalar, differentiable twice."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerStatistics:
    """One layer. A field is None where its group was not asked for. Tensors carry no gradient.

    Attributes:
        shape: name, kind, sizes, multiply-accumulates.
        weight: (out, in / groups, height, width) or (out, in).
        input: (batch, ...) of the layer's first call in a forward pass.
        output: (batch, ...) of the same call, before what follows changes it in place.
        gradient: dLoss / dW, as `weight`.
        virtual_gradient: d(sum of the outputs) / dW on a batch of ones, as `weight`.
        hessian_trace: of the loss's Hessian by this weight alone.
        hessian_eigenvalue: of that block, the one of largest magnitude.
        errors: bits to ||Q(W) - W||^2.
        synflow: sum |W dR/dW| with weights drawn anew (see saliency.py).
    """

    shape: LayerShape
    weight: Tensor
    input: Tensor | None = None
    output: Tensor | None = None
    gradient: Tensor | None = None
    virtual_gradient: Tensor | None = None
    hessian_trace: Estimate | None = None
    hessian_eigenvalue: Estimate | None = None
    errors: Mapping[int, float] | None = None
    synflow: float | None = None

    @property
    def name(self) -> str:
        """Path of the layer in the model."""
        return self.shape.name


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """The layers of a model, in the model's order; `statistics["conv1"]` is one of them.

    Attributes:
        layers: one entry a layer.
        groups: what was gathered, of `GROUPS`.
        bits: for which `errors` are there.
        scheme: the weight quantizer behind `errors`.
        loss: value of the loss on the batch; NaN where no group needed it.
        similarity: (layers, layers) float64, linear CKA of the outputs; None where not asked for.
        seed: of the random vectors.
    """

    layers: tuple[LayerStatistics, ...]
    groups: frozenset[str]
    bits: tuple[int, ...]
    scheme: WeightScheme
    loss: float
    similarity: Tensor | None
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers: the columns of every table of configurations."""
        return tuple(layer.name for layer in self.layers)

    @property
    def shapes(self) -> tuple[LayerShape, ...]:
        """Sizes of the layers, for `sizes_mib` and `all_giga_bops`."""
        return tuple(layer.shape for layer in self.layers)

    def __getitem__(self, name: str) -> LayerStatistics:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise MissingStatisticError(f"no layer is called {name!r}", f"known: {', '.join(self.names)}")

    def __iter__(self) -> Iterator[LayerStatistics]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def require(self, groups: Iterable[str]) -> None:
        """Raise `MissingStatisticError` unless these groups were gathered."""
        missing = sorted(set(groups) - self.groups)
        if missing:
            raise MissingStatisticError(
                f"not gathered: {', '.join(missing)}", f"gather(..., collect={sorted(self.groups | set(missing))})"
            )

    def error_table(self, bits: Sequence[int]) -> np.ndarray:
        """||Q(W) - W||^2 as (layers, len(bits)) float64.

        Raises:
            MissingStatisticError: errors were not gathered, or not for these bits.
        """
        self.require(["errors"])
        unknown = sorted(set(bits) - set(self.bits))
        if unknown:
            raise MissingStatisticError(
                f"no quantization errors for {', '.join(map(str, unknown))} bits",
                f"gather(..., bits={tuple(sorted({*self.bits, *unknown}))})",
            )
        return np.array([[layer.errors[b] for b in bits] for layer in self.layers], np.float64)


def gather(
    model: nn.Module,
    batch: Batch,
    targets: Tensor | None = None,
    *,
    layers: Iterable[str] | None = None,
    collect: Collection[str] = GROUPS,
    loss: Loss = nn.functional.cross_entropy,
    bits: Sequence[int] = (2, 3, 4, 8),
    scheme: WeightScheme = WeightScheme(),
    hessian: HessianOptions = HessianOptions(),
    seed: int = 0,
) -> Statistics:
    """Statistics of a model on a batch.

    Args:
        model: gives outputs (batch, classes, ...) when called with the batch; seen in evaluation mode.
        batch: (batch, ...), or the several arguments of the model.
        targets: what `loss` takes; None for the model's own predictions (argmax over dimension 1).
        layers: names of Conv2d and Linear layers; None for all.
        collect: which of `GROUPS`; the Hessian costs the most.
        loss: of (outputs, targets); the mean cross-entropy by default.
        bits: for which quantization errors are measured.
        scheme: of the weight quantizer.
        hessian: when its estimates stop.
        seed: of the random vectors, and of the weights that Synflow draws.

    Raises:
        ProxyError: an unknown group, a batch without samples, outputs that are no (batch, classes, ...) tensor, or a
            loss that is no finite scalar.
        UnsupportedModelError: the model cannot be copied, or a layer cannot be measured; see `quantizable`.
    """
    unknown = sorted(set(collect) - set(GROUPS))
    if unknown or isinstance(collect, str):
        raise ProxyError(f"no group of statistics is called {', '.join(unknown) or collect}", f"known: {GROUPS}")
    groups, bits = frozenset(collect), tuple(int(b) for b in bits)
    with isolated(model, seed):
        copied = working_copy(model)
        modules = quantizable(copied, layers)
        weights = [module.weight.requires_grad_(True) for module in modules.values()]
        inputs = tuple(x.detach().clone() for x in inputs_of(batch))
        seen = _Seen(keep=bool(groups & {"activations", "similarity"}))
        with watched(modules, seen):
            outputs = copied(*(x.clone() for x in inputs))
        shapes = shapes_of(modules, seen.calls, len(inputs[0]))
        fields: dict[str, Sequence] = {"weight": [weight.detach() for weight in weights]}
        similarity, value = None, math.nan
        if "activations" in groups:
            fields["input"] = [seen.inputs[name] for name in modules]
            fields["output"] = [seen.outputs[name] for name in modules]
        if "similarity" in groups:
            similarity = linear_cka([_by_sample(seen.outputs[name], len(inputs[0]), name) for name in modules])
        if groups & {"gradients", "hessian_trace", "hessian_eigenvalue"}:
            value, found = _of_loss(outputs, targets, loss, weights, groups, hessian, seed)
            fields |= found
        del outputs
        if "virtual_gradients" in groups:
            outputs = copied(*map(ones_like, inputs))
            fields["virtual_gradient"] = _gradients(_checked(outputs, len(inputs[0])).sum(), weights)
        if "errors" in groups:
            fields["errors"] = [{b: squared_error(weight, b, scheme) for b in bits} for weight in weights]
        if "synflow" in groups:
            flows = synflow(copied, inputs, modules, torch.Generator().manual_seed(seed))
            fields["synflow"] = [flows[name] for name in modules]
    return Statistics(
        layers=tuple(
            LayerStatistics(shape, **{field: values[place] for field, values in fields.items()})
            for place, shape in enumerate(shapes)
        ),
        groups=groups,
        bits=bits if "errors" in groups else (),
        scheme=scheme,
        loss=value,
        similarity=similarity,
        seed=seed,
    )


class _Seen:
    """Shapes of all calls of each layer; input and output of the first, cloned before what follows overwrites them."""

    def __init__(self, keep: bool) -> None:
        self.keep = keep
        self.calls: dict[str, list[torch.Size]] = {}
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}

    def __call__(self, name: str, given: Tensor, output: Tensor) -> None:
        self.calls.setdefault(name, []).append(output.shape)
        if self.keep and name not in self.outputs:
            self.inputs[name], self.outputs[name] = given.detach().clone(), output.detach().clone()


def _of_loss(
    outputs: Tensor,
    targets: Tensor | None,
    loss: Loss,
    weights: Sequence[Tensor],
    groups: frozenset[str],
    options: HessianOptions,
    seed: int,
) -> tuple[float, dict[str, Sequence]]:
    outputs = _checked(outputs, None)
    labels = outputs.detach().argmax(1) if targets is None else targets.detach().clone()
    if targets is not None and loss is nn.functional.cross_entropy:
        _require_classes(outputs, labels)
    value = loss(outputs, labels)
    if not isinstance(value, Tensor) or value.numel() != 1 or not bool(torch.isfinite(value)):
        raise ProxyError(
            f"the loss is {value}", "it must be one finite number: check the model, the batch and the loss"
        )
    curved = bool(groups & {"hessian_trace", "hessian_eigenvalue"})
    gradients = _gradients(value.reshape(()), weights, create_graph=curved)
    fields: dict[str, Sequence] = {}
    if "gradients" in groups:
        fields["gradient"] = [gradient.detach() for gradient in gradients]
    for group, estimate in (("hessian_trace", trace), ("hessian_eigenvalue", top_eigenvalue)):
        if group in groups:
            # a stream for each layer, so that its estimate does not depend on which others are measured
            fields[group] = [
                estimate(gradient, weight, torch.Generator().manual_seed(seed), options)
                for gradient, weight in zip(gradients, weights, strict=True)
            ]
    return float(value.detach()), fields


def _require_classes(outputs: Tensor, labels: Tensor) -> None:
    """Raise unless whole labels are classes of the outputs; shares of classes are left to the loss."""
    if labels.is_floating_point():
        return
    if labels.shape != (len(outputs), *outputs.shape[2:]):
        raise ProxyError(
            f"labels of shape {tuple(labels.shape)} for outputs of shape {tuple(outputs.shape)}",
            "give one class a sample",
        )
    if int(labels.max()) >= outputs.shape[1] or int(labels.min()) < 0:
        raise ProxyError(
            f"the model gives {outputs.shape[1]} classes, labels reach from {int(labels.min())} to {int(labels.max())}",
            f"number classes 0 to {outputs.shape[1] - 1}",
        )


def _gradients(value: Tensor, weights: Sequence[Tensor], create_graph: bool = False) -> tuple[Tensor, ...]:
    if not value.requires_grad:
        return tuple(torch.zeros_like(weight) for weight in weights)
    return torch.autograd.grad(
        value, list(weights), create_graph=create_graph, allow_unused=True, materialize_grads=True
    )


def _checked(outputs: object, batch_size: int | None) -> Tensor:
    if not isinstance(outputs, Tensor) or outputs.ndim < 2 or batch_size not in (None, len(outputs)):
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ProxyError(
            f"the model gives {shape}, expected a tensor (batch, classes, ...)", "wrap it in a module that gives logits"
        )
    return outputs


def _by_sample(output: Tensor, batch_size: int, name: str) -> Tensor:
    if len(output) % batch_size:
        raise ProxyError(
            f"the output of {name} has {len(output)} rows for {batch_size} samples", "collect without 'similarity'"
        )
    return output.reshape(batch_size, -1)
