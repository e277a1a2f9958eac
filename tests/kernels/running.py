"""Runs programs on a backend, with CPU arrays or, where Triton has a GPU, with CUDA tensors."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from kernels.programs import optimizer_step, pack


def run(programs, state, schedule, segments, backend, active=None, shapes=None):
    """One step on copies of `state`: (weights, v1, v2, ...) afterwards, and the finite mask, all numpy."""
    packed = programs if hasattr(programs, "take") else pack(programs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the interpreter computes with numpy
        if backend == "triton" and torch.cuda.is_available():
            tensors = [torch.from_numpy(array).cuda() for array in state]
            arguments = (tensors[0], tensors[1], tensors[2:], schedule, segments, backend, active, shapes)
            finite = optimizer_step(packed, *arguments)
            torch.cuda.synchronize()
            arrays, finite = [tensor.cpu().numpy() for tensor in tensors], finite.cpu().numpy()
        else:
            arrays = [array.copy() for array in state]
            arguments = (arrays[0], arrays[1], arrays[2:], schedule, segments, backend, active, shapes)
            finite = optimizer_step(packed, *arguments)
    np.testing.assert_array_equal(arrays[1], state[1], err_msg="gradients are read only")
    return [arrays[0], *arrays[2:]], finite
