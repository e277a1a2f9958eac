"""What every path hands back: exact sums, from which a correlation is one product, one root and one division."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

MAX_COLUMNS = 1 << 18
"""Centred doubled ranks are below m, sums of their squares below m^3 / 3: less than 2^53 up to here, as in ranks.c."""


class Sums(NamedTuple):
    """Float64 arrays that broadcast against each other, all whole numbers below 2^53.

    Attributes:
        products: sum of products of centred ranks; or concordant less discordant pairs.
        left: sum of squares of the scores' centred ranks; or pairs that the scores do not tie. 0 where there is a NaN.
        right: the same of the target.
    """

    products: Any
    left: Any
    right: Any

    def correlation(self) -> Any:
        """products / sqrt(left * right); NaN where a side is constant or holds a NaN.

        Within [-1, 1] without clipping, and exactly 1 for equal rankings: products^2 <= left * right holds of the whole
        numbers, rounding is monotone, and the root of a rounded square is its base.
        """
        if isinstance(self.products, np.ndarray):
            with np.errstate(invalid="ignore"):
                correlation: Any = self.products / np.sqrt(self.left * self.right)
            return correlation
        return self.products / torch.sqrt(self.left * self.right)


def to_numpy(sums: Sums) -> Sums:
    """The same sums in numpy's memory."""
    return Sums(*(array.cpu().numpy() if isinstance(array, torch.Tensor) else array for array in sums))
