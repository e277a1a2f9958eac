"""The inputs of proxies gathered from a model: sampled tensors of each layer, at each bit-width where that matters.

The model is left as it was, and the global random state too. The same model, batch and settings give the same samples
on one machine. Quantized weights are those of `proxies.quantization`: per channel, asymmetric, scales of least squared
error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from evo.errors import ConfigError
from proxies.quantization import HANDMADE, HessianOptions, Statistics, fit_weight, gather, quantizable
from proxies.quantization.layers import isolated, working_copy
from search_spaces.emq.gathered import Gathered
from search_spaces.emq.operators import SAMPLE
from search_spaces.emq.samples import Samples, layout_of, sampled

HESSIAN = HessianOptions(samples=64, trace_tolerance=0.1, iterations=50, eigenvalue_tolerance=0.02)
"""Good to a tenth: what is ranked by it differs by orders of magnitude from layer to layer."""
SEED = 0


def gather_samples(
    model: nn.Module,
    batch: Tensor,
    labels: Tensor,
    layers: Sequence[str],
    choices: Sequence[int],
    most: int | None = 2048,
    hessian: HessianOptions = HESSIAN,
    progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> Gathered:
    """Statistics of a classifier on a batch.

    Args:
        model: gives logits (batch, classes); seen in evaluation mode.
        batch: (batch, ...).
        labels: (batch,) int64, for the cross-entropy.
        layers: names of the quantized layers, in the order wanted.
        choices: bit-widths.
        most: elements of a tensor that are kept, see `samples.grid`; None: all.
        hessian: when the estimates of the curvature stop.
        progress: called with (done, total, what).

    Raises:
        ConfigError: a tensor holds NaN or an infinity.
        UnsupportedModelError, ProxyError: see `proxies.quantization.gather`.
    """
    choices = tuple(sorted(int(b) for b in choices))
    progress(0, 3, "gradients and curvature")
    statistics = gather(model, batch, labels, layers=layers, bits=choices, hessian=hessian, seed=SEED)
    progress(1, 3, "gradients of outputs")
    outputs = _output_gradients(model, batch, labels, layers)
    progress(2, 3, "quantization errors")
    margins = outputs.margins
    whole = {name: _of_layer(statistics[name], *outputs.gradients[name][:2]) for name in layers}
    errors = _errors(model, statistics, layers, choices)
    for name in layers:
        of_loss, _, of_margin = outputs.gradients[name]
        for at in errors[name].values():
            at["loss_change"] = _dot_by_sample(of_loss, at["output_error"], len(margins))
            at["margin_change"] = _dot_by_sample(of_margin, at["output_error"], len(margins))
    shapes = {
        "weight": [_matrix(statistics[name].weight).shape for name in layers],
        "output": [_matrix(statistics[name].output).shape for name in layers],
        "input": [_matrix(statistics[name].input).shape for name in layers],
        SAMPLE: [(len(margins), 1)] * len(layers),
    }
    layouts = {kind: layout_of(found, most, kind == "weight") for kind, found in shapes.items()}
    values = {
        word: np.concatenate([_flat(whole[name][word], most) for name in layers])[None]
        for word in ("activation", "weight_gradient", "weight", "virtual_gradient", "layer_input", "output_gradient",
                     "logit_gradient")
    }  # fmt: skip
    for word in ("weight_quantized", "weight_error", "output_error", "margin_change", "loss_change"):
        values[word] = np.stack(
            [np.concatenate([_flat(errors[name][b][word], most) for name in layers]) for b in choices]
        )
    values["margin"] = np.concatenate([_flat(margins, most)] * len(layers))[None]
    chosen = [statistics[name] for name in layers]
    values["hessian_eigenvalue"] = np.array([[layer.hessian_eigenvalue.value for layer in chosen]])
    values["hessian_trace"] = np.array([[layer.hessian_trace.value for layer in chosen]])
    values["parameters"] = np.array([[layer.shape.weights for layer in chosen]], np.float64)
    values["macs"] = np.array([[layer.shape.macs for layer in chosen]], np.float64)
    values["bits"] = np.repeat(np.array(choices, np.float64)[:, None], len(layers), axis=1)
    for word, value in values.items():
        if not np.isfinite(value).all():
            raise ConfigError(f"the statistic {word} of this model is not finite", "check the model and the batch")
    places = [statistics.names.index(name) for name in layers]
    handmade = {proxy.name: proxy.table(statistics, choices)[places].T.copy() for proxy in HANDMADE}
    convolutions = [list(layers).index(name) for name in statistics.names if statistics[name].shape.kind == "conv2d"]
    progress(3, 3, "quantization errors")
    return Gathered(Samples(tuple(layers), choices, layouts, values), handmade, tuple(convolutions))


def _of_layer(layer, output_gradient: Tensor, logit_gradient: Tensor) -> dict[str, Tensor]:  # type: ignore[no-untyped-def]
    return {
        "activation": layer.output,
        "weight_gradient": layer.gradient,
        "weight": layer.weight,
        "virtual_gradient": layer.virtual_gradient,
        "layer_input": layer.input,
        "output_gradient": output_gradient,
        "logit_gradient": logit_gradient,
    }


class _OfOutputs(NamedTuple):
    """By layer, with respect to its first output: the gradients of each sample's loss, of a random +-1 sum of its
    logits, and of its margin; and the margins, (samples, 1): largest logit minus the next."""

    gradients: dict[str, tuple[Tensor, Tensor, Tensor]]
    margins: Tensor


def _output_gradients(model: nn.Module, batch: Tensor, labels: Tensor, layers: Sequence[str]) -> _OfOutputs:
    with isolated(model, SEED):
        copied = working_copy(model)
        modules = quantizable(copied, layers)
        seen: dict[str, Tensor] = {}
        handles = []
        for name, module in modules.items():
            module.weight.requires_grad_(True)

            def hook(module: nn.Module, args: object, output: Tensor, name: str = name) -> Tensor | None:
                if name in seen:
                    return None
                seen[name] = output
                return output.clone()  # what follows may work in place; what is kept is the layer's own output

            handles.append(module.register_forward_hook(hook))
        try:
            logits = copied(batch.detach().clone())
        finally:
            for handle in handles:
                handle.remove()
        ordered = [seen[name] for name in modules]
        loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
        of_loss = torch.autograd.grad(loss, ordered, retain_graph=True, allow_unused=True, materialize_grads=True)
        signs = torch.randint(2, logits.shape, generator=torch.Generator().manual_seed(SEED)) * 2.0 - 1.0
        of_logits = torch.autograd.grad(
            (logits * signs.to(logits)).sum(), ordered, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        best, second = logits.topk(2, dim=1).values.unbind(1)
        margins = (best - second)[:, None]
        of_margins = torch.autograd.grad(margins.sum(), ordered, allow_unused=True, materialize_grads=True)
        found = zip(modules, of_loss, of_logits, of_margins, strict=True)
        return _OfOutputs({name: (a.detach(), b.detach(), c.detach()) for name, a, b, c in found}, margins.detach())


def _dot_by_sample(gradient: Tensor, change: Tensor, samples: int) -> Tensor:
    """(samples, 1) float64: to first order, what a change of a layer's output changes in what the gradient is of."""
    return (gradient.double() * change.detach().double()).reshape(samples, -1).sum(1, keepdim=True)


