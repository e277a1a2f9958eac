"""Dense networks in C: the compiled path of `kernels.dense` on the CPU."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from kernels.build import CLibrary
from kernels.programs import c_path
from kernels.programs.packing import PackedPrograms

_HERE = Path(__file__).parent
LIBRARY = CLibrary("mlp", [_HERE / "mlp.c", _HERE / "tiles.c", _HERE / "real.c"])

MAX_LAYERS, MAX_SLOTS = 16, c_path.MAX_SLOTS
"""As in mlp.c and interpreter.c."""


@functools.lru_cache(maxsize=4)
def _function(name: str, itemsize: int) -> ctypes._CFuncPtr:
    function: ctypes._CFuncPtr = getattr(LIBRARY.load(), f"{name}_f{8 * itemsize}")
    pointer = ctypes.c_void_p
    tail = [pointer, pointer] if name == "mlp_logits" else [pointer, pointer, pointer, pointer]
    function.argtypes = [ctypes.c_long, ctypes.c_int, pointer, pointer, pointer, ctypes.c_long, *tail]
    function.restype = ctypes.c_int
    return function


@functools.lru_cache(maxsize=2)
def _trainer(itemsize: int) -> ctypes._CFuncPtr:
    function: ctypes._CFuncPtr = getattr(LIBRARY.load(), f"mlp_train_f{8 * itemsize}")
    pointer, long = ctypes.c_void_p, ctypes.c_long
    function.argtypes = [
        *(long, ctypes.c_int, pointer, pointer, pointer, long, long, pointer, pointer, pointer, pointer, pointer),
        *(pointer, long, pointer, pointer, pointer, pointer, ctypes.c_int, pointer, pointer),
    ]
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


def train(
    packed: PackedPrograms,
    weights: np.ndarray,
    slots: Sequence[np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    sizes: Sequence[int],
    schedule: np.ndarray,
    shapes: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """`kernels.dense.mlp_train` for checked numpy arrays; one thread, the interpreter lock released."""
    widths, offsets = _layout(tuple(sizes))
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    losses, finite = np.empty(len(weights), weights.dtype), np.zeros((len(weights), len(x)), np.bool_)
    pointers = (ctypes.c_void_p * max(1, len(slots)))(*(slot.ctypes.data for slot in slots))
    status = _trainer(weights.itemsize)(
        len(weights),
        len(widths) - 1,
        *(array.ctypes.data for array in (widths, offsets, weights)),
        x.shape[1],
        len(x),
        *(array.ctypes.data for array in (x, y, losses)),
        ctypes.cast(c_path.function(weights.itemsize), ctypes.c_void_p),
        None if shapes is None else shapes.ctypes.data,
        packed.header.ctypes.data,
        packed.header.shape[1],
        *(array.ctypes.data for array in (packed.phases, packed.code, packed.constants)),
        ctypes.addressof(pointers),
        len(slots),
        schedule.ctypes.data,
        finite.ctypes.data,
    )
    if status:
        raise MemoryError("no memory for the activations of a network, or for the registers of a program")
    return losses, finite
