"""Pairs of micro-operations run as one: fewer of them, and not a bit of a result changes."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import backends
from kernels.programs import pack, packing
from kernels.programs.fusing import DIV_SQRT, INTERP_SQUARE, MUL_ADD, Fused, fuse
from kernels.programs.opcodes import OPCODES
from kernels.programs.plan import NONE, plan_program
from tests.kernels import cases
from tests.kernels.running import run

COMPILED = pytest.mark.skipif(not backends()["c"]["available"], reason="no C compiler")


TRICKY = {
    "the update scales a slot that is replaced": "u = mul(v1, lr); m = sin(g); return u, m, v2",
    "the update scales a slot written in place": "m = interp(g, v1, 0.9); u = mul(m, lr); return u, m, v2",
    "a product is read twice": "x = mul(g, 0.5); y = add(x, w); z = sub(x, w); return y, z, x",
    "a product is read twice by one": "x = mul(g, 0.5); y = add(x, x); return y, g, v2",
    "the operand changes before the reader": "x = square(v1); m = sin(g); v = interp(x, m, 0.3); return v, m, v",
    "a number of each tensor": "n = norm(g); x = mul(w, n); y = sub(v1, x); u = mul(y, n); return u, y, n",
    "the update is a slot as well": "u = mul(g, lr); return u, u, v2",
    "the update is a slot whose old value is kept": "u = mul(g, lr); return u, u, v1",
    "a product is a slot as well": "x = mul(g, 0.5); y = add(x, w); u = mul(y, v1); return u, x, v2",
    "the update is read after it was computed": "u = mul(g, lr); m = sin(u); return u, m, v2",
    "the sum of a product": "x = mul(g, 0.5); n = norm(x); u = add(x, w); k = mul(u, n); return k, u, v2",
    "a number less a product": "x = mul(g, 0.5); u = sub(0.25, x); y = add(x, lr); return u, y, v2",
    "the root is divided": "s = sqrt(v2); u = div(s, g); k = div(s, 0.5); q = sqrt(g); z = div(lr, q); return u, k, z",
    "squares on the other side": "x = square(g); u = interp(w, x, 0.9); y = interp(x, x, 0.1); return u, y, v2",
}
ARITHMETIC = ("mul", "add", "sub", "square", "sqrt", "div", "interp", "mul", "norm", "sin")


def codes(program):
    """Codes of the tree lines after fusing, and what fuse gave."""
    fused = fuse(plan_program(program))
    return [row[0] for rows in fused.trees for row in rows], fused


def unfused(plan):
    return Fused(tuple(phase.tree for phase in plan.phases), plan.update, NONE)


def test_adamw_takes_four_passes_and_a_scaled_update():
    found, fused = codes(cases.assemble(cases.ADAMW))
    assert sorted(found) == sorted([OPCODES["interp"], INTERP_SQUARE, DIV_SQRT, MUL_ADD])
    assert fused.scale != NONE


@COMPILED
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_not_a_bit_changes(monkeypatch, dtype):
    rng = np.random.default_rng(5)
    programs = [cases.random_program(rng, int(rng.integers(1, 24)), ARITHMETIC) for _ in range(400)]
    programs += [cases.random_program(rng, int(rng.integers(1, 24))) for _ in range(100)]
    programs += [cases.assemble(text) for text in (*cases.KNOWN.values(), *TRICKY.values())]
    found = {code for program in programs for code in codes(program)[0]}
    assert found >= set(range(MUL_ADD, DIV_SQRT + 1)), "each pair occurs"
    state = cases.random_state(rng, len(programs), dtype=dtype)
    fused, finite = run(programs, state, 0.4, cases.SEGMENTS, "c")
    assert any(codes(program)[1].scale != NONE for program in programs)
    monkeypatch.setattr(packing, "fuse", unfused)
    assert len(pack(programs[:1]).code) == sum(map(len, plan_rows(programs[0])))
    plain, plain_finite = run(programs, state, 0.4, cases.SEGMENTS, "c")
    for array, expected in zip(fused, plain, strict=True):
        np.testing.assert_array_equal(array, expected)
    np.testing.assert_array_equal(finite, plain_finite)


def plan_rows(program):
    return [rows for phase in plan_program(program).phases for rows in (phase.scalar, phase.whole, phase.tree)]


@pytest.mark.parametrize("name", TRICKY)
def test_what_must_not_wait_does_not(name, compiled):
    """The compiled path beside numpy's, which fuses nothing."""
    programs = [cases.assemble(TRICKY[name])]
    state = cases.random_state(np.random.default_rng(2), 1)
    found, _ = run(programs, state, 0.4, cases.SEGMENTS, "c")
    expected, _ = run(programs, state, 0.4, cases.SEGMENTS, "numpy")
    for array, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, wanted, rtol=1e-13, atol=1e-13)