def _errors(
    model: nn.Module, statistics: Statistics, layers: Sequence[str], choices: Sequence[int]
) -> dict[str, dict[int, dict[str, Tensor]]]:
    found: dict[str, dict[int, dict[str, Tensor]]] = {}
    with isolated(model, SEED), torch.no_grad():
        modules = quantizable(working_copy(model), layers)
        for name in layers:
            layer, module = statistics[name], modules[name]
            at: dict[int, dict[str, Tensor]] = {}
            for b in choices:
                rounded = fit_weight(layer.weight, b, statistics.scheme).quantize(layer.weight)
                change = rounded - layer.weight
                # a layer is linear in its weight: no difference of two outputs, which would cancel at 8 bits
                given = {"weight": change}
                if module.bias is not None:
                    given["bias"] = torch.zeros_like(module.bias)
                moved = torch.func.functional_call(module, given, (layer.input,))
                at[b] = {"weight_quantized": rounded, "weight_error": change, "output_error": moved}
            found[name] = at
    return found


def _matrix(tensor: Tensor) -> Tensor:
    return tensor.reshape(len(tensor), math.prod(tensor.shape[1:]))


def _flat(tensor: Tensor, most: int | None) -> np.ndarray:
    return sampled(_matrix(tensor).detach().cpu(), most).double().numpy().reshape(-1)
