"""The fused solver step: every path against plain arithmetic, edges of shape, NaN, and independence of company."""

from __future__ import annotations

import importlib.util
import os

import numpy as np
import pytest
import torch

from kernels import dispatch
from kernels.diffusion import advance
from kernels.errors import KernelError
from tests.kernels.conftest import HAS_GPU, HAS_TRITON

if HAS_TRITON and not HAS_GPU:  # the interpreter is chosen when the kernels are imported; see conftest
    before = os.environ.get("TRITON_INTERPRET")
    os.environ["TRITON_INTERPRET"] = "1"
    import kernels.diffusion.triton_path  # noqa: F401

    if before is None:
        del os.environ["TRITON_INTERPRET"]


def case(n, d, slots, seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((n, d), (n, d), (n, slots, d), (n, 2), (n, 1 + slots, 2 + slots))
    return [torch.from_numpy(rng.standard_normal(shape).astype(np.float32)) for shape in shapes]


def plain(x, output, history, reads, matrix, clip):
    """float64, by matrix products."""
    x, output, history, reads, matrix = (array.double().numpy() for array in (x, output, history, reads, matrix))
    image = reads[:, :1] * x + reads[:, 1:] * output
    if clip is not None:
        image = np.clip(image, -clip, clip)
    sources = np.concatenate([x[:, None], image[:, None], history], 1)
    found = np.einsum("nij,njd->nid", matrix, sources)
    return found[:, 0], found[:, 1:]


@pytest.fixture(params=["c", "torch", "triton"])
def path(request, monkeypatch):
    if request.param == "triton" and not HAS_GPU:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        monkeypatch.delitem(dispatch._found, "triton", raising=False)
    found = dispatch._probe(request.param)
    if not found["available"]:
        pytest.skip(f"{request.param}: {found['why']}")
    yield request.param
    if request.param == "triton":
        dispatch._found.pop("triton", None)


def run(arrays, clip, path):
    device = "cuda" if path == "triton" and HAS_GPU else "cpu"
    return [tensor.cpu() for tensor in advance(*(a.to(device) for a in arrays), clip, path)]


@pytest.mark.parametrize("shape", [(1, 1, 0), (3, 64, 1), (2, 1500, 3), (0, 8, 1), (5, 7, 2)])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_step_is_what_its_formula_says(path, shape, clip):
    arrays = case(*shape)
    found, wanted = run(arrays, clip, path), plain(*arrays, clip)
    for got, expected in zip(found, wanted, strict=True):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("slots", [0, 1, 3])
def test_c_and_torch_agree_to_the_bit(slots, compiled):
    arrays = case(6, 700, slots, seed=3)
    for one, other in zip(run(arrays, 1.0, "c"), run(arrays, 1.0, "torch"), strict=True):
        assert torch.equal(one, other)


def test_a_row_does_not_depend_on_its_company(path):
    arrays = case(7, 130, 2)
    whole = run(arrays, 1.0, path)
    for i in range(7):
        alone = run([a[i : i + 1] for a in arrays], 1.0, path)
        for one, many in zip(alone, whole, strict=True):
            assert torch.equal(one[0], many[i])


def test_nan_stays_nan_under_clipping(path):
    arrays = case(2, 8, 1)
    arrays[0][0, 3] = float("nan")
    following, later = run(arrays, 1.0, path)
    assert torch.isnan(following[0, 3])
    assert torch.isnan(later[0, 0, 3])
    assert torch.isfinite(following[1]).all()


def test_arrays_that_do_not_fit_are_named():
    x, output, history, reads, matrix = case(2, 8, 1)
    with pytest.raises(KernelError, match="matrix"):
        advance(x, output, history, reads, matrix[:, :1])
    with pytest.raises(KernelError, match="output"):
        advance(x, output.double(), history, reads, matrix)
    with pytest.raises(KernelError, match="clip"):
        advance(x, output, history, reads, matrix, clip=0.0)
    with pytest.raises(KernelError, match="numpy"):
        advance(x, output, history, reads, matrix, backend="numpy")


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_the_kernel_compiles_for_an_h100(tmp_path):
    import subprocess
    import sys

    code = "from kernels.diffusion.triton_path import compile_ahead; print(compile_ahead(90))"
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "binary" in done.stdout
