"""Closed forms: what equals a program in real numbers and is simpler, found by algebra without any training.

Beside local identities, three re-derivations look at more than one statement:

    linear    a chain of sums, scalings and interpolations is a weighted sum of a few values, written again in the
              fewest statements: interp(g, interp(g, v, a), b) = interp(g, v, a * b);
    products  the literals of a chain of products become one;
    slots     two slots that always hold the same are one; a slot that is its own multiple stays zero; a slot that is
              scaled, v' = a v + b g, is the average interp(g, v, a) times b / (1 - a), where that saves a statement.

Dead slots and statements go first (`evo.program.liveness`): what is overwritten before it is read never existed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from evo.program import Language, Program, simplify
from search_spaces.lion.language import LION
from search_spaces.lion.refine import flow as flows
from search_spaces.lion.refine.flow import STATE, Flow, Node, Ref
from search_spaces.lion.refine.identities import language

ONE = "1"
"""In a weighted sum: the constant term, whose name no variable can have."""
MAX_TERMS = 4
"""Longer sums are left as they are written."""
TOLERANCE = 1e-12
"""Weights whose sum is this near to 1 are an interpolation's."""

Sum = dict[Ref, float]
"""A weighted sum: value -> weight. A value is an input, a node that is no sum itself, or `ONE`."""


class Complexity(NamedTuple):
    """How simple a program is to a reader; compared in this order, lower is simpler.

    Attributes:
        statements: of the program.
        height: the statements' distances from the inputs, added up: of two programs of one length, that with the
            shorter chains is simpler.
        constants: distinct literals.
        digits: significant digits of the literals, or of one minus a literal (0.997 is 0.003 away from 1).
    """

    statements: int
    height: int
    constants: int
    digits: int


def complexity(program: Program) -> Complexity:
    """The complexity of a program as it is written; dead statements count."""
    literals = {a for step in program.instructions for a in step.arguments if not isinstance(a, str)}
    height = sum(flows.heights(flows.read(program)))
    return Complexity(len(program), height, len(literals), sum(digits(value) for value in literals))


def digits(value: float) -> int:
    """Significant decimal digits of a literal, or of 1 - literal where that takes fewer."""
    return min(_significant(value), _significant(float(f"{1.0 - value:.12g}")))


def _significant(value: float) -> int:
    mantissa = repr(abs(value)).partition("e")[0].replace(".", "").strip("0")
    return len(mantissa)


def closed_form(program: Program, guarded: bool = False) -> Program:
    """The simplest program found that equals this one in real numbers, valid, and never more complex than what
    `simplify` makes of it.

    Args:
        program: a valid program.
        guarded: also use identities that ignore the 1e-8 of divisions; the result is then a candidate, not an equal.

    Raises:
        InvalidGenomeError: a live statement is not valid.
    """
    best = _shortest(program, guarded)
    while True:
        found = min(_derivations(best, guarded), key=_order, default=best)
        if complexity(found) >= complexity(best):
            return best
        best = min(found, _shortest(found, guarded), key=_order)


def _order(program: Program) -> tuple[Complexity, str]:
    return complexity(program), str(program)


def _shortest(program: Program, guarded: bool) -> Program:
    """The simplest of what the identities make of a program."""
    forms = [simplify(LION, program), simplify(LION, program, "real")]
    for factored in (False, True):
        forms += [_settled(language(factored, guarded=extra), program) for extra in {False, guarded}]
    return min(forms, key=_order)


def _settled(given: Language, program: Program) -> Program:
    """Simplified until nothing changes: what is written out again may match more identities."""
    while True:
        found = simplify(given, program, "real")
        if len(found) >= len(program):
            return found
        program = found


def _derivations(program: Program, guarded: bool) -> Iterator[Program]:
    """Equal programs, each by one re-derivation."""
    flow = flows.read(program)
    given, seen = language(guarded=guarded), {program}
    for edited in itertools.chain(
        _sums(flow), _products(flow), _zero_slots(flow), _merged_slots(flow), _rescaled_slots(flow)
    ):
        written = flows.write(edited)
        if written not in seen and LION.is_valid(written):
            seen.add(written)
            yield simplify(given, written, "real")


