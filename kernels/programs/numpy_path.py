"""The numpy path: the same plans as the compiled one, a program at a time over whole rows.

It needs no compiler and is the fall-back of the compiled path; a call of a numpy loop costs about a microsecond, so
it is best with rows of thousands of parameters.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from kernels.programs.opcodes import GUARD, NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS, OPCODES
from kernels.programs.packing import PackedPrograms
from kernels.programs.plan import BLOCK, COPY, FULL, IN, LEAVES, SCALARS, SUM_LEAVES, SUM_PRODUCT, Plan, index, space

Array = np.ndarray


def _guarded(x: Array) -> Array:
    return x + np.where(x < 0, x.dtype.type(-GUARD), x.dtype.type(GUARD))


def _sign(x: Array, out: Array | None = None) -> Array:
    return np.subtract(x > 0, x < 0, out=out, dtype=x.dtype, casting="unsafe")


def _of_absolute(function: np.ufunc) -> Callable[..., Array]:
    return lambda x, out=None: function(np.abs(x, out=out), out=out)


_UNARY: dict[str, Callable[..., Array]] = {
    "abs": np.abs,
    "cos": np.cos,
    "sin": np.sin,
    "tan": np.tan,
    "arcsin": np.arcsin,
    "arccos": np.arccos,
    "arctan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "arcsinh": np.arcsinh,
    "arccosh": np.arccosh,
    "arctanh": np.arctanh,
    "exp": np.exp,
    "exp2": np.exp2,
    "exp10": lambda x, out=None: np.power(x.dtype.type(10), x, out=out),
    "expm1": np.expm1,
    "log": _of_absolute(np.log),
    "log10": _of_absolute(np.log10),
    "log2": _of_absolute(np.log2),
    "log1p": lambda x, out=None: np.log(np.abs(np.add(x, x.dtype.type(1), out=out), out=out), out=out),
    "square": lambda x, out=None: np.multiply(x, x, out=out),
    "sqrt": _of_absolute(np.sqrt),
    "cube": lambda x, out=None: np.multiply(x * x, x, out=out),
    "cbrt": np.cbrt,
    "sign": _sign,
    "reciprocal": lambda x, out=None: np.divide(x.dtype.type(1), _guarded(x), out=out),
    "invert": lambda x, out=None: np.subtract(x.dtype.type(1), x, out=out),
    "negative": np.negative,
}
_BINARY: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,  # the divisor comes guarded
    "max": np.maximum,
    "min": np.minimum,
    "power": np.power,
}
_DIV, _INTERP = OPCODES["div"], OPCODES["interp"]
_FUNCTIONS = {OPCODES[name]: function for name, function in (_UNARY | _BINARY).items()}


def step(
    packed: PackedPrograms,
    weights: Array,
    gradients: Array,
    slots: Sequence[Array],
    schedule: Array,
    segments: Array,
    active: Array,
    shapes: Array | None,
) -> Array:
    """`kernels.programs.optimizer_step` for checked numpy arrays."""
    finite = np.zeros(len(packed), np.bool_)
    machine = _Machine(weights.dtype, segments, shapes)
    with np.errstate(all="ignore"):
        for row in np.flatnonzero(active):
            rows = [array[row] for array in (weights, gradients, *slots)]
            finite[row] = machine.run(packed.plans[row], rows, schedule[row])
    return finite


def _orthogonalize(x: Array, rows: int, columns: int, out: Array) -> None:
    """Of one tensor (size,). A product of one matrix at a time: nothing depends on how many programs there are."""
    wide = x.astype(np.float64)
    size = np.sqrt(np.square(wide).sum())
    if min(rows, columns) < 2:
        out[...] = wide / (size / math.sqrt(len(x)) + GUARD)
        return
    y = (wide / (size + GUARD)).astype(x.dtype).reshape(rows, columns)
    y = y if rows <= columns else y.T
    a, b, c = (x.dtype.type(number) for number in NEWTON_SCHULZ)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = y @ y.T
        y = a * y + (b * gram + c * (gram @ gram)) @ y
    y = y if rows <= columns else y.T
    np.multiply(y, x.dtype.type(math.sqrt(max(rows, columns))), out=out.reshape(rows, columns))


class _Machine:
    """Registers that are used again from program to program."""

    def __init__(self, dtype: np.dtype, segments: Array, shapes: Array | None) -> None:
        self.dtype = dtype
        self.starts = segments[:-1]
        self.lengths = np.diff(segments)
        self.parts = [slice(int(a), int(b)) for a, b in itertools.pairwise(segments)]
        self.shapes = [(1, 1)] * len(self.parts) if shapes is None else shapes.tolist()
        self.registers: dict[int, list[Array]] = {BLOCK: [], FULL: []}

    def run(self, plan: Plan, rows: list[Array], schedule: np.float64) -> bool:
        for kind, count in ((BLOCK, plan.n_block), (FULL, plan.n_full)):
            while len(self.registers[kind]) < count:
                self.registers[kind].append(np.empty(len(rows[0]), self.dtype))
        spaces: list[list] = [rows, self.registers[BLOCK], self.registers[FULL], [], []]
        spaces[SCALARS] = [np.float64(schedule), *(np.float64(constant) for constant in plan.constants)]
        spaces[SCALARS] += [None] * (plan.n_scalars - len(spaces[SCALARS]))
        spaces[LEAVES] = [self.lengths.astype(np.float64)] + [None] * (plan.n_leaves - 1)
        for phase in plan.phases:
            for line in phase.scalar:
                self._scalar(spaces, *line)
            for _, destination, operand, *_ in phase.whole:
                tree, out = (spaces[space(place)][index(place)] for place in (operand, destination))
                for part, shape in zip(self.parts, self.shapes, strict=True):
                    _orthogonalize(tree[part], *shape, out[part])
            for line in phase.tree:
                self._tree(spaces, *line)
        for slot, operand in zip(rows[2:], plan.slots, strict=True):
            value = self._operand(spaces, operand)
            if value is not slot:
                slot[...] = value
        rows[0] -= self._operand(spaces, plan.update)
        return bool(np.isfinite(rows[0]).all())

    def _scalar(self, spaces: list[list], opcode: int, destination: int, a: int, b: int, _: int) -> None:
        x = spaces[space(a)][index(a)]
        if opcode == SUM_LEAVES:
            result = np.broadcast_to(x, self.lengths.shape).cumsum()[-1]  # one after the other
        elif b < 0:
            result = _FUNCTIONS[opcode](np.asarray(x))
        else:
            y = spaces[space(b)][index(b)]
            result = _FUNCTIONS[opcode](x, _guarded(np.asarray(y)) if opcode == _DIV else y)
        spaces[space(destination)][index(destination)] = result

    def _tree(self, spaces: list[list], opcode: int, destination: int, a: int, b: int, c: int) -> None:
        if opcode == SUM_PRODUCT:
            x, y = (np.asarray(self._operand(spaces, operand, wide=True)) for operand in (a, b))
            product = x.astype(np.float64) * y
            spaces[LEAVES][index(destination)] = np.array([product[part].sum() for part in self.parts])
            return
        out = spaces[space(destination)][index(destination)]
        if opcode == _INTERP:
            share = spaces[space(c)][index(c)]
            x, y = spaces[space(a)][index(a)], spaces[space(b)][index(b)]
            right = self._rounded(share) * y
            np.multiply(self._rounded(1 - share), x, out=out)
            np.add(out, right, out=out)
        elif opcode == COPY:
            out[...] = self._operand(spaces, a)
        elif b < 0:
            _FUNCTIONS[opcode](self._operand(spaces, a), out=out)
        elif opcode == _DIV:
            divisor = spaces[space(b)][index(b)]
            guarded = _guarded(np.asarray(divisor))
            np.divide(self._operand(spaces, a), guarded if space(b) <= FULL else self._rounded(guarded), out=out)
        else:
            _FUNCTIONS[opcode](self._operand(spaces, a), self._operand(spaces, b), out=out)

    def _operand(self, spaces: list[list], operand: int, wide: bool = False) -> Array | np.floating:
        """A tree, or a leaf or scalar made to fit one: rounded to the dtype of trees unless `wide`."""
        value = spaces[space(operand)][index(operand)]
        if space(operand) in (IN, BLOCK, FULL):
            return value
        return (
            np.repeat(value, self.lengths)
            if wide and space(operand) == LEAVES
            else value
            if wide
            else self._rounded(value)
        )

    def _rounded(self, value: Array | np.float64) -> Array | np.floating:
        rounded = np.asarray(value).astype(self.dtype)
        return np.repeat(rounded, self.lengths) if rounded.ndim else rounded[()]
