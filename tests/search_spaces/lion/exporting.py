"""What the tests of exported optimizers share: modules from programs, small problems, and the program as exported."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import types
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from evo.program import Instruction, Program
from search_spaces.lion.export import source
from search_spaces.lion.export.flow import Ref
from search_spaces.lion.export.rule import rule_of

SHAPES = ((4, 8), (16,), (2, 4, 2, 4))
"""Sizes are whole vectors: torch may round an element of `pow` by its place beyond the last whole one."""
SEGMENTS = (0, 32, 48, 112)
MATRICES = ((4, 8), (16, 1), (2, 32))
"""Rows and columns as an exported optimizer sees tensors of these shapes: (first, rest)."""

_numbers = itertools.count()


def module_of(program: Program, **origin: object) -> types.ModuleType:
    """The exported module, registered under a name of its own so that its classes can be pickled."""
    name = f"exported_{next(_numbers)}"
    module = types.ModuleType(name)
    exec(compile(source(program, origin), f"{name}.py", "exec"), module.__dict__)
    sys.modules[name] = module
    return module


def loaded(path: Path) -> types.ModuleType:
    """A module from a file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of optimizers that couple tensors or have no rate."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def optimizer_of(program: Program, params: Sequence[object], **options: object) -> torch.optim.Optimizer:
    with quiet():
        return module_of(program).Discovered(params, **options)


def parameters(flat: torch.Tensor) -> list[torch.nn.Parameter]:
    """(112,) weights as three tensors."""
    parts = zip(SHAPES, SEGMENTS, SEGMENTS[1:], strict=False)
    return [torch.nn.Parameter(flat[start:end].reshape(shape).clone()) for shape, start, end in parts]


def give(params: Sequence[torch.nn.Parameter], gradient: torch.Tensor) -> None:
    """Set the gradients from one flat one."""
    for parameter, start, end in zip(params, SEGMENTS, SEGMENTS[1:], strict=False):
        parameter.grad = gradient[start:end].reshape(parameter.shape).clone()


def flat(params: Sequence[torch.nn.Parameter]) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in params])


def problem(seed: int, dtype: torch.dtype = torch.float64, steps: int = 3) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """(112,) weights and gradients of a few steps."""
    weights, *gradients = torch.randn((steps + 1, 112), dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return weights, gradients


def trained(
    optimizer: torch.optim.Optimizer, params: Sequence[torch.nn.Parameter], gradients: Sequence[torch.Tensor]
) -> torch.Tensor:
    """The weights after one step a gradient."""
    for gradient in gradients:
        give(params, gradient)
        optimizer.step()
    return flat(params)


def as_exported(program: Program) -> Program:
    """What an export computes, to the bit: the simplified program, but for a learning rate that was moved."""
    rule = rule_of(program)
    flow, rate = rule.flow, rule.rate
    written = [Instruction("rate", "mul", ("lr" if rate.follows and rate.scheduled else 1.0, rate.default))]

    def name(ref: Ref) -> str | float:
        return f"s{ref}" if isinstance(ref, int) else {"peak": "rate"}.get(ref, ref) if isinstance(ref, str) else ref

    for number, (_, operator, arguments) in enumerate(flow.statements):
        written.append(Instruction(f"s{number}", operator, tuple(map(name, arguments))))
    for output, ref in flow.roots.items():
        if isinstance(ref, int):
            # programs have no copies; the larger of a value and itself is one
            written.append(Instruction(output, "max", (name(ref), name(ref))))
    return Program(tuple(written))
