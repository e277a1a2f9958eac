"""The primitives of optimizer programs, 45 and one for matrices: types, folds, local algebra, and their torch source.

The 45 are those of the paper's search space ("Symbolic Discovery of Optimization Algorithms", Chen et al. 2023, and its
released function library), under the library's names. Where the release is defective (a cube root that returns a
function, an `invert` that is a bitwise not, a power that does not map over trees, a division that shifts negative
divisors towards zero) the meaning is repaired; `kernels.programs` fixes it once for the reference and the kernels.

Types: a "tree" has the weights' tensors, a "leaf" is one number a tensor, a "scalar" is one number. Elementwise
operators take any mix and give the widest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from evo.program import Operator, operator_table
from evo.program.algebra import Identity, absorbs, commutes, idempotent, involution, neutral

WIDTH = {"scalar": 0, "leaf": 1, "tree": 2}
GUARD = 1e-8


def widest(types: tuple[str, ...]) -> str:
    """Result type of an elementwise operator: that of its widest argument."""
    return max(types, key=WIDTH.__getitem__)


def per_tensor(types: tuple[str, ...]) -> str:
    """Result type of `norm`: a tree gives one number a tensor; the rest is elementwise."""
    return "leaf" if types[0] == "tree" else types[0]


def reduced(types: tuple[str, ...]) -> str:
    """Result type of what reduces everything to one number."""
    return "scalar"


def clipped(types: tuple[str, ...]) -> str | None:
    """Result type of `clip_by_global_norm`: that of what is clipped; the bound is a scalar."""
    return types[0] if types[1] == "scalar" else None


def guarded(divisor: float) -> float:
    """A divisor kept away from zero by 1e-8, on the side where it is."""
    return divisor + (-GUARD if divisor < 0 else GUARD)


def _sign(x: float) -> float:
    return math.copysign(1.0, x) if x else 0.0


def _binary(
    name: str,
    infix: str,
    fold: Callable[[float, float], float],
    source: str,
    identities: tuple[Identity, ...] = (),
    commutative: bool = False,
) -> Operator:
    return Operator(name, 2, widest, source, commutative, fold, "", identities, infix)


def _unary(
    name: str, fold: Callable[[float], float] | None, source: str, identities: tuple[Identity, ...] = ()
) -> Operator:
    return Operator(name, 1, widest, source, False, fold, "", identities)


def even(name: str) -> tuple[Identity, ...]:
    """f(-x) = f(x) and f(|x|) = f(x)."""
    return absorbs(name, "negative"), absorbs(name, "abs")


def odd(name: str) -> tuple[Identity, ...]:
    """f(-x) = -f(x)."""
    return (commutes(name, "negative"),)


ARITHMETIC = (
    _binary(
        "add",
        "{0} + {1}",
        lambda x, y: x + y,
        "{0} + {1}",
        (
            neutral("add", 0.0),
            Identity("add(x, negative(y))", "sub(x, y)"),
            Identity("add(negative(x), negative(y))", "negative(add(x, y))"),
            Identity("add(add(x, a), b)", "add(x, add(a, b))", "real"),
        ),
        commutative=True,
    ),
    _binary(
        "sub",
        "{0} - {1}",
        lambda x, y: x - y,
        "{0} - {1}",
        (
            neutral("sub", 0.0),
            Identity("sub(0.0, x)", "negative(x)"),
            Identity("sub(1.0, x)", "invert(x)"),
            Identity("sub(x, negative(y))", "add(x, y)"),
            Identity("sub(negative(x), y)", "negative(add(x, y))"),
        ),
    ),
    _binary(
        "mul",
        "{0} * {1}",
        lambda x, y: x * y,
        "{0} * {1}",
        (
            neutral("mul", 1.0),
            Identity("mul(x, a)", "negative(mul(x, negative(a)))", where=lambda a: a < 0),
            Identity("mul(x, x)", "square(x)"),
            Identity("mul(square(x), x)", "cube(x)"),
            Identity("mul(sign(x), abs(x))", "x"),
            Identity("mul(negative(x), y)", "negative(mul(x, y))"),
            Identity("mul(mul(x, a), b)", "mul(x, mul(a, b))", "real"),
        ),
        commutative=True,
    ),
    _binary(
        "div",
        "{0} / {1}",
        lambda x, y: x / guarded(y),
        "divide({0}, {1})",
        (Identity("div(negative(x), y)", "negative(div(x, y))"),),
    ),
    _binary(
        "max",
        "",
        max,
        "torch.maximum({0}, {1})",
        (Identity("max(x, x)", "x"), Identity("max(negative(x), negative(y))", "negative(min(x, y))")),
        commutative=True,
    ),
    _binary(
        "min",
        "",
        min,
        "torch.minimum({0}, {1})",
        (Identity("min(x, x)", "x"), Identity("min(negative(x), negative(y))", "negative(max(x, y))")),
        commutative=True,
    ),
)

UNARY = (
    _unary(
        "abs",
        abs,
        "torch.abs({0})",
        (idempotent("abs"), absorbs("abs", "negative"), Identity("abs(square(x))", "square(x)")),
    ),
    _unary("cos", math.cos, "torch.cos({0})", even("cos")),
    _unary("sin", math.sin, "torch.sin({0})", odd("sin")),
    _unary("tan", math.tan, "torch.tan({0})", odd("tan")),
    _unary("arcsin", math.asin, "torch.asin({0})", odd("arcsin")),
    _unary("arccos", math.acos, "torch.acos({0})"),
    _unary("arctan", math.atan, "torch.atan({0})", odd("arctan")),
    _unary("sinh", math.sinh, "torch.sinh({0})", odd("sinh")),
    _unary("cosh", math.cosh, "torch.cosh({0})", even("cosh")),
    _unary("tanh", math.tanh, "torch.tanh({0})", odd("tanh")),
    _unary("arcsinh", math.asinh, "torch.asinh({0})", odd("arcsinh")),
    _unary("arccosh", math.acosh, "torch.acosh({0})"),
    _unary("arctanh", math.atanh, "torch.atanh({0})", odd("arctanh")),
    _unary("exp", math.exp, "torch.exp({0})"),
    _unary("exp2", lambda x: 2.0**x, "torch.exp2({0})"),
    _unary("exp10", lambda x: 10.0**x, "exp10({0})"),
    _unary("expm1", math.expm1, "torch.expm1({0})"),
    _unary("log", lambda x: math.log(abs(x)), "torch.log(torch.abs({0}))", even("log")),
    _unary("log10", lambda x: math.log10(abs(x)), "torch.log10(torch.abs({0}))", even("log10")),
    _unary("log2", lambda x: math.log2(abs(x)), "torch.log2(torch.abs({0}))", even("log2")),
    _unary("log1p", lambda x: math.log(abs(1.0 + x)), "torch.log(torch.abs(1.0 + {0}))"),
    _unary("square", lambda x: x * x, "{0} * {0}", even("square")),
    _unary("sqrt", lambda x: math.sqrt(abs(x)), "torch.sqrt(torch.abs({0}))", even("sqrt")),
    _unary("cube", lambda x: x * x * x, "{0} * {0} * {0}", odd("cube")),
    _unary("cbrt", math.cbrt, "cube_root({0})", odd("cbrt")),
    _unary("sign", _sign, "torch.sign({0})", (idempotent("sign"), *odd("sign"))),
    _unary("reciprocal", lambda x: 1.0 / guarded(x), "divide(1.0, {0})"),
    Operator("norm", 1, per_tensor, "norm({0})", False, abs, "", even("norm")),
    _unary("invert", lambda x: 1.0 - x, "1.0 - {0}", (Identity("invert(negative(x))", "add(1.0, x)"),)),
    _unary("negative", lambda x: -x, "-{0}", (involution("negative"), Identity("negative(sub(x, y))", "sub(y, x)"))),
)

OTHERS = (
    Operator("global_norm", 1, reduced, "global_norm({0})", False, abs, "", even("global_norm")),
    Operator("interp", 3, widest, "(1.0 - {2}) * {0} + {2} * {1}", False, lambda x, y, a: (1.0 - a) * x + a * y),
    Operator("dot", 2, reduced, "dot({0}, {1})", True, lambda x, y: x * y),
    Operator("cosine_sim", 2, reduced, "cosine_similarity({0}, {1})", True),
    Operator("clip_by_global_norm", 2, clipped, "clip_by_global_norm({0}, {1})"),
    Operator("power", 2, widest, "power({0}, {1})", False, math.pow, "", (Identity("power(x, 1.0)", "x"),)),
)

CONSTANTS = (
    Operator("pi", 0, reduced, "math.pi", False, lambda: math.pi),
    Operator("e", 0, reduced, "math.e", False, lambda: math.e),
    Operator("eps", 0, reduced, "1e-8", False, lambda: GUARD),
)

MATRICES = (
    Operator(
        "orthogonalize",
        1,
        widest,
        "orthogonalize({0})",
        False,
        lambda x: x / (abs(x) + GUARD),
        "",
        # Positive factors are no identity: the guard of the norm sees them, and so does rounding.
        odd("orthogonalize"),
    ),
)
"""Muon's direction (Jordan et al. 2024): a matrix is replaced, nearly, by the nearest one with orthonormal rows or
columns, scaled to elements of about 1; any other tensor is divided by the root mean square of its elements."""

OPERATORS = operator_table((*ARITHMETIC, *UNARY, *OTHERS, *CONSTANTS, *MATRICES))
"""All by name."""

DRAWN: Mapping[str, tuple[str, ...]] = {
    "paper": tuple(operator.name for operator in (*ARITHMETIC, *UNARY, *OTHERS, *CONSTANTS)),
    "matrix": tuple(OPERATORS),
}
"""Operators that mutation and sampling draw, by the option `operators`: the paper's 45, or all. Programs may call any
of them all the same."""

COUPLING = frozenset({"global_norm", "dot", "cosine_sim", "clip_by_global_norm"})
"""Operators that couple all tensors of the network."""
