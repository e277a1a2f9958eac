"""The benchmark of `robot`: cells of the reduced NAS-Bench-201, trained on Fashion-MNIST here; it ships in `data/`.

benchmark = read()                                      # accuracies by seed, metrics by batch, seconds
pictures = images.images(train=12_800)
result = train(model, pictures, Schedule(epochs=2))     # accuracies and curve; `evo run robot` trains with it, too

`evo bench build robot` makes it again (`building.py`). Searches read it as any other table (`tables/`). Read in this
order: `images.py`, `training.py`, `cells.py`, `trainings.py`, `measuring.py`, `files.py`, `reading.py`, `summary.py`.
Names are imported when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_spaces.robot.benchmark.images import Images
    from search_spaces.robot.benchmark.reading import Benchmark, read
    from search_spaces.robot.benchmark.training import Schedule, Trained, train

_PLACES = {
    "Benchmark": "reading",
    "Images": "images",
    "Schedule": "training",
    "Trained": "training",
    "read": "reading",
    "train": "training",
}

__all__ = ["Benchmark", "Images", "Schedule", "Trained", "read", "train"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
