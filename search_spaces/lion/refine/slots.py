"""State in other words: slots that are one, that stay zero, or that are an average but for a factor."""

from __future__ import annotations

from collections.abc import Iterator

from search_spaces.lion.language import LION
from search_spaces.lion.operators import COUPLING
from search_spaces.lion.refine import flow as flows
from search_spaces.lion.refine.flow import STATE, Flow, Node, Ref
from search_spaces.lion.refine.sums import ONE, TOLERANCE, appended, as_additions, rank, weighted_sums, with_spelling

REDUCING = COUPLING | {"norm", "orthogonalize"}
"""Operators that look at whole tensors."""


def zero_slots(flow: Flow) -> Iterator[Flow]:
    """A slot that nothing but itself feeds stays what it starts as: zero."""
    sums = weighted_sums(flow)
    for output, source in STATE.items():
        value = flow.outputs[output]
        fed = sums[value] if isinstance(value, int) else {value: 1.0}
        if set(fed) <= {source} and any(source in node.arguments for node in flow.nodes):
            edited = flows.reading(flow, {source: 0.0})
            if _same_reductions(flow, edited):
                yield edited._replace(outputs={**flow.outputs, output: source})


def _same_reductions(before: Flow, after: Flow) -> bool:
    """Whether what takes norms and products over tensors gets arguments of the same types as before."""
    return all(
        [flows.type_of(before, a) for a in old.arguments] == [flows.type_of(after, a) for a in new.arguments]
        for old, new in zip(before.nodes, after.nodes, strict=True)
        if old.operator in REDUCING
    )


def merged_slots(flow: Flow) -> Iterator[Flow]:
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


def rescaled_slots(flow: Flow) -> Iterator[Flow]:
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
        rest, added, scale = as_additions(sorted(others, key=lambda term: (abs(term[1]) != 1.0, rank(term[0]))))
        scale /= 1.0 - kept
        if abs(scale - 1.0) <= TOLERANCE or any(_depends(flow, atom, source) for atom, _ in others):
            continue
        # readers of the slot, old and new, read the average times the scale
        average = appended(rest, "interp", added, source, kept)
        appended(rest, "mul", average, scale)
        grown = with_spelling(flow, value, rest)
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
