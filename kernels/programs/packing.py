"""Lowered programs, checked and encoded once into the arrays that the compiled interpreters read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from kernels.errors import KernelError
from kernels.programs.fusing import fuse
from kernels.programs.opcodes import ARITY, KIND_NAMES, NAMES, SCALAR, TREE, result_kind
from kernels.programs.plan import Plan, plan_program

HEADER_WIDTH = 11
"""Columns of a program's header before its slot operands."""


class Lowered(Protocol):
    """A program as plain numbers, in static single assignment: each instruction writes a fresh register.

    Attributes:
        code: (opcode, destination, a, b, c) an instruction; operands that are not used are -1.
        kinds: kind of every register: 0 tree, 1 leaf, 2 scalar.
        constants: values of the registers n_inputs, n_inputs + 1, ...
        n_inputs: registers 0 .. n_inputs - 1 are weights, gradients, the state slots and the schedule.
        outputs: registers of the update and of the new slots.
    """

    code: Sequence[tuple[int, int, int, int, int]]
    kinds: Sequence[int]
    constants: Sequence[float]
    n_inputs: int
    outputs: Sequence[int]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class PackedPrograms:
    """Programs ready to run; immutable, cheap to select from.

    Attributes:
        programs: as given to `pack`, one a row.
        plans: how each is run, one a row.
        n_slots: state arrays a program reads and writes.
        header: (n_programs, 11 + n_slots) int32, see `_encode`.
        phases: (n, 5) int32: where scalar code starts, whole-tensor code, tree code, where that ends; whether tensors
            matter.
        code: (n, 5) int32 micro-operations.
        constants: (n,) float64.
        reads_shapes: whether a program among those given to `pack` tells matrices from other tensors.
    """

    programs: tuple[Lowered, ...]
    plans: tuple[Plan, ...]
    n_slots: int
    header: np.ndarray
    phases: np.ndarray
    code: np.ndarray
    constants: np.ndarray
    reads_shapes: bool

    def __len__(self) -> int:
        return len(self.programs)

    def take(self, rows: Sequence[int] | np.ndarray) -> PackedPrograms:
        """The programs of these rows, in this order, repeated where a row is; nothing is encoded again."""
        indices = [int(row) for row in np.asarray(rows, np.int64)]
        return replace(
            self,
            programs=tuple(self.programs[row] for row in indices),
            plans=tuple(self.plans[row] for row in indices),
            header=np.ascontiguousarray(self.header[indices]),
        )


def pack(programs: Sequence[Lowered]) -> PackedPrograms:
    """Check and encode programs of one signature (weights, gradients, slots..., schedule) -> (update, slots...).

    Args:
        programs: at least one; equal ones are planned once.

    Raises:
        KernelError: a program is malformed (the message says where), or signatures differ.
    """
    if not programs:
        raise KernelError("no programs to pack")
    n_inputs = programs[0].n_inputs
    if n_inputs < 3:
        raise KernelError(f"a program reads at least weights, gradients and the schedule, not {n_inputs} inputs")
    encoded: dict[tuple, int] = {}
    plans: list[Plan] = []
    rows = []
    for index, program in enumerate(programs):
        key = (program.code, program.kinds, program.constants, program.n_inputs, program.outputs)
        key = tuple(tuple(part) if isinstance(part, list) else part for part in key)
        if key not in encoded:
            check(program, n_inputs, f"program {index}")
            encoded[key] = len(plans)
            plans.append(plan_program(program))
        rows.append(encoded[key])
    header, phases, code, constants = _encode(plans, n_inputs - 3)
    matrices = any(phase.whole for plan in plans for phase in plan.phases)
    planned = tuple(plans[row] for row in rows)
    return PackedPrograms(tuple(programs), planned, n_inputs - 3, header[rows], phases, code, constants, matrices)


def check(program: Lowered, n_inputs: int, where: str) -> None:
    """Raise KernelError unless the program is well formed: operands defined, kinds right, one output a slot."""
    if program.n_inputs != n_inputs:
        raise KernelError(f"{where} has {program.n_inputs} inputs, the first one {n_inputs}")
    if len(program.outputs) != n_inputs - 2:
        raise KernelError(f"{where} has {len(program.outputs)} outputs; an update and {n_inputs - 3} slots are needed")
    kinds = program.kinds
    defined = n_inputs + len(program.constants)
    if len(kinds) != defined + len(program.code):
        raise KernelError(f"{where} declares {len(kinds)} registers but defines {defined + len(program.code)}")
    if any(kind not in (0, 1, 2) for kind in kinds):
        raise KernelError(f"{where}: register kinds are 0 (tree), 1 (leaf) and 2 (scalar)")
    if any(kind != TREE for kind in kinds[: n_inputs - 1]) or any(
        kind != SCALAR for kind in kinds[n_inputs - 1 : defined]
    ):
        raise KernelError(f"{where}: inputs are trees but for the schedule; the schedule and constants are scalars")
    known = set(range(defined))
    for line, (opcode, destination, *operands) in enumerate(program.code):
        here = f"{where}, instruction {line}"
        if not 0 <= opcode < len(NAMES):
            raise KernelError(f"{here}: unknown opcode {opcode}")
        used, unused = operands[: ARITY[opcode]], operands[ARITY[opcode] :]
        if any(operand not in known for operand in used) or any(operand != -1 for operand in unused):
            raise KernelError(f"{here}: {NAMES[opcode]} takes {ARITY[opcode]} defined registers, not {tuple(operands)}")
        if destination in known or not 0 <= destination < len(kinds):
            raise KernelError(f"{here}: register {destination} is no fresh register")
        expected = result_kind(opcode, [kinds[operand] for operand in used])
        if kinds[destination] != expected:
            given = ", ".join(KIND_NAMES[kinds[operand]] for operand in used)
            result = "is not defined" if expected is None else f"is a {KIND_NAMES[expected]}"
            raise KernelError(f"{here}: {NAMES[opcode]}({given}) {result}, not a {KIND_NAMES[kinds[destination]]}")
        known.add(destination)
    for output in program.outputs:
        if output not in known:
            raise KernelError(f"{where}: output register {output} is not defined")


def _encode(plans: Sequence[Plan], n_slots: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The arrays of PackedPrograms; a header holds the number of phases and where they start, block and full
    registers, scalars, leaves, where its constants start and how many they are, the most sums in a phase, then the
    operands of the update, of the number that scales it, and of each slot."""
    header: list[tuple[int, ...]] = []
    phases: list[tuple[int, int, int, int, int]] = []
    code: list[tuple[int, int, int, int, int]] = []
    constants: list[float] = []
    for plan in plans:
        fused = fuse(plan)
        header.append(
            (
                *(len(plan.phases), len(phases), plan.n_block, plan.n_full, plan.n_scalars, plan.n_leaves),
                *(len(constants), len(plan.constants), plan.n_sums),
                *(fused.update, fused.scale, *plan.slots),
            )
        )
        constants.extend(plan.constants)
        for phase, rows in zip(plan.phases, fused.trees, strict=True):
            start = len(code)
            code.extend(phase.scalar)
            whole = len(code)
            code.extend(phase.whole)
            tree = len(code)
            code.extend(rows)
            phases.append((start, whole, tree, len(code), int(phase.per_tensor)))
    return (
        np.array(header, np.int32).reshape(len(plans), HEADER_WIDTH + n_slots),
        np.array(phases, np.int32).reshape(-1, 5),
        np.array(code, np.int32).reshape(-1, 5),
        np.array(constants, np.float64),
    )
