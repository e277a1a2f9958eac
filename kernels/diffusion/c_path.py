"""The compiled path: hands contiguous rows to advance.c; one thread, the interpreter lock released."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import torch
from torch import Tensor

from kernels.build import CLibrary

LIBRARY = CLibrary("diffusion", [Path(__file__).parent / "advance.c"])


@functools.lru_cache(maxsize=1)
def _function() -> ctypes._CFuncPtr:
    function: ctypes._CFuncPtr = LIBRARY.load().diffusion_advance
    whole, place = ctypes.c_long, ctypes.c_void_p
    function.argtypes = [*[whole] * 3, *[place] * 5, ctypes.c_int, ctypes.c_float, place, place]
    function.restype = None
    return function


def advance(
    x: Tensor, output: Tensor, history: Tensor, reads: Tensor, matrix: Tensor, clip: float | None
) -> tuple[Tensor, Tensor]:
    """`kernels.diffusion.advance` of checked, contiguous CPU tensors."""
    following, later = torch.empty_like(x), torch.empty_like(history)
    tensors = (x, output, history, reads, matrix)
    _function()(
        *x.shape, history.shape[1], *(tensor.data_ptr() for tensor in tensors), clip is not None, clip or 0.0,
        following.data_ptr(), later.data_ptr(),
    )  # fmt: skip
    return following, later
