"""Pairs of micro-operations that the compiled interpreter runs as one: the same roundings, half the passes.

Between two micro-operations a block goes through the first-level cache; for the cheap ones that costs as much as the
arithmetic. Where a block register is written by one of a few operations and read once, by another, the two become one
that never stores the register. Each keeps both roundings (nothing is contracted), so that no number changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kernels.programs.opcodes import OPCODES
from kernels.programs.plan import BLOCK, IN, LEAVES, NONE, SCALARS, SUM_LEAVES, SUM_PRODUCT, Phase, Plan, index, space

FUSED = ("mul_add", "mul_sub", "sub_mul", "interp_square", "div_sqrt")
"""Names in the order of their codes, as in interpreter.c; lines are (code, destination, a, b, c), a and b trees:
a c + b, a c - b and b - a c with a number c; interp(a a, b, c); a / sqrt(b)."""
MUL_ADD, MUL_SUB, SUB_MUL, INTERP_SQUARE, DIV_SQRT = range(SUM_LEAVES + 1, SUM_LEAVES + 1 + len(FUSED))

Row = tuple[int, int, int, int, int]


class Fused(NamedTuple):
    """A plan's tree code by phase, and its update: that operand, times the number `scale` if it is not NONE."""

    trees: tuple[tuple[Row, ...], ...]
    update: int
    scale: int


def fuse(plan: Plan) -> Fused:
    """Fuse what can be fused."""
    outputs = (plan.update, *plan.slots)
    trees = [_pairs(phase, outputs if phase is plan.phases[-1] else ()) for phase in plan.phases]
    last, update, scale = _scaled_update(trees[-1], plan)
    return Fused((*(tuple(rows) for rows in trees[:-1]), tuple(last)), update, scale)


def _pairs(phase: Phase, outputs: Sequence[int]) -> list[Row]:
    rows = list(phase.tree)
    place = 0
    while place < len(rows):
        first = rows[place]
        reader = next((line for line in range(place + 1, len(rows)) if first[1] in _read(rows[line])), None)
        joined = None
        if reader is not None and _may_wait(rows, place, reader) and _dead(rows, reader, first[1], outputs):
            joined = _join(first, rows[reader])
        if joined is None:
            place += 1
        else:
            rows[reader] = joined  # type: ignore[index]
            del rows[place]
    return rows


def _join(first: Row, then: Row) -> Row | None:
    """One line for `first` and `then`, which reads the first one's result; None where there is none."""
    code, register, a, b, _ = first
    other, destination, *operands = then
    if operands.count(register) != 1:
        return None
    if code == OPCODES["mul"] and other in (OPCODES["add"], OPCODES["sub"]):
        tree, number = (a, b) if _number(b) else (b, a)
        left = operands[0] == register
        rest = operands[1] if left else operands[0]
        if not _number(number) or _number(rest):
            return None
        fused = MUL_ADD if other == OPCODES["add"] else MUL_SUB if left else SUB_MUL
        return fused, destination, tree, rest, number
    if code == OPCODES["square"] and other == OPCODES["interp"] and operands[0] == register:
        return INTERP_SQUARE, destination, a, operands[1], operands[2]
    if code == OPCODES["sqrt"] and other == OPCODES["div"] and operands[1] == register and not _number(operands[0]):
        return DIV_SQRT, destination, operands[0], a, NONE
    return None


def _scaled_update(rows: list[Row], plan: Plan) -> tuple[list[Row], int, int]:
    """Leave the product of a tree and a number to the subtraction from the weights."""
    for place in range(len(rows) - 1, -1, -1):
        code, register, a, b, _ = rows[place]
        if register != plan.update:
            continue
        tree, number = (a, b) if _number(b) else (b, a)
        read = any(register in _read(row) for row in rows[place + 1 :]) or register in plan.slots
        if code != OPCODES["mul"] or not _number(number) or read or not _may_wait(rows, place, len(rows)):
            break
        # New slots are written first: an old slot can only wait if it is not replaced.
        if space(tree) == IN and index(tree) >= 2 and plan.slots[index(tree) - 2] != tree:
            break
        return rows[:place] + rows[place + 1 :], tree, number
    return rows, plan.update, NONE


def _read(row: Row) -> tuple[int, ...]:
    """Operands; the accumulator's number of a sum is none."""
    return row[2:4] if row[0] == SUM_PRODUCT else row[2:]


def _number(operand: int) -> bool:
    return operand >= 0 and space(operand) in (SCALARS, LEAVES)


def _may_wait(rows: Sequence[Row], place: int, reader: int) -> bool:
    """Whether a block register can be computed as late as at `reader`: nothing between changes it or its operands."""
    row = rows[place]
    if row[0] == SUM_PRODUCT or space(row[1]) != BLOCK:
        return False
    kept = {row[1], *(operand for operand in _read(row) if operand >= 0)}
    return all(between[0] == SUM_PRODUCT or between[1] not in kept for between in rows[place + 1 : reader])


def _dead(rows: Sequence[Row], reader: int, register: int, outputs: Sequence[int]) -> bool:
    """Whether nothing reads the register after `reader`, before it is written again."""
    if rows[reader][0] != SUM_PRODUCT and rows[reader][1] == register:
        return True
    for row in rows[reader + 1 :]:
        if register in _read(row):
            return False
        if row[0] != SUM_PRODUCT and row[1] == register:
            return True
    return register not in outputs
