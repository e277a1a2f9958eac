"""The models that come with the package, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evo.errors import ConfigError
from evo.options import did_you_mean
from search_spaces.autodiffusion.fid.features import Extractor
from search_spaces.autodiffusion.fid.reference import Reference, Score
from search_spaces.autodiffusion.models.files import read_about, read_extractor, read_model, read_statistics
from search_spaces.autodiffusion.models.model import Model

DATA = Path(__file__).parent / "data"
NAMES = ("digits", "digits_other", "fashion")
JUDGED_AS = {"digits": "digits", "digits_other": "digits", "fashion": "fashion"}
"""Whose classifier and statistics a model's images are judged by: one a data set, so that models can be compared."""


def shipped(name: str) -> Model:
    """A model: a new network at each call.

    Args:
        name: "digits" (1 x 8 x 8), "digits_other" (the same images, another network, trained half as long) or
            "fashion" (1 x 16 x 16).

    Raises:
        ConfigError: no model has this name.
        DamagedBenchmarkError: its files are damaged.
        UsageError: diffusers is not installed.
    """
    return read_model(DATA / _known(name), name)


def shipped_extractor(name: str) -> Extractor:
    """The features that a model's images are judged by."""
    judge = JUDGED_AS[_known(name)]
    return read_extractor(DATA / judge, judge)


def shipped_reference(name: str) -> Reference:
    """The statistics of the real images of a model."""
    return read_statistics(DATA / JUDGED_AS[_known(name)])


def shipped_score(name: str) -> Score:
    """The Fréchet distance to the real images of a model."""
    return Score(shipped_extractor(name), shipped_reference(name))


def about(name: str) -> dict[str, Any]:
    """How a model was made: recipe, data, losses; under "floor" and "ddpm" what its Fréchet distances are to be held
    against (see `training/baselines.py`)."""
    return read_about(DATA / _known(name))


def _known(name: str) -> str:
    if name not in NAMES:
        raise ConfigError(f"no model is called {name!r}", did_you_mean(name, NAMES) or f"one of {', '.join(NAMES)}")
    return name
