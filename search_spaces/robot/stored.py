"""The pool as a file that is read without numpy: so a stored run can be shown, drawn and exported.

A line of JSON, then the scaled metrics as little-endian float64, one column a metric. `Robot.prepare` writes it beside
what else it keeps; its name says the options, so that the commands that read a run find it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evo.errors import DamagedRunError
from search_spaces.robot.options import RobotOptions

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Scale:
    """How a metric's value becomes a number in [0, 1]; 0 for one that is not finite.

    Attributes:
        log: None, or s of sign(x) ln(1 + |x| / s), which is taken first.
        low, high: of the pool, after that; alike: everything is 0.
        ranks: None, or the pool's values, ascending: then ranks among them are scaled, not values.
    """

    log: float | None
    low: float
    high: float
    ranks: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class StoredPool:
    """What a pool's file holds: n architectures, m metrics.

    Attributes:
        name: for people.
        architectures: (n,) texts.
        metrics: (m,) names.
        columns: (m,) arrays of n float64 in [0, 1].
        scales: (m,).
        dropped: metrics that were left out, and why.
        digest: of the problem.
    """

    name: str
    architectures: tuple[str, ...]
    metrics: tuple[str, ...]
    columns: tuple[array[float], ...]
    scales: tuple[Scale, ...]
    dropped: Mapping[str, str]
    digest: str

    def top(self, weights: Sequence[float]) -> int | None:
        """The row that `Pool.top` gives, to the bit; None: not one weight a metric."""
        if len(weights) != len(self.metrics):
            return None
        scores = [0.0] * len(self.architectures)
        for column, weight in zip(self.columns, weights, strict=True):
            if weight:
                scores = [score + weight * value for score, value in zip(scores, column, strict=True)]
        return max(range(len(scores)), key=lambda row: (scores[row], -row))


def pool_path(folder: Path, options: RobotOptions) -> Path:
    """Where a pool of these options lies."""
    text = json.dumps(asdict(options), sort_keys=True)
    return folder / f"pool-{hashlib.sha256(text.encode()).hexdigest()[:16]}.bin"


def write_pool(path: Path, pool: StoredPool) -> None:
    """Write it, whole or not at all, unless it is there already."""
    head = {
        "format": _FORMAT, "name": pool.name, "architectures": pool.architectures, "metrics": pool.metrics,
        "scales": [asdict(scale) for scale in pool.scales], "dropped": dict(pool.dropped), "digest": pool.digest,
    }  # fmt: skip
    content = json.dumps(head).encode() + b"\n" + b"".join(_little(column).tobytes() for column in pool.columns)
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_bytes(content)
    partial.replace(path)


def read_pool(path: Path) -> StoredPool | None:
    """The inverse; None where there is no such file.

    Raises:
        DamagedRunError: it is cut short, or of another format.
    """
    if not path.is_file():
        return None
    line, _, rest = path.read_bytes().partition(b"\n")
    try:
        head: dict[str, Any] = json.loads(line)
        values = array("d", rest)
        n, m = len(head["architectures"]), len(head["metrics"])
        if head["format"] != _FORMAT or len(values) != n * m:
            raise ValueError(head["format"])
    except (ValueError, KeyError) as error:
        raise DamagedRunError(f"{path} is damaged", "delete it: `evo resume` of the run writes it again") from error
    values = _little(values)
    scales = tuple(Scale(**{**s, "ranks": None if s["ranks"] is None else tuple(s["ranks"])}) for s in head["scales"])
    return StoredPool(
        head["name"], tuple(head["architectures"]), tuple(head["metrics"]),
        tuple(values[i * n : (i + 1) * n] for i in range(m)), scales, head["dropped"], head["digest"],
    )  # fmt: skip


def _little(values: array[float]) -> array[float]:
    if sys.byteorder == "little":
        return values
    swapped = array("d", values)
    swapped.byteswap()
    return swapped
