"""Every path of the rank correlations gives the same bits, alone or in company; Triton's compiles for a device."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from kernels import ranks
from tests.kernels.conftest import HAS_GPU, HAS_TRITON


def counted(values):
    """Average ranks by counting, the textbook's definition: (n, m)."""
    below = (values[:, None, :] < values[:, :, None]).sum(axis=2)
    equal = (values[:, None, :] == values[:, :, None]).sum(axis=2)
    return below + (equal + 1) / 2


def table(n=6, m=71, t=3, dtype=np.float64, seed=0):
    """Rows with ties, infinities, both zeros; one constant (3), one with a NaN (4); the last target has ties."""
    rng = np.random.default_rng(seed)
    scores, targets = rng.standard_normal((n, m)).astype(dtype), rng.standard_normal((t, m))
    scores[0] = np.round(2 * scores[0])
    scores[1, :3] = np.inf, -np.inf, np.inf
    scores[2, :4] = 0.0, -0.0, 0.0, -0.0
    scores[3] = 0.25
    scores[4, m // 2] = np.nan
    targets[-1] = np.round(targets[-1])
    return scores, targets


def resamples(backend):
    """More than a block of the compiled path; few for the interpreter."""
    return 2 if backend == "triton" else 19


def everything(scores, targets, backend, n_resamples=None):
    """All results in one go, float64."""
    size = n_resamples or resamples(backend), 50
    indices = np.random.default_rng(1).integers(scores.shape[1], size=size)
    return {
        "ranks": ranks.average_ranks(scores, backend),
        "spearman": ranks.spearman(scores, targets, backend),
        "kendall": ranks.kendall(scores, targets, backend),
        "top": ranks.spearman_top(scores, targets, (0.2, 1.0), backend),
        "bootstrap": ranks.spearman_bootstrap(scores, targets[-1], indices, backend),
    }


def rows(scores, targets, backend):
    """`everything`, on the device if that is where the backend runs."""
    if backend == "triton" and HAS_GPU:
        given = torch.from_numpy(scores).cuda(), torch.from_numpy(targets).cuda()
        return {name: found.cpu().numpy() for name, found in everything(*given, backend).items()}
    return everything(scores, targets, backend)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_paths_give_the_same_bits(backend, dtype):
    scores, targets = table(dtype=dtype)
    expected = everything(scores, targets, "numpy", resamples(backend))
    for name, found in rows(scores, targets, backend).items():
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected[name], err_msg=name)


def test_results_follow_from_counted_ranks(backend):
    scores, targets = (array[[0, 1, 2]] for array in table())
    found = rows(scores, targets, backend)
    left, right = counted(scores), counted(targets)
    np.testing.assert_array_equal(found["ranks"], left)
    np.testing.assert_allclose(found["spearman"], np.corrcoef(left, right)[:3, 3:], rtol=0, atol=1e-13)
    np.testing.assert_array_equal(found["top"][..., 1], found["spearman"])
    for row in range(3):
        for column in range(3):
            one = np.sign(left[row][:, None] - left[row])
            two = np.sign(right[column][:, None] - right[column])
            tau = (one * two).sum() / np.sqrt((one**2).sum() * (two**2).sum())
            np.testing.assert_allclose(found["kendall"][row, column], tau, rtol=0, atol=1e-13)


def test_a_row_with_a_nan_or_a_constant_is_nan_alone(backend):
    scores, targets = table()
    targets[1, 0] = np.nan
    for name, found in rows(scores, targets, backend).items():
        bad = np.isnan(found).reshape(len(found), -1)
        if name == "ranks":
            assert bad[4].all()
            assert not np.delete(bad, 4, axis=0).any()
        else:
            assert bad[[3, 4]].all()
            good = np.delete(found, [3, 4], axis=0)
            if name == "bootstrap":
                assert not np.isnan(good).any()
            else:
                assert np.isnan(good[:, 1]).all()
                assert not np.isnan(good[:, [0, 2]]).any()


def test_company_order_and_memory_do_not_matter(backend):
    scores, targets = table()
    whole = rows(scores, targets, backend)
    for chosen in ([2, 0, 4], [5], [5, 4, 3, 2, 1, 0])[: 1 if backend == "triton" else 3]:
        strided = np.asfortranarray(np.repeat(scores[chosen], 2, axis=1))[:, ::2]
        for name, found in rows(strided, targets, backend).items():
            np.testing.assert_array_equal(found, whole[name][chosen], err_msg=name)


def test_one_target_drops_its_axis_and_tensors_stay_tensors(backend):
    scores, targets = table()
    whole = rows(scores, targets, backend)
    device = "cuda" if backend == "triton" and HAS_GPU else "cpu"
    given = torch.from_numpy(scores).to(device), torch.from_numpy(targets).to(device)
    for name, function in (("spearman", ranks.spearman), ("kendall", ranks.kendall)):
        alone = function(given[0], given[1][2], backend)
        assert isinstance(alone, torch.Tensor)
        assert alone.device.type == device
        np.testing.assert_array_equal(alone.cpu().numpy(), whole[name][:, 2])
    assert ranks.spearman_top(*given, (0.5,), backend).shape == (6, 3, 1)
    assert ranks.spearman_top(given[0], given[1][0], (0.5,), backend).shape == (6, 1)
    assert ranks.spearman_bootstrap(given[0], given[1][0], torch.zeros(2, 5, dtype=torch.int64), backend).shape == (
        6,
        2,
    )


@pytest.mark.parametrize("m", [1, 2])
def test_rows_too_short_to_order_are_nan_and_empty_batches_empty(backend, m):
    scores = np.arange(3.0 * m).reshape(3, m)
    found = ranks.spearman(scores, scores[0], backend), ranks.kendall(scores, scores[0], backend)
    for values in found:
        np.testing.assert_array_equal(values, np.full(3, np.nan if m == 1 else 1.0))
    assert ranks.spearman(scores[:0], scores[:2], backend).shape == (0, 2)
    assert ranks.kendall(scores, scores[:0], backend).shape == (3, 0)
    assert ranks.spearman_top(scores[:0], scores, (0.5,), backend).shape == (0, 3, 1)


def test_rows_of_many_thousand_columns_are_counted_exactly(compiled):
    """Beyond 4,096 columns the compiled counting of inversions has its third level; known answers at any length."""
    m = 70_000
    ascending = np.arange(float(m))
    swapped = ascending.reshape(-1, 2)[:, ::-1].ravel()  # neighbours exchanged: m / 2 inversions
    found = ranks.kendall(np.stack([ascending, ascending[::-1], swapped, ascending // 2]), ascending, "c")
    pairs = m * (m - 1) // 2
    tied = (pairs - m // 2) / np.sqrt(pairs * (pairs - m // 2))
    np.testing.assert_allclose(found, [1.0, -1.0, (pairs - m) / pairs, tied], rtol=1e-15, atol=0)


@pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")
def test_the_kernels_compile_for_an_h100(tmp_path):
    code = "import json\nfrom kernels.ranks.triton_path import compile_ahead\nprint(json.dumps(compile_ahead(90)))"
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert all(size["binary"] > 1000 for size in json.loads(done.stdout).values())
