"""Live runs: a pool of real networks is scored, and those that are queried are trained.

Read in this order: `names.py` (metrics), `data.py` (images), `recipe.py` (what a worker must know), `drawing.py` (which
architectures are in the pool), `scoring.py` (their metrics, over the workers, kept), `problem.py` (the pool that comes
of it), `evaluator.py` (a query is a training), `report.py` (test accuracy, at the end alone).
"""
