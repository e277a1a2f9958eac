"""Architectures as values, as text, as functions and as live networks.

space = architecture_space("nb201-small")               # "nb201", "tnb101-micro", "module:attr" of your own class
cell = space.sample(rng)                                # a hashable value
space.encode(cell), space.canonical(cell)               # text; equal bytes for equal functions
model = space.build(cell, seed=0)                       # a torch classifier

Read in this order: `base.py` (the contract; users' classes), `networks.py`, `cells.py`, `nb201.py`, `tnb101.py`,
`cell_space.py`, `canonical.py` (who computes the same, by algebra), `behaviour.py` (the same, by running networks).
Names that need torch are imported when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_spaces.robot.architectures.base import ArchitectureSpace, OwnSpace, architecture_space
    from search_spaces.robot.architectures.canonical import canonical_form

_PLACES = {"ArchitectureSpace": "base", "OwnSpace": "base", "architecture_space": "base", "canonical_form": "canonical"}

__all__ = ["ArchitectureSpace", "OwnSpace", "architecture_space", "canonical_form"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