# Weighted sums.


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


def _combined(*parts: tuple[float, Ref], sums: list[Sum]) -> Sum:
    total: Sum = {}
    for weight, value in parts:
        inner = sums[value] if isinstance(value, int) else {ONE: value} if isinstance(value, float) else {value: 1.0}
        for atom, share in inner.items():
            total[atom] = total.get(atom, 0.0) + weight * share
    largest = max((abs(share) for share in total.values()), default=0.0)
    return {atom: share for atom, share in total.items() if abs(share) > TOLERANCE * largest}


def _sums(flow: Flow) -> Iterator[Flow]:
    """The flow with one node written again as its weighted sum, in every way that `_spelled` knows."""
    for index, terms in enumerate(weighted_sums(flow)):
        if terms != {index: 1.0}:
            for spelling in _spelled(terms, index):
                yield _with_spelling(flow, index, spelling)


Spelling = list[Node]
"""Nodes whose negative arguments are those of the spelling itself, -1 its first; the last node is the value."""


def _with_spelling(flow: Flow, index: int, spelling: Spelling | Ref) -> Flow:
    """The flow whose readers of node `index` read the spelling, put in just before that node."""
    if not isinstance(spelling, list):
        return flows.replaced(flow, {index: spelling})

    def placed(value: Ref) -> Ref:
        return index - 1 - value if isinstance(value, int) and value < 0 else value

    nodes = [node._replace(arguments=tuple(map(placed, node.arguments))) for node in spelling]
    grown, moved = flows.inserted(flow, index, nodes)
    return flows.replaced(grown, {index + moved: index + moved - 1})


def _spelled(terms: Sum, index: int) -> Iterator[Spelling | Ref]:
    """Ways to write a weighted sum; which is shortest depends on what else the program computes."""
    constant = terms.get(ONE, 0.0)
    atoms = sorted((atom for atom in terms if atom != ONE), key=_rank)
    if not atoms:
        yield constant
        return
    orders = itertools.permutations(atoms) if len(atoms) <= 3 else [tuple(atoms)]
    for order in orders:
        for build in (_as_interpolations, _as_additions):
            built = build([(atom, terms[atom]) for atom in order])
            if built is None:
                continue
            nodes, value, scale = built
            value = _scaled(nodes, value, scale)
            if constant:
                value = _appended(nodes, "add", value, constant)
            yield nodes if nodes else value


def _rank(value: Ref) -> tuple[int, str]:
    """Slots last: interp(g, v, 0.9) keeps nine tenths of v."""
    return (isinstance(value, str) and value in STATE.values(), str(value))


def _appended(nodes: Spelling, operator: str, *arguments: Ref) -> int:
    nodes.append(Node(operator, arguments))
    return -len(nodes)


def _scaled(nodes: Spelling, value: Ref, scale: float) -> Ref:
    if scale == 1.0:
        return value
    return _appended(nodes, "negative", value) if scale == -1.0 else _appended(nodes, "mul", value, scale)


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
        value = _appended(nodes, "interp", value, atom, weight / total)
    return nodes, value, 1.0


def _as_additions(terms: list[tuple[Ref, float]]) -> tuple[Spelling, Ref, float] | None:
    """(x + y * b + z * c) and one scale: the weight of the first."""
    nodes: Spelling = []
    value, scale = terms[0]
    for atom, weight in terms[1:]:
        ratio = weight / scale
        if ratio == 1.0:
            value = _appended(nodes, "add", value, atom)
        elif ratio == -1.0:
            value = _appended(nodes, "sub", value, atom)
        else:
            value = _appended(nodes, "add", value, _scaled(nodes, atom, ratio))
    return nodes, value, scale


# Products.


def _products(flow: Flow) -> Iterator[Flow]:
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
                yield _with_spelling(flow, index, _product(first, [f for f in factors if f not in first], coefficient))


