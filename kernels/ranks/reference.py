"""What the rank correlations compute, in torch: the definition, on any device.

Ranks are counts (values below, values not above), Kendall's products are signs of differences over all pairs, a
resample is drawn and ranked. `centred` may be given, so that the Triton path shares what is not a kernel there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from kernels.ranks.sums import Sums

Ranks = Callable[[torch.Tensor], torch.Tensor]

# Elements of one temporary: 64 MiB of float64.
_ELEMENTS = 1 << 23


def chunks(n: int, elements_each: int) -> Iterator[slice]:
    """Slices of 0..n with a bounded number of elements."""
    size = max(1, _ELEMENTS // max(1, elements_each))
    return (slice(start, min(n, start + size)) for start in range(0, n, size))


def centred_ranks(values: torch.Tensor) -> torch.Tensor:
    """Twice the average ranks of each row, less m + 1: (values below) + (values not above) - m, float64.

    Args:
        values: (n, m) float32 or float64.

    Returns:
        (n, m) float64 whole numbers; 0 throughout a row that holds a NaN.
    """
    values = values.contiguous() + 0.0
    in_order = torch.sort(values, dim=1).values
    below, not_above = (torch.searchsorted(in_order, values, right=right) for right in (False, True))
    ranks = (below + not_above - values.shape[1]).to(torch.float64)
    return torch.where(torch.isnan(values).any(dim=1, keepdim=True), 0.0, ranks)


def average_ranks(values: torch.Tensor, centred: Ranks = centred_ranks) -> torch.Tensor:
    """`kernels.ranks.average_ranks` of a checked tensor."""
    ranks = 0.5 * (centred(values) + (values.shape[1] + 1))
    return torch.where(torch.isnan(values).any(dim=1, keepdim=True), torch.nan, ranks)


def spearman_sums(scores: torch.Tensor, targets: torch.Tensor) -> Sums:
    """As in c_path. The matrix product is exact in any order: whole numbers below 2^53."""
    left, right = centred_ranks(scores), centred_ranks(targets)
    return Sums(left @ right.T, left.square().sum(dim=1, keepdim=True), right.square().sum(dim=1))


def kendall_sums(scores: torch.Tensor, targets: torch.Tensor) -> Sums:
    """As in c_path: each pair of columns is counted twice, then halved."""
    left, right = centred_ranks(scores), centred_ranks(targets)  # ordered as the values, 0 where there is a NaN
    n, m = left.shape
    products = left.new_zeros((n, len(right)))
    squares, target_squares = left.new_zeros((n, 1)), left.new_zeros(len(right))
    for columns in chunks(m, m * max(1, len(right))):
        signs = torch.sign(right[:, columns, None] - right[:, None, :]).flatten(1)
        target_squares += signs.abs().sum(dim=1)
        for rows in chunks(n, signs.shape[1]):
            own = torch.sign(left[rows, columns, None] - left[rows, None, :]).flatten(1)
            products[rows] += own @ signs.T
            squares[rows] += own.abs().sum(dim=1, keepdim=True)
    return Sums(products / 2, squares / 2, target_squares / 2)


def top_sums(
    scores: torch.Tensor, targets: torch.Tensor, counts: Sequence[int], centred: Ranks = centred_ranks
) -> Sums:
    """As in c_path."""
    # Stable: of equal scores, the smaller index. Adding 0.0 makes -0.0 equal to 0.0 for every sort there is.
    best = torch.sort(scores + 0.0, dim=1, descending=True, stable=True).indices
    good = ~torch.isnan(scores).any(dim=1)[:, None]
    usable = good & ~torch.isnan(targets).any(dim=1)
    products, left, right = [], [], []
    for count in counts:
        chosen = best[:, :count]
        ranks = centred(scores.gather(1, chosen))
        others = torch.stack([centred(target[chosen]) for target in targets], dim=1) if len(targets) else ranks[:, :0]
        products.append(torch.where(usable, (ranks[:, None] * others).sum(dim=-1), 0.0))
        left.append(torch.where(good, ranks.square().sum(dim=1, keepdim=True), 0.0))
        right.append(torch.where(usable, others.square().sum(dim=-1), 0.0))
    return Sums(*(torch.stack(sums, dim=-1) for sums in (products, left, right)))


def bootstrap_sums(
    scores: torch.Tensor, target: torch.Tensor, indices: np.ndarray, centred: Ranks = centred_ranks
) -> Sums:
    """As in c_path: the columns drawn are ranked anew."""
    n, (b, size) = len(scores), indices.shape
    both = torch.cat([scores.to(torch.float64), target.to(torch.float64)])
    drawn = torch.from_numpy(indices).to(scores.device)
    products, squares = both.new_zeros((n, b)), both.new_zeros((n + 1, b))
    for part in chunks(b, (n + 1) * size):
        ranks = centred(both[:, drawn[part]].flatten(0, 1)).view(n + 1, -1, size)
        products[:, part] = (ranks[:n] * ranks[n]).sum(dim=-1)
        squares[:, part] = ranks.square().sum(dim=-1)
    good = ~torch.isnan(both).any(dim=1, keepdim=True)
    squares = torch.where(good, squares, 0.0)
    return Sums(torch.where(good[:n] & good[n], products, 0.0), squares[:n], squares[n])
