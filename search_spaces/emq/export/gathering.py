"""Parts of an exported proxy: what is looked at in a model. An export holds those that it uses, word for word.

Nothing here may need more than torch and the standard library, and each must compute what `statistics.py` and
`proxies.quantization` compute, operation by operation: tests hold them to it.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

SAMPLES: int | None = 2048
SEED = 0


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Inside, gradients can be taken; the global random state is as before at the end."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        torch.default_generator.manual_seed(SEED)
        for entered in (torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False)):
            stack.enter_context(entered)
        yield


def copied(model: nn.Module, names: Sequence[str]) -> tuple[nn.Module, dict[str, nn.Module]]:
    """A copy in evaluation mode, and its layers of these names in its own order; their weights ask for gradients."""
    model = copy.deepcopy(model)
    model.zero_grad(set_to_none=True)
    model.eval().requires_grad_(False)
    layers = {name: layer for name, layer in model.named_modules() if name in set(names)}
    for layer in layers.values():
        layer.weight.requires_grad_(True)
    return model, layers


def names_of(model: nn.Module, layers: Sequence[str] | None) -> list[str]:
    """The layers, checked; all Conv2d and Linear for None."""
    known = [name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    names = known if layers is None else list(layers)
    unknown = [name for name in names if name not in known]
    if unknown or not names or len(set(names)) != len(names):
        raise ValueError(f"no Conv2d or Linear is called {unknown or names}; the model has {known}")
    return names


def arguments(batch: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What the model is called with, copied."""
    return tuple(x.detach().clone() for x in ((batch,) if isinstance(batch, Tensor) else batch))


