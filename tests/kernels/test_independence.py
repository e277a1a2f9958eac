"""A program's result is the same to the bit whichever programs share the call, wherever its row lies in memory."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.programs import pack
from tests.kernels import cases
from tests.kernels.running import run


def population(count, dtype, seed=11):
    rng = np.random.default_rng(seed)
    programs = [cases.random_program(rng, int(rng.integers(1, 16))) for _ in range(count - 2)]
    programs += [cases.assemble(cases.ADAMW), cases.assemble(cases.KNOWN["chain of reductions"])]
    return programs, cases.random_state(rng, count, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_order_and_company_do_not_matter(backend, dtype):
    count = 6 if backend == "triton" else 40
    programs, state = population(count, dtype)
    whole, finite = run(programs, state, 0.4, cases.SEGMENTS, backend)
    packed = pack(programs)
    rng = np.random.default_rng(0)
    orders = [np.arange(count)[::-1], rng.permutation(count)[: count // 2], np.array([count - 1])]
    for rows in orders if backend != "triton" else orders[1:]:
        part, part_finite = run(packed.take(rows), [array[rows] for array in state], 0.4, cases.SEGMENTS, backend)
        for array, expected in zip(part, whole, strict=True):
            np.testing.assert_array_equal(array, expected[rows])
        np.testing.assert_array_equal(part_finite, finite[rows])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_elements_value_does_not_depend_on_its_place(compiled, dtype):
    """Elementwise programs on shifted copies of one vector, every alignment and position within a group of 16."""
    rng = np.random.default_rng(1)
    elementwise = [name for name in cases.NAMES if name not in ("norm", "global_norm", "dot", "cosine_sim")]
    elementwise = [name for name in elementwise if name not in ("clip_by_global_norm", "orthogonalize")]
    for _ in range(25):
        program = cases.random_program(rng, 8, elementwise)
        state = cases.random_state(rng, 1, [0, 100], dtype)
        for special, value in enumerate((np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, 3e38)):
            state[1][0, 10 * special] = value
        whole, _ = run([program], state, 0.4, [0, 100], "c")
        for cut in (1, 7, 16, 33):
            part, _ = run([program], [np.ascontiguousarray(a[:, cut:]) for a in state], 0.4, [0, 100 - cut], "c")
            for array, expected in zip(part, whole, strict=True):
                np.testing.assert_array_equal(array, expected[:, cut:])


def test_block_borders_do_not_show(compiled):
    """Cutting one tensor's elementwise work anywhere gives the same bits: tensors only matter to sums and norms."""
    rng = np.random.default_rng(2)
    state = cases.random_state(rng, 1, [0, 1400], np.float32)
    program = cases.assemble("a = sin(g); b = power(w, v2); c = tanh(b); u = mul(a, c); return u, a, b")
    whole, _ = run([program], state, 0.4, [0, 1400], "c")
    for segments in ([0, 1, 1400], [0, 512, 513, 1400], [0, 700, 1400]):
        part, _ = run([program], state, 0.4, segments, "c")
        for array, expected in zip(part, whole, strict=True):
            np.testing.assert_array_equal(array, expected)
