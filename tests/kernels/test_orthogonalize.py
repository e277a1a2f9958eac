"""`orthogonalize`: its definition against singular value decompositions, every backend against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kernels.programs import pack, reference_step
from kernels.programs.opcodes import NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS
from tests.kernels import cases
from tests.kernels.running import run
from tests.kernels.test_programs import DTYPES, compare

PLAIN = cases.assemble("u = orthogonalize(g); return u, v1, v2")

# Every way in which whole tensors meet passes, sums and slots.
PROGRAMS = {
    "of the gradient": "u = orthogonalize(g); return u, v1, v2",
    "muon": "v1 = interp(g, v1, 0.95); m = interp(g, v1, 0.95); u = orthogonalize(m); wd = mul(w, 0.01);"
    "u = add(u, wd); u = mul(u, lr); return u, v1, v2",
    "of itself": "x = orthogonalize(g); y = orthogonalize(x); z = mul(y, 0.5); z = orthogonalize(z); return y, x, z",
    "outputs are slots": "x = orthogonalize(v1); y = orthogonalize(v2); u = sub(x, y); return u, y, x",
    "one is read twice": "m = add(g, v1); x = orthogonalize(m); a = mul(x, m); y = orthogonalize(w); return a, x, y",
    "sums around it": "n = norm(g); x = div(g, n); x = orthogonalize(x); k = global_norm(x); d = dot(x, w);"
    "u = mul(x, k); y = mul(w, d); y = orthogonalize(y); z = norm(y); u = mul(u, z); return u, x, v2",
    "of numbers": "n = norm(g); a = orthogonalize(n); b = orthogonalize(lr); u = mul(g, a); u = mul(u, b);"
    "c = orthogonalize(-3.0); x = mul(g, c); return u, a, x",
    "a slot is read after it": "x = orthogonalize(v1); m = interp(g, v1, 0.9); u = mul(x, v1); return u, m, v1",
}
SHAPES = [(40, 20), (10, 1), (3, 7), (7, 3), (1, 1), (2, 2), (1, 9), (17, 17), (18, 35)]
SMALL = [(6, 4), (3, 1), (2, 7), (1, 1)]


def layout(shapes):
    return np.concatenate([[0], np.cumsum([rows * columns for rows, columns in shapes])])


def orthogonalized(x, backend=None, dtype=np.float64, shapes=None):
    """orthogonalize(x) of tensors x (n_programs, size) of one shape; by the reference where no backend is named."""
    x = np.asarray(x, dtype)
    rows = x.reshape(len(x), -1)
    shapes = [x.shape[1:]] if shapes is None else shapes
    zeros = np.zeros_like(rows)
    if backend is None:
        found = [
            reference_step(PLAIN, *(torch.from_numpy(a) for a in (zeros[0], row)), [torch.zeros(len(row))] * 2, 1.0,
                           layout(shapes), shapes=shapes).update.numpy()
            for row in rows
        ]  # fmt: skip
    else:
        weights = run([PLAIN] * len(rows), [zeros, rows, zeros, zeros], 1.0, layout(shapes), backend, shapes=shapes)[0]
        found = -weights[0]
    return np.stack(list(found)).reshape(x.shape)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_backend_computes_the_definition(backend, dtype):
    shapes = SMALL if backend == "triton" else SHAPES
    names = ("of itself", "sums around it") if backend == "triton" else PROGRAMS
    programs = {name: cases.assemble(PROGRAMS[name]) for name in names}
    compare(programs, backend, dtype, layout(shapes), least=0.95, shapes=shapes)


@pytest.mark.parametrize("shape", [(40, 33), (33, 40), (16, 64), (100, 36)])
def test_matrices_of_several_tiles(backend, shape):
    shape = (40, 33) if backend == "triton" else shape
    x = np.random.default_rng(1).normal(size=(1, *shape))
    np.testing.assert_allclose(orthogonalized(x, backend), orthogonalized(x), rtol=1e-9, atol=1e-11)


def spectrum(rng, rows, columns, low):
    """A random matrix with singular values from `low` to 1, and its polar factor by torch's decomposition."""
    u, _, v = torch.linalg.svd(torch.from_numpy(rng.normal(size=(rows, columns))), full_matrices=False)
    values = torch.linspace(1.0, low, min(rows, columns), dtype=torch.float64)
    x = (u * values) @ v
    again_u, _, again_v = torch.linalg.svd(x, full_matrices=False)
    return x.numpy(), (again_u @ again_v).numpy()


@pytest.mark.parametrize("shape", [(32, 64), (64, 32), (16, 16), (2, 90)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_it_is_the_polar_factor_of_torchs_decomposition_but_for_singular_values_near_one(shape, scale):
    """Muon's quintic does not settle at 1: it takes singular values to 0.68 to 1.21 (see NEWTON_SCHULZ; 0.6818 is the
    least value of the polynomial after five steps), and leaves singular vectors alone."""
    x, polar = spectrum(np.random.default_rng(3), *shape, low=0.05)
    found = orthogonalized(x[None] * scale)[0] / math.sqrt(max(shape))
    values = np.linalg.svd(found, compute_uv=False)
    assert values.min() >= 0.68
    assert values.max() <= 1.21
    stretch = polar.T @ found if shape[0] >= shape[1] else found @ polar.T
    np.testing.assert_allclose(stretch, stretch.T, atol=1e-6)
    assert np.linalg.eigvalsh(stretch).min() >= 0.68, "symmetric and positive: found = polar factor times stretch"


def test_singular_values_go_where_the_polynomial_takes_them():
    x, _ = spectrum(np.random.default_rng(4), 12, 20, low=0.01)
    a, b, c = NEWTON_SCHULZ
    values = np.linalg.svd(x, compute_uv=False) / (np.linalg.norm(x) + 1e-8)
    for _ in range(NEWTON_SCHULZ_STEPS):
        values = a * values + b * values**3 + c * values**5
    found = np.linalg.svd(orthogonalized(x[None])[0], compute_uv=False)
    np.testing.assert_allclose(found, np.sort(values)[::-1] * math.sqrt(20), rtol=1e-9)


def test_a_transposed_matrix_gives_the_transposed_result(backend):
    x = np.random.default_rng(5).normal(size=(1, 5, 9))
    straight, turned = orthogonalized(x, backend), orthogonalized(x.transpose(0, 2, 1), backend)
    np.testing.assert_allclose(turned.transpose(0, 2, 1), straight, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 23), (23, 1), (1, 1)])
