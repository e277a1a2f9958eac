"""The best plain loops that train one network at a time: torch autograd, a backward pass by hand, `torch.optim.AdamW`.

For `benchmarks.lion_throughput`, which tells what is fair about them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch

from evo.program import Program, simplify
from search_spaces.lion.language import LION
from search_spaces.lion.tasks import digits

BATCH = 64
INPUTS, HIDDEN, CLASSES = digits.DigitsMLP.sizes

TORCH = {
    "square": torch.square,
    "sqrt": lambda x: torch.sqrt(x.abs()),
    "sign": torch.sign,
    "mul": operator.mul,
    "add": operator.add,
    "sub": operator.sub,
    "div": lambda a, b: a / (b + 1e-8),
    "interp": torch.lerp,
}
"""What the programs of `adamw_population` need, each in the fewest torch operations: a guard of a divisor that is never
negative, a fused interpolation."""


def gathered(steps: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The batches of `batched`: images (64, 64), labels (64,)."""
    task = digits.DigitsMLP()
    return [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in (task.batch(s, 1, BATCH) for s in range(steps))]


def tensors(flat: torch.Tensor) -> list[torch.Tensor]:
    """Views of flat weights: two matrices (inputs, outputs) and two biases."""
    first, bias, second, last = (flat[start:end] for start, end in pairwise(digits.DigitsMLP.segments))
    return [first.view(INPUTS, HIDDEN), bias, second.view(HIDDEN, CLASSES), last]


def torch_step(program: Program) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """The program as torch operations on flat weights, in place; (weights, gradient, v1, v2) -> (v1, v2)."""
    calls = [(target, TORCH[name], arguments) for target, name, arguments in simplify(LION, program).instructions]

    def step(
        weights: torch.Tensor, gradient: torch.Tensor, v1: torch.Tensor, v2: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        values = {"w": weights, "g": gradient, "v1": v1, "v2": v2, "lr": 1.0}
        for target, call, arguments in calls:
            values[target] = call(*[values[a] if isinstance(a, str) else a for a in arguments])
        weights.sub_(values["update"])
        return values["v1"], values["v2"]

    return step


def autograd_loop(
    population: list[Program], steps: int, found: list[np.ndarray], accumulate: bool
) -> Callable[[], int]:
    """(a): `found` gets the weights in which each network ends. `accumulate`: `backward()` adds to gradients that lie
    in one vector, which is cleared each step; else `autograd.grad`, whose four results are put together."""
    batches, start = gathered(steps), torch.from_numpy(digits.DigitsMLP().initial(1))
    optimizers = [torch_step(program) for program in population]
    functional = torch.nn.functional

    def run() -> int:
        found.clear()
        for optimizer in optimizers:
            flat, gradient = start.clone(), torch.zeros_like(start)
            leaves = [view.detach().requires_grad_() for view in tensors(flat)]
            if accumulate:
                for leaf, view in zip(leaves, tensors(gradient), strict=True):
                    leaf.grad = view
            first, bias, second, last = leaves
            v1 = v2 = torch.zeros_like(flat)
            for images, labels in batches:
                logits = torch.addmm(last, torch.addmm(bias, images, first).relu_(), second)
                loss = functional.nll_loss(torch.log_softmax(logits, 1), labels)
                if accumulate:
                    gradient.zero_()
                    loss.backward()
                else:
                    gradient = torch.cat([part.view(-1) for part in torch.autograd.grad(loss, leaves)])
                with torch.no_grad():
                    v1, v2 = optimizer(flat, gradient, v1, v2)
            found.append(flat.numpy())
        return len(population) * steps

    return run


def handwritten_loop(population: list[Program], steps: int, found: list[np.ndarray]) -> Callable[[], int]:
    """(a) without autograd; the labels' one-hot vectors, too, are made before the clock starts."""
    start = torch.from_numpy(digits.DigitsMLP().initial(1))
    optimizers = [torch_step(program) for program in population]
    batches = [(x, torch.nn.functional.one_hot(y, CLASSES).float() / BATCH) for x, y in gathered(steps)]
    threshold = torch.ops.aten.threshold_backward

    def run() -> int:
        found.clear()
        with torch.inference_mode():
            for optimizer in optimizers:
                flat, gradient = start.clone(), torch.empty_like(start)
                first, bias, second, last = tensors(flat)
                by_first, by_bias, by_second, by_last = tensors(gradient)
                back = second.t()
                v1 = v2 = torch.zeros_like(flat)
                for images, right in batches:
                    hidden = torch.addmm(bias, images, first).relu_()
                    delta = torch.softmax(torch.addmm(last, hidden, second), 1).mul_(1 / BATCH).sub_(right)
                    torch.mm(hidden.t(), delta, out=by_second)
                    torch.sum(delta, 0, out=by_last)
                    inner = threshold(torch.mm(delta, back), hidden, 0)
                    torch.mm(images.t(), inner, out=by_first)
                    torch.sum(inner, 0, out=by_bias)
                    v1, v2 = optimizer(flat, gradient, v1, v2)
                found.append(flat.numpy())
        return len(population) * steps

    return run


def adamw(count: int, steps: int, **form: bool) -> Callable[[], int]:
    """(b)."""
    batches = gathered(steps)
    functional = torch.nn.functional

    def run() -> int:
        for number in range(count):
            torch.manual_seed(number)
            layers = torch.nn.Linear(INPUTS, HIDDEN), torch.nn.Linear(HIDDEN, CLASSES)
            weights = [parameter for layer in layers for parameter in layer.parameters()]
            first, bias, second, last = weights
            optimizer = torch.optim.AdamW(weights, lr=1e-3, **form)
            for images, labels in batches:
                logits = functional.linear(functional.linear(images, first, bias).relu_(), second, last)
                loss = functional.nll_loss(torch.log_softmax(logits, 1), labels)
                for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                    weight.grad = gradient
                optimizer.step()
        return count * steps

    return run
