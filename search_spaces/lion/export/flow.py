"""A program as data flow: statements that refer to each other by number, so that an export may move and replace them.

Exports rewrite little: which read of `lr` is the learning rate and which the schedule's fraction, and where weights
decay. Everything else is kept as `simplify` leaves it, operation by operation, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from evo.program import Program, live_slots, simplify
from search_spaces.lion.language import LION
from search_spaces.lion.operators import OPERATORS

Ref = int | str | float
"""An argument: the number of a statement, the name of an input, or a literal."""

INPUT_KINDS = {**dict(LION.signature.inputs), "rate": "scalar", "peak": "scalar"}
"""Inputs of a flow. w, g, v1, v2 and lr, the schedule's fraction, are the program's own. rate: the optimizer's current
learning rate. peak: what it is where the fraction is 1."""


class Statement(NamedTuple):
    """`target = operator(*arguments)`; the target is a wish, names are settled when source is written."""

    target: str
    operator: str
    arguments: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Flow:
    """Statements in order of execution.

    Attributes:
        statements: each may refer to earlier ones.
        roots: output -> what it is: `update` and the live slots.
    """

    statements: tuple[Statement, ...]
    roots: Mapping[str, int | str]

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the state that is kept."""
        return tuple(name for name in self.roots if name != "update")

    def uses(self, ref: int | str) -> list[tuple[int, int]]:
        """Where it is read: (number of the statement, position of the argument)."""
        return [
            (number, position)
            for number, statement in enumerate(self.statements)
            for position, argument in enumerate(statement.arguments)
            if argument == ref and type(argument) is type(ref)
        ]

    def reads(self, name: str) -> bool:
        """Whether an input is read by any statement."""
        return bool(self.uses(name))

    def kinds(self) -> list[str]:
        """Kind of every statement's value: tree, leaf or scalar."""
        found: list[str] = []
        for statement in self.statements:
            kind = OPERATORS[statement.operator].infer(tuple(kind_of(a, found) for a in statement.arguments))
            assert kind is not None  # programs are checked before they get here, and rewriting keeps kinds
            found.append(kind)
        return found

    def replaced(self, change: Callable[[int, int, Ref], Ref]) -> Flow:
        """Every argument given to `change(statement, position, argument)`."""
        return Flow(
            tuple(
                statement._replace(
                    arguments=tuple(change(number, place, a) for place, a in enumerate(statement.arguments))
                )
                for number, statement in enumerate(self.statements)
            ),
            self.roots,
        )

    def inserted(self, position: int, statements: Sequence[Statement]) -> Flow:
        """With statements put in before number `position`; they refer to others by the numbers that those have now,
        and to each other by the numbers that they get."""

        def moved(ref: Ref) -> Ref:
            return ref + len(statements) if isinstance(ref, int) and ref >= position else ref

        later = [
            statement._replace(arguments=tuple(map(moved, statement.arguments)))
            for statement in self.statements[position:]
        ]
        roots = {name: moved(ref) for name, ref in self.roots.items()}
        return Flow((*self.statements[:position], *statements, *later), roots)  # type: ignore[arg-type]

    def without_dead(self) -> Flow:
        """Without the statements that no root depends on."""
        alive: set[int] = set()
        waiting = [ref for ref in self.roots.values() if isinstance(ref, int)]
        while waiting:
            number = waiting.pop()
            if number not in alive:
                alive.add(number)
                waiting += [a for a in self.statements[number].arguments if isinstance(a, int)]
        numbers = {old: new for new, old in enumerate(sorted(alive))}

        def moved(ref: Ref) -> Ref:
            return numbers[ref] if isinstance(ref, int) else ref

        kept = [
            statement._replace(arguments=tuple(map(moved, statement.arguments)))
            for number, statement in enumerate(self.statements)
            if number in alive
        ]
        return Flow(tuple(kept), {name: moved(ref) for name, ref in self.roots.items()})  # type: ignore[misc]


def flow_of(program: Program) -> Flow:
    """The simplified program.

    Raises:
        InvalidGenomeError: the program is not valid.
    """
    short = simplify(LION, program)
    place: dict[str, int] = {}
    statements = []
    for target, operator, arguments in short.instructions:
        statements.append(
            Statement(target, operator, tuple(place.get(a, a) if isinstance(a, str) else float(a) for a in arguments))
        )
        place[target] = len(statements) - 1
    roots = {name: place.get(name, name) for name in ("update", *live_slots(LION, short))}
    return Flow(tuple(statements), roots)


def kind_of(ref: Ref, kinds: Sequence[str]) -> str:
    """Kind of an argument, given those of the statements."""
    if isinstance(ref, int):
        return kinds[ref]
    return INPUT_KINDS[ref] if isinstance(ref, str) else "scalar"


POSITIVE = frozenset({"abs", "square", "sqrt", "norm", "exp", "exp2", "exp10", "cosh", "global_norm"})
CLOSED = frozenset({"add", "mul", "div", "min"})


def nonnegative(flow: Flow) -> set[int]:
    """Numbers of the statements whose value is never below zero, whatever the constants are."""
    found: set[int] = set()
    for number, (_, operator, arguments) in enumerate(flow.statements):
        signs = [isinstance(a, int) and a in found for a in arguments]
        # a literal 1.0 equals the number 1 of a statement
        square = operator == "mul" and arguments[0] == arguments[1] and not any(isinstance(a, float) for a in arguments)
        closed = (operator in CLOSED and all(signs)) or (operator == "max" and any(signs))
        if operator in POSITIVE or square or closed:
            found.add(number)
    return found
