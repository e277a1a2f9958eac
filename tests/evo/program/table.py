"""A small optimizer language for the tests of `evo.program`, and its direct float64 interpreter over numpy.

A tree is a tuple of arrays (two tensors here), a leaf a tuple of floats (one a tensor), a scalar a float.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from evo.program import Identity, Language, Operator, Program, Signature, operator_table
from evo.program.algebra import absorbs, commutes, idempotent, involution, neutral

TYPES = ("tree", "leaf", "scalar")
SIGNATURE = Signature(
    inputs=(("w", "tree"), ("g", "tree"), ("v1", "tree"), ("v2", "tree"), ("lr", "scalar")),
    outputs=(("update", "tree"), ("v1", "tree"), ("v2", "tree")),
    state={"v1": "v1", "v2": "v2"},
)


def widest(types: tuple[str, ...]) -> str:
    return min(types, key=TYPES.index)


def clip_type(types: tuple[str, ...]) -> str | None:
    return types[0] if types[1] == "scalar" else None


def norm_type(types: tuple[str, ...]) -> str:
    return "leaf" if types[0] == "tree" else types[0]


def elementwise(function: Callable[..., np.ndarray]) -> Callable[..., object]:
    """Broadcast over the types: tree > leaf > scalar."""

    def apply(*values):
        width = max((len(v) for v in values if isinstance(v, tuple)), default=None)
        with np.errstate(all="ignore"):
            if width is None:
                return np.float64(function(*values))
            spread = [v if isinstance(v, tuple) else (v,) * width for v in values]
            return tuple(function(*parts) for parts in zip(*spread, strict=True))

    return apply


def divide(a, b):
    return a / (b + np.where(np.less(b, 0), -1e-8, 1e-8))


def interp(x, y, a):
    return (1 - a) * x + a * y


def global_norm(value):
    with np.errstate(all="ignore"):
        if isinstance(value, tuple):
            return np.sqrt(sum(np.sum(np.square(part)) for part in value))
        return np.abs(value)


def norm(value):
    with np.errstate(all="ignore"):
        return tuple(np.sqrt(np.sum(np.square(part))) for part in value) if isinstance(value, tuple) else np.abs(value)


def clip(value, limit):
    with np.errstate(all="ignore"):
        scale = np.minimum(1.0, divide(np.float64(limit), global_norm(value)))
        return tuple(part * scale for part in value) if isinstance(value, tuple) else value * scale


def scalar(function: Callable[..., object]) -> Callable[..., float]:
    def fold(*values: float) -> float:
        with np.errstate(all="ignore"):
            return float(function(*[np.float64(v) for v in values]))

    return fold


ELEMENTWISE: dict[str, Callable[..., object]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": divide,
    "max": np.maximum,
    "abs": np.abs,
    "sin": np.sin,
    "cosh": np.cosh,
    "arcsin": np.arcsin,
    "square": lambda x: x * x,
    "sqrt": lambda x: np.sqrt(np.abs(x)),
    "sign": np.sign,
    "negative": np.negative,
    "interp": interp,
}
EVALUATE: dict[str, Callable[..., object]] = {name: elementwise(f) for name, f in ELEMENTWISE.items()} | {
    "norm": norm,
    "global_norm": global_norm,
    "clip": clip,
    "pi": lambda: np.float64(math.pi),
}

IDENTITIES = {
    "add": (
        neutral("add", 0.0),
        Identity("add(x, negative(y))", "sub(x, y)"),
        Identity("add(add(x, a), b)", "add(x, add(a, b))", "real"),
    ),
    "sub": (neutral("sub", 0.0), Identity("sub(x, negative(y))", "add(x, y)"), Identity("sub(0, x)", "negative(x)")),
    "mul": (
        neutral("mul", 1.0),
        Identity("mul(x, -1)", "negative(x)"),
        Identity("mul(negative(x), negative(y))", "mul(x, y)"),
        Identity("mul(abs(x), abs(x))", "mul(x, x)"),
        Identity("mul(mul(x, a), b)", "mul(x, mul(a, b))", "real"),
    ),
    "max": (Identity("max(x, x)", "x"),),
    "abs": (idempotent("abs"), absorbs("abs", "negative")),
    "sin": (commutes("sin", "negative"),),
    "cosh": (absorbs("cosh", "negative"), absorbs("cosh", "abs")),
    "square": (Identity("square(x)", "mul(x, x)"),),
    "sqrt": (absorbs("sqrt", "abs"), absorbs("sqrt", "negative")),
    "sign": (idempotent("sign"), Identity("sign(mul(x, a))", "sign(x)", "real", where=lambda a: a > 0)),
    "negative": (involution("negative"),),
    "div": (Identity("div(x, sqrt(mul(x, x)))", "sign(x)", "real"),),
    "interp": (
        Identity("interp(x, interp(x, z, a), b)", "interp(x, z, mul(a, b))", "real"),
        Identity("interp(interp(x, y, a), y, b)", "interp(x, y, sub(add(a, b), mul(a, b)))", "real"),
    ),
}
INFIX = {"add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}", "negative": "-{0}"}
ARITY = {"add": 2, "sub": 2, "mul": 2, "div": 2, "max": 2, "interp": 3, "clip": 2, "pi": 0}
INFER = {"norm": norm_type, "global_norm": lambda types: "scalar", "clip": clip_type, "pi": lambda types: "scalar"}


def _operator(name: str) -> Operator:
    arity = ARITY.get(name, 1)
    return Operator(
        name,
        arity,
        INFER.get(name, widest),
        source="np." + name + "(" + ", ".join(f"{{{i}}}" for i in range(arity)) + ")",
        commutative=name in ("add", "mul", "max"),
        fold=scalar(EVALUATE[name]),
        identities=IDENTITIES.get(name, ()),
        infix=INFIX.get(name, ""),
    )


LANGUAGE = Language(SIGNATURE, operator_table(_operator(name) for name in EVALUATE))
OPCODES = {name: 100 + number for number, name in enumerate(EVALUATE)}

ADAMW = Program.parse(
    """
    g2 = square(g)
    v1 = interp(g, v1, 0.9)
    v2 = interp(g2, v2, 0.999)
    s = sqrt(v2)
    u = div(v1, s)
    wd = mul(w, 0.01)
    u = add(u, wd)
    lr = mul(lr, 0.001)
    update = mul(u, lr)
    """
)
"""Spec lion.md 1.3; `v1` and `v2` are the paper's m and v."""

