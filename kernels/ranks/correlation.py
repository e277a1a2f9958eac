"""The rank correlations that people call: arguments checked, a backend chosen, exact sums divided.

Rules that hold for all of them:

- equal values share the average of their ranks; -0.0 equals 0.0; infinities are the extreme values they are;
- a row (or target) that holds a NaN has the result NaN, and no other row does; so has a constant one, as in scipy;
- the result of a row is the same to the bit whatever else is in the call, and whichever backend runs;
- arrays are numpy, or torch tensors (CPU or CUDA), and so are the results; strides are free.

CPU arrays go through C, or numpy where there is no compiler; CUDA tensors through Triton, or torch. Sorting makes the
first three O(m log m) a row. The Triton path compares all pairs of columns instead, which costs a GPU less up to some
thousands of columns; the torch path does so for Kendall.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from kernels import dispatch
from kernels.ranks import c_path, numpy_path, reference
from kernels.ranks.inputs import check_indices, check_pair, check_rows, top_counts
from kernels.ranks.sums import Sums, to_numpy


def average_ranks(values: Any, backend: str | None = None) -> Any:
    """Ranks of each row's values from 1, equal values sharing the average of theirs: `scipy.stats.rankdata(axis=1)`.

    Args:
        values: (n, m) float32 or float64.
        backend: "c", "numpy", "torch", "triton", or None for the best one that is there.

    Returns:
        (n, m) float64; a row that holds a NaN is NaN throughout.

    Raises:
        KernelError: shape, dtype or backend do not fit.
    """
    check_rows("values", values)
    path, (given,) = _path(backend, values)
    return _like(values, path.average_ranks(given))


def spearman(scores: Any, targets: Any, backend: str | None = None) -> Any:
    """Spearman's rank correlation of each row of scores with each target.

    Args:
        scores: (n, m) float32 or float64.
        targets: (m,) or (t, m), float32 or float64; sorted once for all rows.
        backend: as in `average_ranks`.

    Returns:
        (n,) or (n, t) float64 in [-1, 1] or NaN. `scipy.stats.spearmanr` gives the same to 1e-12.

    Raises:
        KernelError: shapes, dtypes, devices or backend do not fit.
    """
    return _correlate("spearman_sums", scores, targets, backend)


def kendall(scores: Any, targets: Any, backend: str | None = None) -> Any:
    """Kendall's tau-b of each row of scores with each target; arguments and result as in `spearman`.

    By Knight's method (JASA 61, 1966) in O(m log m): order by the target, then count the inversions of the scores, and
    the ties of either and both. `scipy.stats.kendalltau` gives the same to 1e-12.
    """
    return _correlate("kendall_sums", scores, targets, backend)


def spearman_top(
    scores: Any, targets: Any, shares: Sequence[float] = (0.2, 0.5, 1.0), backend: str | None = None
) -> Any:
    """Spearman@top-k: of the columns to which a row gives its highest scores, and of them alone.

    It asks whether a proxy tells good from very good. EMQ (ICCV 2023) reports it at 20, 50 and 100 %; its code chooses
    by the predicted score, so that every row is judged on columns of its own. Ranks are taken anew among them.

    Args:
        scores: (n, m) float32 or float64.
        targets: (m,) or (t, m), float32 or float64.
        shares: in (0, 1]; a share keeps floor(share * m) columns. Where the border cuts through equal scores, those of
            smaller index are kept.
        backend: as in `average_ranks`.

    Returns:
        (n, len(shares)) or (n, t, len(shares)) float64; NaN also where fewer than two columns are kept. A NaN anywhere
        in a row or target counts, in the columns left out too.

    Raises:
        KernelError: shapes, dtypes, devices, shares or backend do not fit.
    """
    check_pair(scores, targets)
    return _correlate("top_sums", scores, targets, backend, top_counts(shares, scores.shape[1]))


def spearman_bootstrap(scores: Any, target: Any, indices: Any, backend: str | None = None) -> Any:
    """Spearman of each row of scores with the target, over resampled columns.

    Quantiles along the last axis are a percentile interval; differences of two rows are the paired bootstrap, since all
    rows share the indices. In C nothing is sorted again: ranks follow from how often each column was drawn.

    Args:
        scores: (n, m) float32 or float64.
        target: (m,) float32 or float64.
        indices: (b, size) whole numbers in [0, m), e.g. `rng.integers(m, size=(1000, m))`.
        backend: as in `average_ranks`.

    Returns:
        (n, b) float64: entry [i, j] is that of `spearman(scores[:, indices[j]], target[indices[j]])[i]`, except that a
        NaN anywhere in a row makes all of its entries NaN.

    Raises:
        KernelError: shapes, dtypes, devices, indices or backend do not fit.
    """
    check_pair(scores, target, (1,))
    return _correlate("bootstrap_sums", scores, target, backend, check_indices(indices, scores.shape[1]))


def _correlate(name: str, scores: Any, targets: Any, backend: str | None, *more: Any) -> Any:
    check_pair(scores, targets)
    path, (rows, columns) = _path(backend, scores, targets if targets.ndim == 2 else targets[None])
    work: Callable[..., Sums] = getattr(path, name)
    sums = work(rows, columns, *more)
    # One division for all: on the CPU it is numpy's.
    correlation = (sums if _on_device(scores) else to_numpy(sums)).correlation()
    if targets.ndim == 1 and name != "bootstrap_sums":
        correlation = correlation[:, 0]
    return _like(scores, correlation)


def _path(backend: str | None, *arrays: Any) -> tuple[Any, tuple[Any, ...]]:
    """The module that runs, and the arrays as it wants them."""
    chosen = dispatch.choose(backend, "cuda" if _on_device(arrays[0]) else "cpu")
    if chosen in ("c", "numpy"):
        given = tuple(array.numpy(force=True) if isinstance(array, torch.Tensor) else array for array in arrays)
        return (c_path if chosen == "c" else numpy_path), given
    tensors = tuple(
        torch.from_numpy(np.require(array, None, "CAW")) if isinstance(array, np.ndarray) else array.detach()
        for array in arrays
    )
    if chosen == "torch":
        return reference, tensors
    from kernels.ranks import triton_path  # triton need not be installed

    return triton_path, tensors


def _on_device(array: Any) -> bool:
    return isinstance(array, torch.Tensor) and array.device.type != "cpu"


def _like(given: Any, result: Any) -> Any:
    if isinstance(given, np.ndarray):
        return result.numpy() if isinstance(result, torch.Tensor) else result
    return torch.from_numpy(result) if isinstance(result, np.ndarray) else result