def test_what_is_no_matrix_is_divided_by_its_root_mean_square(backend, dtype, shape):
    x = np.random.default_rng(6).normal(size=(2, *shape)).astype(dtype)
    root = np.sqrt(np.square(x.astype(np.float64)).mean(axis=(1, 2), keepdims=True))
    np.testing.assert_allclose(orthogonalized(x, backend, dtype), x / (root + 1e-8), rtol=4 * np.finfo(dtype).eps)


def test_without_shapes_nothing_is_a_matrix(backend):
    state = cases.random_state(np.random.default_rng(7), 1, [0, 24])
    found, _ = run([PLAIN], state, 1.0, [0, 24], backend)
    flat, _ = run([PLAIN], state, 1.0, [0, 24], backend, shapes=[(24, 1)])
    square, _ = run([PLAIN], state, 1.0, [0, 24], backend, shapes=[(4, 6)])
    np.testing.assert_array_equal(found[0], flat[0])
    assert not np.allclose(found[0], square[0], atol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_stay_zeros_and_nan_spoils_its_own_tensor_alone(backend, dtype):
    shapes = [(4, 6), (5, 3), (7, 1)]
    x = np.random.default_rng(8).normal(size=(3, 46)).astype(dtype)
    x[0] = 0.0
    x[1, 3] = np.nan
    x[2, 25] = np.inf
    found = orthogonalized(x, backend, dtype, shapes)
    assert not found[0].any()
    assert np.isnan(found[1, :24]).all()
    assert np.isfinite(found[1, 24:]).all()
    assert np.isnan(found[2, 24:39]).all()
    assert np.isfinite(np.delete(found[2], slice(24, 39))).all()


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e30])
def test_sizes_at_the_ends_of_float32(backend, scale):
    """What is small beside the guard of 1e-8 vanishes; what is large does not overflow."""
    x = (np.random.default_rng(9).normal(size=(1, 4, 5)) * scale).astype(np.float32)
    found = orthogonalized(x, backend, np.float32)
    np.testing.assert_allclose(found, orthogonalized(x.astype(np.float64)), rtol=1e-4, atol=1e-4 * np.abs(found).max())
    assert np.abs(found).max() > 0.3 or scale < 1e-8


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_sign_goes_through_to_the_bit(backend, dtype):
    """Declared as an exact identity of the language: orthogonalize(-x) = -orthogonalize(x)."""
    x = np.random.default_rng(10).normal(size=(1, 6, 5))
    np.testing.assert_array_equal(orthogonalized(-x, backend, dtype), -orthogonalized(x, backend, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_depends_on_which_programs_share_the_call(backend, dtype):
    shapes = SMALL if backend == "triton" else SHAPES
    names = ("muon",) if backend == "triton" else PROGRAMS
    programs = [cases.assemble(PROGRAMS[name]) for name in names] + [cases.assemble(cases.ADAMW)]
    state = cases.random_state(np.random.default_rng(11), len(programs), layout(shapes), dtype)
    whole, finite = run(programs, state, 0.4, layout(shapes), backend, shapes=shapes)
    packed = pack(programs)
    orders = [np.array([0]), np.array([len(programs) - 1]), np.arange(len(programs))[::-1]]
    for rows in orders[:1] if backend == "triton" else orders:
        part, part_finite = run(
            packed.take(rows), [array[rows] for array in state], 0.4, layout(shapes), backend, shapes=shapes
        )
        for array, expected in zip(part, whole, strict=True):
            np.testing.assert_array_equal(array, expected[rows])
        np.testing.assert_array_equal(part_finite, finite[rows])


def test_a_matrix_does_not_depend_on_its_place_among_the_tensors(compiled):
    """Scratch memory, alignment and neighbours change; the bits do not."""
    rng = np.random.default_rng(12)
    matrix, before = rng.normal(size=33 * 20), rng.normal(size=300)
    alone = orthogonalized(matrix[None], "c", np.float32, [(33, 20)])
    for shapes in ([(7, 1)], [(1, 1), (3, 5)], [(20, 15)]):
        size = int(layout(shapes)[-1])
        found = orthogonalized(np.concatenate([before[:size], matrix])[None], "c", np.float32, [*shapes, (33, 20)])
        np.testing.assert_array_equal(found[:, size:], alone)


def test_programs_without_it_do_not_look_at_shapes(backend):
    state = cases.random_state(np.random.default_rng(13), 1)
    plain, _ = run([cases.assemble(cases.ADAMW)], state, 0.4, cases.SEGMENTS, backend)
    given, _ = run([cases.assemble(cases.ADAMW)], state, 0.4, cases.SEGMENTS, backend, shapes=cases.SHAPES)
    for one, other in zip(plain, given, strict=True):
        np.testing.assert_array_equal(one, other)
