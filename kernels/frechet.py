"""Fréchet distances of many Gaussians to one: what FID is, for a whole batch of candidates.

    d^2 = |m_k - m|^2 + tr C_k + tr C - 2 tr (C^(1/2) C_k C^(1/2))^(1/2)

Dowson and Landau, "The Fréchet distance between multivariate normal distributions" (1982); as a distance of images:
Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium" (2017), equation 6.
The matrix under the last root is symmetric, unlike C_k C, whose root is what most implementations take: its eigenvalues
are real, those that rounding made of zeros are 0, and C^(1/2) is computed once for all candidates.

The eigenvalues are LAPACK's, which has no better version to write: "numpy" and "torch" are the backends.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kernels import dispatch
from kernels.errors import KernelError

BACKENDS = ("numpy", "torch")
_PRECISION = float(np.finfo(np.float64).eps)


def frechet(means: Any, covariances: Any, real_mean: Any, real_covariance: Any, backend: str | None = None) -> Any:
    """Squared Fréchet distances of k Gaussians to the real one; less is nearer, 0 is the same.

    With "numpy" a distance is the same to the bit whatever else shares the call.

    Args:
        means: (k, d) float64; numpy arrays, or torch tensors of one device.
        covariances: (k, d, d) float64, symmetric and positive semidefinite. A distance is NaN where its mean or
            covariance is not finite.
        real_mean: (d,) float64.
        real_covariance: (d, d) float64, symmetric and positive semidefinite; or its square root, as a `Root`.
        backend: "numpy" or "torch"; None: by the environment and the arrays' device.

    Returns:
        (k,) float64, of the kind of `means`, 0 or above.

    Raises:
        KernelError: shapes, dtypes or kinds that do not fit, or a real covariance that is not finite.
        BackendUnavailableError: the backend is not there.
    """
    root = real_covariance if isinstance(real_covariance, Root) else Root(real_covariance)
    _check(means, covariances, real_mean, root)
    device = means.device.type if isinstance(means, Tensor) else "cpu"
    if _chosen(backend, device) == "numpy":
        arrays = (_numpy(means), _numpy(covariances), _numpy(real_mean), _numpy(root.root))
        found = _numpy_frechet(*arrays, root.trace)
        return torch.from_numpy(found) if isinstance(means, Tensor) else found
    tensors = [torch.as_tensor(x, device=device) for x in (means, covariances, real_mean, root.root)]
    distances = _torch_frechet(*tensors, root.trace)
    return distances if isinstance(means, Tensor) else distances.numpy()


class Root:
    """The square root of a real covariance, to be computed once for many calls.

    Args:
        covariance: (d, d) float64, numpy or torch.

    Attributes:
        root: (d, d) float64, of the same kind: symmetric, root @ root = covariance.
        trace: of the covariance.

    Raises:
        KernelError: it is no finite square matrix of float64.
    """

    def __init__(self, covariance: Any) -> None:
        if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1] or _dtype(covariance) != "float64":
            raise KernelError(f"a covariance is (d, d) float64, not {tuple(covariance.shape)} {covariance.dtype}")
        values = _numpy(covariance.cpu() if isinstance(covariance, Tensor) else covariance)
        if not np.isfinite(values).all():
            raise KernelError("the real covariance is not finite", "check the real images and the features")
        eigenvalues, vectors = np.linalg.eigh((values + values.T) / 2)
        root = (vectors * _roots(eigenvalues)) @ vectors.T
        self.trace = float(np.trace(values))
        self.root = torch.from_numpy(root).to(covariance.device) if isinstance(covariance, Tensor) else root


def moments(features: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and covariance (d, d), with n - 1 below, of features (n, d); float64. n is 2 or more.

    Raises:
        KernelError: fewer rows, or another shape.
    """
    values = _numpy(features).astype(np.float64)
    if values.ndim != 2 or len(values) < 2:
        raise KernelError(f"features must be (n, d) with n >= 2, not {values.shape}")
    mean = values.mean(0)
    centred = values - mean
    return mean, centred.T @ centred / (len(values) - 1)


