"""Batched evaluation: torch references, compiled CPU paths and Triton paths, chosen in one place.

Imports with numpy and torch alone; a C compiler and Triton are found, never required. `backends()` says what is there.

How a kernel is written here: one function a file or folder; a torch reference that defines what it computes; for
the CPU a C path (kernels/build.py) with a numpy path beside it; a Triton path for CUDA; a function that checks its
arguments and asks kernels/dispatch.py which of them to run; tests that hold every path against the reference; a line in
benchmarks/gpu.py with its memory or arithmetic limit.
"""

from kernels.dispatch import backends, digest
from kernels.errors import BackendFallbackWarning, BackendUnavailableError, BuildError, KernelError

__all__ = ["BackendFallbackWarning", "BackendUnavailableError", "BuildError", "KernelError", "backends", "digest"]
