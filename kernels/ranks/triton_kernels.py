"""The Triton kernels of the ranks: counts, products and signs over tiles of pairs of columns, in whole numbers.

No sort: m^2 comparisons in registers cost a GPU less than the passes of one, up to some thousands of columns. How they
fit together is told in triton_path.py. The interpreter is chosen when this module is imported.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def rank_kernel(values, ranks, n_columns, BLOCK: tl.constexpr, TILE: tl.constexpr):
    """ranks (n, m) int32: values below, plus values not above, less m. Grid (n, m / BLOCK)."""
    row = tl.program_id(0).to(tl.int64) * n_columns
    own = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mine = tl.load(values + row + own, mask=own < n_columns, other=0.0)
    count = tl.zeros([BLOCK], tl.int32)
    for start in range(0, n_columns, TILE):
        other = start + tl.arange(0, TILE)
        inside = other < n_columns
        theirs = tl.load(values + row + other, mask=inside, other=0.0)
        below = (theirs[None, :] < mine[:, None]) & inside[None, :]
        not_above = (theirs[None, :] <= mine[:, None]) & inside[None, :]
        count += tl.sum(below.to(tl.int32) + not_above.to(tl.int32), axis=1)
    tl.store(ranks + row + own, count - n_columns, mask=own < n_columns)


@triton.jit
def product_kernel(left, right, sums, n_columns, row_stride, target_stride, BLOCK: tl.constexpr):
    """sums (n, t) int64 of left (n, m) times right, int32; right's strides say which of its rows. Grid (n, t)."""
    row = tl.program_id(0).to(tl.int64)
    target = tl.program_id(1).to(tl.int64)
    total = tl.zeros([BLOCK], tl.int64)
    for start in range(0, n_columns, BLOCK):
        column = start + tl.arange(0, BLOCK)
        inside = column < n_columns
        a = tl.load(left + row * n_columns + column, mask=inside, other=0)
        b = tl.load(right + row * row_stride + target * target_stride + column, mask=inside, other=0)
        total += a.to(tl.int64) * b.to(tl.int64)
    tl.store(sums + row * tl.num_programs(1) + target, tl.sum(total))


@triton.jit
def sign_kernel(left, right, sums, n_columns, row_stride, target_stride, BLOCK: tl.constexpr, TILE: tl.constexpr):
    """As product_kernel, of the signs of differences: over pairs of columns, the later one less the earlier one."""
    row = tl.program_id(0).to(tl.int64)
    target = tl.program_id(1).to(tl.int64)
    from_left = left + row * n_columns
    from_right = right + row * row_stride + target * target_stride
    total = tl.zeros([BLOCK], tl.int64)
    for block in range(0, n_columns, BLOCK):
        later = block + tl.arange(0, BLOCK)
        a = tl.load(from_left + later, mask=later < n_columns, other=0)[:, None]
        b = tl.load(from_right + later, mask=later < n_columns, other=0)[:, None]
        for tile in range(0, block + BLOCK, TILE):
            earlier = tile + tl.arange(0, TILE)
            inside = earlier < n_columns
            c = tl.load(from_left + earlier, mask=inside, other=0)[None, :]
            d = tl.load(from_right + earlier, mask=inside, other=0)[None, :]
            pair = (earlier[None, :] < later[:, None]) & (later[:, None] < n_columns)
            one = (a > c).to(tl.int32) - (a < c).to(tl.int32)
            two = (b > d).to(tl.int32) - (b < d).to(tl.int32)
            total += tl.sum(tl.where(pair, one * two, 0), axis=1).to(tl.int64)
    tl.store(sums + row * tl.num_programs(1) + target, tl.sum(total))
