"""The Triton kernel of what needs whole tensors: `orthogonalize`, an instance a program and tensor.

Matrices may have any size: they are worked on in tiles, which go to device memory and back between products, so that
all products of one matrix are made by one instance, in an order that its shape alone decides. As in matrix.c a matrix
is held in its tall orientation Y (n, m), n >= m, row-major:

    A = Y'Y, B = b A + c A A, Y <- a Y + Y B.
"""

from __future__ import annotations

import triton
import triton.language as tl

from kernels.programs.opcodes import NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS

A = tl.constexpr(NEWTON_SCHULZ[0])
B = tl.constexpr(NEWTON_SCHULZ[1])
C = tl.constexpr(NEWTON_SCHULZ[2])
STEPS = tl.constexpr(NEWTON_SCHULZ_STEPS)
SPACE_IN = tl.constexpr(0)


@triton.jit
def _block(matrix, i, j, rows, columns, stride_i, stride_j, TILE: tl.constexpr):
    """The tile from (i, j) of a matrix, zeros beyond its edges."""
    row, column = i + tl.arange(0, TILE)[:, None], j + tl.arange(0, TILE)[None, :]
    there = (row < rows) & (column < columns)
    return tl.load(matrix + row.to(tl.int64) * stride_i + column * stride_j, mask=there, other=0.0)


@triton.jit
def _product(
    out, left, left_i, left_k, right, rows, inner, columns, own,
    OWN_SHARE: tl.constexpr, SHARE: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """out = OWN_SHARE own + SHARE left right, for row-major out, right and own; left(i, k) has strides of its own. An
    OWN_SHARE of 0 leaves the first term out."""
    for i in range(0, rows, TILE):
        for j in range(0, columns, TILE):
            total = tl.zeros([TILE, TILE], out.dtype.element_ty)
            for k in range(0, inner, TILE):
                x = _block(left, i, k, rows, inner, left_i, left_k, TILE)
                y = _block(right, k, j, inner, columns, columns, 1, TILE)
                total = tl.dot(x, y, total, input_precision="ieee", out_dtype=out.dtype.element_ty)
            if OWN_SHARE != 0:
                mine = _block(own, i, j, rows, columns, columns, 1, TILE)
                total = tl.full([], OWN_SHARE, total.dtype) * mine + tl.full([], SHARE, total.dtype) * total
            row, column = i + tl.arange(0, TILE)[:, None], j + tl.arange(0, TILE)[None, :]
            there = (row < rows) & (column < columns)
            tl.store(out + row.to(tl.int64) * columns + column, total, mask=there)
    tl.debug_barrier()


@triton.jit
def whole_kernel(
    header, phases, code, active, segments, shapes, scratch, scratch_start,
    w, g, s0, s1, s2, s3, full,
    phase, number, n_programs, n_parameters, scratch_size,
    WIDTH: tl.constexpr, CHUNK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Whole-tensor instruction `number` of a phase, for one program and one tensor.

    scratch: (n_programs, scratch_size), for each matrix, from scratch_start, room for two times Y and for A and B.
    """
    program = tl.program_id(0).to(tl.int64)
    tensor = tl.program_id(1)
    head = header + program * WIDTH
    there = (tl.load(active + program) != 0) & (phase < tl.load(head))
    line = phases + (tl.load(head + 1) + tl.where(there, phase, 0)) * 4
    row = tl.load(line + 1) + number
    if there & (row < tl.load(line + 2)):
        operand = tl.load(code + row * 5 + 2)
        kept = full + ((operand & 0xFFFF) * n_programs.to(tl.int64) + program) * n_parameters
        given = program * n_parameters
        x = kept
        if (operand >> 16) == SPACE_IN:
            if operand == 0:
                x = w + given
            elif operand == 1:
                x = g + given
            elif operand == 2:
                x = s0 + given
            elif operand == 3:
                x = s1 + given
            elif operand == 4:
                x = s2 + given
            else:
                x = s3 + given
        start, end = tl.load(segments + tensor), tl.load(segments + tensor + 1)
        count = (end - start).to(tl.int32)
        x += start
        target = (tl.load(code + row * 5 + 1) & 0xFFFF) * n_programs.to(tl.int64) + program
        out = full + target * n_parameters + start
        squares = tl.zeros([CHUNK], tl.float64)
        for at in range(0, count, CHUNK):
            place = at + tl.arange(0, CHUNK)
            value = tl.load(x + place, mask=place < count, other=0.0).to(tl.float64)
            squares += value * value
        size = tl.sqrt(tl.sum(squares, axis=0))
        rows, columns = tl.load(shapes + 2 * tensor).to(tl.int32), tl.load(shapes + 2 * tensor + 1).to(tl.int32)
        if (rows < 2) | (columns < 2):
            divisor = size / tl.sqrt(count.to(tl.float64)) + 1e-8
            for at in range(0, count, CHUNK):
                place = at + tl.arange(0, CHUNK)
                value = tl.load(x + place, mask=place < count, other=0.0).to(tl.float64) / divisor
                tl.store(out + place, value.to(out.dtype.element_ty), mask=place < count)
        else:
            n, m = tl.maximum(rows, columns), tl.minimum(rows, columns)
            # Of x, along the rows and columns of Y.
            down, across = tl.where(rows > columns, m, 1), tl.where(rows > columns, 1, n)
            y = scratch + program * scratch_size + tl.load(scratch_start + tensor)
            gram = y + 2 * count
            polynomial = gram + m * m
            for at in range(0, count, CHUNK):
                place = at + tl.arange(0, CHUNK)
                source = (place // m) * down + (place % m) * across
                value = tl.load(x + source, mask=place < count, other=0.0).to(tl.float64) / (size + 1e-8)
                tl.store(y + place, value.to(out.dtype.element_ty), mask=place < count)
            tl.debug_barrier()
            for step in range(STEPS):
                old, new = y + (step % 2) * count, y + (1 - step % 2) * count
                _product(gram, old, 1, m, old, m, n, m, gram, 0.0, 1.0, TILE)
                _product(polynomial, gram, m, 1, gram, m, m, m, gram, B, C, TILE)
                _product(new, old, m, 1, polynomial, n, m, m, old, A, 1.0, TILE)
            scale = tl.sqrt(n.to(tl.float64)).to(out.dtype.element_ty)
            last = y + (STEPS % 2) * count
            for at in range(0, count, CHUNK):
                place = at + tl.arange(0, CHUNK)
                value = tl.load(last + place, mask=place < count, other=0.0)
                target_place = (place // m) * down + (place % m) * across
                tl.store(out + target_place, value * scale, mask=place < count)
