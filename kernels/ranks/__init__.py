"""Rank correlations of many score rows with one target or several: tie-aware, batched, exact up to a last division.

`spearman`, `kendall` (tau-b), `spearman_top`, `spearman_bootstrap`, `average_ranks`: correlation.py has their rules.
The paths: ranks.c over c_path.py, numpy_path.py, reference.py (torch, the definition), triton_path.py. All of them hand
back sums that are whole numbers, so that they agree to the bit, and a row's result cannot depend on its company.
"""

from kernels.ranks.correlation import average_ranks, kendall, spearman, spearman_bootstrap, spearman_top
from kernels.ranks.sums import MAX_COLUMNS

__all__ = ["MAX_COLUMNS", "average_ranks", "kendall", "spearman", "spearman_bootstrap", "spearman_top"]
