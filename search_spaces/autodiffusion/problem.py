"""What a search is about: a model, the distance of its images to real ones, and the blocks that may be skipped."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from evo.errors import ConfigError
from search_spaces.autodiffusion.fid.reference import Score
from search_spaces.autodiffusion.models.model import Model
from search_spaces.autodiffusion.models.shipped import NAMES, shipped, shipped_score
from search_spaces.autodiffusion.sampling.masks import blocks_of
from search_spaces.autodiffusion.sampling.trie import Conditions


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A model to search.

    Attributes:
        model: what is sampled from.
        score: the Fréchet distance.
        blocks: names of the blocks that masks index.
        conditions: what the network is also given, for samples (first, count); None: nothing.
        decode: from the samples (n, c, h, w), latents of a pipeline say, to images in [-1, 1]; None: they are images.
        context: digest of conditions and decoder; "" where there are none.
    """

    model: Model
    score: Score
    blocks: tuple[str, ...]
    conditions: Conditions | None = None
    decode: Callable[[Tensor], Tensor] | None = None
    context: str = ""

    @property
    def digest(self) -> str:
        """Hexadecimal: of all that a schedule's value depends on beside noise and numbers of samples."""
        parts = (self.model.digest, self.score.extractor.digest, self.score.reference.digest, self.context)
        return hashlib.sha256(" ".join((*parts, *self.blocks)).encode()).hexdigest()


def problem_of(model: str) -> Problem:
    """The problem that the option `model` names.

    Raises:
        ConfigError: it is no shipped model, no folder of one, and no function that makes a problem.
    """
    if model in NAMES:
        made = shipped(model)
        return Problem(made, shipped_score(model), tuple(blocks_of(made.unet)))
    if Path(model).is_dir():
        from search_spaces.autodiffusion.models.files import read_extractor, read_model, read_statistics

        folder = Path(model)
        made = read_model(folder)
        score = Score(read_extractor(folder, folder.name), read_statistics(folder))
        return Problem(made, score, tuple(blocks_of(made.unet)))
    module, colon, attribute = model.partition(":")
    if not colon:
        raise ConfigError(
            f"options.model is {model!r}, which neither ships nor is a folder",
            f"say {', '.join(NAMES)}, a folder that `evo bench build autodiffusion` wrote, or module:attr",
        )
    try:
        found = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"options.model {model!r} cannot be had: {error}", "name a function that returns a Problem"
        ) from error
    if not isinstance(found, Problem):
        raise ConfigError(f"options.model {model!r} returned {type(found).__name__}", "return a Problem")
    return found
