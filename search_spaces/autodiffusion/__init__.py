"""`autodiffusion`: when, and with which solver, a diffusion model's network is called, if it may be called few times.

Read in this order: `genome.py` (what a schedule is), `schedules.py` (those in closed form), `sampling/` (solvers,
skipped blocks, a population sampled at once), `variation.py` and `budget.py` (how schedules change, and what they may
cost), `space.py` (what the engine sees), `evaluator.py`, `problem.py` (model, reference and features), `two_stage.py`
(the strategy), `report.py` and `random_search.py`. `models/` and `fid/` hold the models that ship and the distance;
`training/` made them.
"""

from search_spaces.autodiffusion.options import AutoDiffusionOptions
from search_spaces.autodiffusion.space import AutoDiffusion

__all__ = ["AutoDiffusion", "AutoDiffusionOptions"]