def _product(trees: list[Ref], scalars: list[Ref], coefficient: float) -> Spelling | Ref:
    nodes: Spelling = []
    values: list[Ref] = []
    for group, scale in ((trees, 1.0 if scalars else coefficient), (scalars, coefficient)):
        if group:
            value = group[0]
            for factor in group[1:]:
                value = _appended(nodes, "mul", value, factor)
            values.append(_scaled(nodes, value, scale))
    value = values[0] if len(values) == 1 else _appended(nodes, "mul", *values)
    return nodes if nodes else value


# Slots.


def _zero_slots(flow: Flow) -> Iterator[Flow]:
    """A slot that nothing but itself feeds stays what it starts as: zero."""
    sums = weighted_sums(flow)
    for output, source in STATE.items():
        value = flow.outputs[output]
        fed = sums[value] if isinstance(value, int) else {value: 1.0}
        if set(fed) <= {source} and any(source in node.arguments for node in flow.nodes):
            yield flows.reading(flow, {source: 0.0})._replace(outputs={**flow.outputs, output: source})


def _merged_slots(flow: Flow) -> Iterator[Flow]:
    """Where both slots always hold the same: readers of the second read the first.

    Slots start alike, and stay so if one is computed from the other's value as the other is from its own: if the two
    outputs are one node once the inputs are taken for one.
    """
    (one, first), (two, second) = STATE.items()
    if two == second and flow.outputs[two] == second:
        return
    merged = flows.reading(flow, {second: first})
    if _numbered(merged)[one] == _numbered(merged)[two]:
        yield merged._replace(outputs={**merged.outputs, two: second})


def _numbered(flow: Flow) -> dict[str, object]:
    """Output -> number of its value, equal for equal expressions."""
    table: dict[object, int] = {}
    numbers: list[int] = []

    def number(value: Ref) -> object:
        return ("node", numbers[value]) if isinstance(value, int) else value

    for node in flow.nodes:
        arguments = [number(a) for a in node.arguments]
        if LION.operators[node.operator].commutative:
            arguments.sort(key=str)
        numbers.append(table.setdefault((node.operator, *arguments), len(table)))
    return {output: number(value) for output, value in flow.outputs.items()}


def _rescaled_slots(flow: Flow) -> Iterator[Flow]:
    """A slot v' = a v + b x held as the average u' = interp(x, u, a), where v = u * b / (1 - a)."""
    sums = weighted_sums(flow)
    for output, source in STATE.items():
        value = flow.outputs[output]
        if not isinstance(value, int):
            continue
        others = [(atom, weight) for atom, weight in sums[value].items() if atom not in (source, ONE)]
        kept = sums[value].get(source, 0.0)
        if not others or kept == 0.0 or abs(1.0 - kept) < 1e-9 or ONE in sums[value]:
            continue
        rest, added, scale = _as_additions(sorted(others, key=lambda term: (abs(term[1]) != 1.0, _rank(term[0]))))
        scale /= 1.0 - kept
        if abs(scale - 1.0) <= TOLERANCE or any(_depends(flow, atom, source) for atom, _ in others):
            continue
        # readers of the slot, old and new, read the average times the scale
        average = _appended(rest, "interp", added, source, kept)
        _appended(rest, "mul", average, scale)
        grown = _with_spelling(flow, value, rest)
        place = value + len(rest) - 2
        grown = grown._replace(outputs={**grown.outputs, output: place})
        grown, moved = flows.inserted(grown, 0, [Node("mul", (source, scale))])
        old = flows.reading(grown, {source: 0})
        nodes = [grown.nodes[index] if index in (0, place + moved) else node for index, node in enumerate(old.nodes)]
        yield grown._replace(nodes=tuple(nodes))


def _depends(flow: Flow, value: Ref, source: str) -> bool:
    stack, seen = [value], set()
    while stack:
        here = stack.pop()
        if here == source:
            return True
        if isinstance(here, int) and here not in seen:
            seen.add(here)
            stack.extend(flow.nodes[here].arguments)
    return False
