"""The learning rate of a program: which of its constants it is, and what else reads the schedule.

A program reads `lr`, the schedule's fraction of its peak, and brings its peak rate as a constant; users of torch expect
one number, `lr`, that multiplies the update, has a sensible default, and is what schedulers change. The constant
becomes that number's default. In the order of preference:

1. Every term of the update (but for weight decay) has the factor lr * constant, or lr alone: this product is the
   learning rate. Whatever else reads `lr` gets the fraction, learning rate / its peak.
2. The update has a constant factor: it is the learning rate. If something reads `lr`, the update is multiplied by the
   rate's peak, not by its current value, which the program would not do; else schedulers shall work all the same.
3. There is no such factor: as 2, with a rate of 1 multiplied on.

A step at some `lr` is to the bit that of the program at the fraction lr / peak. Where lr was computed as peak *
fraction, that quotient is the fraction again within the last bit: several fractions have the same product, so none can
be told from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from search_spaces.lion.export.flow import Flow, Ref, Statement

Uses = frozenset[tuple[int, int]]
"""Where something is read: (number of the statement, position of the argument)."""


class Rate(NamedTuple):
    """The learning rate.

    Attributes:
        default: its value as found.
        found: whether the program has such a constant; else the default of 1 stands for "as found".
        follows: whether the update is multiplied by its current value; else by its peak.
        fraction: whether the program reads the schedule's fraction in other places.
        scheduled: whether the program reads the schedule at all.
        moved: whether a factor had to be moved past others, so that the last bits of the update are not those of the
            program as it was searched.
    """

    default: float
    found: bool
    follows: bool
    fraction: bool
    scheduled: bool
    moved: bool


def separate(flow: Flow) -> tuple[Flow, Rate]:
    """The flow with its rate as the input "rate" (or "peak"), and "lr" where the fraction is read."""
    gathered = _gathered(flow)
    moved = gathered is not flow
    flow = gathered
    uses = _Spine(flow).rate_uses()
    if uses:
        reference = flow.statements[uses[0][0]].arguments[uses[0][1]]
        scaled = isinstance(reference, int)
        default = _scale(flow, reference)
        found = flow.replaced(lambda number, place, a: "rate" if (number, place) in uses else a).without_dead()
        return found, Rate(default, scaled, True, found.reads("lr"), True, moved)
    root = _root(flow)
    name = "peak" if flow.reads("lr") else "rate"
    scheduled = name == "peak"
    rate = Rate(1.0, False, not scheduled, scheduled, scheduled, moved)
    literal = _literal(flow, root)
    if literal is not None:
        found = flow.replaced(lambda number, place, a: name if (number, place) == (root, literal) else a)
        return found, rate._replace(default=float(flow.statements[root].arguments[literal]), found=True)
    end = len(flow.statements)
    product = Statement("update", "mul", (flow.roots["update"], name))
    return Flow((*flow.statements, product), {**flow.roots, "update": end}), rate


def _root(flow: Flow) -> int:
    """The statement whose factors are factors of the update: the update, or what it is the negative of."""
    root = flow.roots["update"]
    assert isinstance(root, int)  # `simplify` never leaves an update that is an input
    statement = flow.statements[root]
    if statement.operator == "negative" and isinstance(statement.arguments[0], int):
        return statement.arguments[0] if _private(flow, statement.arguments[0]) else root
    return root


def _private(flow: Flow, number: int) -> bool:
    return len(flow.uses(number)) == 1 and number not in flow.roots.values()


def _scale(flow: Flow, ref: Ref) -> float:
    """c of lr * c, 1 of lr itself; 0 of anything else."""
    if ref == "lr":
        return 1.0
    if isinstance(ref, int) and flow.statements[ref].operator == "mul":
        arguments = flow.statements[ref].arguments
        for one, other in (arguments, arguments[::-1]):
            if one == "lr" and isinstance(other, float) and other > 0:
                return other
    return 0.0


def _literal(flow: Flow, root: int) -> int | None:
    """Position of the positive literal in `update = x * literal`."""
    statement = flow.statements[root]
    if statement.operator == "mul":
        for place, argument in enumerate(statement.arguments):
            if isinstance(argument, float) and argument > 0:
                return place
    return None


def _gathered(flow: Flow) -> Flow:
    """A product x * c * y * lr as the update, written as x * y * (lr * c); the flow itself if it has no such form."""
    root = _root(flow)
    factors = list(_factors(flow, root))
    rates = [ref for ref in factors if _scale(flow, ref)]
    literals = [ref for ref in factors if isinstance(ref, float)]
    rest = [ref for ref in factors if not isinstance(ref, float) and not _scale(flow, ref)]
    total = math.prod(literals) * math.prod(_scale(flow, ref) for ref in rates)
    if not literals or not rest or len(rates) > 1 or not 0.0 < total < math.inf:
        return flow
    if not rates and len(literals) == 1 and _literal(flow, root) is not None:
        return flow
    added: list[Statement] = []
    core = rest[0]
    for ref in rest[1:]:
        added.append(Statement("update", "mul", (core, ref)))
        core = root + len(added) - 1
    scale: Ref = total
    if rates:
        added.append(Statement("rate", "mul", ("lr", total)))
        scale = root + len(added) - 1
    shifted = flow.inserted(root, added)
    product = Statement("update", "mul", (core, scale))
    at = root + len(added)
    return Flow((*shifted.statements[:at], product, *shifted.statements[at + 1 :]), shifted.roots).without_dead()


def _factors(flow: Flow, number: int) -> Iterator[Ref]:
    """Factors of a product of products that nothing else reads."""
    if flow.statements[number].operator != "mul":
        yield number
        return
    for ref in flow.statements[number].arguments:
        inner = isinstance(ref, int) and flow.statements[ref].operator == "mul"
        if inner and not _scale(flow, ref) and _private(flow, ref):  # type: ignore[arg-type]
            yield from _factors(flow, ref)  # type: ignore[arg-type]
        else:
            yield ref


class _Spine:
    """The sums and products that lead from the update to its terms.

    The update is proportional to the rate if each of its terms has one factor that is the rate. Weights as a term
    (decay) are exempt. A slot is a term that is proportional if what fills it is, which is assumed while it is found
    out: momentum that accumulates rate * gradient is such a case.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.kinds = flow.kinds()
        self.found: dict[tuple[int | str, bool], Uses | None] = {}

    def rate_uses(self) -> list[tuple[int, int]]:
        """Where the rate is read as a factor of the update; nothing if the update is not proportional to one."""
        uses = self.walk(self.flow.roots["update"], False) or ()
        references = {self.flow.statements[number].arguments[place] for number, place in uses}
        return sorted(uses) if len(references) == 1 else []

    def walk(self, ref: Ref, rated: bool) -> Uses | None:
        """The uses of a rate in a term, which has (`rated`) or has not been multiplied by one; None if it is not
        proportional."""
        if isinstance(ref, float):
            return frozenset() if rated else None
        key = (ref, rated)
        if key not in self.found:
            self.found[key] = frozenset()
            self.found[key] = self._walk(ref, rated)
        return self.found[key]

    def _walk(self, ref: int | str, rated: bool) -> Uses | None:
        none: Uses = frozenset()
        if ref == "w":
            return none
        if isinstance(ref, str) and ref in self.flow.roots and not rated:
            filled = self.flow.roots[ref]
            return None if filled == ref else self.walk(filled, False)
        if not isinstance(ref, int):
            return none if rated else None
        operator, arguments = self.flow.statements[ref].operator, self.flow.statements[ref].arguments
        if operator in ("add", "sub"):
            return self._all(arguments, rated)
        if operator == "interp" and self._scalar(arguments[2]):
            return self._all(arguments[:2], rated)
        if operator == "negative" or (operator == "div" and not rated):
            return self.walk(arguments[0], rated)
        if operator == "mul":
            return self._product(ref, arguments, rated)
        return none if rated else None

    def _product(self, number: int, arguments: tuple[Ref, ...], rated: bool) -> Uses | None:
        for place, ref in enumerate(arguments):
            if _scale(self.flow, ref):
                inner = self.walk(arguments[1 - place], True)
                return None if rated or inner is None else inner | {(number, place)}
        scalars = [ref for ref in arguments if self._scalar(ref)]
        others = [ref for ref in arguments if not self._scalar(ref)]
        if len(scalars) == 1:
            return self.walk(others[0], rated)
        if rated:
            return frozenset()
        for ref in arguments:
            inner = self.walk(ref, False)
            if inner:
                return inner
        return None

    def _all(self, refs: tuple[Ref, ...], rated: bool) -> Uses | None:
        found = [self.walk(ref, rated) for ref in refs]
        return None if any(uses is None for uses in found) else frozenset().union(*found)  # type: ignore[arg-type]

    def _scalar(self, ref: Ref) -> bool:
        return isinstance(ref, float) or (isinstance(ref, int) and self.kinds[ref] == "scalar") or ref == "lr"
