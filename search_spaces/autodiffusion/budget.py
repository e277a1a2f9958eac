"""What a schedule costs: network calls, multiply-adds, or time as it was measured once and kept."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from search_spaces.autodiffusion.genome import Schedule

Unit = Literal["steps", "macs", "time"]


@dataclass(frozen=True, slots=True)
class Profile:
    """A model's blocks and what they cost. Measured times are facts of one machine and one moment: they are measured
    once, kept beside the runs, and constants from then on, so that a run can be repeated.

    Attributes:
        model: the model's digest.
        steps: T.
        blocks: names of the blocks that masks index.
        kinds: of each: "resnet", "attention" or "transformer".
        macs: multiply-adds of a full call for one image.
        macs_saved: of each block, what skipping it saves.
        seconds: of a full call, for one image.
        seconds_saved: of each block.
    """

    model: str
    steps: int
    blocks: tuple[str, ...]
    kinds: tuple[str, ...]
    macs: float
    macs_saved: tuple[float, ...]
    seconds: float
    seconds_saved: tuple[float, ...]

    def call(self, mask: Iterable[int], unit: Unit) -> float:
        """Cost of one call that skips some blocks, in full calls."""
        if unit == "steps":
            return 1.0
        total, saved = (self.macs, self.macs_saved) if unit == "macs" else (self.seconds, self.seconds_saved)
        return 1.0 - sum(saved[block] for block in mask) / total

    def cost(self, schedule: Schedule, unit: Unit) -> float:
        """Cost of a schedule, in full calls."""
        return sum(self.call(schedule.mask(step), unit) for step in range(schedule.steps))

    def write(self, path: Path) -> None:
        """Write it as JSON, in one step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        beside.write_text(json.dumps(asdict(self), indent=1) + "\n")
        beside.replace(path)


def profile_path(folder: Path, name: str) -> Path:
    """Where `prepare` keeps the profile of a problem."""
    return folder / f"profile-{name}.json"


def read_profile(path: Path) -> Profile | None:
    """What `Profile.write` wrote; None where there is nothing."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return Profile(**{key: tuple(value) if isinstance(value, list) else value for key, value in found.items()})
