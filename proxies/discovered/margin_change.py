"""A proxy of mixed-precision quantization, found by evolutionary search. It needs torch alone.

    score(model, bits, batch) = +- mean over layers of [ norm(norm(dm)^2 + relu(normalize(x))) ]

where

    x: what the layer receives, x
    dm: what Q(W) changes in m, to first order: the sum of dm/dz dz

score(model, {"conv1": 4, "fc": 8}, images) ranks bit configurations of a trained classifier without training or
testing any of them: larger predicts the better accuracy. It is a sum over layers: see `table`.
The model is left as it is, and nothing is drawn but with fixed seeds.

Origin:

    run: emq-20261124-071145-1baf
    candidate: 20154
    space: emq
    seed: 0
    values: fitness 0.928795
    status: ok
    versions: python 3.11.7, platform Linux-6.18.44-fc-v669-x86_64-with-glibc2.36, evo-search 0.1.0, numpy 2.4.6,
        torch 2.13.0+cpu, ray 2.60.0, xxhash 4.1.0, optuna 5.0.0, deap 1.4.4
    commit: d6779bbda6a91fb0dfcee85b664a9b5fb596bb43

Chosen: the smallest that the search rows, on six batches of images, did not tell from the run's best
(`benchmarks/emq_parsimony.py`, and its result). On what was held out: Spearman 0.931 and 0.875, of HAWQ-V2 0.914 and
0.862; neither difference is beyond chance (docs/emq.md).
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
"""Values of a tensor that are looked at, evenly strided."""
SEED = 0
FEWEST, MOST = 2, 8
"""The sign is the one that puts MOST bits everywhere above FEWEST bits everywhere."""


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


def total(x: Tensor) -> Tensor:
    """The sum as a matrix of one element."""
    return x.sum().reshape(1, 1)


def mean(x: Tensor) -> Tensor:
    """The mean as a matrix of one element."""
    return x.mean().reshape(1, 1)


def variance(x: Tensor) -> Tensor:
    """Over all elements, with n - 1; 0 for one element, and where the deviation is rounding."""
    found = total((x - mean(x)).square()) / max(x.numel() - 1, 1)
    return torch.where(found.sqrt() <= 1e-12 * x.abs().max(), 0.0, found)


def normalize(x: Tensor) -> Tensor:
    """(x - mean) / standard deviation; 0 where all are equal, but for rounding."""
    deviation = variance(x).sqrt()
    usable = (deviation > 0) & (x.numel() > 1)
    return torch.where(usable, (x - mean(x)) / torch.where(usable, deviation, 1.0), 0.0)


def frobenius_norm(x: Tensor, elements: int) -> Tensor:
    """Of the whole matrix, from its sample."""
    return (mean(x * x) * elements).sqrt()


def term(bits: int, layer_input: Tensor, margin_change: Tensor, input_width: int) -> Tensor:
    """norm(norm(dm)^2 + relu(normalize(x)))"""
    t1 = frobenius_norm(margin_change, 1)
    t2 = t1.square()
    t3 = normalize(layer_input)
    t4 = t3.clamp(min=0)
    t5 = t2 + t4
    return frobenius_norm(t5, input_width)


def terms(
    model: nn.Module, batch: Any, choices: Sequence[int], layers: Sequence[str] | None, labels: Tensor | None
) -> dict[str, dict[int, float]]:
    """The term of each layer at each bit-width."""
    required(batch, labels)
    names = names_of(model, layers)
    found: dict[str, dict[int, float]] = {}
    with isolated():
        seen = ran(model, batch, names)
        of_margins = margin_gradients(model, batch, names)
        margins = margins_of(model, batch)
        layers_of = dict(model.named_modules())
        for name in names:
            layer = layers_of[name]
            layer_input = sample(seen[name][0])
            input_width = columns_of(seen[name][0])
            found[name] = {}
            for bits in choices:
                rounded = quantized(layer.weight, bits)
                moved = output_change(layer, rounded - layer.weight.detach(), seen[name][0])
                margin_change = sample(change_by_sample(of_margins[name], moved, len(margins)))
                found[name][bits] = float(term(bits, layer_input, margin_change, input_width))
    return found


def orientation(found: Mapping[str, Mapping[int, float]]) -> float:
    """1 or -1: more bits are better."""
    most, fewest = (sum(of[bits] for of in found.values()) for bits in (MOST, FEWEST))
    if not abs(most - fewest) > 0 or abs(most - fewest) == float("inf"):
        raise ValueError(f"the proxy does not tell {MOST} bits everywhere from {FEWEST}: {most}, {fewest}")
    return 1.0 if most > fewest else -1.0


def score(model: nn.Module, bits: Mapping[str, int], batch: Any, labels: Tensor | None = None) -> float:
    """The score of one bit configuration, larger for the better predicted accuracy.

    Args:
        model: a classifier: gives logits (samples, classes) when called with the batch.
        bits: weight bits, 2 to 16, by the name of a Conv2d or Linear layer; others are not looked at.
        batch: (samples, ...), or the several tensors that the model is called with.
        labels: (samples,) classes; None for the model's own predictions.

    Raises:
        ValueError: one of these does not fit the model.
    """
    return score_all(model, [bits], batch, labels)[0]


def score_all(
    model: nn.Module, configurations: Sequence[Mapping[str, int]], batch: Any, labels: Tensor | None = None
) -> list[float]:
    """Scores of many configurations of the same layers; the model is looked at once."""
    names = checked(configurations)
    choices = {FEWEST, MOST, *(b for bits in configurations for b in bits.values())}
    found = terms(model, batch, sorted(choices), names, labels)
    sign = orientation(found)
    return [sign * sum(found[name][bits[name]] for name in names) / len(names) for bits in configurations]


def table(
    model: nn.Module,
    batch: Any,
    choices: Sequence[int] = (2, 3, 4, 8),
    layers: Sequence[str] | None = None,
    labels: Tensor | None = None,
) -> dict[str, dict[int, float]]:
    """What each layer adds to the score at each bit-width: a score is the sum over its layers.

    For an exact allocation under a budget, by integer programming.
    """
    names = names_of(model, layers)
    checked([dict.fromkeys(names, bits) for bits in choices])
    found = terms(model, batch, sorted({*choices, FEWEST, MOST}), names, labels)
    sign = orientation(found)
    return {name: {b: sign * found[name][b] / len(names) for b in choices} for name in names}
