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
from search_spaces.lion.refine.identities import language
from search_spaces.lion.refine.slots import merged_slots, rescaled_slots, zero_slots
from search_spaces.lion.refine.sums import respelled_products, respelled_sums

SPARE = 1
"""Statements that a re-derivation may add, for identities to take away again."""


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
        found = min(_derivations(best, guarded), key=preference, default=best)
        found = min(found, _shortest(found, guarded), key=preference)
        if preference(found) >= preference(best):
            return _without_noise(best, program)
        best = found


def preference(program: Program) -> tuple[Complexity, int, int]:
    """What to choose programs by, lowest first: of equally complex ones that with the fewest minus signs, then that
    with the fewest statements on whole tensors, so that constants meet in the rate."""
    minus = sum(not isinstance(a, str) and a < 0 for step in program.instructions for a in step.arguments)
    return complexity(program), minus, (LION.trace(program) or []).count("tree")


def _without_noise(program: Program, original: Program) -> Program:
    """Literals that algebra made, without what rounding left behind their thirteenth digit."""
    given = {a for step in original.instructions for a in step.arguments}

    def clean(argument: str | float) -> str | float:
        return argument if isinstance(argument, str) or argument in given else float(f"{argument:.13g}")

    steps = (step._replace(arguments=tuple(map(clean, step.arguments))) for step in program.instructions)
    return Program(tuple(steps))


def _shortest(program: Program, guarded: bool) -> Program:
    """The simplest of what the identities make of a program; of equals that which most of them made, so that ways to
    write one thing come out as one."""
    forms = []
    for extra in (True, False) if guarded else (False,):
        forms += [_settled(language(factored, guarded=extra), program) for factored in (True, False)]
    return min([*forms, simplify(LION, program, "real"), simplify(LION, program)], key=preference)


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
        respelled_sums(flow), respelled_products(flow), zero_slots(flow), merged_slots(flow), rescaled_slots(flow)
    ):
        if flows.size(edited) > len(flow.nodes) + SPARE:
            continue
        written = flows.write(edited)
        if written not in seen and LION.is_valid(written):
            seen.add(written)
            yield simplify(given, written, "real")
