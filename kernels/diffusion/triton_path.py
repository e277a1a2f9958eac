"""The Triton path: on CUDA tensors, and on CPU tensors under Triton's interpreter."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from kernels.diffusion.triton_kernels import advance_kernel

_BLOCK = 1024


def advance(
    x: Tensor, output: Tensor, history: Tensor, reads: Tensor, matrix: Tensor, clip: float | None
) -> tuple[Tensor, Tensor]:
    """`kernels.diffusion.advance` of checked, contiguous tensors. A GPU may fuse a product and a sum."""
    following, later = torch.empty_like(x), torch.empty_like(history)
    n, d = x.shape
    if x.numel():
        # a tensor without elements has no address: what is never read may be anything
        past, store = (history, later) if history.numel() else (x, following)
        advance_kernel[(n, triton.cdiv(d, _BLOCK))](
            x, output, past, reads, matrix, following, store, d, clip or 0.0, history.shape[1], clip is not None, _BLOCK
        )  # fmt: skip
    return following, later


def compile_ahead(capability: int) -> dict[str, dict[str, int]]:
    """Compile the kernel for an NVIDIA device that is not there (e.g. 90 for an H100); sizes of PTX and binary.

    Raises whatever Triton's compiler raises. Does not work under the interpreter.
    """
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    chosen = {"SLOTS": 3, "CLIPS": True, "BLOCK": _BLOCK}
    others = {"d": "i32", "limit": "fp32"}
    names = advance_kernel.arg_names
    signature = {name: "constexpr" if name in chosen else others.get(name, "*fp32") for name in names}
    constants = {(names.index(name),): value for name, value in chosen.items()}
    built = triton.compile(ASTSource(advance_kernel, signature, constants), target=GPUTarget("cuda", capability, 32))
    return {"advance_kernel": {"ptx": len(built.asm["ptx"]), "binary": len(built.asm["cubin"])}}
