"""The genome: when the network is called, with which solver, and which of its blocks are skipped at each call."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evo.errors import InvalidGenomeError

SOLVERS = ("ddim", "dpmpp_2m", "euler", "unipc")
"""Names of the solvers; `sampling/solvers.py` says what they are."""

Masks = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How images are sampled.

    Attributes:
        timesteps: strictly descending whole numbers, at least 0; after the last one comes the image.
        solver: of `SOLVERS`.
        masks: for each timestep the blocks that are skipped there, ascending indices into the model's blocks
            (`sampling/masks.py`); () where nothing is skipped at any.
    """

    timesteps: tuple[int, ...]
    solver: str = "ddim"
    masks: Masks = ()

    def __post_init__(self) -> None:
        times, masks = tuple(int(t) for t in self.timesteps), tuple(tuple(mask) for mask in self.masks)
        if not times or times[-1] < 0 or any(b >= a for a, b in itertools.pairwise(times)):
            raise InvalidGenomeError(f"timesteps {list(times)} do not descend to 0 or above", "no two may be equal")
        if self.solver not in SOLVERS:
            raise InvalidGenomeError(f"there is no solver {self.solver!r}", f"say one of {', '.join(SOLVERS)}")
        if not any(masks):
            masks = ()
        elif len(masks) != len(times):
            raise InvalidGenomeError(f"{len(masks)} masks for {len(times)} timesteps", "give one a timestep, or none")
        for mask in masks:
            if any(type(block) is not int or block < 0 for block in mask) or list(mask) != sorted(set(mask)):
                raise InvalidGenomeError(f"the mask {list(mask)} is no ascending list of blocks", "each block once")
        object.__setattr__(self, "timesteps", times)
        object.__setattr__(self, "masks", masks)

    @property
    def steps(self) -> int:
        """Network calls."""
        return len(self.timesteps)

    def mask(self, step: int) -> tuple[int, ...]:
        """The blocks skipped at a step."""
        return self.masks[step] if self.masks else ()

    @property
    def skipped(self) -> int:
        """Block executions that are saved over the trajectory."""
        return sum(map(len, self.masks))

    def to_json(self) -> Any:
        value: dict[str, Any] = {"timesteps": list(self.timesteps), "solver": self.solver}
        if self.masks:
            value["masks"] = [list(mask) for mask in self.masks]
        return value

    @classmethod
    def from_json(cls, value: Any) -> Schedule:
        """Raises InvalidGenomeError for what is no schedule."""
        try:
            if set(value) - {"timesteps", "solver", "masks"}:
                raise KeyError(*(set(value) - {"timesteps", "solver", "masks"}))
            times, masks = _whole(value["timesteps"]), tuple(_whole(mask) for mask in value.get("masks", ()))
            return cls(times, value["solver"], masks)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidGenomeError(
                f"{json.dumps(value, default=str)[:200]} is no schedule", "it has timesteps, solver and maybe masks"
            ) from error

    def key(self) -> bytes:
        """Structural identity: equal bytes, equal images of one model. A lone step remembers nothing: of one step all
        solvers that scale alike are the same."""
        solver = self.solver
        if self.steps == 1 and solver != "euler":
            solver = "ddim"
        return json.dumps([solver, self.timesteps, self.masks], separators=(",", ":")).encode()


def _whole(values: Sequence[Any]) -> tuple[int, ...]:
    if any(type(value) is not int for value in values):
        raise TypeError("not whole numbers")
    return tuple(values)
