"""Liveness to a fixpoint across steps: which statements and which state slots can reach an output, ever.

An output that is no state is always live. A state slot is live only if a live output depends on the input it feeds,
at this step or a later one. Liveness within one step alone keeps statements such as Lion's `m = cosh(u)`, which
fill a slot that the next step overwrites before it reads it.
"""

from __future__ import annotations

from typing import NamedTuple

from evo.program.ir import Instruction, Program
from evo.program.language import Language, Signature


class Live(NamedTuple):
    """Attributes:
    statements: indices of the live statements, ascending.
    slots: names of the live state outputs, in the signature's order.
    """

    statements: list[int]
    slots: tuple[str, ...]


def liveness(signature: Signature, instructions: tuple[Instruction, ...]) -> Live:
    """The live statements and slots of a program. Linear in its length for each slot that turns out to be live."""
    state = signature.state
    roots = [name for name, _ in signature.outputs if name not in state]
    waiting = list(state.items())
    numbered = list(enumerate(instructions))[::-1]
    while True:
        # literals enter the set beside names; they are floats and meet none
        live: set[str | float] = set(roots)
        statements = []
        for index, (target, _, arguments) in numbered:
            if target in live:
                live.discard(target)
                live.update(arguments)
                statements.append(index)
        woken = [(output, source) for output, source in waiting if source in live]
        if not woken:
            alive = set(roots)
            return Live(statements[::-1], tuple(name for name in state if name in alive))
        for slot in woken:
            waiting.remove(slot)
            roots.append(slot[0])


def live_slots(language: Language, program: Program) -> tuple[str, ...]:
    """The names of the live state outputs, in the order of the signature's `state`."""
    return liveness(language.signature, program.instructions).slots


def live(language: Language, program: Program) -> Program:
    """The program without its dead statements.

    All outputs but dead slots keep their values. A dead slot holds whatever is left in its variable; where that has
    another type than the slot, the variable is renamed, so that the result is valid.

    Args:
        program: a valid program.
    """
    instructions = program.instructions
    statements, slots = liveness(language.signature, instructions)
    kept = Program(tuple([instructions[index] for index in statements]))
    if language.trace(kept) is None:
        for output in language.signature.state:
            if output not in slots:
                kept = _renamed(language, kept, output)
    return kept


def _renamed(language: Language, program: Program, name: str) -> Program:
    """The program with every assignment to `name`, and every read of what was assigned, under a fresh name."""
    fresh = fresh_name(language, program.instructions)
    assigned = False
    rewritten = []
    for target, operator, arguments in program.instructions:
        if assigned:
            arguments = tuple([fresh if a == name else a for a in arguments])
        if target == name:
            target, assigned = fresh, True
        rewritten.append(Instruction(target, operator, arguments))
    return Program(tuple(rewritten))


def fresh_name(language: Language, instructions: tuple[Instruction, ...]) -> str:
    """The first of t0, t1, ... that neither the signature nor the program uses."""
    taken = {step[0] for step in instructions}
    taken.update(name for name, _ in (*language.signature.inputs, *language.signature.outputs))
    number = 0
    while f"t{number}" in taken:
        number += 1
    return f"t{number}"
