"""Checks of what the rank correlations are called with: shapes, dtypes, one kind of array, sizes that stay exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from kernels.errors import KernelError
from kernels.ranks.sums import MAX_COLUMNS

_FLOATS = {"float32", "float64"}


def dtype_name(array: Any) -> str:
    """Name of a dtype, numpy's or torch's: "float32"."""
    return str(array.dtype).removeprefix("torch.")


def check_rows(name: str, array: Any, allowed_dimensions: tuple[int, ...] = (2,)) -> None:
    """A float array with a column or more.

    Raises:
        KernelError: another type, dtype or number of dimensions; no columns, or too many to stay exact.
    """
    if not isinstance(array, np.ndarray | torch.Tensor):
        raise KernelError(f"{name} must be a numpy array or a torch tensor, not {type(array).__name__}")
    shapes = " or ".join("(m,)" if dimensions == 1 else f"({name[0]}, m)" for dimensions in allowed_dimensions)
    if array.ndim not in allowed_dimensions:
        raise KernelError(f"{name} must have the shape {shapes}, not {tuple(array.shape)}")
    if dtype_name(array) not in _FLOATS:
        raise KernelError(f"{name} must be float32 or float64, not {dtype_name(array)}", "say array.astype(float)")
    if not 1 <= array.shape[-1] <= MAX_COLUMNS:
        raise KernelError(f"{name} must have 1 to {MAX_COLUMNS} columns, not {array.shape[-1]}")


def check_pair(scores: Any, targets: Any, allowed_dimensions: tuple[int, ...] = (1, 2)) -> None:
    """Scores (n, m) and targets that stand over the same columns, on one device.

    Raises:
        KernelError: they do not fit together.
    """
    check_rows("scores", scores)
    check_rows("targets", targets, allowed_dimensions)
    if scores.shape[1] != targets.shape[-1]:
        raise KernelError(f"scores have {scores.shape[1]} columns and targets {targets.shape[-1]}")
    if isinstance(scores, np.ndarray) != isinstance(targets, np.ndarray):
        raise KernelError("scores and targets must be of one kind", "say torch.from_numpy(...) or tensor.numpy()")
    if isinstance(scores, torch.Tensor) and scores.device != targets.device:
        raise KernelError(f"scores are on {scores.device} and targets on {targets.device}", "move them together")


def top_counts(shares: Sequence[float], n_columns: int) -> tuple[int, ...]:
    """How many columns each share keeps: floor(share * m), where 0.29 of 100 is 29 whatever binary fractions say.

    Raises:
        KernelError: a share outside (0, 1].
    """
    for share in shares:
        if not 0.0 < share <= 1.0:
            raise KernelError(f"a share must lie in (0, 1], not {share}", "0.2 is the upper fifth of the scores")
    return tuple(min(n_columns, int(share * n_columns * (1 + 1e-12))) for share in shares)


def check_indices(indices: Any, n_columns: int) -> np.ndarray:
    """Resampling indices (b, size) as int64 in numpy's memory.

    Raises:
        KernelError: shape, dtype or range are off.
    """
    array = indices.cpu().numpy() if isinstance(indices, torch.Tensor) else np.asarray(indices)
    if array.ndim != 2 or array.dtype.kind not in "iu" or not 1 <= array.shape[1] <= MAX_COLUMNS:
        raise KernelError(f"indices must be whole numbers (b, size), not {array.dtype} {array.shape}")
    if array.size and not (array.min() >= 0 and array.max() < n_columns):
        raise KernelError(f"indices must lie in [0, {n_columns}), not [{array.min()}, {array.max()}]")
    return np.require(array, np.int64, "CA")
