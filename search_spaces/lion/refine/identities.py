"""Identities beyond those of the operator table: equal in real numbers, or equal but for the guard of a division.

The table's own identities must hold bit for bit, or are few: caches stand on them. These serve people, who want to
read sign(x) where a search found x / sqrt(x * x); the simplifier checks by steps in float64 that they did no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from evo.program import Language, operator_table
from evo.program.algebra import Identity
from search_spaces.lion.language import LION


def _real(*pairs: tuple[str, str]) -> tuple[Identity, ...]:
    return tuple(Identity(pattern, result, "real") for pattern, result in pairs)


def _positive(pattern: str, result: str) -> Identity:
    return Identity(pattern, result, "real", where=lambda a: a > 0)


REAL: Mapping[str, tuple[Identity, ...]] = {
    "add": _real(("add(x, x)", "mul(x, 2.0)"), ("add(sub(x, y), y)", "x")),
    "sub": _real(
        ("sub(x, x)", "0.0"),
        ("sub(add(x, y), y)", "x"),
        ("sub(x, add(x, y))", "negative(y)"),
        ("sub(sub(x, y), x)", "negative(y)"),
        ("sub(x, sub(x, y))", "y"),
    ),
    "mul": _real(
        ("mul(x, reciprocal(y))", "div(x, y)"),
        ("mul(square(x), square(y))", "square(mul(x, y))"),
        ("mul(mul(x, a), mul(y, b))", "mul(mul(x, y), mul(a, b))"),
    ),
    "div": _real(
        ("div(1.0, x)", "reciprocal(x)"),
        # the guard of a literal divisor is folded into the factor
        ("div(x, a)", "mul(x, reciprocal(a))"),
    ),
    "max": _real(("max(max(x, a), b)", "max(x, max(a, b))"), ("max(x, max(x, y))", "max(x, y)")),
    "min": _real(("min(min(x, a), b)", "min(x, min(a, b))"), ("min(x, min(x, y))", "min(x, y)")),
    "abs": (
        *_real(*((f"abs({f}(x))", f"{f}(x)") for f in ("sqrt", "exp", "exp2", "exp10", "cosh", "norm", "arccos"))),
        Identity("abs(mul(x, a))", "mul(abs(x), abs(a))", "real"),
    ),
    "square": _real(("square(sqrt(x))", "abs(x)"), ("square(mul(x, a))", "mul(square(x), square(a))")),
    "sqrt": (*_real(("sqrt(square(x))", "abs(x)")), _positive("sqrt(mul(x, a))", "mul(sqrt(x), sqrt(a))")),
    "cube": _real(("cube(cbrt(x))", "x"), ("cube(mul(x, a))", "mul(cube(x), cube(a))")),
    "cbrt": _real(("cbrt(cube(x))", "x"), ("cbrt(mul(x, a))", "mul(cbrt(x), cbrt(a))")),
    "exp": _real(("exp(log(x))", "abs(x)")),
    "exp2": _real(("exp2(log2(x))", "abs(x)")),
    "exp10": _real(("exp10(log10(x))", "abs(x)")),
    "log": _real(("log(exp(x))", "x")),
    "log2": _real(("log2(exp2(x))", "x")),
    "log10": _real(("log10(exp10(x))", "x")),
    "tan": _real(("tan(arctan(x))", "x")),
    "sinh": _real(("sinh(arcsinh(x))", "x")),
    "arcsinh": _real(("arcsinh(sinh(x))", "x")),
    "arctanh": _real(("arctanh(tanh(x))", "x")),
    "sign": (
        *_real(*((f"sign({odd}(x))", "sign(x)") for odd in ("cube", "cbrt", "arctan", "tanh", "sinh", "arcsinh"))),
        *_real(*((f"sign(div(x, {even}(y)))", "sign(x)") for even in ("sqrt", "abs", "square"))),
        _positive("sign(mul(x, a))", "sign(x)"),
        Identity("sign(mul(x, a))", "negative(sign(x))", "real", where=lambda a: a < 0),
        _positive("sign(clip_by_global_norm(x, a))", "sign(x)"),
    ),
    # the table takes a negative factor out, for comparing; a statement less is what is wanted here
    "negative": _real(("negative(mul(x, a))", "mul(x, negative(a))")),
    "interp": _real(
        ("interp(x, x, y)", "x"),
        ("interp(x, y, 0.0)", "x"),
        ("interp(x, y, 1.0)", "y"),
        ("interp(x, 0.0, y)", "mul(x, invert(y))"),
        ("interp(0.0, x, y)", "mul(x, y)"),
    ),
    "power": _real(("power(x, 2.0)", "square(x)"), ("power(x, 3.0)", "cube(x)")),
    "norm": (_positive("norm(mul(x, a))", "mul(norm(x), a)"),),
    "global_norm": (_positive("global_norm(mul(x, a))", "mul(global_norm(x), a)"),),
}
"""Equal in real numbers. sin(arcsin(x)) = x is none: an arcsine is not defined everywhere."""

LEFT_OUT = {"mul": ("mul(x, a)",)}
"""Patterns of the table's that would undo one of these."""

FACTORED: Mapping[str, tuple[Identity, ...]] = {
    "add": _real(
        ("add(mul(x, z), mul(y, z))", "mul(add(x, y), z)"),
        ("add(div(x, z), div(y, z))", "div(add(x, y), z)"),
    ),
    "sub": _real(
        ("sub(mul(x, z), mul(y, z))", "mul(sub(x, y), z)"),
        ("sub(div(x, z), div(y, z))", "div(sub(x, y), z)"),
    ),
    "interp": _real(("interp(mul(x, z), mul(y, z), w)", "mul(interp(x, y, w), z)")),
}
"""Equal in real numbers too, but longer where the products are read elsewhere; so they are tried apart."""

GUARDED: Mapping[str, tuple[Identity, ...]] = {
    "div": _real(
        ("div(x, abs(x))", "sign(x)"),
        ("div(abs(x), x)", "sign(x)"),
        ("div(square(x), x)", "x"),
        ("div(cube(x), square(x))", "x"),
        ("div(x, square(x))", "reciprocal(x)"),
        ("div(square(x), abs(x))", "abs(x)"),
        ("div(mul(x, y), y)", "x"),
        ("div(div(x, y), z)", "div(x, mul(y, z))"),
        ("div(x, div(y, z))", "div(mul(x, z), y)"),
        ("div(x, reciprocal(y))", "mul(x, y)"),
    ),
    "mul": _real(("mul(div(x, y), y)", "x")),
    "reciprocal": _real(("reciprocal(reciprocal(x))", "x"), ("reciprocal(div(x, y))", "div(y, x)")),
    "sign": _real(("sign(reciprocal(x))", "sign(x)")),
}
"""Equal where the 1e-8 that divisions add to the divisor is nothing beside it; decided by training, not by algebra."""


@cache
def language(factored: bool = False, guarded: bool = False) -> Language:
    """The language of optimizer programs with these identities, for `simplify` and `canonical` at the level "real"."""
    tables = [REAL, *([FACTORED] if factored else []), *([GUARDED] if guarded else [])]

    def identities(name: str, given: tuple[Identity, ...]) -> tuple[Identity, ...]:
        kept = (identity for identity in given if identity.pattern not in LEFT_OUT.get(name, ()))
        return (*kept, *(identity for table in tables for identity in table.get(name, ())))

    operators = operator_table(
        replace(operator, identities=identities(name, operator.identities)) for name, operator in LION.operators.items()
    )
    return Language(LION.signature, operators, LION.constant_type, LION.type_order)
