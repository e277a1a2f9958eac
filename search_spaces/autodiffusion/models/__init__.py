"""The diffusion models that ship, in `data/`, and what a model is to a search (`model.py`).

model = shipped("digits")        # network, noise levels, digest
noise = model(x, t)              # (n, c, h, w); t (n,), a timestep a sample

`README.md` says how each was trained. Names are imported when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_spaces.autodiffusion.models.model import Model, NoiseSchedule
    from search_spaces.autodiffusion.models.shipped import shipped

_PLACES = {"Model": "model", "NoiseSchedule": "model", "shipped": "shipped"}

__all__ = ["Model", "NoiseSchedule", "shipped"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
