"""The Triton path: one register machine for all programs, a launch for each phase.

Grid (program, block): an instance runs a phase's tree code over one block of one tensor. Eight registers of a block
are kept in the processor's registers, read and written by selection on the (uniform) register number; values beyond
them, and values that outlive their phase, are kept in device memory. Opcodes are uniform over an instance, so that
dispatch is a branch, not a mask. Sums leave as one float64 a block and are folded, block by block, by the small kernel
that runs the scalar code before the next phase. Nothing depends on which programs share a call.

Division, square roots and elementary functions are computed in float64 and rounded: Triton's own float32 versions are
approximate.

Runs on CUDA tensors, and on CPU arrays under Triton's interpreter (TRITON_INTERPRET=1 before this module is imported).
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl

from kernels.errors import KernelError
from kernels.programs.opcodes import OPCODES
from kernels.programs.packing import PackedPrograms
from kernels.programs.plan import COPY, LEAVES, SCALARS, SUM_LEAVES, SUM_PRODUCT, Plan, index, plan_program, space
from kernels.programs.triton_math import (
    INVERSE_LN10,
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctanh,
    cbrt,
    cosh,
    exp10,
    expm1,
    power,
    sinh,
    tanh,
)

# Four elements a thread: 128 registers and no spills for sm_90; 1024 takes 255 and spills (compiled, not run there).
BLOCK_SIZE = 512
_MAX_SLOTS = 4
_REGISTERS = 8

ADD = tl.constexpr(OPCODES["add"])
SUB = tl.constexpr(OPCODES["sub"])
MUL = tl.constexpr(OPCODES["mul"])
DIV = tl.constexpr(OPCODES["div"])
MAX = tl.constexpr(OPCODES["max"])
MIN = tl.constexpr(OPCODES["min"])
ABS = tl.constexpr(OPCODES["abs"])
COS = tl.constexpr(OPCODES["cos"])
SIN = tl.constexpr(OPCODES["sin"])
TAN = tl.constexpr(OPCODES["tan"])
ARCSIN = tl.constexpr(OPCODES["arcsin"])
ARCCOS = tl.constexpr(OPCODES["arccos"])
ARCTAN = tl.constexpr(OPCODES["arctan"])
SINH = tl.constexpr(OPCODES["sinh"])
COSH = tl.constexpr(OPCODES["cosh"])
TANH = tl.constexpr(OPCODES["tanh"])
ARCSINH = tl.constexpr(OPCODES["arcsinh"])
ARCCOSH = tl.constexpr(OPCODES["arccosh"])
ARCTANH = tl.constexpr(OPCODES["arctanh"])
EXP = tl.constexpr(OPCODES["exp"])
EXP2 = tl.constexpr(OPCODES["exp2"])
EXP10 = tl.constexpr(OPCODES["exp10"])
EXPM1 = tl.constexpr(OPCODES["expm1"])
LOG = tl.constexpr(OPCODES["log"])
LOG10 = tl.constexpr(OPCODES["log10"])
LOG2 = tl.constexpr(OPCODES["log2"])
LOG1P = tl.constexpr(OPCODES["log1p"])
SQUARE = tl.constexpr(OPCODES["square"])
SQRT = tl.constexpr(OPCODES["sqrt"])
CUBE = tl.constexpr(OPCODES["cube"])
CBRT = tl.constexpr(OPCODES["cbrt"])
SIGN = tl.constexpr(OPCODES["sign"])
RECIPROCAL = tl.constexpr(OPCODES["reciprocal"])
INVERT = tl.constexpr(OPCODES["invert"])
NEGATIVE = tl.constexpr(OPCODES["negative"])
INTERP = tl.constexpr(OPCODES["interp"])
POWER = tl.constexpr(OPCODES["power"])
IS_COPY = tl.constexpr(COPY)
IS_SUM_PRODUCT = tl.constexpr(SUM_PRODUCT)
IS_SUM_LEAVES = tl.constexpr(SUM_LEAVES)
SPACE_IN = tl.constexpr(0)
SPACE_BLOCK = tl.constexpr(1)
SPACE_FULL = tl.constexpr(2)
SPACE_NUMBERS = tl.constexpr(SCALARS)  # scalars and leaves alike, once encoded


@triton.jit
def _guarded(x):
    shift = tl.full(x.shape, 1e-8, tl.float64).to(x.dtype)
    return x + tl.where(x < 0.0, -shift, shift)


@triton.jit
def _unary(op, x):
    """One operator of one operand, in x's precision where that is exact or correctly rounded, else in float64."""
    y = x
    if op == ABS:
        y = tl.abs(x)
    elif op == SQUARE:
        y = x * x
    elif op == CUBE:
        y = x * x * x
    elif op == INVERT:
        y = 1.0 - x
    elif op == NEGATIVE:
        y = -x
    elif op == SIGN:
        y = (x > 0.0).to(x.dtype) - (x < 0.0).to(x.dtype)
    elif op == RECIPROCAL:
        y = (1.0 / _guarded(x).to(tl.float64)).to(x.dtype)
    elif op == SQRT:
        y = tl.sqrt(tl.abs(x).to(tl.float64)).to(x.dtype)
    elif op == LOG1P:
        y = tl.log(tl.abs(1.0 + x).to(tl.float64)).to(x.dtype)
    elif op != IS_COPY:
        y = _elementary(op, x.to(tl.float64)).to(x.dtype)
    return y


