"""The best configuration of an additive proxy by integer programming: a multiple-choice knapsack, solved to the end.

maximise sum_lc t_lc x_lc  subject to  sum_c x_lc = 1 for each layer,  sum_lc cost_lc x_lc <= limit,  x binary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from proxies.errors import ProxyError
from proxies.quantization.allocation.problem import Problem, total
from proxies.quantization.allocation.quiet import quiet_stdout

RANGE = 1e4
"""The objective's range as the solver sees it: HiGHS stops within 1e-6 of its bound, here 1e-10 of the range."""
ATTEMPTS = 100


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """What a solver found.

    Attributes:
        places: (layers,) column of each layer's bits.
        score: the sum of the table there.
        optimal: whether no configuration within the budget scores more (to 1e-10 of the table's range).
        bound: no configuration within the budget scores above it; NaN where that is not known.
        evaluations: configurations scored; 0 for the integer program.
    """

    places: np.ndarray
    score: float
    optimal: bool
    bound: float
    evaluations: int = 0


def solve(problem: Problem, table: np.ndarray, time_limit: float | None = None) -> Solution:
    """The best configuration.

    Of bits with which a layer scores the same, the fewest are taken.

    Args:
        problem: feasible.
        table: (layers, columns) float64, larger is better; entries of bits that are not allowed are not read.
        time_limit: seconds; where they run out, the best so far with `optimal` False. None: none.

    Raises:
        ProxyError: the table has another shape or is not finite, or the solver ends without a configuration.
    """
    table = np.asarray(table, np.float64)
    if table.shape != problem.allowed.shape:
        raise ProxyError(
            f"the table of scores is {table.shape}, expected (layers, bits) = {problem.allowed.shape}",
            "a proxy's table has a row for each layer and a column for each bit-width",
        )
    if not np.isfinite(table[problem.allowed]).all():
        layer = problem.names[int(np.argwhere(~np.isfinite(table) & problem.allowed)[0][0])]
        raise ProxyError(f"the proxy's term of layer {layer} is not finite", "check the model and the batch")
    rows, columns = np.nonzero(problem.allowed)
    gains = table[rows, columns] - np.where(problem.allowed, table, np.inf).min(1)[rows]
    with np.errstate(over="ignore"):
        spread = float(np.maximum.reduceat(gains, np.searchsorted(rows, np.arange(len(table)))).sum())
    if not math.isfinite(spread):
        raise ProxyError("the proxy's terms differ by more than a float64 can hold", "scale the proxy")
    objective = -RANGE * (gains / spread) if spread > 0 else np.zeros(len(gains))
    constraints = [LinearConstraint(_one_a_layer(rows, len(table)), 1, 1)]
    for costs, most in problem.limits():
        extra = costs[rows, columns] - costs[np.arange(len(table)), problem.smallest()][rows]
        most -= int(total(costs, problem.smallest()[None])[0])
        # smaller coefficients: the solver's feasibility is to 1e-6 of one unit
        unit = int(np.gcd.reduce(extra)) or 1
        constraints.append(LinearConstraint(csr_array(extra[None] / unit), -np.inf, most // unit))
    options = {"mip_rel_gap": 0.0, **({} if time_limit is None else {"time_limit": time_limit})}
    for _ in range(ATTEMPTS):
        with quiet_stdout():
            found = milp(objective, integrality=1, bounds=Bounds(0, 1), constraints=constraints, options=options)
        if found.x is None or found.status not in (0, 1):
            raise ProxyError(f"the integer program ended without a configuration: {found.message}", "raise time_limit")
        places = _places(problem, rows, columns, found.x)
        if bool(problem.fits(places[None])[0]):
            break
        # within the solver's tolerance of the limit, but above it: this one configuration is cut off
        cut = (places[rows] == columns).astype(np.float64)
        constraints.append(LinearConstraint(csr_array(cut[None]), -np.inf, len(table) - 1))
    else:
        raise ProxyError("the integer program gave no configuration that keeps to the limit exactly")
    places = _fewest(problem, table, places)
    score = float(total(table, places[None])[0])
    least = float(total(table, np.where(problem.allowed, table, np.inf).argmin(1)[None])[0])
    bound = math.nan if found.mip_dual_bound is None else max(score, least - found.mip_dual_bound / RANGE * spread)
    return Solution(places, score, found.status == 0, bound)


def _one_a_layer(rows: np.ndarray, layers: int) -> csr_array:
    return csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(layers, len(rows)))


def _places(problem: Problem, rows: np.ndarray, columns: np.ndarray, x: np.ndarray) -> np.ndarray:
    chosen = np.full(problem.allowed.shape, -1.0)
    chosen[rows, columns] = x
    return chosen.argmax(1)


def _fewest(problem: Problem, table: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The same score with fewer bits, layer by layer."""
    here = table[np.arange(len(table)), places]
    return (problem.allowed & (table >= here[:, None])).argmax(1)
