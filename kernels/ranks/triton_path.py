"""The Triton path: ranks by counting, then sums of products, or of signs over pairs; all in whole numbers.

One launch ranks every row; Spearman then takes one for products and two for squares, Kendall the same with the kernel
of pairs. Top shares and resamples are gathered by torch and ranked by the same kernel. On CUDA tensors, and on CPU
tensors under Triton's interpreter (TRITON_INTERPRET=1 before this module is imported).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import triton

from kernels.ranks import reference
from kernels.ranks.sums import Sums
from kernels.ranks.triton_kernels import product_kernel, rank_kernel, sign_kernel

_BLOCK = 64
_TILE = 64
_LONG = 256


def _ranks(values: torch.Tensor) -> torch.Tensor:
    """Centred doubled ranks (n, m), int32; 0 throughout a row that holds a NaN."""
    values = values.contiguous()
    n, m = values.shape
    ranks = torch.zeros((n, m), dtype=torch.int32, device=values.device)
    if ranks.numel():
        rank_kernel[(n, triton.cdiv(m, _BLOCK))](values, ranks, m, BLOCK=_BLOCK, TILE=_TILE)
    return ranks.masked_fill_(torch.isnan(values).any(dim=1, keepdim=True), 0)


def _centred(values: torch.Tensor) -> torch.Tensor:
    return _ranks(values).to(torch.float64)


def _reduced(kernel: Any, left: torch.Tensor, right: torch.Tensor, columns: int | None, **sizes: int) -> torch.Tensor:
    """Sums (n, columns) of every row of left with every row of right, or (n, 1) of rows with rows (columns None)."""
    n, m = left.shape
    sums = torch.empty((n, 1 if columns is None else columns), dtype=torch.int64, device=left.device)
    strides = (m, 0) if columns is None else (0, m)
    if sums.numel():
        kernel[tuple(sums.shape)](left, right, sums, m, *strides, **sizes)
    return sums.to(torch.float64)


def _sums(kernel: Any, scores: torch.Tensor, targets: torch.Tensor, **sizes: int) -> Sums:
    left, right = _ranks(scores), _ranks(targets)
    products = _reduced(kernel, left, right, len(right), **sizes)
    own, others = (_reduced(kernel, ranks, ranks, None, **sizes) for ranks in (left, right))
    return Sums(products, own, others[:, 0])


def average_ranks(values: torch.Tensor) -> torch.Tensor:
    """`kernels.ranks.average_ranks` of a checked tensor."""
    return reference.average_ranks(values, _centred)


def spearman_sums(scores: torch.Tensor, targets: torch.Tensor) -> Sums:
    """As in c_path."""
    return _sums(product_kernel, scores, targets, BLOCK=_LONG)


def kendall_sums(scores: torch.Tensor, targets: torch.Tensor) -> Sums:
    """As in c_path: a pair's sign times itself says whether it is untied."""
    return _sums(sign_kernel, scores, targets, BLOCK=_BLOCK, TILE=_TILE)


def top_sums(scores: torch.Tensor, targets: torch.Tensor, counts: Sequence[int]) -> Sums:
    """As in c_path."""
    return reference.top_sums(scores, targets, counts, _centred)


def bootstrap_sums(scores: torch.Tensor, target: torch.Tensor, indices: np.ndarray) -> Sums:
    """As in c_path."""
    return reference.bootstrap_sums(scores, target, indices, _centred)


def compile_ahead(capability: int) -> dict[str, dict[str, int]]:
    """Compile the kernels for an NVIDIA device that is not there (e.g. 90 for an H100); sizes of PTX and binary.

    Raises whatever Triton's compiler raises. Does not work under the interpreter.
    """
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    pointers = {"ranks": "*i32", "left": "*i32", "right": "*i32", "sums": "*i64"}
    chosen = {"BLOCK": _BLOCK, "TILE": _TILE}
    sizes = {}
    for kernel, name, given in (
        (rank_kernel, "rank_kernel", pointers | {"values": "*fp64"}),
        (rank_kernel, "rank_kernel float32", pointers | {"values": "*fp32"}),
        (product_kernel, "product_kernel", pointers),
        (sign_kernel, "sign_kernel", pointers),
    ):
        signature = {key: given.get(key, "constexpr" if key in chosen else "i32") for key in kernel.arg_names}
        constants = {(place,): chosen[key] for place, key in enumerate(kernel.arg_names) if key in chosen}
        built = triton.compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", capability, 32))
        sizes[name] = {"ptx": len(built.asm["ptx"]), "binary": len(built.asm["cubin"])}
    return sizes