@triton.jit
def _elementary(op, x):
    y = x
    if op == COS:
        y = tl.cos(x)
    elif op == SIN:
        y = tl.sin(x)
    elif op == TAN:
        y = tl.sin(x) / tl.cos(x)
    elif op == ARCSIN:
        y = arcsin(x)
    elif op == ARCCOS:
        y = arccos(x)
    elif op == ARCTAN:
        y = arctan(x)
    elif op == SINH:
        y = sinh(x)
    elif op == COSH:
        y = cosh(x)
    elif op == TANH:
        y = tanh(x)
    elif op == ARCSINH:
        y = arcsinh(x)
    elif op == ARCCOSH:
        y = arccosh(x)
    elif op == ARCTANH:
        y = arctanh(x)
    elif op == EXP:
        y = tl.exp(x)
    elif op == EXP2:
        y = tl.exp2(x)
    elif op == EXP10:
        y = exp10(x)
    elif op == EXPM1:
        y = expm1(x)
    elif op == LOG:
        y = tl.log(tl.abs(x))
    elif op == LOG10:
        y = tl.log(tl.abs(x)) * INVERSE_LN10
    elif op == LOG2:
        y = tl.log2(tl.abs(x))
    elif op == CBRT:
        y = cbrt(x)
    return y


@triton.jit
def _binary(op, x, y):
    """The divisor of DIV comes guarded."""
    z = x
    if op == ADD:
        z = x + y
    elif op == SUB:
        z = x - y
    elif op == MUL:
        z = x * y
    elif op == DIV:
        z = (x.to(tl.float64) / y.to(tl.float64)).to(x.dtype)
    elif op == MAX:
        z = tl.where(x != x, x, tl.where(x > y, x, y))
    elif op == MIN:
        z = tl.where(x != x, x, tl.where(x < y, x, y))
    elif op == POWER:
        z = power(x.to(tl.float64), y.to(tl.float64)).to(x.dtype)
    return z


