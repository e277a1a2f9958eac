"""`lion`: search for optimizer programs by training real networks with them.

Read in this order: `language.py` and `operators.py` (what a program is), `programs.py` (known ones), `space.py` (what
the engine sees), `tasks/` and `training.py` (what is trained, many programs at once), `evaluator.py` (what a candidate
is worth), `probe.py` (when two programs are one function), `report.py`, `export/` (the torch optimizer). After a
search: `refine/` (selection on tasks of its own, tuning of constants, simplification) and `judge/` (held-out tasks,
beside tuned baselines). `configs/` are searches, `discovered/` what they found; docs/lion.md tells it from the outside.
"""

from search_spaces.lion.options import LionOptions
from search_spaces.lion.space import Lion

__all__ = ["Lion", "LionOptions"]
