"""One optimizer step of many programs at once, on whichever backend is there."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from kernels import dispatch
from kernels.errors import KernelError
from kernels.programs.packing import PackedPrograms
from kernels.programs.reference import reference_step


def optimizer_step(
    packed: PackedPrograms,
    weights: Any,
    gradients: Any,
    slots: Sequence[Any],
    schedule: Any,
    segments: Any,
    backend: str | None = None,
    active: Any | None = None,
    shapes: Any | None = None,
) -> Any:
    """Run every program on its own row, in place: update, new slots = program(w, g, slots..., lr); weights -= update.

    A row's result depends on that row and its program alone, to the bit: not on which programs share the call, nor on
    their order. Sums are taken in float64 in an order fixed by the tensors' lengths. One thread.

    Args:
        packed: n_programs programs (`kernels.programs.pack`).
        weights, gradients: (n_programs, n_parameters) float32 or float64, C-contiguous; numpy arrays, torch CPU tensors
            (used in place) or CUDA tensors.
        slots: state arrays of the same kind and shape, as many as the programs have; they share no memory.
        schedule: the programs' `lr` input: a number, or (n_programs,).
        segments: (n_tensors + 1,) int64 offsets of the tensors within n_parameters: 0, ..., n_parameters.
        backend: "c", "numpy", "torch", "triton", or None for the best one that is there (`kernels.dispatch`).
        active: (n_programs,) bool; rows that are False are left as they are. None: all rows.
        shapes: (n_tensors, 2) int64 rows and columns of the tensors, each row-major; a tensor is a matrix where both
            exceed 1. None: there are no matrices. Only `orthogonalize` tells matrices from other tensors; where no
            program calls it, shapes are not looked at.

    Returns:
        (n_programs,) bool: True where the row was worked on and its weights are all finite, whatever its slots hold.
        Numpy array, or torch tensor on the device of CUDA arguments.

    Raises:
        KernelError: arrays that do not fit together.
        BackendUnavailableError: the backend that was asked for is not there.
    """
    if isinstance(weights, torch.Tensor) and weights.device.type != "cpu":
        name = dispatch.choose(backend, weights.device.type, ("triton", "torch"))
    else:
        name = dispatch.choose(backend, "cpu")
        weights, gradients, *slots = (_numpy(array) for array in (weights, gradients, *slots))
    segments = np.ascontiguousarray(_numpy(segments), np.int64)
    check_arrays(packed, weights, gradients, slots, segments)
    schedule = _per_program(schedule, len(packed), np.float64, "schedule")
    active = _per_program(True if active is None else active, len(packed), np.bool_, "active")
    shapes = shapes_array(shapes if packed.reads_shapes else None, segments)
    if name == "c":
        from kernels.programs import c_path as path
    elif name == "numpy":
        from kernels.programs import numpy_path as path
    elif name == "triton":
        from kernels.programs import triton_path as path
    else:
        return _torch_step(packed, weights, gradients, slots, schedule, segments, active, shapes)
    return path.step(packed, weights, gradients, slots, schedule, segments, active, shapes)


def _numpy(array: Any) -> np.ndarray:
    return array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)


def _per_program(value: Any, count: int, dtype: type, name: str) -> np.ndarray:
    array = np.asarray(_numpy(value), dtype)
    if array.ndim and array.shape != (count,):
        raise KernelError(f"{name} must be one value or ({count},), not {array.shape}")
    return np.full(count, array, dtype)


def check_arrays(
    packed: PackedPrograms, weights: Any, gradients: Any, slots: Sequence[Any], segments: np.ndarray
) -> None:
    """Raise KernelError unless arrays fit programs, tensors and one another; `gradients` may be None."""
    if len(slots) != packed.n_slots:
        raise KernelError(f"the programs have {packed.n_slots} slots, {len(slots)} were given")
    if weights.ndim != 2 or len(weights) != len(packed):
        raise KernelError(f"weights must be ({len(packed)}, n_parameters), not {tuple(weights.shape)}")
    if str(weights.dtype).removeprefix("torch.") not in ("float32", "float64"):
        raise KernelError(f"weights must be float32 or float64, not {weights.dtype}")
    for name, array in (("gradients", gradients), *((f"slot {number}", slot) for number, slot in enumerate(slots))):
        if array is None:
            continue
        if array.shape != weights.shape or array.dtype != weights.dtype:
            raise KernelError(
                f"{name} is {tuple(array.shape)} {array.dtype}, weights are {tuple(weights.shape)} {weights.dtype}"
            )
    arrays = [array for array in (weights, *slots, gradients) if array is not None]
    for number, array in enumerate(arrays):
        cuda = isinstance(array, torch.Tensor)
        if not (array.is_contiguous() if cuda else array.flags.c_contiguous):
            raise KernelError("arrays must be C-contiguous", "pass whole arrays, not slices of their columns")
        if not cuda and number <= len(slots) and not array.flags.writeable:
            raise KernelError("weights and slots are changed in place and must be writeable", "pass copies")
    starts = sorted(array.data_ptr() if isinstance(array, torch.Tensor) else array.ctypes.data for array in arrays)
    size = weights.shape[0] * weights.shape[1] * (4 if "32" in str(weights.dtype) else 8)
    if any(second - first < size for first, second in itertools.pairwise(starts)):
        raise KernelError("weights, gradients and slots must not share memory", "pass copies")
    if segments.ndim != 1 or len(segments) < 2 or segments[0] != 0 or segments[-1] != weights.shape[1]:
        raise KernelError(f"segments must run from 0 to {weights.shape[1]}, not {segments}")
    if (np.diff(segments) <= 0).any():
        raise KernelError(f"segments must increase strictly, not {segments}", "leave empty tensors out")


def shapes_array(shapes: Any, segments: np.ndarray) -> np.ndarray | None:
    """`shapes` of `optimizer_step` as the backends take them, checked."""
    if shapes is None:
        return None
    array = np.ascontiguousarray(_numpy(shapes), np.int64)
    lengths = np.diff(segments)
    if array.shape != (len(lengths), 2):
        raise KernelError(f"shapes must be ({len(lengths)}, 2), rows and columns of each tensor, not {array.shape}")
    if (array < 1).any() or (array.prod(axis=1) != lengths).any():
        raise KernelError(
            f"shapes {array.tolist()} do not fit tensors of {lengths.tolist()} elements",
            "give rows and columns of each, (size, 1) where it is no matrix",
        )
    return array


def _torch_step(
    packed: PackedPrograms,
    weights: Any,
    gradients: Any,
    slots: Sequence[Any],
    schedule: np.ndarray,
    segments: np.ndarray,
    active: np.ndarray,
    shapes: np.ndarray | None,
) -> Any:
    """The reference, a row at a time."""
    tensors = [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in (weights, gradients, *slots)]
    finite = torch.zeros(len(packed), dtype=torch.bool, device=tensors[0].device)
    for row in np.flatnonzero(active):
        own = [tensor[row] for tensor in tensors]
        result = reference_step(
            packed.programs[row], own[0], own[1], own[2:], float(schedule[row]), segments, shapes=shapes
        )
        for target, value in zip((own[0], *own[2:]), (result.weights, *result.slots), strict=True):
            target.copy_(value)
        finite[row] = result.finite
    return finite.numpy() if isinstance(weights, np.ndarray) else finite