@triton.jit
def _scalar_kernel(
    header, phases, code, constants, schedule, active, values, partial, segments, block_tensor,
    phase, n_tensors, n_blocks, n_values, n_sums,
    WIDTH: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Fold the sums of the phase before, then run the scalar code of this one; an instance a program.

    values: (n_programs, n_values, n_tensors) float64; a scalar fills its row. Lane t stands for tensor t.
    """
    program = tl.program_id(0).to(tl.int64)
    head = header + program * WIDTH
    if (tl.load(active + program) != 0) & (phase < tl.load(head)):
        lane = tl.arange(0, LANES)
        there = lane < n_tensors
        mine = values + program * n_values * n_tensors
        line = phases + (tl.load(head + 1) + phase) * 4
        if phase == 0:
            tl.store(mine + lane, tl.zeros([LANES], tl.float64) + tl.load(schedule + program), mask=there)
            first, count = tl.load(head + 4), tl.load(head + 5)
            for k in range(0, count):
                filled = tl.zeros([LANES], tl.float64) + tl.load(constants + first + k)
                tl.store(mine + (1 + k) * n_tensors + lane, filled, mask=there)
            low = tl.load(segments + lane, mask=there, other=0)
            high = tl.load(segments + lane + 1, mask=there, other=0)
            tl.store(mine + tl.load(head + 3) * n_tensors + lane, (high - low).to(tl.float64), mask=there)
        else:
            for row in range(tl.load(line - 4 + 2), tl.load(line - 4 + 3)):
                if tl.load(code + row * 5) == IS_SUM_PRODUCT:
                    sums = partial + (program * n_sums + tl.load(code + row * 5 + 4)) * n_blocks
                    total = tl.zeros([LANES], tl.float64)
                    for b in range(0, n_blocks):
                        total += tl.where(lane == tl.load(block_tensor + b), tl.load(sums + b), 0.0)
                    tl.store(mine + (tl.load(code + row * 5 + 1) & 0xFFFF) * n_tensors + lane, total, mask=there)
        tl.debug_barrier()
        for row in range(tl.load(line), tl.load(line + 1)):
            op = tl.load(code + row * 5)
            b = tl.load(code + row * 5 + 3)
            x = tl.load(mine + (tl.load(code + row * 5 + 2) & 0xFFFF) * n_tensors + lane, mask=there, other=0.0)
            result = x
            if op == IS_SUM_LEAVES:
                result = tl.zeros([LANES], tl.float64) + tl.sum(tl.where(there, x, 0.0), axis=0)
            elif b < 0:
                result = _unary(op, x)
            else:
                y = tl.load(mine + (b & 0xFFFF) * n_tensors + lane, mask=there, other=0.0)
                result = _binary(op, x, tl.where(op == DIV, _guarded(y), y))
            tl.store(mine + (tl.load(code + row * 5 + 1) & 0xFFFF) * n_tensors + lane, result, mask=there)
            tl.debug_barrier()


@triton.jit
def _input(number, at, mask, w, g, s0, s1, s2, s3):
    x = tl.zeros(at.shape, w.dtype.element_ty)
    if number == 0:
        x = tl.load(w + at, mask=mask, other=0.0)
    elif number == 1:
        x = tl.load(g + at, mask=mask, other=0.0)
    elif number == 2:
        x = tl.load(s0 + at, mask=mask, other=0.0)
    elif number == 3:
        x = tl.load(s1 + at, mask=mask, other=0.0)
    elif number == 4:
        x = tl.load(s2 + at, mask=mask, other=0.0)
    elif number == 5:
        x = tl.load(s3 + at, mask=mask, other=0.0)
    return x


@triton.jit
def _tree(operand, at, mask, w, g, s0, s1, s2, s3, full, stride, r0, r1, r2, r3, r4, r5, r6, r7):
    """The vector that an operand names; zeros where it is a number."""
    where = operand >> 16
    number = operand & 0xFFFF
    x = tl.zeros(at.shape, w.dtype.element_ty)
    if where == SPACE_BLOCK:
        low = tl.where(number == 0, r0, tl.where(number == 1, r1, tl.where(number == 2, r2, r3)))
        high = tl.where(number == 4, r4, tl.where(number == 5, r5, tl.where(number == 6, r6, r7)))
        x = tl.where(number < 4, low, high)
    elif where == SPACE_IN:
        x = _input(number, at, mask, w, g, s0, s1, s2, s3)
    elif where == SPACE_FULL:
        x = tl.load(full + number * stride + at, mask=mask, other=0.0)
    return x


@triton.jit
def _number(operand, values, n_tensors, tensor):
    """The float64 that an operand names; 0 where it is a tree."""
    found = tl.full([], 0.0, tl.float64)
    if (operand >> 16) >= SPACE_NUMBERS:
        found = tl.load(values + (operand & 0xFFFF) * n_tensors + tensor)
    return found


@triton.jit
def _tree_kernel(
    header, phases, code, values, partial, active, bad, block_start, block_end, block_tensor,
    w, g, s0, s1, s2, s3, full,
    phase, n_programs, n_parameters, n_tensors, n_blocks, n_values, n_sums,
    WIDTH: tl.constexpr, N_SLOTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One phase of one program over one block; in the program's last phase also the new slots and weights."""
    program = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1)
    head = header + program * WIDTH
    count = tl.load(head)
    if (tl.load(active + program) != 0) & (phase < count):
        start, tensor = tl.load(block_start + block), tl.load(block_tensor + block)
        at = program * n_parameters + start + tl.arange(0, BLOCK)
        mask = start + tl.arange(0, BLOCK) < tl.load(block_end + block)
        mine = values + program * n_values * n_tensors
        stride = n_programs.to(tl.int64) * n_parameters
        line = phases + (tl.load(head + 1) + phase) * 4
        nothing = tl.zeros([BLOCK], w.dtype.element_ty)
        r0, r1, r2, r3, r4, r5, r6, r7 = nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing
        for row in range(tl.load(line + 2), tl.load(line + 3)):
            op, d = tl.load(code + row * 5), tl.load(code + row * 5 + 1)
            a, b, c = tl.load(code + row * 5 + 2), tl.load(code + row * 5 + 3), tl.load(code + row * 5 + 4)
            s, t = _number(a, mine, n_tensors, tensor), _number(b, mine, n_tensors, tensor)
            x = _tree(a, at, mask, w, g, s0, s1, s2, s3, full, stride, r0, r1, r2, r3, r4, r5, r6, r7)
            y = _tree(b, at, mask, w, g, s0, s1, s2, s3, full, stride, r0, r1, r2, r3, r4, r5, r6, r7)
            if op == IS_SUM_PRODUCT:
                left = tl.where((a >> 16) >= SPACE_NUMBERS, s, x.to(tl.float64))
                right = tl.where((b >> 16) >= SPACE_NUMBERS, t, y.to(tl.float64))
                total = tl.sum(tl.where(mask, left * right, 0.0), axis=0)
                tl.store(partial + (program * n_sums + c) * n_blocks + block, total)
            else:
                z = x
                x = tl.where((a >> 16) >= SPACE_NUMBERS, nothing + s.to(x.dtype), x)
                if op == INTERP:
                    share = _number(c, mine, n_tensors, tensor)
                    z = (1.0 - share).to(x.dtype) * x + share.to(x.dtype) * y
                elif b < 0:
                    z = _unary(op, x)
                else:
                    if op == DIV:
                        t = t + tl.where(t < 0.0, -1e-8, 1e-8)
                        y = _guarded(y)
                    z = _binary(op, x, tl.where((b >> 16) >= SPACE_NUMBERS, nothing + t.to(x.dtype), y))
                if (d >> 16) == SPACE_FULL:
                    tl.store(full + (d & 0xFFFF) * stride + at, z, mask=mask)
                    tl.debug_barrier()
                else:
                    number = d & 0xFFFF
                    r0 = tl.where(number == 0, z, r0)
                    r1 = tl.where(number == 1, z, r1)
                    r2 = tl.where(number == 2, z, r2)
                    r3 = tl.where(number == 3, z, r3)
                    r4 = tl.where(number == 4, z, r4)
                    r5 = tl.where(number == 5, z, r5)
                    r6 = tl.where(number == 6, z, r6)
                    r7 = tl.where(number == 7, z, r7)
        if phase == count - 1:
            wrong = tl.zeros([BLOCK], tl.int32)
            update = nothing
            # The update is read before any slot is written, the slots before the first of them is.
            operand = tl.load(head + 6)
            update = _tree(operand, at, mask, w, g, s0, s1, s2, s3, full, stride, r0, r1, r2, r3, r4, r5, r6, r7)
            if (operand >> 16) >= SPACE_NUMBERS:
                update = nothing + _number(operand, mine, n_tensors, tensor).to(nothing.dtype)
            for k in tl.static_range(N_SLOTS):
                operand = tl.load(head + 7 + k)
                z = _tree(operand, at, mask, w, g, s0, s1, s2, s3, full, stride, r0, r1, r2, r3, r4, r5, r6, r7)
                if (operand >> 16) >= SPACE_NUMBERS:
                    z = nothing + _number(operand, mine, n_tensors, tensor).to(nothing.dtype)
                wrong |= ((z - z) != 0.0).to(tl.int32)
                if k == 0:
                    tl.store(s0 + at, z, mask=mask)
                elif k == 1:
                    tl.store(s1 + at, z, mask=mask)
                elif k == 2:
                    tl.store(s2 + at, z, mask=mask)
                else:
                    tl.store(s3 + at, z, mask=mask)
            z = tl.load(w + at, mask=mask, other=0.0) - update
            wrong |= ((z - z) != 0.0).to(tl.int32)
            tl.store(w + at, z, mask=mask)
            tl.store(bad + program * n_blocks + block, tl.max(tl.where(mask, wrong, 0), axis=0))


