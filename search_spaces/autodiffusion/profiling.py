"""Measures a model's blocks: multiply-adds exactly, seconds by the median of several calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.autodiffusion.budget import Profile
from search_spaces.autodiffusion.problem import Problem
from search_spaces.autodiffusion.sampling.masks import Skipping, kind_of

ROUNDS = 15


def profiled(problem: Problem, rows: int, device: str = "cpu", rounds: int = ROUNDS) -> Profile:
    """What the blocks of a model cost, in calls of `rows` images.

    A block's seconds are those between its beginning and its end, less those of what it gives when it is skipped; the
    threads are those of the caller.
    """
    model, blocks = problem.model, problem.blocks
    model.unet.to(device)
    x = torch.zeros((rows, *model.shape), device=device)
    t = torch.zeros(rows, dtype=torch.int64, device=device)
    given = problem.conditions(0, rows) if problem.conditions else {}

    def call() -> None:
        model.call(x, t, **given)

    with torch.inference_mode(), Skipping(model.unet, blocks) as skipping:
        total = _operations(call)
        saved = []
        for block in range(len(blocks)):
            skipping.set(_only(block, len(blocks), rows))
            saved.append(total - _operations(call))
        skipping.set(None)
        full, inside = _timed(model.unet, blocks, call, device, rounds)
        skipping.set(torch.ones((rows, len(blocks)), dtype=torch.bool))
        _, around = _timed(model.unet, blocks, call, device, rounds) if blocks else (0.0, [])
    seconds = [max(0.0, a - b) / rows for a, b in zip(inside, around, strict=True)]
    kinds = tuple(kind_of(model.unet, block) for block in blocks)
    # operations are counted twice, as products and as sums
    macs = tuple(value / 2 / rows for value in saved)
    return Profile(
        model.digest, model.schedule.steps, blocks, kinds, total / 2 / rows, macs, full / rows, tuple(seconds)
    )


def _only(block: int, count: int, rows: int) -> torch.Tensor:
    mask = torch.zeros((rows, count), dtype=torch.bool)
    mask[:, block] = True
    return mask


def _operations(call: Callable[[], None]) -> float:
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def _timed(
    network: torch.nn.Module, blocks: tuple[str, ...], call: Callable[[], None], device: str, rounds: int
) -> tuple[float, list[float]]:
    """Median seconds of a call, and of each block in it."""

    def now() -> float:
        if device != "cpu":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    began: list[float] = [0.0] * len(blocks)
    inside: list[list[float]] = [[] for _ in blocks]
    handles: list[Any] = []
    for number, name in enumerate(blocks):

        def before(module: Any, arguments: Any, number: int = number) -> None:
            began[number] = now()

        def after(module: Any, arguments: Any, output: Any, number: int = number) -> None:
            inside[number].append(now() - began[number])

        module = network.get_submodule(name)
        handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    whole = []
    try:
        call()
        for values in inside:
            values.clear()
        for _ in range(rounds):
            start = now()
            call()
            whole.append(now() - start)
    finally:
        for handle in handles:
            handle.remove()
    return median(whole), [median(values) for values in inside]
