"""The overall rate of a program: what multiplies its update, found again for longer training.

A program's built-in learning rate was found for the search's short courses, and the best rate falls as courses grow.
What a funnel should compare is the rules, so each of them, and the baseline, gets the same few rates to choose from.
"""

from __future__ import annotations

from collections.abc import Sequence

from evo.program import Instruction, Program, simplify
from search_spaces.lion.language import LION

OUTPUTS = tuple(name for name, _ in LION.signature.outputs)


def rescaled(program: Program, factor: float) -> Program:
    """The program with `update` multiplied by a factor, simplified; its state is left as it is.

    Where the update is a product, directly or through other products, with a literal that nothing else depends on, the
    literal takes the factor; elsewhere a statement is appended.
    """
    short = simplify(LION, program)
    if factor == 1.0:
        return short
    steps = list(short.instructions)
    last = _maker(steps, len(steps), "update")
    place = _factor(steps, last) if last is not None and _readers(steps, last) == 1 else None
    if place is None:
        return simplify(LION, Program((*steps, Instruction("update", "mul", ("update", factor)))))
    index, argument = place
    step = steps[index]
    value = float(step.arguments[argument]) * factor
    arguments = (*step.arguments[:argument], value, *step.arguments[argument + 1 :])
    steps[index] = step._replace(arguments=arguments)
    return Program(tuple(steps))


def _maker(steps: Sequence[Instruction], before: int, name: str | float) -> int | None:
    """The statement whose value a variable holds before statement `before`; None: an input."""
    return next((index for index in range(before - 1, -1, -1) if steps[index].target == name), None)


def _factor(steps: Sequence[Instruction], index: int) -> tuple[int, int] | None:
    """Statement and argument of a literal that is a factor of a statement's value and of nothing else."""
    if steps[index].operator != "mul":
        return None
    for place, argument in enumerate(steps[index].arguments):
        if not isinstance(argument, str):
            return index, place
    for argument in steps[index].arguments:
        maker = _maker(steps, index, argument)
        if maker is not None and _readers(steps, maker) == 1:
            found = _factor(steps, maker)
            if found is not None:
                return found
    return None


def _readers(steps: Sequence[Instruction], index: int) -> int:
    """How often a statement's value is read: by later statements, and as an output."""
    target, count = steps[index].target, 0
    for step in steps[index + 1 :]:
        count += step.arguments.count(target)
        if step.target == target:
            return count
    return count + (target in OUTPUTS)
