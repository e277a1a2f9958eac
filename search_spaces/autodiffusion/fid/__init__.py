"""The Fréchet distance of generated images to real ones (FID), in the features of any network.

score = Score(extractor, reference)
score.of_each([images, ...])       # (k,) float64

`features.py` (images to features), `reference.py` (real statistics and the score), `classifier.py` (the networks whose
features are used here). The distance itself is `kernels/frechet.py`. Names are imported when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_spaces.autodiffusion.fid.features import Extractor, own_extractor
    from search_spaces.autodiffusion.fid.reference import Reference, Score, kept_reference, reference_of

_PLACES = {
    "Extractor": "features",
    "Reference": "reference",
    "Score": "reference",
    "kept_reference": "reference",
    "own_extractor": "features",
    "reference_of": "reference",
}

__all__ = ["Extractor", "Reference", "Score", "kept_reference", "own_extractor", "reference_of"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