def _numpy_frechet(
    means: np.ndarray, covariances: np.ndarray, real_mean: np.ndarray, root: np.ndarray, trace: float
) -> np.ndarray:
    distances = np.full(len(means), np.nan)
    # one at a time: products of stacked matrices may round by their number; LAPACK is called once each in any case
    for k in range(len(means)):
        if not (np.isfinite(means[k]).all() and np.isfinite(covariances[k]).all()):
            continue
        product = root @ covariances[k] @ root
        eigenvalues = np.linalg.eigvalsh((product + product.T) / 2)
        overlap = _roots(eigenvalues).sum()
        apart = means[k] - real_mean
        distances[k] = max(0.0, float(apart @ apart + np.trace(covariances[k]) + trace - 2 * overlap))
    return distances


def _roots(eigenvalues: np.ndarray) -> np.ndarray:
    """Roots of ascending eigenvalues of a semidefinite matrix. Those that are 0 but for rounding are 0: features that
    no image has are common, and the root of a rounding error is a hundred million times as large."""
    least = eigenvalues[-1] * (len(eigenvalues) * _PRECISION)
    roots: np.ndarray = np.sqrt(np.maximum(np.where(eigenvalues > least, eigenvalues, 0.0), 0))
    return roots


def _torch_frechet(means: Tensor, covariances: Tensor, real_mean: Tensor, root: Tensor, trace: float) -> Tensor:
    """The reference."""
    finite = torch.isfinite(means).all(1) & torch.isfinite(covariances).all(2).all(1)
    covariances = torch.where(finite[:, None, None], covariances, 0.0)
    product = torch.stack([root @ covariance @ root for covariance in covariances]) if len(means) else covariances
    eigenvalues = torch.linalg.eigvalsh((product + product.transpose(1, 2)) / 2)
    least = eigenvalues[:, -1:] * (eigenvalues.shape[1] * _PRECISION)
    overlap = torch.where(eigenvalues > least, eigenvalues, 0.0).clamp(min=0).sqrt().sum(1)
    apart = (means - real_mean).square().sum(1)
    traces = covariances.diagonal(dim1=1, dim2=2).sum(1)
    distances = (apart + traces + trace - 2 * overlap).clamp(min=0)
    return torch.where(finite, distances, torch.nan)


def _chosen(backend: str | None, device: str) -> str:
    asked = backend or os.environ.get("EVO_KERNEL_BACKEND")
    if backend is None and asked not in BACKENDS:
        # "c" and "triton" are asked of kernels that have them; here LAPACK is the compiled path
        return "numpy" if device == "cpu" else "torch"
    return dispatch.choose(backend, device, BACKENDS)


def _check(means: Any, covariances: Any, real_mean: Any, root: Root) -> None:
    kinds = {isinstance(x, Tensor) for x in (means, covariances, real_mean)}
    if len(kinds) > 1:
        raise KernelError("means, covariances and the real mean must be all numpy arrays or all torch tensors")
    for name, x in (("means", means), ("covariances", covariances), ("real_mean", real_mean)):
        if _dtype(x) != "float64":
            raise KernelError(f"{name} must be float64, not {x.dtype}", "small differences of large sums need it")
    d = root.root.shape[0]
    if means.ndim != 2 or means.shape[1] != d or tuple(covariances.shape) != (len(means), d, d):
        raise KernelError(
            f"means must be (k, {d}) and covariances (k, {d}, {d}), as the real covariance is ({d}, {d}); "
            f"not {tuple(means.shape)} and {tuple(covariances.shape)}"
        )
    if tuple(real_mean.shape) != (d,):
        raise KernelError(f"the real mean must be ({d},), not {tuple(real_mean.shape)}")


def _dtype(x: Any) -> str:
    return str(x.dtype).removeprefix("torch.")


def _numpy(x: Any) -> np.ndarray:
    return x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)
