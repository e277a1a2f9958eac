"""Weighted sums and products in a program's data flow, and other ways to write them.

A chain of sums, scalings and interpolations is a weighted sum of a few values, whatever the way it is written:
interp(g, interp(g, v, a), b) is (1 - a b) g + a b v, and interp(g, v, a * b) says so in one statement.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from search_spaces.lion.refine import flow as flows
from search_spaces.lion.refine.flow import STATE, Flow, Node, Ref

ONE = "1"
"""In a weighted sum: the constant term, whose name no variable can have."""
MAX_TERMS = 4
"""Longer sums are left as they are written."""
TOLERANCE = 1e-12
"""Weights whose sum is this near to 1 are an interpolation's."""

Sum = dict[Ref, float]
"""A weighted sum: value -> weight. A value is an input, a node that is no sum itself, or `ONE`."""


def weighted_sums(flow: Flow) -> list[Sum]:
    """Each node as a weighted sum of values that are no sums themselves; a node that is none is a sum of itself."""
    found: list[Sum] = []
    for index, node in enumerate(flow.nodes):
        terms = _terms(node, found)
        small = terms is not None and len(terms) <= MAX_TERMS
        found.append(terms if small and terms is not None else {index: 1.0})
    return found


def _terms(node: Node, sums: list[Sum]) -> Sum | None:
    arguments = node.arguments
    match node.operator:
        case "add":
            return _combined((1.0, arguments[0]), (1.0, arguments[1]), sums=sums)
        case "sub":
            return _combined((1.0, arguments[0]), (-1.0, arguments[1]), sums=sums)
        case "negative":
            return _combined((-1.0, arguments[0]), sums=sums)
        case "invert":
            return _combined((1.0, ONE), (-1.0, arguments[0]), sums=sums)
        case "mul":
            for factor, other in (arguments, arguments[::-1]):
                if isinstance(factor, float):
                    return _combined((factor, other), sums=sums)
        case "interp":
            weight = arguments[2]
            if isinstance(weight, float):
                return _combined((1.0 - weight, arguments[0]), (weight, arguments[1]), sums=sums)
    return None


def _combined(*parts: tuple[float, Ref], sums: list[Sum]) -> Sum | None:
    """The weighted sum of weighted sums; None where weights overflow."""
    total: Sum = {}
    for weight, value in parts:
        inner = sums[value] if isinstance(value, int) else {ONE: value} if isinstance(value, float) else {value: 1.0}
        for atom, share in inner.items():
            total[atom] = total.get(atom, 0.0) + weight * share
    if not all(math.isfinite(share) for share in total.values()):
        return None
    largest = max((abs(share) for share in total.values()), default=0.0)
    return {atom: share for atom, share in total.items() if abs(share) > TOLERANCE * largest}


def respelled_sums(flow: Flow) -> Iterator[Flow]:
    """The flow with one node written again as its weighted sum, in every way that `_spelled` knows."""
    for index, terms in enumerate(weighted_sums(flow)):
        if terms != {index: 1.0}:
            for spelling in _spelled(terms):
                yield from _respelled(flow, index, spelling)


Spelling = list[Node]
"""Nodes whose negative arguments are those of the spelling itself, -1 its first; the last node is the value."""


def with_spelling(flow: Flow, index: int, spelling: Spelling) -> Flow:
    """The flow whose readers of node `index` read the spelling, put in just before that node."""

    def placed(value: Ref) -> Ref:
        return index - 1 - value if isinstance(value, int) and value < 0 else value

    nodes = [node._replace(arguments=tuple(map(placed, node.arguments))) for node in spelling]
    grown, moved = flows.inserted(flow, index, nodes)
    return flows.replaced(grown, {index + moved: index + moved - 1})


def _respelled(flow: Flow, index: int, spelling: Spelling | Ref) -> Iterator[Flow]:
    """The same for spellings that are a value that is there already; nothing where the type would change: the norm of a
    scalar is not the norm of a tree of such scalars."""
    wanted = flows.types(flow)[index]
    if isinstance(spelling, list):
        if len(spelling) == 1 and spelling[0][:2] == flow.nodes[index][:2]:
            return
        found = with_spelling(flow, index, spelling)
        if flows.types(found)[index + len(spelling) - 1] == wanted:
            yield found
    elif flows.type_of(flow, spelling) == wanted:
        yield flows.replaced(flow, {index: spelling})


