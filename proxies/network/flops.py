"""Operations of a forward pass, counted as the published NAS-Bench-201 tables count them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from proxies.network.watching import Call, Observer


class Flops(Observer):
    """Counts while a network runs; `count / samples` is one sample's.

    The convention is NAS-Bench-Suite-Zero's (tensorwatch): a multiply-accumulate is 1, a bias of a convolution 1 an
    output, that of a linear layer nothing; a normalised element 2, a ReLU 1; a pooled element as many as its window
    has; an element of a global or adaptive pool (h + 1)(w + 1), h x w its window (that is what their code gives: on
    CIFAR-10 the empty NAS-Bench-201 network has 7,943,872). Sums of tensors and operations of other kinds are free, and
    so is what torch's own attention does inside itself.
    """

    kinds = frozenset({"convolution", "linear", "batch_norm", "norm", "relu", "pool", "global_pool", "mean", "product"})

    def __init__(self) -> None:
        self.count = 0

    def after(self, call: Call) -> None:
        """Add the call's operations."""
        given, output = call.input, call.output
        if call.kind == "convolution":
            weight = call.arguments["weight"]
            self.count += output.numel() * (weight[0].numel() + (call.arguments.get("bias") is not None))
        elif call.kind in ("linear", "product"):
            self.count += output.numel() * given.shape[-1]
        elif call.kind in ("batch_norm", "norm"):
            self.count += 2 * output.numel()
        elif call.kind == "relu":
            self.count += output.numel()
        elif call.kind == "pool":
            self.count += output.numel() * _area(call.arguments["kernel_size"], given.ndim - 2)
        elif call.kind == "global_pool":
            window = [full // part + 1 for full, part in zip(given.shape[-2:], output.shape[-2:], strict=True)]
            self.count += output.numel() * math.prod(window)
        elif _is_global_mean(call):
            self.count += given.shape[0] * given.shape[1] * (given.shape[2] + 1) * (given.shape[3] + 1)


def _area(kernel: int | Sequence[int], dimensions: int) -> int:
    return kernel**dimensions if isinstance(kernel, int) else math.prod(kernel)


def _is_global_mean(call: Call) -> bool:
    dims = call.arguments.get("dim")
    return call.input.ndim == 4 and isinstance(dims, (tuple, list)) and sorted(d % 4 for d in dims) == [2, 3]
