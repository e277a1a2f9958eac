"""Weight decay in a program: where the weights, times a constant, are added to the update or to the gradient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from search_spaces.lion.export.flow import Flow, Ref, Statement, kind_of, nonnegative


class Decay(NamedTuple):
    """One term w * constant.

    Attributes:
        number: its statement.
        decoupled: whether it is a term of the update and of nothing else; else the state remembers it, or it is added
            to something that the rule works on, such as the gradient.
        rated: whether a term of the update is multiplied by the learning rate (or its peak).
        implicit: whether the program has the weights themselves as a term: the constant is 1.
    """

    number: int
    decoupled: bool
    rated: bool
    implicit: bool


class _Term(NamedTuple):
    ref: Ref
    reader: tuple[int, int] | None
    positive: bool
    rated: bool


def decays(flow: Flow) -> tuple[Flow, list[Decay]]:
    """The flow with weights that are a bare term of the update multiplied by 1, so that the decay has a constant; and
    all decay, in the order of the statements."""
    terms = [term for term in _terms(flow) if term.positive]
    bare = {term.reader for term in terms if term.ref == "w" and term.reader is not None}
    implicit = -1
    if bare:
        first = min(number for number, _ in bare)  # type: ignore[misc]
        flow = flow.replaced(lambda number, place, a: -1 if (number, place) in bare else a)
        flow = flow.inserted(first, [Statement("decay", "mul", ("w", 1.0))])
        flow = flow.replaced(lambda number, place, a: first if a == -1 and isinstance(a, int) else a)
        implicit = first
    found: dict[int, Decay] = {}
    remembered = _reached(flow, [root for name, root in flow.roots.items() if name != "update"])
    for term in _terms(flow):
        if term.positive and isinstance(term.ref, int) and _is_decay(flow, term.ref):
            found[term.ref] = Decay(term.ref, term.ref not in remembered, term.rated, term.ref == implicit)
    for number in range(len(flow.statements)):
        if number not in found and _is_decay(flow, number) and _is_only_added(flow, number):
            found[number] = Decay(number, False, False, False)
    return flow, [found[number] for number in sorted(found)]


def _reached(flow: Flow, roots: Iterable[Ref]) -> set[int]:
    """The statements that these depend on."""
    found: set[int] = set()
    waiting = [root for root in roots if isinstance(root, int)]
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting += [a for a in flow.statements[number].arguments if isinstance(a, int)]
    return found


def _is_decay(flow: Flow, number: int) -> bool:
    _, operator, arguments = flow.statements[number]
    literals = [a for a in arguments if isinstance(a, float)]
    return operator == "mul" and "w" in arguments and len(literals) == 1 and literals[0] >= 0.0


def _is_only_added(flow: Flow, number: int) -> bool:
    uses = flow.uses(number)
    return bool(uses) and all(flow.statements[reader].operator == "add" for reader, _ in uses)


def _terms(flow: Flow) -> Iterator[_Term]:
    """Terms of the update: what is left when sums, and products with scalars that are not negative, are opened."""
    kinds, positive = flow.kinds(), nonnegative(flow)
    seen = set()
    waiting = [_Term(flow.roots["update"], None, True, False)]
    while waiting:
        term = waiting.pop()
        if term in seen:
            continue
        seen.add(term)
        ref = term.ref
        if not isinstance(ref, int) or _is_decay(flow, ref):
            yield term
            continue
        _, operator, arguments = flow.statements[ref]
        inner = [_Term(a, (ref, place), term.positive, term.rated) for place, a in enumerate(arguments)]
        if operator == "add":
            waiting += inner
        elif operator == "sub":
            waiting += [inner[0], inner[1]._replace(positive=not term.positive)]
        elif operator == "negative":
            waiting.append(inner[0]._replace(positive=not term.positive))
        elif operator == "mul" and [kind_of(a, kinds) for a in arguments].count("scalar") == 1:
            place = [kind_of(a, kinds) for a in arguments].index("scalar")
            scalar = arguments[place]
            if scalar in ("rate", "peak", "lr") or (scalar >= 0 if isinstance(scalar, float) else scalar in positive):
                waiting.append(inner[1 - place]._replace(rated=term.rated or scalar in ("rate", "peak")))
        elif operator == "div" and arguments[1] in positive and isinstance(arguments[1], int):
            waiting.append(inner[0])
        else:
            yield term
