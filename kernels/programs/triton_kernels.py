"""The Triton kernels of the optimizer programs: the scalar code before a phase, and a phase over the blocks.

How they fit together is told in triton_path.py. The interpreter is chosen when this module is imported.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.programs.opcodes import OPCODES
from kernels.programs.plan import COPY, SCALARS, SUM_LEAVES, SUM_PRODUCT
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
def scalar_kernel(
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
def tree_kernel(
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