# --- host ------------------------------------------------------------------------------------------------------------


class _Encoded(NamedTuple):
    """Programs for the two kernels: header (n, 7 + n_slots), phases (n, 4), code (n, 5) int32, constants float64."""

    header: torch.Tensor
    phases: torch.Tensor
    code: torch.Tensor
    constants: torch.Tensor
    n_phases: int
    n_full: int
    n_values: int
    n_sums: int


_encoded: weakref.WeakKeyDictionary[PackedPrograms, dict[str, _Encoded]] = weakref.WeakKeyDictionary()


def _encode(packed: PackedPrograms, device: torch.device) -> _Encoded:
    """Scalars and leaves become one space of numbers: the leaves follow the scalars."""
    cached = _encoded.setdefault(packed, {})
    if str(device) in cached:
        return cached[str(device)]
    header: list[list[int]] = []
    phases: list[tuple[int, ...]] = []
    code: list[tuple[int, ...]] = []
    constants: list[float] = []
    distinct = {id(program): program for program in packed.programs}
    planned = {key: plan_program(program, in_place=False, max_block=_REGISTERS) for key, program in distinct.items()}
    plans: list[Plan] = [planned[id(program)] for program in packed.programs]
    for plan in plans:

        def place(operand: int, scalars: int = plan.n_scalars) -> int:
            return SCALARS << 16 | (scalars + index(operand)) if operand >= 0 and space(operand) == LEAVES else operand

        outputs = [place(operand) for operand in (plan.update, *plan.slots)]
        sizes = [len(plan.phases), len(phases), plan.n_full, plan.n_scalars, len(constants), len(plan.constants)]
        header.append([*sizes, *outputs])
        constants.extend(plan.constants)
        for phase in plan.phases:
            bounds = [len(code)]
            for lines in (phase.scalar, phase.tree):
                for opcode, destination, a, b, c in lines:
                    number = c if opcode == SUM_PRODUCT else place(c)
                    code.append((opcode, place(destination), place(a), place(b), number))
                bounds.append(len(code))
            phases.append((bounds[0], bounds[1], bounds[1], bounds[2]))

    def array(rows: Any, width: int) -> torch.Tensor:
        return torch.from_numpy(np.array(rows, np.int32).reshape(-1, width)).to(device)

    cached[str(device)] = _Encoded(
        array(header, 7 + packed.n_slots),
        array(phases, 4),
        array(code or [(COPY, -1, -1, -1, -1)], 5),
        torch.tensor(constants or [0.0], dtype=torch.float64, device=device),
        max(len(plan.phases) for plan in plans),
        max(plan.n_full for plan in plans),
        max(plan.n_scalars + plan.n_leaves for plan in plans),
        max(plan.n_sums for plan in plans),
    )
    return cached[str(device)]