LION = Program.parse(
    """
    c = interp(g, v1, 0.9)
    v1 = interp(g, v1, 0.99)
    u = sign(c)
    wd = mul(w, 0.1)
    u = add(u, wd)
    lr = mul(lr, 0.0001)
    update = mul(u, lr)
    """
)

PROGRAM_4 = Program.parse(
    """
    g = clip(g, lr)
    g = arcsin(g)
    v1 = interp(g, v2, 0.899)
    m2 = mul(v1, v1)
    v2 = interp(g, v1, 1.109)
    a = sqrt(m2)
    u = div(v1, a)
    wd = mul(w, 0.4602)
    u = add(u, wd)
    lr = mul(lr, 0.0002)
    v1 = cosh(u)
    update = mul(u, lr)
    """
)
"""Spec lion.md 1.4, where `v1` and `v2` are m and v."""

KNOWN = (ADAMW, LION, PROGRAM_4)


def run(program: Program, steps: int = 5, seed: int = 0) -> np.ndarray:
    """The updates of some steps with state carried over, flattened; float64 (steps, 7).

    Gradients hold zeros, large and small values; weights do not follow the updates, so that every step is probed.
    """
    rng = np.random.default_rng(seed)
    draw = lambda: (rng.standard_normal(4) * 10.0 ** rng.integers(-3, 2), rng.standard_normal(3))  # noqa: E731
    weights, state = draw(), {name: (np.zeros(4), np.zeros(3)) for name in SIGNATURE.state}
    updates = []
    for step in range(steps):
        gradient = draw()
        gradient[0][step % 4] = 0.0
        variables = {"w": weights, "g": gradient, "lr": np.float64(1.0 / (step + 1)), **state}
        for target, operator, arguments in program.instructions:
            values = [variables[a] if isinstance(a, str) else np.float64(a) for a in arguments]
            variables[target] = EVALUATE[operator](*values)
        state = {source: variables[output] for output, source in SIGNATURE.state.items()}
        updates.append(np.concatenate(variables["update"]))
    return np.array(updates)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal to the bit, but for NaN payloads and the sign of zeros."""
    return np.array_equal(a, b, equal_nan=True)
