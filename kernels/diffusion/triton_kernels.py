"""The Triton kernel of a solver step: one program a row and block of columns, every output of it."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def advance_kernel(
    x, output, history, reads, matrix, following, later, d, limit,
    SLOTS: tl.constexpr, CLIPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """x, output, following (n, d); history, later (n, SLOTS, d); reads (n, 2); matrix (n, 1 + SLOTS, 2 + SLOTS).
    Grid (n, d / BLOCK)."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < d
    own = tl.load(x + row * d + column, mask=inside, other=0.0)
    said = tl.load(output + row * d + column, mask=inside, other=0.0)
    image = tl.load(reads + row * 2) * own + tl.load(reads + row * 2 + 1) * said
    if CLIPS:
        # NaN stays: comparisons with it are false
        image = tl.where(image > limit, limit, image)
        image = tl.where(image < -limit, -limit, image)
    weights = matrix + row * (1 + SLOTS) * (2 + SLOTS)
    for out in tl.static_range(1 + SLOTS):
        at = weights + out * (2 + SLOTS)
        total = tl.load(at) * own + tl.load(at + 1) * image
        for slot in tl.static_range(SLOTS):
            past = tl.load(history + (row * SLOTS + slot) * d + column, mask=inside, other=0.0)
            total += tl.load(at + 2 + slot) * past
        if out == 0:
            tl.store(following + row * d + column, total, mask=inside)
        else:
            tl.store(later + (row * SLOTS + out - 1) * d + column, total, mask=inside)