def _blocks(segments: np.ndarray, device: torch.device) -> list[torch.Tensor]:
    """Start, end and tensor of every block, int32; a block never crosses a tensor's border."""
    rows = [
        (start, min(start + BLOCK_SIZE, int(high)), tensor)
        for tensor, (low, high) in enumerate(pairwise(segments))
        for start in range(int(low), int(high), BLOCK_SIZE)
    ]
    return list(torch.tensor(rows, dtype=torch.int32, device=device).T.contiguous())


def step(
    packed: PackedPrograms,
    weights: Any,
    gradients: Any,
    slots: Sequence[Any],
    schedule: np.ndarray,
    segments: np.ndarray,
    active: np.ndarray,
) -> Any:
    """`kernels.programs.optimizer_step` for checked CUDA tensors, or CPU arrays under the interpreter."""
    if len(slots) > _MAX_SLOTS:
        raise KernelError(f"the Triton path takes at most {_MAX_SLOTS} slots, not {len(slots)}", "use 'torch'")
    on_host = isinstance(weights, np.ndarray)
    tensors = [torch.from_numpy(array) if on_host else array for array in (weights, gradients, *slots)]
    device = tensors[0].device
    n_programs, n_parameters = tensors[0].shape
    encoded = _encode(packed, device)
    n_tensors = len(segments) - 1
    offsets = torch.from_numpy(segments).to(device)
    start, end, tensor = _blocks(segments, device)
    n_blocks = len(start)

    def empty(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        return torch.empty([max(1, size) for size in shape], dtype=dtype, device=device)

    values = empty(n_programs, encoded.n_values, n_tensors)
    partial = empty(n_programs, encoded.n_sums, n_blocks)
    full = empty(encoded.n_full, n_programs, n_parameters, dtype=tensors[0].dtype)
    bad = torch.ones((n_programs, n_blocks), dtype=torch.int32, device=device)
    on = torch.from_numpy(active.astype(np.int32)).to(device)
    rate = torch.from_numpy(schedule).to(device)
    inputs = (tensors + [tensors[0]] * _MAX_SLOTS)[: 2 + _MAX_SLOTS]
    programs = (encoded.header, encoded.phases, encoded.code)
    width = encoded.header.shape[1]
    for phase in range(encoded.n_phases):
        _scalar_kernel[(n_programs,)](
            *programs, encoded.constants, rate, on, values, partial, offsets, tensor,
            phase, n_tensors, n_blocks, encoded.n_values, max(1, encoded.n_sums),
            WIDTH=width, LANES=max(2, triton.next_power_of_2(n_tensors)),
        )  # fmt: skip
        _tree_kernel[(n_programs, n_blocks)](
            *programs, values, partial, on, bad, start, end, tensor, *inputs, full,
            phase, n_programs, n_parameters, n_tensors, n_blocks, encoded.n_values, max(1, encoded.n_sums),
            WIDTH=width, N_SLOTS=len(slots), BLOCK=BLOCK_SIZE,
        )  # fmt: skip
    finite = (bad == 0).all(dim=1)
    return finite.numpy() if on_host else finite


def compile_ahead(capability: int) -> dict[str, dict[str, int]]:
    """Compile both kernels for an NVIDIA device that is not there (e.g. 90 for an H100); sizes of PTX and binary.

    Raises whatever Triton's compiler raises. Does not work under the interpreter.
    """
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    pointers = {"values": "*fp64", "partial": "*fp64", "constants": "*fp64", "schedule": "*fp64", "segments": "*i64"}
    pointers |= dict.fromkeys(("header", "phases", "code", "active", "bad"), "*i32")
    pointers |= dict.fromkeys(("block_start", "block_end", "block_tensor"), "*i32")
    pointers |= dict.fromkeys(("w", "g", "s0", "s1", "s2", "s3", "full"), "*fp32")
    whole = ("phase", "n_programs", "n_parameters", "n_tensors", "n_blocks", "n_values", "n_sums")
    chosen = {"WIDTH": 9, "LANES": 8, "N_SLOTS": 2, "BLOCK": BLOCK_SIZE}
    sizes = {}
    for kernel in (_scalar_kernel, _tree_kernel):
        signature = {name: pointers.get(name, "i32" if name in whole else "constexpr") for name in kernel.arg_names}
        constants = {(place,): chosen[name] for place, name in enumerate(kernel.arg_names) if name in chosen}
        built = triton.compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", capability, 32))
        sizes[kernel.__name__] = {"ptx": len(built.asm["ptx"]), "binary": len(built.asm["cubin"])}
    return sizes
