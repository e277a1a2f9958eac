"""`emq`: search for training-free proxies of mixed-precision quantization.

Read in this order: `language.py` and `operators.py` (what a proxy is), `expression.py` (its simplified form),
`scaling.py` (what rescaling a layer does to it), `known.py` (those that are known), `space.py` (what the engine sees),
`statistics.py` and `samples.py` (what proxies look at), `arithmetic.py` and `released.py` (what operators compute),
`tables.py` and `scoring.py` (all configurations at once), `evaluator.py` (what a candidate is worth), `problem.py`
(networks and their tables), `report.py`. `benchmark/` made the tables; `export/` writes a proxy as a module of its own;
`allocate/` spends a budget by it.
"""

from search_spaces.emq.options import EMQOptions
from search_spaces.emq.space import EMQ

__all__ = ["EMQ", "EMQOptions"]
