"""What a program means: one step of one program in plain torch, any floating dtype, any device.

Every other path is held against this one. Trees are flat tensors (n_parameters,) in the dtype of the weights; leaves
(n_tensors,) and scalars () are float64, whatever that dtype is, and are rounded to it where they meet a tree (a divisor
after its guard, a weight 1 - a after its subtraction). Sums are taken in float64; products of matrices, and only they,
in the dtype of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kernels.programs.opcodes import (
    CONSTANT_VALUES,
    GUARD,
    LEAF,
    NAMES,
    NEWTON_SCHULZ,
    NEWTON_SCHULZ_STEPS,
    SCALAR,
    TREE,
    result_kind,
)
from kernels.programs.packing import Lowered

Hook = Callable[[Tensor, str], Tensor]


class Step(NamedTuple):
    """What a step gives: new tensors (n_parameters,), and whether the weights are all finite."""

    update: Tensor
    weights: Tensor
    slots: list[Tensor]
    finite: bool


def reference_step(
    program: Lowered,
    weights: Tensor,
    gradients: Tensor,
    slots: Sequence[Tensor],
    schedule: float,
    segments: Sequence[int],
    disturb: Hook | None = None,
    shapes: Sequence[Sequence[int]] | None = None,
) -> Step:
    """One step: update, new slots = program(w, g, slots..., lr); new weights = w - update. Nothing is changed in place.

    Args:
        program: a lowered program.
        weights, gradients, slots: (n_parameters,) of one dtype.
        schedule: the program's last input.
        segments: (n_tensors + 1,) offsets of the tensors.
        disturb: applied to every operand as it is read (also of the products inside `orthogonalize`), with the
            operator's name, and to the outputs with no name; tests measure conditioning with it.
        shapes: (rows, columns) of each tensor, row-major; a matrix where both exceed 1. None: there are no matrices.
    """
    offsets = [int(offset) for offset in segments]
    machine = _Machine(weights.dtype, weights.device, offsets, shapes, disturb)
    values = [(tensor, TREE) for tensor in (weights, gradients, *slots)]
    values.append((machine.scalar(schedule), SCALAR))
    registers = dict(enumerate(values))
    for offset, constant in enumerate(program.constants):
        registers[program.n_inputs + offset] = (machine.scalar(constant), SCALAR)
    for opcode, destination, *operands in program.code:
        read = [registers[operand] for operand in operands if operand >= 0]
        if disturb is not None:
            read = [(disturb(tensor, NAMES[opcode]), kind) for tensor, kind in read]
        registers[destination] = machine.run(opcode, read)
    update, *new_slots = (machine.cast(registers[output], TREE).clone() for output in program.outputs)
    if disturb is not None:
        update, *new_slots = (disturb(tensor, "") for tensor in (update, *new_slots))
    new_weights = weights - update
    finite = bool(torch.isfinite(new_weights).all())
    return Step(update, new_weights, new_slots, finite)


Value = tuple[Tensor, int]  # a tensor and its kind


def _guarded(x: Tensor) -> Tensor:
    guard = torch.full_like(x, GUARD)
    return x + torch.where(x < 0, -guard, guard)


_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "cos": torch.cos,
    "sin": torch.sin,
    "tan": torch.tan,
    "arcsin": torch.asin,
    "arccos": torch.acos,
    "arctan": torch.atan,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "tanh": torch.tanh,
    "arcsinh": torch.asinh,
    "arccosh": torch.acosh,
    "arctanh": torch.atanh,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "exp10": lambda x: torch.pow(torch.full_like(x, 10.0), x),
    "expm1": torch.expm1,
    "log": lambda x: torch.log(x.abs()),
    "log10": lambda x: torch.log10(x.abs()),
    "log2": lambda x: torch.log2(x.abs()),
    "log1p": lambda x: torch.log((1 + x).abs()),
    "square": lambda x: x * x,
    "sqrt": lambda x: torch.sqrt(x.abs()),
    "cube": lambda x: x * x * x,
    "cbrt": lambda x: torch.copysign(x.abs().pow(1 / 3), x),
    "sign": torch.sign,
    "reciprocal": lambda x: 1 / _guarded(x),
    "norm": torch.abs,  # of a leaf or scalar; of a tree: _Machine.norm
    "invert": lambda x: 1 - x,
    "negative": torch.neg,
}

_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "max": torch.maximum,
    "min": torch.minimum,
    "power": torch.pow,
}


class _Machine:
    """The operators over (tensor, kind) pairs, for one set of tensors."""

    def __init__(
        self,
        dtype: torch.dtype,
        device: torch.device,
        segments: list[int],
        shapes: Sequence[Sequence[int]] | None,
        disturb: Hook | None,
    ) -> None:
        self.dtype = dtype
        self.device = device
        self.segments = segments
        self.shapes = [(1, 1)] * (len(segments) - 1) if shapes is None else [(int(r), int(c)) for r, c in shapes]
        self.disturb = disturb
        self.lengths = torch.tensor(segments, device=device).diff()

    def scalar(self, value: float) -> Tensor:
        return torch.tensor(float(value), dtype=torch.float64, device=self.device)

    def run(self, opcode: int, operands: list[Value]) -> Value:
        name = NAMES[opcode]
        kind = result_kind(opcode, [kind for _, kind in operands])
        if opcode in CONSTANT_VALUES:
            return self.scalar(CONSTANT_VALUES[opcode]), SCALAR
        if name == "norm" and operands[0][1] == TREE:
            return self.norm(operands[0]), LEAF
        if name == "orthogonalize":
            x = operands[0][0]
            return (self.orthogonalize(x) if kind == TREE else x / (x.abs() + GUARD)), kind
        if name in _UNARY:
            return _UNARY[name](operands[0][0]), kind
        if name in ("global_norm", "dot", "cosine_sim", "clip_by_global_norm", "interp"):
            return getattr(self, name)(*operands)
        return self.binary(name, *operands)

    def cast(self, value: Value, kind: int) -> Tensor:
        """A value broadcast to a kind that is at least as wide; to a tree it is rounded."""
        tensor, own = value
        if own == kind:
            return tensor
        if own == SCALAR:
            tensor = tensor.expand(len(self.lengths))
        if kind == TREE:
            tensor = tensor.to(self.dtype).repeat_interleave(self.lengths)
        return tensor

    def binary(self, name: str, a: Value, b: Value) -> Value:
        kind = min(a[1], b[1])
        if name == "div":
            return self.cast(a, kind) / self.cast((_guarded(b[0]), b[1]), kind), kind
        # Operands are broadcast in full: torch.pow treats a single exponent of 0.5 or 2 in ways of its own.
        return _BINARY[name](self.cast(a, kind).contiguous(), self.cast(b, kind).contiguous()), kind

    def norm(self, x: Value) -> Tensor:
        return torch.stack([part.double().square().sum() for part in self.parts(x[0])]).sqrt()

    def parts(self, tree: Tensor) -> list[Tensor]:
        return [tree[start:end] for start, end in zip(self.segments, self.segments[1:], strict=False)]

    def wide(self, value: Value, kind: int) -> list[Tensor]:
        """A value broadcast to a kind, in float64 without rounding, in parts that are summed one by one."""
        tensor, own = value
        if kind == TREE:
            if own == SCALAR:
                tensor = tensor.expand(len(self.lengths))
            return self.parts(tensor.double() if own == TREE else tensor.repeat_interleave(self.lengths))
        return [self.cast(value, kind)]

    def sum_product(self, a: Value, b: Value, kind: int) -> Tensor:
        sums = [(x * y).sum() for x, y in zip(self.wide(a, kind), self.wide(b, kind), strict=True)]
        return torch.stack(sums).sum()

    def global_norm(self, x: Value, kind: int | None = None) -> Value:
        return self.sum_product(x, x, x[1] if kind is None else kind).sqrt(), SCALAR

    def dot(self, a: Value, b: Value) -> Value:
        return self.sum_product(a, b, min(a[1], b[1])), SCALAR

    def cosine_sim(self, a: Value, b: Value) -> Value:
        kind = min(a[1], b[1])
        norms = self.global_norm(a, kind)[0] * self.global_norm(b, kind)[0]
        return self.dot(a, b)[0] / _guarded(norms), SCALAR

    def clip_by_global_norm(self, x: Value, bound: Value) -> Value:
        share, kind = self.binary("div", bound, self.global_norm(x))
        return self.binary("mul", x, (torch.minimum(share, torch.ones_like(share)), kind))

    def interp(self, x: Value, y: Value, a: Value) -> Value:
        rest = 1 - a[0], a[1]
        return self.binary("add", self.binary("mul", rest, x), self.binary("mul", a, y))

    def orthogonalize(self, tree: Tensor) -> Tensor:
        parts = []
        for part, (rows, columns) in zip(self.parts(tree), self.shapes, strict=True):
            wide = part.double()
            size = wide.square().sum().sqrt()
            if min(rows, columns) > 1:
                y = (wide / (size + GUARD)).to(self.dtype).reshape(rows, columns)
                flat = self.newton_schulz(y if rows <= columns else y.T)
                parts.append(((flat if rows <= columns else flat.T) * math.sqrt(max(rows, columns))).reshape(-1))
            else:
                parts.append((wide / (size / math.sqrt(len(part)) + GUARD)).to(self.dtype))
        return torch.cat(parts)

    def newton_schulz(self, y: Tensor) -> Tensor:
        """Y <- a Y + (b A + c A A) Y with A = Y Y', for a matrix with no more rows than columns."""
        a, b, c = NEWTON_SCHULZ
        read = (lambda x: x) if self.disturb is None else (lambda x: self.disturb(x, "orthogonalize"))
        for _ in range(NEWTON_SCHULZ_STEPS):
            gram = read(y) @ read(y).T
            polynomial = b * read(gram) + c * (read(gram) @ read(gram))
            y = a * read(y) + read(polynomial) @ read(y)
        return y
