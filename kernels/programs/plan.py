"""How one program is run: micro-operations, cut into phases at its reductions, with registers assigned.

A phase is one pass over the parameters in cache-sized blocks. Before the pass, what is computed from scalars and
leaves alone is computed once, and then what needs whole tensors (`orthogonalize`), from full-length values into
full-length values; after it, the sums that it accumulated are there for the next phase. A value that is needed in a
later phase than its own is kept in full length; all others live in registers of one block. Values are computed as late
as they can be, so that as few as possible must be kept.

The new slots are written in place where nothing reads the old ones any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from kernels.programs.opcodes import CONSTANT_VALUES, LEAF, OPCODES, SCALAR, TREE

# Micro-operations beside the elementwise operators, numbered after them.
COPY, SUM_PRODUCT, SUM_LEAVES = len(OPCODES), len(OPCODES) + 1, len(OPCODES) + 2
WHOLE = OPCODES["orthogonalize"]
"""The operator on whole tensors; of leaves and scalars it is spelled out."""

# Where an operand lies: SPACE << 16 | index.
IN, BLOCK, FULL, SCALARS, LEAVES = 0, 1, 2, 3, 4
NONE = -1
SCHEDULE = SCALARS << 16
"""The schedule is scalar 0; constants follow, then results."""
LENGTHS = LEAVES << 16
"""Leaf 0 holds the number of elements of each tensor."""


def space(operand: int) -> int:
    """IN, BLOCK, FULL, SCALARS or LEAVES."""
    return operand >> 16


def index(operand: int) -> int:
    """Number of the operand within its space."""
    return operand & 0xFFFF


class Phase(NamedTuple):
    """One pass: scalar and whole-tensor code before it, tree code in it; lines are (opcode, destination, a, b, c).

    Whole-tensor code is `WHOLE` alone, from an input or full-length register to a full-length register. In tree code
    SUM_PRODUCT adds up a * b for each tensor in float64: its destination is a leaf, c the number of the accumulator. In
    scalar code SUM_LEAVES adds up a leaf over the tensors. `interp` appears in tree code with trees a and b and a leaf
    or scalar c; every other form has been spelled out.
    """

    scalar: tuple[tuple[int, int, int, int, int], ...]
    whole: tuple[tuple[int, int, int, int, int], ...]
    tree: tuple[tuple[int, int, int, int, int], ...]
    per_tensor: bool


class Plan(NamedTuple):
    """A program made ready: phases, register counts, constants, and the operands that hold the outputs."""

    phases: tuple[Phase, ...]
    n_block: int
    n_full: int
    n_scalars: int
    n_leaves: int
    n_sums: int
    constants: tuple[float, ...]
    update: int
    slots: tuple[int, ...]


def plan_program(program: Any, *, in_place: bool = True, max_block: int | None = None) -> Plan:
    """Plan a checked program (`kernels.programs.packing.Lowered`).

    Args:
        program: the program.
        in_place: let instructions write new slots straight into the slot arrays.
        max_block: most block registers; values beyond them are kept in full length.
    """
    virtual = _expand(program)
    return _assign(virtual, program.n_inputs, in_place, max_block)


# --- from operators to micro-operations ------------------------------------------------------------------------------


class _Virtual:
    """Micro-operations on virtual registers, still in the program's order."""

    def __init__(self) -> None:
        self.kinds: list[int] = []
        self.code: list[tuple[int, int, tuple[int, ...]]] = []
        self.constants: dict[int, float] = {}
        self.outputs: list[int] = []
        self.lengths = -1

    def register(self, kind: int) -> int:
        self.kinds.append(kind)
        return len(self.kinds) - 1

    def constant(self, value: float) -> int:
        register = self.register(SCALAR)
        self.constants[register] = float(value)
        return register

    def emit(self, name: str, *operands: int) -> int:
        return self.emit_code(OPCODES[name], min(self.kinds[operand] for operand in operands), *operands)

    def emit_code(self, opcode: int, kind: int, *operands: int) -> int:
        register = self.register(kind)
        self.code.append((opcode, register, operands))
        return register

    def dot(self, a: int, b: int, domain: int) -> int:
        """Sum of a b over everything that a register of kind `domain` has."""
        kind = min(self.kinds[a], self.kinds[b])
        if kind == TREE:
            return self.emit_code(SUM_LEAVES, SCALAR, self.emit_code(SUM_PRODUCT, LEAF, a, b))
        product = self.emit("mul", a, b)
        if domain == TREE:
            product = self.emit("mul", product, self.lengths)
        return product if domain == SCALAR else self.emit_code(SUM_LEAVES, SCALAR, product)

    def global_norm(self, x: int, domain: int) -> int:
        if domain == SCALAR:
            return self.emit("abs", x)
        return self.emit("sqrt", self.dot(x, x, domain))


