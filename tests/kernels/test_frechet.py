"""Fréchet distances of Gaussians: closed forms, torchmetrics, the two paths against each other."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from kernels.errors import KernelError
from kernels.frechet import Root, frechet, moments


def gaussians(count, d, seed, rank=None):
    rng = np.random.Generator(np.random.Philox(seed))
    factors = rng.normal(size=(count, d, rank or d))
    return rng.normal(size=(count, d)), factors @ factors.transpose(0, 2, 1) / d


def test_equal_gaussians_are_at_no_distance():
    means, covariances = gaussians(1, 12, 0)
    assert frechet(means, covariances, means[0], covariances[0])[0] == pytest.approx(0, abs=1e-10)


def test_diagonal_covariances_have_a_closed_form():
    rng = np.random.Generator(np.random.Philox(1))
    a, b = rng.uniform(0.1, 4, (2, 9))
    means = rng.normal(size=(2, 9))
    expected = np.square(means[0] - means[1]).sum() + np.square(np.sqrt(a) - np.sqrt(b)).sum()
    found = frechet(means[:1], np.diag(a)[None], means[1], np.diag(b))
    assert found == pytest.approx([expected], rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), d=st.integers(1, 12), rank=st.integers(1, 12))
def test_it_is_the_trace_of_the_root_of_the_product(seed, d, rank):
    means, covariances = gaussians(2, d, seed)
    thin = gaussians(1, d, seed + 1, min(rank, d))[1][0]  # a candidate of few images has a singular covariance
    expected = np.square(means[0] - means[1]).sum() + np.trace(thin) + np.trace(covariances[1])
    expected -= 2 * np.sqrt(np.maximum(linalg.eigvals(thin @ covariances[1]).real, 0)).sum()
    found = frechet(means[:1], thin[None], means[1], covariances[1])
    # this way's eigenvalues of 0 are rounding errors, with roots of about 1e-8
    assert found == pytest.approx([max(expected, 0)], rel=1e-6, abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_it_is_symmetric_and_zero_only_where_gaussians_agree(seed):
    means, covariances = gaussians(2, 6, seed)
    there = frechet(means[:1], covariances[:1], means[1], covariances[1])[0]
    back = frechet(means[1:], covariances[1:], means[0], covariances[0])[0]
    assert there == pytest.approx(back, rel=1e-9)
    assert there > 0


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_features_that_no_image_has_change_nothing(backend):
    # the roots of rounding errors would: 1e-5 of 10 for the shipped features, where 14 of 64 are always 0
    means, covariances = gaussians(2, 40, 11)
    means, covariances = means * 30, covariances * 1e4
    expected = frechet(means[:1], covariances[:1], means[1], covariances[1], backend=backend)
    wide, more = np.zeros((2, 64)), np.zeros((2, 64, 64))
    places = np.random.Generator(np.random.Philox(12)).permutation(64)[:40]
    turn = np.linalg.qr(np.random.Generator(np.random.Philox(13)).normal(size=(64, 64)))[0]
    wide[:, places] = means
    more[:, places[:, None], places] = covariances
    wide, more = wide @ turn, turn.T @ more @ turn
    more = (more + more.transpose(0, 2, 1)) / 2
    found = frechet(wide[:1], more[:1], wide[1], more[1], backend=backend)
    assert found == pytest.approx(expected, rel=1e-11)


def test_the_paths_agree():
    means, covariances = gaussians(7, 16, 3)
    real_mean, real = gaussians(1, 16, 4)
    by_numpy = frechet(means, covariances, real_mean[0], real[0], backend="numpy")
    by_torch = frechet(means, covariances, real_mean[0], real[0], backend="torch")
    tensors = [torch.from_numpy(x) for x in (means, covariances, real_mean[0], real[0])]
    for_tensors = frechet(*tensors)
    assert isinstance(by_numpy, np.ndarray)
    assert isinstance(by_torch, np.ndarray)
    assert isinstance(for_tensors, torch.Tensor)
    np.testing.assert_allclose(by_torch, by_numpy, rtol=1e-12)
    assert for_tensors.numpy().tobytes() == by_numpy.tobytes()


def test_a_distance_does_not_depend_on_what_shares_the_call():
    means, covariances = gaussians(9, 64, 5)
    real_mean, real = gaussians(1, 64, 6)
    root = Root(real[0])
    together = frechet(means, covariances, real_mean[0], root)
    alone = [frechet(means[k : k + 1], covariances[k : k + 1], real_mean[0], real[0])[0] for k in range(9)]
    assert together.tobytes() == np.array(alone).tobytes()


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_what_is_not_finite_is_nan_and_harms_nobody(backend):
    means, covariances = gaussians(3, 5, 7)
    real_mean, real = gaussians(1, 5, 8)
    clean = frechet(means, covariances, real_mean[0], real[0], backend=backend)
    covariances[1, 2, 3] = np.inf
    found = frechet(means, covariances, real_mean[0], real[0], backend=backend)
    assert np.isnan(found[1])
    assert found[[0, 2]].tobytes() == clean[[0, 2]].tobytes()


def test_no_candidates_have_no_distances():
    real_mean, real = gaussians(1, 5, 8)
    for backend in ("numpy", "torch"):
        found = frechet(np.empty((0, 5)), np.empty((0, 5, 5)), real_mean[0], real[0], backend=backend)
        assert found.shape == (0,)


def test_the_root_is_one():
    _, (real,) = gaussians(1, 10, 9, rank=4)
    root = Root(real)
    np.testing.assert_allclose(root.root @ root.root, real, atol=1e-12)
    assert root.trace == pytest.approx(np.trace(real))


def test_moments_are_those_of_numpy():
    features = np.random.Generator(np.random.Philox(2)).normal(size=(40, 6)).astype(np.float32)
    mean, covariance = moments(features)
    np.testing.assert_allclose(mean, features.astype(float).mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(features.astype(float), rowvar=False), rtol=1e-10)


def test_arguments_that_do_not_fit_are_refused():
    means, covariances = gaussians(2, 4, 1)
    with pytest.raises(KernelError, match="float64"):
        frechet(means.astype(np.float32), covariances, means[0], covariances[0])
    with pytest.raises(KernelError, match="means must be"):
        frechet(means, covariances[:1], means[0], covariances[0])
    with pytest.raises(KernelError, match="real mean"):
        frechet(means, covariances, means, covariances[0])
    with pytest.raises(KernelError, match="all numpy"):
        frechet(torch.from_numpy(means), covariances, means[0], covariances[0])
    with pytest.raises(KernelError, match="not finite"):
        Root(np.full((2, 2), np.nan))
    with pytest.raises(KernelError, match="n >= 2"):
        moments(np.ones((1, 3)))
    with pytest.raises(KernelError, match="no 'c' version"):
        frechet(means, covariances, means[0], covariances[0], backend="c")
