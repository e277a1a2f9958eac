"""What programs do at the edges: NaN, infinity, zero, denormals, guards. The table is written down, not computed."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.kernels import cases
from tests.kernels.running import run

NAN, INF = math.nan, math.inf

# operator, operands, result
TABLE = [
    ("sign", (NAN,), 0),
    ("sign", (0.0,), 0),
    ("sign", (-INF,), -1),
    ("max", (NAN, 1), NAN),
    ("max", (1, NAN), NAN),
    ("min", (NAN, 1), NAN),
    ("min", (1, NAN), NAN),
    ("max", (-INF, 1), 1),
    ("min", (INF, 1), 1),
    ("div", (1, 0.0), 1e8),
    ("div", (1, -0.0), 1e8),
    ("div", (1, -1e-8), -5e7),
    ("div", (1, 1e-8), 5e7),
    ("div", (0.0, 0.0), 0),
    ("div", (1, INF), 0),
    ("div", (INF, INF), NAN),
    ("reciprocal", (0.0,), 1e8),
    ("reciprocal", (-1e-8,), -5e7),
    ("log", (0.0,), -INF),
    ("log", (-INF,), INF),
    ("log", (-1.0,), 0),
    ("log2", (-8.0,), 3),
    ("log10", (-1000.0,), 3),
    ("log1p", (-1.0,), -INF),
    ("log1p", (-2.0,), 0),
    ("sqrt", (-4.0,), 2),
    ("sqrt", (-INF,), INF),
    ("exp", (INF,), INF),
    ("exp", (-INF,), 0),
    ("exp2", (-INF,), 0),
    ("exp10", (INF,), INF),
    ("exp10", (3.0,), 1000),
    ("expm1", (-INF,), -1),
    ("arcsin", (2.0,), NAN),
    ("arccos", (-2.0,), NAN),
    ("arccos", (-1.0,), math.pi),
    ("arctan", (-INF,), -math.pi / 2),
    ("arccosh", (0.5,), NAN),
    ("arccosh", (INF,), INF),
    ("arctanh", (1.0,), INF),
    ("arctanh", (-2.0,), NAN),
    ("arcsinh", (-INF,), -INF),
    ("tanh", (-INF,), -1),
    ("sinh", (-INF,), -INF),
    ("cosh", (-INF,), INF),
    ("sin", (INF,), NAN),
    ("cos", (INF,), NAN),
    ("tan", (INF,), NAN),
    ("cbrt", (-27.0,), -3),
    ("cbrt", (-INF,), -INF),
    ("cbrt", (0.0,), 0),
    ("cube", (-2.0,), -8),
    ("square", (-INF,), INF),
    ("invert", (0.25,), 0.75),
    ("negative", (INF,), -INF),
    ("power", (-2.0, 3.0), -8),
    ("power", (-2.0, 0.5), NAN),
    ("power", (NAN, 0.0), 1),
    ("power", (1.0, NAN), 1),
    ("power", (0.0, -1.0), INF),
    ("power", (0.5, INF), 0),
    ("power", (-1.0, INF), 1),
    ("power", (-INF, 3.0), -INF),
    ("power", (4.0, 0.5), 2),
    ("add", (INF, -INF), NAN),
    ("mul", (0.0, INF), NAN),
]
TABLE += [(name, (NAN,), NAN) for name in cases.NAMES[6:36] if name not in ("sign", "norm")]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kinds", ["trees", "numbers"])
def test_the_table_of_edges(backend, dtype, kinds):
    """Vectors go by libmvec, numbers by libm, and both must say the same."""
    interpreted = backend == "triton" and not torch.cuda.is_available()
    if interpreted and (dtype == np.float32) == (kinds == "numbers"):
        pytest.skip("interpreted: numbers are float64 in any case, and trees widen to it")
    programs = []
    state = [np.zeros((len(TABLE), 20), dtype) for _ in range(4)]
    schedule = np.zeros(len(TABLE))
    for row, (name, operands, _) in enumerate(TABLE):
        if kinds == "trees":
            state[1][row], state[2][row] = operands[0], operands[-1]
            call = f"{name}(g, v1)" if len(operands) == 2 else f"{name}(g)"
            programs.append(cases.assemble(f"x = {call}; return v1, v1, x"))
        else:
            schedule[row] = operands[0]
            call = f"{name}(lr, {operands[1]})" if len(operands) == 2 else f"{name}(lr)"
            if len(operands) == 2 and not math.isfinite(operands[1]):
                call = f"{name}(lr, one)"
            source = f"x = {call}; return v1, v1, x"
            program = cases.assemble(source.replace("one", "0.125"))
            constants = tuple(operands[1] if value == 0.125 else value for value in program.constants)
            programs.append(program._replace(constants=constants))
    found, _ = run(programs, state, schedule, [0, 17, 20], backend)
    for row, (name, operands, expected) in enumerate(TABLE):
        given = found[2][row]
        assert len({repr(value) for value in given.tolist()}) == 1, f"{name}{operands}: {given}"
        rtol = 1e-6 if dtype == np.float32 else 1e-13
        atol = 1e-7 if dtype == np.float32 else 1e-14
        np.testing.assert_allclose(given, expected, rtol=rtol, atol=atol, err_msg=f"{name}{operands} on {backend}")


def test_a_nan_passes_through_norms_and_clipping(backend):
    state = cases.random_state(np.random.default_rng(0), 2)
    state[1][0, 3] = NAN
    program = cases.assemble("n = norm(g); x = clip_by_global_norm(g, 1.0); y = mul(g, n); return x, x, y")
    found, finite = run([program] * 2, state, 1.0, cases.SEGMENTS, backend)
    assert np.isnan(found[1][0]).all()
    first = slice(0, int(cases.SEGMENTS[1]))
    assert np.isnan(found[2][0, first]).all()
    assert np.isfinite(found[2][0, cases.SEGMENTS[1] :]).all(), "the norm of one tensor is no business of the others"
    np.testing.assert_array_equal(finite, [False, True])


def test_clipping_bounds_the_norm_and_leaves_small_gradients_alone(backend):
    state = cases.random_state(np.random.default_rng(1), 2)
    state[1][1] *= 1e-3
    program = cases.assemble("x = clip_by_global_norm(g, 0.5); return x, x, v2")
    found, _ = run([program] * 2, state, 1.0, cases.SEGMENTS, backend)
    np.testing.assert_allclose(np.linalg.norm(found[1][0]), 0.5, rtol=1e-6)
    np.testing.assert_array_equal(found[1][1], state[1][1])


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("place", [0, 15, 16, 19])
def test_one_value_that_is_not_finite_is_reported(backend, bad, place):
    state = cases.random_state(np.random.default_rng(1), 3, [0, 20])
    state[1][1, place] = bad
    state[3][2, place] = bad  # a slot that is passed through, and never read, changes no weight
    program = cases.assemble("return g, v1, v2")
    found, finite = run([program] * 3, state, 1.0, [0, 20], backend)
    np.testing.assert_array_equal(finite, [True, False, True])
    np.testing.assert_array_equal(found[2][2, place], bad)


def test_overflow_to_infinity_in_the_weights_is_reported(backend):
    state = cases.random_state(np.random.default_rng(1), 2, [0, 20], np.float32)
    state[1][0, 4] = 3e38
    _, finite = run([cases.assemble("u = mul(g, 100); return u, v1, v2")] * 2, state, 1.0, [0, 20], backend)
    np.testing.assert_array_equal(finite, [False, True])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_denormal_numbers_are_kept(backend, dtype):
    tiny = float(np.finfo(dtype).smallest_subnormal) * 2**10
    state = [np.full((1, 20), tiny, dtype) for _ in range(4)]
    program = cases.assemble("x = mul(g, 0.5); y = sqrt(g); return x, x, y")
    found, _ = run([program], state, 1.0, [0, 20], backend)
    np.testing.assert_array_equal(found[1], np.full((1, 20), tiny / 2, dtype))
    np.testing.assert_allclose(found[2], math.sqrt(tiny), rtol=1e-6)


def test_loading_the_library_leaves_denormals_alone_in_numpy_and_torch():
    """A library linked with -ffast-math switches them off for the whole process (gcc's crtfastmath.o)."""
    code = (
        "import numpy as np, torch, kernels\n"
        "from kernels.programs import c_path\n"
        "assert kernels.backends()['c']['available'], kernels.backends()['c']['why']\n"
        "c_path.LIBRARY.load()\n"
        "assert (np.full(64, 1e-40, np.float32) * np.float32(0.5) > 0).all()\n"
        "assert bool((torch.full((64,), 1e-40) * 0.5 > 0).all())\n"
        "assert 5e-324 > 0 and 1e-310 / 2 > 0\n"
    )
    import kernels

    if not kernels.backends()["c"]["available"]:
        pytest.skip(kernels.backends()["c"]["why"])
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
