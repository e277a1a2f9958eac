"""Dense networks in C: the compiled path of `kernels.dense` on the CPU."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from kernels.build import CLibrary

_HERE = Path(__file__).parent
LIBRARY = CLibrary("mlp", [_HERE / "mlp.c", _HERE / "real.c"])

MAX_LAYERS = 16
"""As in mlp.c."""


@functools.lru_cache(maxsize=4)
def _function(name: str, itemsize: int) -> ctypes._CFuncPtr:
    function: ctypes._CFuncPtr = getattr(LIBRARY.load(), f"{name}_f{8 * itemsize}")
    pointer = ctypes.c_void_p
    tail = [pointer, pointer] if name == "mlp_logits" else [pointer, pointer, pointer, pointer]
    function.argtypes = [ctypes.c_long, ctypes.c_int, pointer, pointer, pointer, ctypes.c_long, *tail]
    function.restype = ctypes.c_int
    return function


@functools.lru_cache(maxsize=64)
def _layout(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    lengths = [length for inputs, outputs in pairwise(sizes) for length in (inputs * outputs, outputs)]
    return np.asarray(sizes, np.int64), np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)


def loss_and_gradient(
    weights: np.ndarray, x: np.ndarray, y: np.ndarray, sizes: Sequence[int], gradient_out: np.ndarray
) -> np.ndarray:
    """`kernels.dense.mlp_loss_and_gradient` for checked numpy arrays; one thread, the interpreter lock released."""
    widths, offsets = _layout(tuple(sizes))
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    losses = np.empty(len(weights), weights.dtype)
    status = _function("mlp_loss_and_gradient", weights.itemsize)(
        len(weights),
        len(widths) - 1,
        *(array.ctypes.data for array in (widths, offsets, weights)),
        len(x),
        *(array.ctypes.data for array in (x, y, losses, gradient_out)),
    )
    if status:
        raise MemoryError("no memory for the activations of a network")
    return losses


def logits(weights: np.ndarray, x: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """`kernels.dense.mlp_logits` for checked numpy arrays: (N, B, sizes[-1])."""
    widths, offsets = _layout(tuple(sizes))
    x = np.ascontiguousarray(x)
    out = np.empty((len(weights), len(x), sizes[-1]), weights.dtype)
    status = _function("mlp_logits", weights.itemsize)(
        len(weights),
        len(widths) - 1,
        *(array.ctypes.data for array in (widths, offsets, weights)),
        len(x),
        *(array.ctypes.data for array in (x, out)),
    )
    if status:
        raise MemoryError("no memory for the activations of a network")
    return out
