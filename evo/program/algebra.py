"""Local algebra: identities declared beside an operator, compiled into rewrites that value numbering applies.

An identity is two expressions over operator names, `Identity("sub(x, negative(y))", "add(x, y)")`. In a pattern

    x, y, z, w   match any value (the same name, the same value),
    a, b, c, d   match a literal only,
    a number     matches that literal.

Levels. An "exact" identity holds bit for bit for every input, NaN and infinities included, except that it may change
the sign of a zero (x + 0 = x). A "real" identity holds for real numbers and may change rounding, overflow or
underflow ((x * a) * b = x * (a * b)); it is applied only where asked for. x * 0 = 0 and x - x = 0 are neither: they
fail for NaN and infinities.

Identities are oriented: the left side is replaced by the right side, bottom up, until nothing matches, so the right
side should be smaller or nearer to a normal form. A rewrite that would change the type of a value (x + 0 where x is a
leaf and the sum a tree) is not applied. Arguments of commutative operators match in both orders.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

from evo.errors import ConfigError, InvalidGenomeError
from evo.program.ir import atom

Level = Literal["exact", "real"]

VALUES = frozenset("xyzw")
LITERALS = frozenset("abcd")


@dataclass(frozen=True, slots=True)
class Identity:
    """One oriented identity.

    Attributes:
        pattern: a call of the operator that it is attached to.
        result: an expression over the pattern's names; calls of literals alone are folded where they can be.
        level: "exact" or "real", see the module.
        where: condition on the literals a, b, c, d of the pattern, given in alphabetical order; None: always.
    """

    pattern: str
    result: str
    level: Level = "exact"
    where: Callable[..., bool] | None = None


def neutral(operator: str, value: float) -> Identity:
    """`f(x, value) = x`; for a commutative operator in both orders."""
    return Identity(f"{operator}(x, {value!r})", "x")


def involution(operator: str) -> Identity:
    """`f(f(x)) = x`."""
    return Identity(f"{operator}({operator}(x))", "x")


def idempotent(operator: str) -> Identity:
    """`f(f(x)) = f(x)`."""
    return Identity(f"{operator}({operator}(x))", f"{operator}(x)")


def absorbs(operator: str, inner: str) -> Identity:
    """`f(g(x)) = f(x)`: an even function and negation, a function of |x| and abs."""
    return Identity(f"{operator}({inner}(x))", f"{operator}(x)")


def commutes(operator: str, inner: str) -> Identity:
    """`f(g(x)) = g(f(x))`: an odd function and negation."""
    return Identity(f"{operator}({inner}(x))", f"{inner}({operator}(x))")


class Pattern(NamedTuple):
    """A parsed expression: an operator's call (`children`), a name, or a number (`value`)."""

    head: str
    children: tuple[Pattern, ...] = ()
    value: float | None = None
    is_call: bool = False


class Rewrite(NamedTuple):
    """A pattern with its commutative arguments in one fixed order, and what replaces it."""

    pattern: Pattern
    result: Pattern
    literals: tuple[str, ...]
    where: Callable[..., bool] | None


Head = str | float
"""What an argument looks like from above: an operator's name, a literal's value, `ANY_LITERAL`, or "" (an input)."""

ANY_LITERAL = "#"


class Rewrites(NamedTuple):
    """The rewrites rooted at one operator.

    Attributes:
        always: those whose arguments are all names; tried on every call.
        by_head: (argument position, head of that argument) -> rewrites to try. Most calls find nothing here, which
            is what keeps the canonical form cheap.
    """

    always: tuple[Rewrite, ...]
    by_head: Mapping[tuple[int, Head], tuple[Rewrite, ...]]


def compile_identities(
    identities: Mapping[str, tuple[Identity, ...]], arities: Mapping[str, tuple[int, bool]], level: Level
) -> dict[str, Rewrites]:
    """Args:
        identities: by root operator.
        arities: (arity, commutative) by operator.
        level: "exact" leaves the real ones out.

    Raises:
        ConfigError: an identity is malformed; the message names it.
    """
    compiled = {}
    for operator, rows in identities.items():
        always: list[Rewrite] = []
        by_head: dict[tuple[int, Head], list[Rewrite]] = {}
        for identity in rows:
            if identity.level == "real" and level == "exact":
                continue
            for rewrite in _variants(operator, identity, arities):
                for position, child in enumerate(rewrite.pattern.children):
                    if child.is_call or child.value is not None or child.head in LITERALS:
                        head: Head = (
                            child.head if child.is_call else ANY_LITERAL if child.value is None else child.value
                        )
                        by_head.setdefault((position, head), []).append(rewrite)
                        break
                else:
                    always.append(rewrite)
        if always or by_head:
            compiled[operator] = Rewrites(tuple(always), {key: tuple(found) for key, found in by_head.items()})
    return compiled


def operators_in(*expressions: str) -> set[str]:
    """The operators that expressions call."""
    return {name for text in expressions for name in re.findall(r"([A-Za-z_]\w*)\s*\(", text)}


def _variants(operator: str, identity: Identity, arities: Mapping[str, tuple[int, bool]]) -> list[Rewrite]:
    what = f"identity {identity.pattern} = {identity.result} of operator {operator!r}"
    pattern, result = _parse(identity.pattern, what, arities), _parse(identity.result, what, arities)
    names, wanted = _names(pattern), _names(result)
    if not pattern.is_call or pattern.head != operator:
        raise ConfigError(f"{what}: the pattern must be a call of {operator}")
    if not wanted <= names:
        raise ConfigError(f"{what}: {sorted(wanted - names)} stand on the right side only")
    literals = tuple(sorted(names & LITERALS))
    seen = dict.fromkeys(_orders(pattern, arities))
    return [Rewrite(order, result, literals, identity.where) for order in seen]


def _parse(text: str, what: str, arities: Mapping[str, tuple[int, bool]]) -> Pattern:
    try:
        return _pattern(ast.parse(text, mode="eval").body, what, arities)
    except (SyntaxError, InvalidGenomeError):
        raise ConfigError(f"{what}: cannot read {text!r}") from None


def _pattern(node: ast.expr, what: str, arities: Mapping[str, tuple[int, bool]]) -> Pattern:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name = node.func.id
        if name not in arities:
            raise ConfigError(f"{what}: no operator is called {name!r}")
        if len(node.args) != arities[name][0]:
            raise ConfigError(f"{what}: {name} takes {arities[name][0]} arguments")
        return Pattern(name, tuple(_pattern(a, what, arities) for a in node.args), None, True)
    leaf = atom(node)
    if isinstance(leaf, float):
        return Pattern("", (), leaf)
    if leaf not in VALUES | LITERALS:
        raise ConfigError(f"{what}: {leaf!r} is none of x y z w (values) and a b c d (literals)")
    return Pattern(leaf)


def _names(pattern: Pattern) -> set[str]:
    if pattern.is_call:
        return set().union(*(_names(child) for child in pattern.children))
    return {pattern.head} if pattern.value is None else set()


def _orders(pattern: Pattern, arities: Mapping[str, tuple[int, bool]]) -> list[Pattern]:
    """The pattern with its commutative calls' arguments in all orders."""
    if not pattern.is_call:
        return [pattern]
    found = []
    for children in product(*(_orders(child, arities) for child in pattern.children)):
        found.append(pattern._replace(children=children))
        if arities[pattern.head][1]:
            found.append(pattern._replace(children=children[::-1]))
    return found
