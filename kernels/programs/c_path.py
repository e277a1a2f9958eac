"""The compiled path: hands packed programs to the block interpreter in interpreter.c."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kernels.build import CLibrary
from kernels.errors import BuildError, KernelError
from kernels.programs.fusing import FUSED
from kernels.programs.opcodes import NAMES
from kernels.programs.packing import PackedPrograms

_HERE = Path(__file__).parent
LIBRARY = CLibrary("programs", [_HERE / "interpreter.c", _HERE / "matrix.c", _HERE / "block.c"])

MAX_SLOTS = 14
"""MAX_IN in interpreter.c, less weights and gradients."""


@functools.lru_cache(maxsize=2)
def function(itemsize: int) -> ctypes._CFuncPtr:
    """`optimizer_step` for floats of that many bytes, 4 or 8."""
    library = LIBRARY.load()
    library.opcodes.restype = ctypes.c_char_p
    names = tuple(library.opcodes().decode().lower().split())
    if names != (*NAMES, "copy", "sum_product", "sum_leaves", *FUSED):
        raise BuildError("interpreter.c and opcodes.py disagree about the opcodes", "bring their tables into one order")
    found: ctypes._CFuncPtr = library.optimizer_step_f32 if itemsize == 4 else library.optimizer_step_f64
    pointer = ctypes.c_void_p
    found.argtypes = [
        *(ctypes.c_long, ctypes.c_long, ctypes.c_int, pointer, pointer, pointer, pointer, pointer, pointer, pointer),
        *(pointer, pointer, ctypes.c_int, pointer, pointer, pointer),
    ]
    found.restype = ctypes.c_int
    return found


def step(
    packed: PackedPrograms,
    weights: np.ndarray,
    gradients: np.ndarray,
    slots: Sequence[np.ndarray],
    schedule: np.ndarray,
    segments: np.ndarray,
    active: np.ndarray,
    shapes: np.ndarray | None,
) -> np.ndarray:
    """`kernels.programs.optimizer_step` for checked numpy arrays; one thread, the interpreter lock released."""
    if len(slots) > MAX_SLOTS:
        raise KernelError(f"the compiled path takes at most {MAX_SLOTS} slots, not {len(slots)}", "use 'numpy'")
    finite = np.zeros(len(packed), np.bool_)
    pointers = (ctypes.c_void_p * max(1, len(slots)))(*(slot.ctypes.data for slot in slots))
    status = function(weights.itemsize)(
        len(packed),
        weights.shape[1],
        len(segments) - 1,
        segments.ctypes.data,
        None if shapes is None else shapes.ctypes.data,
        *(array.ctypes.data for array in (packed.header, packed.phases, packed.code, packed.constants)),
        weights.ctypes.data,
        gradients.ctypes.data,
        ctypes.addressof(pointers),
        len(slots),
        schedule.ctypes.data,
        active.ctypes.data,
        finite.ctypes.data,
    )
    if status:
        raise MemoryError("no memory for the registers of the block interpreter")
    return finite