def _spelled(terms: Sum) -> Iterator[Spelling | Ref]:
    """Ways to write a weighted sum; which is shortest depends on what else the program computes."""
    constant = terms.get(ONE, 0.0)
    atoms = sorted((atom for atom in terms if atom != ONE), key=rank)
    if not atoms:
        yield constant
        return
    orders = itertools.permutations(atoms) if len(atoms) <= 3 else [tuple(atoms)]
    for order in orders:
        for build in (_as_interpolations, as_additions):
            built = build([(atom, terms[atom]) for atom in order])
            if built is None:
                continue
            nodes, value, scale = built
            value = _scaled(nodes, value, scale)
            if constant:
                value = appended(nodes, "add", value, constant)
            yield nodes if nodes else value


def rank(value: Ref) -> tuple[int, str]:
    """Slots last: interp(g, v, 0.9) keeps nine tenths of v."""
    return (isinstance(value, str) and value in STATE.values(), str(value))


def appended(nodes: Spelling, operator: str, *arguments: Ref) -> int:
    """Append a node to a spelling; returns what its readers call it."""
    nodes.append(Node(operator, arguments))
    return -len(nodes)


def _scaled(nodes: Spelling, value: Ref, scale: float) -> Ref:
    if scale == 1.0:
        return value
    return appended(nodes, "negative", value) if scale == -1.0 else appended(nodes, "mul", value, scale)


def _as_interpolations(terms: list[tuple[Ref, float]]) -> tuple[Spelling, Ref, float] | None:
    """Averages of slots, nested. None where the weights' sum is not 1, or what is averaged in is no slot: a weighted
    sum of other things can be written as an interpolation too, but would not be read as one."""
    total = sum(weight for _, weight in terms)
    if abs(total - 1.0) > TOLERANCE * max(abs(weight) for _, weight in terms):
        return None
    nodes: Spelling = []
    value, total = terms[0]
    for atom, weight in terms[1:]:
        total += weight
        if atom not in STATE.values() or abs(total) < 1e-6:
            return None
        value = appended(nodes, "interp", value, atom, weight / total)
    return nodes, value, 1.0


def as_additions(terms: list[tuple[Ref, float]]) -> tuple[Spelling, Ref, float]:
    """(x + y * b + z * c) and one scale: the weight of the first."""
    nodes: Spelling = []
    value, scale = terms[0]
    for atom, weight in terms[1:]:
        ratio = weight / scale
        if ratio == 1.0:
            value = appended(nodes, "add", value, atom)
        elif ratio == -1.0:
            value = appended(nodes, "sub", value, atom)
        else:
            value = appended(nodes, "add", value, _scaled(nodes, atom, ratio))
    return nodes, value, scale


def respelled_products(flow: Flow) -> Iterator[Flow]:
    """The flow with a chain of products written again: its literals are one, and stand with the smallest values."""
    kinds = flows.types(flow)
    chains: list[tuple[float, tuple[Ref, ...]]] = []
    for index, node in enumerate(flow.nodes):
        if node.operator not in ("mul", "negative"):
            chains.append((1.0, (index,)))
            continue
        coefficient, factors = (-1.0 if node.operator == "negative" else 1.0), []
        for argument in node.arguments:
            if isinstance(argument, float):
                coefficient *= argument
            elif isinstance(argument, int):
                coefficient *= chains[argument][0]
                factors += chains[argument][1]
            else:
                factors.append(argument)
        chains.append((coefficient, tuple(factors)))
        if 1 <= len(factors) <= MAX_TERMS:
            scalars = [f for f in factors if (kinds[f] == "scalar" if isinstance(f, int) else f == "lr")]
            trees = [f for f in factors if f not in scalars]
            for first in (trees, []) if trees and scalars else (factors,):
                others = [f for f in factors if f not in first]
                yield from _respelled(flow, index, _product(first, others, coefficient))


def _product(trees: list[Ref], scalars: list[Ref], coefficient: float) -> Spelling | Ref:
    nodes: Spelling = []
    values: list[Ref] = []
    for group, scale in ((trees, 1.0 if scalars else coefficient), (scalars, coefficient)):
        if group:
            value = group[0]
            for factor in group[1:]:
                value = appended(nodes, "mul", value, factor)
            values.append(_scaled(nodes, value, scale))
    value = values[0] if len(values) == 1 else appended(nodes, "mul", *values)
    return nodes if nodes else value