def ran(model: nn.Module, batch: Any, names: Sequence[str]) -> dict[str, tuple[Tensor, Tensor, int]]:
    """By layer: input and output of its first call, and how often its weight is applied to a sample."""
    model, layers = copied(model, names)
    first: dict[str, tuple[Tensor, Tensor]] = {}
    values = dict.fromkeys(names, 0)
    handles = []
    for name, layer in layers.items():

        def hook(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
            # copies: what follows may work in place
            first.setdefault(name, (given[0].detach().clone(), output.detach().clone()))
            values[name] += output.numel() // len(layer.weight)

        handles.append(layer.register_forward_hook(hook))
    inputs = arguments(batch)
    model(*inputs)
    for handle in handles:
        handle.remove()
    idle = [name for name in names if name not in first]
    if idle:
        raise ValueError(f"these layers do not run on the batch: {idle}")
    return {name: (*first[name], values[name] // len(inputs[0])) for name in names}


def classes(logits: Tensor, labels: Tensor | None) -> Tensor:
    """The labels, checked; the model's own predictions for None."""
    if labels is None:
        return logits.detach().argmax(1)
    if int(labels.min()) < 0 or int(labels.max()) >= logits.shape[1]:
        raise ValueError(
            f"the model gives {logits.shape[1]} classes, labels reach from {int(labels.min())} to {int(labels.max())}"
        )
    return labels.long()


def weight_gradients(
    model: nn.Module, batch: Any, labels: Tensor | None, names: Sequence[str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """By layer: dL/dW with its graph, and W; L is the mean cross-entropy."""
    model, layers = copied(model, names)
    logits = model(*arguments(batch))
    loss = nn.functional.cross_entropy(logits, classes(logits, labels))
    weights = [layer.weight for layer in layers.values()]
    found = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True, materialize_grads=True)
    return {name: pair for name, *pair in zip(layers, found, weights, strict=True)}


def virtual_gradients(model: nn.Module, batch: Any, names: Sequence[str]) -> dict[str, Tensor]:
    """By layer: d(sum of the logits)/dW on a batch of ones."""
    model, layers = copied(model, names)
    logits = model(*(torch.ones_like(x) if x.is_floating_point() else x for x in arguments(batch)))
    weights = [layer.weight for layer in layers.values()]
    found = torch.autograd.grad(logits.sum(), weights, allow_unused=True, materialize_grads=True)
    return dict(zip(layers, found, strict=True))


def outputs_in_graph(model: nn.Module, batch: Any, names: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """The logits, and each layer's first output as a part of their graph."""
    model, layers = copied(model, names)
    seen: dict[str, Tensor] = {}
    for name, layer in layers.items():

        def hook(layer: nn.Module, given: Any, output: Tensor, name: str = name) -> Tensor | None:
            if name in seen:
                return None
            seen[name] = output
            return output.clone()  # what follows may work in place

        layer.register_forward_hook(hook)
    return model(*arguments(batch)), seen


def output_gradients(model: nn.Module, batch: Any, labels: Tensor | None, names: Sequence[str]) -> dict[str, Tensor]:
    """By layer: dL/dz of each sample, z the layer's output, L that sample's cross-entropy."""
    logits, outputs = outputs_in_graph(model, batch, names)
    loss = nn.functional.cross_entropy(logits, classes(logits, labels), reduction="sum")
    found = torch.autograd.grad(loss, list(outputs.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(outputs, found, strict=True))


def logit_gradients(model: nn.Module, batch: Any, names: Sequence[str]) -> dict[str, Tensor]:
    """By layer: d(sum of the logits with random signs)/dz, z the layer's output."""
    logits, outputs = outputs_in_graph(model, batch, names)
    signs = torch.randint(2, logits.shape, generator=torch.Generator().manual_seed(SEED)) * 2.0 - 1.0
    signed = (logits * signs.to(logits)).sum()
    found = torch.autograd.grad(signed, list(outputs.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(outputs, found, strict=True))


def margins_of(model: nn.Module, batch: Any) -> Tensor:
    """(samples, 1): largest logit minus the next."""
    best, second = copied(model, [])[0](*arguments(batch)).detach().topk(2, dim=1).values.unbind(1)
    return (best - second)[:, None]


def margin_gradients(model: nn.Module, batch: Any, names: Sequence[str]) -> dict[str, Tensor]:
    """By layer: dm/dz of each sample, z the layer's output, m that sample's largest logit minus the next."""
    logits, outputs = outputs_in_graph(model, batch, names)
    best, second = logits.topk(2, dim=1).values.unbind(1)
    margins = (best - second)[:, None].sum()
    found = torch.autograd.grad(margins, list(outputs.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(outputs, found, strict=True))


def change_by_sample(gradient: Tensor, change: Tensor, samples: int) -> Tensor:
    """(samples, 1): to first order, what a change of a layer's output changes in what the gradient is of."""
    return (gradient.double() * change.detach().double()).reshape(samples, -1).sum(1, keepdim=True)


def hessian_product(gradient: Tensor, weight: Tensor, vector: Tensor) -> Tensor:
    """H v, H the loss's Hessian by this weight alone."""
    if not gradient.requires_grad:
        return torch.zeros_like(weight)
    return torch.autograd.grad(
        gradient, weight, grad_outputs=vector, retain_graph=True, allow_unused=True, materialize_grads=True
    )[0]


def dot(a: Tensor, b: Tensor) -> float:
    """The inner product in float64."""
    return float((a.double() * b.double()).sum())


def hessian_trace_of(gradient: Tensor, weight: Tensor) -> float:
    """Hutchinson's estimate: the mean of v . H v over random signs v, 8 to 64 of them, to a standard error of 10 %."""
    generator = torch.Generator().manual_seed(SEED)
    values: list[float] = []
    while True:
        vector = (2 * torch.randint(2, weight.shape, generator=generator) - 1).to(weight.device, weight.dtype)
        values.append(dot(vector, hessian_product(gradient, weight, vector)))
        n = len(values)
        if n >= 8:
            average = math.fsum(values) / n
            error = math.sqrt(math.fsum((value - average) ** 2 for value in values) / (n - 1) / n)
            if error <= 0.1 * abs(average) or n >= 64:
                return average


def hessian_eigenvalue_of(gradient: Tensor, weight: Tensor) -> float:
    """The eigenvalue of largest magnitude by power iteration, 50 steps at most, to a residual of 2 %."""
    generator = torch.Generator().manual_seed(SEED)
    vector = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight.device, weight.dtype)
    vector = vector / float(vector.double().norm())
    value = 0.0
    for _ in range(50):
        product = hessian_product(gradient, weight, vector)
        value = dot(vector, product)
        if float((product - value * vector).double().norm()) <= 0.02 * abs(value):
            break
        vector = product / float(product.double().norm())
    return value


def on_grid(rows: Tensor, least: Tensor, most: Tensor, bits: int) -> Tensor:
    """rows (n, values) at the nearest of 2^bits evenly spaced points from least to most, 0 among them."""
    high = 2**bits - 1
    scale = (most - least) / high
    scale = torch.where(scale > torch.finfo(scale.dtype).tiny, scale, torch.ones_like(scale))
    zero = torch.round(-least / scale).clamp(0, high)
    return ((torch.round(rows / scale) + zero).clamp(0, high) - zero) * scale


def quantized(weight: Tensor, bits: int) -> Tensor:
    """The weight rounded to nearest; each output channel's range is shrunk to the least squared error."""
    rows = weight.detach().reshape(len(weight), -1)
    least, most = rows.amin(1, keepdim=True).clamp(max=0), rows.amax(1, keepdim=True).clamp(min=0)

    def error_of(share: Tensor) -> Tensor:
        found = on_grid(rows, least * share, most * share, bits) - rows
        return found.square_().sum(1, keepdim=True, dtype=torch.float64)

    best = torch.ones_like(least)
    error = error_of(best)
    for tried in ("coarse", "fine"):
        centre = best.clone()
        steps = [k / 24 for k in range(23, 0, -1)] if tried == "coarse" else [k / 9 for k in range(-8, 9) if k]
        for step in steps:
            share = torch.full_like(best, step) if tried == "coarse" else centre + step / 24
            found = error_of(share)
            best, error = torch.where(found < error, share, best), torch.where(found < error, found, error)
    return on_grid(rows, least * best, most * best, bits).reshape(weight.shape)


def output_change(layer: nn.Module, change: Tensor, given: Tensor) -> Tensor:
    """What a change of the layer's weight changes in its output."""
    parts = {"weight": change} | ({} if layer.bias is None else {"bias": torch.zeros_like(layer.bias)})
    with torch.no_grad():
        return torch.func.functional_call(layer, parts, (given,))


def sample(tensor: Tensor) -> Tensor:
    """A tensor as a matrix (first dimension, rest) in float64: evenly strided, SAMPLES values at most."""
    matrix = tensor.detach().cpu().reshape(len(tensor), -1)
    rows, columns = matrix.shape
    if SAMPLES is not None:
        kept = min(rows, max(math.isqrt(SAMPLES), SAMPLES // columns))
        wide = min(columns, max(1, SAMPLES // kept))
        matrix = matrix[torch.arange(kept) * rows // kept][:, torch.arange(wide) * columns // wide]
    return matrix.double()


def number(value: float) -> Tensor:
    """A number as a matrix of one element."""
    return torch.tensor([[value]], dtype=torch.float64)


def columns_of(tensor: Tensor) -> int:
    """Columns of the whole matrix that `sample` thins out."""
    return tensor.numel() // len(tensor)


def required(batch: Any, labels: Tensor | None) -> None:
    """For errors that are easy to make."""
    inputs = (batch,) if isinstance(batch, Tensor) else tuple(batch)
    if not inputs or not all(isinstance(x, Tensor) and len(x) == len(inputs[0]) > 0 for x in inputs):
        raise ValueError("batch must be a tensor (samples, ...), or the several tensors the model is called with")
    if labels is not None and (labels.shape != inputs[0].shape[:1] or labels.is_floating_point()):
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} and {labels.dtype} for {len(inputs[0])} samples: one class a sample"
        )


def checked(configurations: Sequence[Mapping[str, int]]) -> list[str]:
    """The layers, which are those of every configuration; bits are whole numbers from 2 to 16."""
    for bits in configurations:
        if not isinstance(bits, Mapping) or not bits or set(bits) != set(configurations[0]):
            raise ValueError(f"each configuration maps the same layers to bits, {{'conv1': 4, 'fc': 8}}, not {bits!r}")
        for name, value in bits.items():
            if isinstance(value, bool) or not hasattr(value, "__index__") or not 2 <= value <= 16:
                raise ValueError(f"{name} has {value!r} bits: give a whole number from 2 to 16")
    return list(configurations[0]) if configurations else []
