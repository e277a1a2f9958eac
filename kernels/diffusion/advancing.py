"""The one entry point: checks shapes, picks the path."""

from __future__ import annotations

from typing import Any

import torch

from kernels import dispatch
from kernels.diffusion import c_path, reference
from kernels.errors import KernelError

SUPPORTED = ("c", "torch", "triton")


def advance(
    x: torch.Tensor,
    output: torch.Tensor,
    history: torch.Tensor,
    reads: torch.Tensor,
    matrix: torch.Tensor,
    clip: float | None = None,
    backend: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step of a deterministic solver, of n samples.

    Args:
        x: (n, d) float32, the network's inputs.
        output: (n, d) float32, its outputs.
        history: (n, s, d) float32, what each row's solver remembers; s may be 0.
        reads: (n, 2) float32, (p, q): the predicted image is p x + q output.
        matrix: (n, 1 + s, 2 + s) float32: rows give the next input and the next history, columns weigh the input, the
            predicted image and the history.
        clip: the predicted image is clipped to [-clip, clip]; None: it is not. NaN stays NaN.
        backend: as in `kernels.dispatch`; there is no numpy path.

    Returns:
        the next inputs (n, d) and histories (n, s, d), float32, on the device of x.

    Raises:
        KernelError: shapes, dtypes, devices or backend do not fit.
    """
    given = {"x": x, "output": output, "history": history, "reads": reads, "matrix": matrix}
    for name, tensor in given.items():
        if tensor.dtype != torch.float32 or tensor.device != x.device:
            raise KernelError(
                f"{name} is {tensor.dtype} on {tensor.device}", f"all arrays are float32, here on {x.device}"
            )
    n, d = x.shape if x.ndim == 2 else (-1, -1)
    slots = history.shape[1] if history.ndim == 3 else -1
    wanted = {
        "output": (n, d), "history": (n, slots, d), "reads": (n, 2), "matrix": (n, 1 + slots, 2 + slots),
    }  # fmt: skip
    for name, shape in wanted.items():
        if tuple(given[name].shape) != shape or n < 0 or slots < 0:
            raise KernelError(
                f"{name} has the shape {tuple(given[name].shape)}, x {tuple(x.shape)}, history {tuple(history.shape)}",
                "x and output (n, d), history (n, s, d), reads (n, 2), matrix (n, 1 + s, 2 + s)",
            )
    if clip is not None and not clip > 0:
        raise KernelError(f"clip is {clip}", "a positive number, or None")
    path: Any = reference
    chosen = _chosen(backend, "cuda" if x.device.type != "cpu" else "cpu")
    if chosen == "c":
        path = c_path
    elif chosen == "triton":
        from kernels.diffusion import triton_path as path  # triton need not be installed
    return path.advance(*(tensor.contiguous() for tensor in given.values()), clip)


def _chosen(backend: str | None, device: str) -> str:
    """A machine without a compiler, or told to use numpy, runs the reference: on a CPU they are equal to the bit."""
    chosen = dispatch.choose(backend, device)
    return "torch" if chosen == "numpy" and backend is None else _checked(chosen)


def _checked(chosen: str) -> str:
    if chosen not in SUPPORTED:
        raise KernelError(f"this kernel has no {chosen!r} version", f"say one of {', '.join(SUPPORTED)}")
    return chosen