def _expand(program: Any) -> _Virtual:
    out = _Virtual()
    place: dict[int, int] = {}
    for register in range(program.n_inputs):
        place[register] = out.register(SCALAR if register == program.n_inputs - 1 else TREE)
    out.lengths = out.register(LEAF)
    for offset, value in enumerate(program.constants):
        place[program.n_inputs + offset] = out.constant(value)
    names = {number: name for name, number in OPCODES.items()}
    for opcode, destination, *operands in program.code:
        given = [place[operand] for operand in operands if operand >= 0]
        place[destination] = _expand_one(out, opcode, names[opcode], given)
    out.outputs = [place[register] for register in program.outputs]
    return out


def _expand_one(out: _Virtual, opcode: int, name: str, given: list[int]) -> int:
    kinds = [out.kinds[register] for register in given]
    if opcode in CONSTANT_VALUES:
        return out.constant(CONSTANT_VALUES[opcode])
    if name == "norm":
        if kinds[0] != TREE:
            return out.emit("abs", given[0])
        return out.emit("sqrt", out.emit_code(SUM_PRODUCT, LEAF, given[0], given[0]))
    if name == "global_norm":
        return out.global_norm(given[0], kinds[0])
    if name == "orthogonalize" and kinds[0] != TREE:
        return out.emit("div", given[0], out.emit("abs", given[0]))
    if name == "dot":
        return out.dot(*given, min(kinds))
    if name == "cosine_sim":
        norms = [out.global_norm(register, min(kinds)) for register in given]
        return out.emit("div", out.dot(*given, min(kinds)), out.emit("mul", *norms))
    if name == "clip_by_global_norm":
        share = out.emit("div", given[1], out.global_norm(given[0], kinds[0]))
        return out.emit("mul", given[0], out.emit("min", out.constant(1.0), share))
    if name == "interp":
        x, y, a = given
        if kinds[0] == kinds[1] == TREE and kinds[2] != TREE:
            return out.emit_code(opcode, TREE, x, y, a)
        rest = out.emit("sub", out.constant(1.0), a)
        return out.emit("add", out.emit("mul", rest, x), out.emit("mul", a, y))
    return out.emit(name, *given)


# --- phases and registers --------------------------------------------------------------------------------------------


def _assign(virtual: _Virtual, n_inputs: int, in_place: bool, max_block: int | None) -> Plan:
    kinds = virtual.kinds
    code = _live(virtual)
    phase_of, last = _phases(code, kinds, virtual.outputs)
    passes: list[list[tuple[int, int, tuple[int, ...]]]] = [[] for _ in range(last + 1)]
    before: list[list[tuple[int, int, tuple[int, ...]]]] = [[] for _ in range(last + 1)]
    whole: list[list[tuple[int, int, tuple[int, ...]]]] = [[] for _ in range(last + 1)]
    for item in code:
        opcode, register, _ = item
        in_pass = kinds[register] == TREE or opcode == SUM_PRODUCT
        (whole if opcode == WHOLE else passes if in_pass else before)[phase_of[register]].append(item)

    outputs = list(virtual.outputs)
    slot_inputs = range(2, n_inputs - 1)
    for number, register in enumerate(outputs):
        # The final writes run slot by slot, so an output that is another slot's old value is copied out first.
        if register in slot_inputs and register != number + 1:
            copy = virtual.register(TREE)
            passes[last].append((COPY, copy, (register,)))
            outputs[number] = copy
            phase_of[copy] = last

    where: dict[int, int] = {register: IN << 16 | register for register in range(n_inputs - 1)}
    where[n_inputs - 1] = SCHEDULE
    where[virtual.lengths] = LENGTHS
    used = {operand for _, _, operands in code for operand in operands} | set(outputs)
    constants = []
    for register, value in virtual.constants.items():
        if register in used:
            constants.append(value)
            where[register] = SCALARS << 16 | len(constants)
    n_scalars, n_leaves = 1 + len(constants), 1
    for _, register, _ in code:
        if kinds[register] == SCALAR:
            where[register] = SCALARS << 16 | n_scalars
            n_scalars += 1
        elif kinds[register] == LEAF:
            where[register] = LEAVES << 16 | n_leaves
            n_leaves += 1

    if in_place:
        _place_slots(passes[last], outputs, kinds, n_inputs, where)
    n_block, n_full = _allocate(passes, whole, outputs, kinds, where, max_block)

    phases = []
    n_sums = 0
    for number, (scalar, tensors, tree) in enumerate(zip(before, whole, passes, strict=True)):
        sums = 0
        rows = []
        per_tensor = number == last and any(kinds[register] == LEAF for register in outputs)
        for opcode, register, operands in tree:
            located = [where[operand] for operand in operands]
            per_tensor = per_tensor or opcode == SUM_PRODUCT or any(space(operand) == LEAVES for operand in located)
            if opcode == SUM_PRODUCT:
                located.append(sums)
                sums += 1
            rows.append(_row(opcode, where[register], located))
        n_sums = max(n_sums, sums)
        first, second = (
            tuple(_row(opcode, where[register], [where[o] for o in operands]) for opcode, register, operands in items)
            for items in (scalar, tensors)
        )
        phases.append(Phase(first, second, tuple(rows), per_tensor))
    located = [where[register] for register in outputs]
    return Plan(
        tuple(phases), n_block, n_full, n_scalars, n_leaves, n_sums, tuple(constants), located[0], tuple(located[1:])
    )


