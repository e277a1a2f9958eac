"""The language of optimizer programs: train(w, g, v1, v2, lr) -> (update, v1, v2); then w <- w - update."""

from __future__ import annotations

from evo.program import Language, Signature
from search_spaces.lion.operators import OPERATORS

SIGNATURE = Signature(
    inputs=(("w", "tree"), ("g", "tree"), ("v1", "tree"), ("v2", "tree"), ("lr", "scalar")),
    outputs=(("update", "tree"), ("v1", "tree"), ("v2", "tree")),
    state={"v1": "v1", "v2": "v2"},
)
"""w: weights before the step. g: gradient. v1, v2: state of the weights' shape, zero at the start. lr: the schedule's
fraction of its peak, 1 at the peak; a program brings its own base rate as a constant. update: what is subtracted."""

LION = Language(SIGNATURE, OPERATORS)
