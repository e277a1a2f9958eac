"""Candidate rewrites of a program: every one makes it simpler, and most change what it computes.

Each is an edit of the data flow followed by `closed_form`, which takes away all that the edit left without a use and
folds the rest; so "delete clip" may take five statements with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from evo.errors import InvalidGenomeError
from evo.program import Program, canonical, statements
from search_spaces.lion.language import LION
from search_spaces.lion.refine import flow as flows
from search_spaces.lion.refine.closed_forms import Complexity, closed_form, complexity, digits, preference
from search_spaces.lion.refine.flow import STATE, Flow, Ref
from search_spaces.lion.refine.identities import language
from search_spaces.lion.refine.naming import named


class Rewrite(NamedTuple):
    """A simpler program and how it came about.

    Attributes:
        kind: "guard" (equal but for the 1e-8 of divisions), "operand" (a value is replaced by what it is made of: a
            statement deleted, a term or factor dropped), "constant" (a value is replaced by 0 or 1), "slot" (state is
            replaced by zero), "literal" (a literal is replaced by 0, 1 or another literal), "round".
        statement: the statement it is about, infix; "" where it is about the whole.
        change: what is done, for people.
        program: the result, valid, in closed form, under textbook names.
        complexity: of the result; below that of what was rewritten.
    """

    kind: str
    statement: str
    change: str
    program: Program
    complexity: Complexity

    @property
    def label(self) -> str:
        """Kind, statement and change: the rewrite's identity between rounds."""
        return f"{self.kind}: {self.statement}: {self.change}" if self.statement else f"{self.kind}: {self.change}"


TURNS = 4
"""Equally simple forms may follow each other in a circle, because names break ties."""


def tidy(program: Program, guarded: bool = False) -> Program:
    """The closed form under textbook names; tidying it again changes nothing."""
    forms = [named(program)]
    for _ in range(TURNS):
        program = named(closed_form(program, guarded))
        if program in forms:
            break
        forms.append(program)
    return min(reversed(forms), key=preference)


def identity(program: Program) -> str:
    """Hexadecimal digest, equal for programs that the identities in real numbers show to be equal."""
    return canonical(language(), program, "real").hex()


def candidates(program: Program, reach: int = 2) -> list[Rewrite]:
    """All rewrites of a tidy program that make it simpler, one for each function that they lead to: that with the
    simplest result. A result that no longer depends on the gradient is left out.

    Args:
        program: a valid program, as `tidy` gives it.
        reach: how many statements back a value's replacement may lie: 1 is its operands, 2 theirs as well.
    """
    return _distinct(program, _proposals(program, reach))


def roundings(program: Program) -> list[Rewrite]:
    """Rewrites that give one literal fewer digits, or its distance from 1; coarsest first."""
    flow = flows.read(program)
    found = []
    for node, place, value in _literals(flow):
        for kept in range(1, digits(value)):
            for rounded in {_rounded(value, kept), 1.0 - _rounded(1.0 - value, kept)}:
                rounded = float(f"{rounded:.12g}")
                if rounded not in (0.0, 1.0) and digits(rounded) < digits(value):
                    edited = flows.with_argument(flow, node, place, rounded)
                    found.append(("round", _text(program, node), f"{value:g} becomes {rounded:g}", edited, False))
    return sorted(_distinct(program, iter(found)), key=lambda rewrite: (rewrite.complexity, rewrite.label))


Proposal = tuple[str, str, str, Flow, bool]
"""Kind, statement, change, edited flow, whether to ignore guards."""


def _distinct(program: Program, proposals: Iterator[Proposal]) -> list[Rewrite]:
    cost, start = complexity(program), identity(program)
    best: dict[str, Rewrite] = {}
    done: set[Program] = set()
    for kind, statement, change, edited, guarded in proposals:
        written = flows.write(edited)
        key = (written, guarded)
        if key in done or not LION.is_valid(written):
            continue
        done.add(key)
        try:
            result = named(closed_form(written, guarded))
        except InvalidGenomeError:
            continue
        price = complexity(result)
        if price >= cost or not flows.uses_gradient(result):
            continue
        function = identity(result)
        if function == start and kind != "round":
            continue
        if function not in best or price < best[function].complexity:
            best[function] = Rewrite(kind, statement, change, result, price)
    return list(best.values())


def _proposals(program: Program, reach: int) -> Iterator[Proposal]:
    flow = flows.read(program)
    kinds = flows.types(flow)
    yield "guard", "", "divisions without their guard, as in x / abs(x) = sign(x)", flow, True
    for index in range(len(flow.nodes)):
        statement = _text(program, index)
        for value in _ancestors(flow, index, reach):
            what = _called(program, value)
            yield "operand", statement, f"replaced by {what}", flows.replaced(flow, {index: value}), False
        for value in (0.0,) if kinds[index] == "tree" else (0.0, 1.0):
            yield "constant", statement, f"replaced by {value:g}", flows.replaced(flow, {index: value}), False
    for output, source in STATE.items():
        if flow.outputs[output] != source:
            yield "slot", "", f"{source} is zero at all times", flows.reading(flow, {source: 0.0}), False
    literals = list(_literals(flow))
    for node, place, value in literals:
        operator = flow.nodes[node].operator
        # factors are rates, decays and the like: nothing says that two of them should be one
        others = [v for n, p, v in literals if (flow.nodes[n].operator, p) == (operator, place) and operator != "mul"]
        for other in dict.fromkeys((0.0, 1.0, *others)):
            if other != value:
                edited = flows.with_argument(flow, node, place, other)
                yield "literal", _text(program, node), f"{value:g} becomes {other:g}", edited, False


def _ancestors(flow: Flow, index: int, reach: int) -> list[Ref]:
    """What a node is made of, up to `reach` statements back, nearest first."""
    found: dict[Ref, None] = {}
    front: list[Ref] = [index]
    for _ in range(reach):
        front = [a for value in front if isinstance(value, int) for a in flow.nodes[value].arguments]
        found.update(dict.fromkeys(value for value in front if not isinstance(value, float)))
    return list(found)


def _literals(flow: Flow) -> Iterator[tuple[int, int, float]]:
    """(node, argument, value) of every literal."""
    for index, node in enumerate(flow.nodes):
        for place, argument in enumerate(node.arguments):
            if isinstance(argument, float):
                yield index, place, argument


def _rounded(value: float, kept: int) -> float:
    return float(f"{value:.{kept}g}")


def _text(program: Program, index: int) -> str:
    return statements(LION, program, "infix", digits=6)[index]


def _called(program: Program, value: Ref) -> str:
    return program.instructions[value].target if isinstance(value, int) else str(value)