def _row(opcode: int, destination: int, operands: Sequence[int]) -> tuple[int, int, int, int, int]:
    a, b, c = (*operands, NONE, NONE, NONE)[:3]
    return opcode, destination, a, b, c


def _live(virtual: _Virtual) -> list[tuple[int, int, tuple[int, ...]]]:
    needed = set(virtual.outputs)
    kept = []
    for item in reversed(virtual.code):
        if item[1] in needed:
            needed.update(item[2])
            kept.append(item)
    return kept[::-1]


def _phases(
    code: list[tuple[int, int, tuple[int, ...]]], kinds: list[int], outputs: Sequence[int]
) -> tuple[dict[int, int], int]:
    """Phase of every instruction, by its register, and the last phase."""
    ready: dict[int, int] = {}
    phase_of: dict[int, int] = {}
    in_pass: set[int] = set()  # trees that are whole only when the pass of their phase is over
    for opcode, register, operands in code:
        phase_of[register] = max(
            (ready.get(operand, 0) + (opcode == WHOLE and operand in in_pass) for operand in operands), default=0
        )
        ready[register] = phase_of[register] + (opcode == SUM_PRODUCT)
        if kinds[register] == TREE and opcode != WHOLE:
            in_pass.add(register)
    last = max(ready.values(), default=0)
    latest: dict[int, int] = dict.fromkeys(outputs, last)
    for opcode, register, operands in reversed(code):
        if kinds[register] == TREE:
            phase_of[register] = latest[register]
        if kinds[register] == TREE or opcode == SUM_PRODUCT:
            for operand in operands:
                limit = phase_of[register] - (opcode == WHOLE and operand in in_pass)
                latest[operand] = min(latest.get(operand, last), limit)
    return phase_of, last


def _place_slots(
    tree: list[tuple[int, int, tuple[int, ...]]],
    outputs: Sequence[int],
    kinds: list[int],
    n_inputs: int,
    where: dict[int, int],
) -> None:
    """Let the last pass write a new slot over the old one, if nothing reads the old one after that instruction."""
    line_of = {register: line for line, (_, register, _) in enumerate(tree)}
    for number, register in enumerate(outputs[1:]):
        slot = 2 + number
        if register not in line_of or register in where or kinds[register] != TREE:
            continue
        later = tree[line_of[register] + 1 :]
        if slot not in outputs and not any(slot in operands for _, _, operands in later):
            where[register] = IN << 16 | slot


def _allocate(
    passes: list[list[tuple[int, int, tuple[int, ...]]]],
    whole: list[list[tuple[int, int, tuple[int, ...]]]],
    outputs: Sequence[int],
    kinds: list[int],
    where: dict[int, int],
    max_block: int | None,
) -> tuple[int, int]:
    """Give every remaining tree register a block or a full-length register; returns how many there are of each."""
    last = len(passes) - 1
    final_phase: dict[int, int] = dict.fromkeys(outputs, last)
    final_line: dict[int, int] = dict.fromkeys(outputs, len(passes[last]))
    for number, (tensors, tree) in enumerate(zip(whole, passes, strict=True)):
        lines = [(-1, operands) for _, _, operands in tensors]
        for line, operands in (*lines, *((line, operands) for line, (_, _, operands) in enumerate(tree))):
            for operand in operands:
                if number >= final_phase.get(operand, 0) and operand not in outputs:
                    final_phase[operand], final_line[operand] = number, line
    n_block = 0
    full_until: list[int] = []  # last phase in which each full-length register is read

    def full(register: int, number: int) -> None:
        chosen = next((slot for slot, busy in enumerate(full_until) if busy < number), None)
        if chosen is None:
            full_until.append(0)
            chosen = len(full_until) - 1
        full_until[chosen] = final_phase[register]
        where[register] = FULL << 16 | chosen

    for number, tree in enumerate(passes):
        for _, register, _ in whole[number]:
            full(register, number)
        free: list[int] = []
        taken = 0
        for line, (_, register, operands) in enumerate(tree):
            for operand in set(operands):
                located = where.get(operand, NONE)
                if located >= 0 and space(located) == BLOCK and final_line[operand] == line:
                    free.append(index(located))
            if kinds[register] != TREE or register in where:
                continue
            if final_phase[register] == number and (free or max_block is None or taken < max_block):
                if free:
                    where[register] = BLOCK << 16 | free.pop()
                else:
                    where[register] = BLOCK << 16 | taken
                    taken += 1
                n_block = max(n_block, taken)
                continue
            full(register, number)
    return n_block, len(full_until)
