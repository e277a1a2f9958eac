"""The literals of a program as options of an optimizer: a name and a meaning by the part that each plays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from search_spaces.lion.export.decay import Decay
from search_spaces.lion.export.flow import Flow, Ref, Statement

Place = tuple[int, int]
"""Number of a statement, and position of an argument."""


class Constant(NamedTuple):
    """An option of the optimizer.

    Attributes:
        name: of the argument and the group's option.
        value: as found.
        meaning: for the docstring, without a full stop.
    """

    name: str
    value: float
    meaning: str


ROLES: Mapping[tuple[str, int], tuple[str, str]] = {
    ("add", 0): ("offset", "added to {1}"),
    ("add", 1): ("offset", "added to {0}"),
    ("sub", 0): ("level", "what {1} is subtracted from"),
    ("sub", 1): ("offset", "subtracted from {0}"),
    ("mul", 0): ("scale", "factor of {1}"),
    ("mul", 1): ("scale", "factor of {0}"),
    ("div", 0): ("numerator", "what is divided by {1}"),
    ("div", 1): ("divisor", "divides {0}"),
    ("max", 0): ("floor", "lower bound of {1}"),
    ("max", 1): ("floor", "lower bound of {0}"),
    ("min", 0): ("ceiling", "upper bound of {1}"),
    ("min", 1): ("ceiling", "upper bound of {0}"),
    ("interp", 0): ("level", "what {1} is interpolated with"),
    ("interp", 1): ("level", "what {0} is interpolated with"),
    ("interp", 2): ("beta", "weight of {1} in its average with {0}; outside [0, 1] it extrapolates"),
    ("clip_by_global_norm", 1): ("max_norm", "bound of the norm of {0} over all tensors of all groups"),
    ("power", 0): ("base", "base of the power {1}"),
    ("power", 1): ("exponent", "exponent of {0}"),
}
"""(operator, position) -> name and meaning of a literal there; {0}, {1} are the other arguments."""


def constants_of(
    flow: Flow, decays: Sequence[Decay], taken: Collection[str], follows: bool
) -> tuple[list[Constant], dict[Place, str]]:
    """Every literal as a constant, in order of appearance, and the names by place.

    Args:
        flow: with the rate separated.
        decays: its weight decay; the first that is decoupled and not 0 is `weight_decay`, or else the first.
        taken: names that are not to be used.
        follows: whether the update is multiplied by the current learning rate, or else by its peak.
    """
    ranked = sorted(decays, key=lambda d: (flow_literal(flow, d.number) == 0.0, not d.decoupled, d.number))
    main = ranked[0].number if ranked else None
    by_number = {decay.number: decay for decay in decays}
    rows: list[tuple[Place, str, str, float]] = []
    for number, statement in enumerate(flow.statements):
        for position, argument in enumerate(statement.arguments):
            if isinstance(argument, float):
                role, meaning = _role(flow, number, position, by_number, follows)
                rows.append(((number, position), role, meaning, argument))
    total = Counter(role for _, role, _, _ in rows)
    seen: Counter[str] = Counter()
    names: dict[Place, str] = {}
    constants = []
    extra = 1
    for place, role, meaning, value in rows:
        name = role
        if role == "weight_decay":
            if place[0] != main:
                extra += 1
                name = f"weight_decay{extra}"
                meaning += "; off where weight_decay is 0"
        elif total[role] > 1:
            seen[role] += 1
            name = f"{role}{seen[role]}"
        while name in taken:
            name += "_"
        names[place] = name
        constants.append(Constant(name, value, meaning))
    return constants, names


def flow_literal(flow: Flow, number: int) -> float:
    """The literal of a statement that has one."""
    return next(a for a in flow.statements[number].arguments if isinstance(a, float))


def _role(flow: Flow, number: int, position: int, decays: Mapping[int, Decay], follows: bool) -> tuple[str, str]:
    statement = flow.statements[number]
    if number in decays:
        return "weight_decay", _decay_meaning(decays[number], follows)
    others = [_shown(flow, a) for a in statement.arguments]
    if statement.operator == "mul" and _is_momentum(flow, number, statement):
        return "momentum", f"share of {others[1 - position]} that is kept from step to step"
    if statement.operator in ("add", "max") and _is_divisor(flow, number):
        return "damping", f"keeps the divisor {others[1 - position]} from zero"
    name, meaning = ROLES.get((statement.operator, position), ("constant", "argument of " + statement.operator))
    return name, meaning.format(*others)


def _decay_meaning(decay: Decay, follows: bool) -> str:
    if not decay.decoupled:
        return "factor of the weights that are added inside the rule (L2, not decoupled); 0 turns it off"
    rated = "times `lr`, as in AdamW" if follows else "times the peak of `lr`"
    times = rated if decay.rated else "not multiplied by `lr`"
    return f"decoupled decay, {times}: factor of the weights in the update, those before the step; 0 turns it off"


def _shown(flow: Flow, ref: Ref) -> str:
    """An argument for people: a variable, or a short word for what it holds."""
    if isinstance(ref, int):
        return f"`{flow.statements[ref].target}`"
    words = {"g": "the gradient", "w": "the weights", "lr": "the schedule's fraction", "rate": "`lr`"}
    return words.get(ref, f"the old `{ref}`") if isinstance(ref, str) else "a constant"


def _is_momentum(flow: Flow, number: int, statement: Statement) -> bool:
    """slot * constant that is a term of what fills that slot."""
    slot = next((a for a in statement.arguments if isinstance(a, str) and a in flow.roots), None)
    root = flow.roots[slot] if slot else None
    if not isinstance(root, int) or flow.statements[root].operator not in ("add", "sub"):
        return False
    return root in [reader for reader, _ in flow.uses(number)]


def _is_divisor(flow: Flow, number: int) -> bool:
    """Whether all that reads a statement divides by it."""
    uses = flow.uses(number)
    return bool(uses) and all(
        (flow.statements[reader].operator, place) in (("div", 1), ("reciprocal", 0)) for reader, place in uses
    )
