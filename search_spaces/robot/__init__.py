"""`robot`: training-free neural architecture search that is robust: metrics combined by Bayesian optimisation.

Read in this order: `tables/` (what a benchmark's table is), `pool.py` (architectures and scaled metrics; weights rank
them), `problem.py` (a pool and its accuracies), `space.py` (what the engine sees), `evaluator.py`, `report.py`;
`neighbours.py` (mutation). `architectures/` builds networks, `benchmark/` made the table that ships.
"""

from search_spaces.robot.options import RobotOptions
from search_spaces.robot.space import Robot

__all__ = ["Robot", "RobotOptions"]
