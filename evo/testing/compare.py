"""What the contract tests of a space compare with: genomes as text, observations as bits, another process."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from evo.space import BaseSpace, Fingerprints, Observation, Request

Space = Any
"""The space under test: a `SearchSpace` of some genome type."""


def has_crossover(space: Space) -> bool:
    """Whether a space defines `crossover`."""
    return type(space).crossover is not BaseSpace.crossover


def text(space: Space, genome: Any) -> str:
    """The JSON text of a genome, strict: no NaN, sorted keys."""
    return json.dumps(space.encode(genome), allow_nan=False, sort_keys=True)


def recipe(space: Space, genomes: Sequence[Any]) -> dict[str, Any]:
    """What another process needs to build the same space and genomes."""
    cls = type(space)
    options, encoded = asdict(space.options), [space.encode(g) for g in genomes]
    return {"module": cls.__module__, "name": cls.__qualname__, "options": options, "genomes": encoded}


def python(code: str, stdin: Any = None, cwd: Path | None = None, **variables: str) -> str:
    """Run code in another interpreter; return what it printed.

    Raises:
        AssertionError: where it leaves with an error, with its stderr.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="" if stdin is None else json.dumps(stdin),
        capture_output=True, text=True, timeout=240, cwd=cwd, env=environment, check=False,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"exit code {done.returncode}\n{done.stderr[-4000:]}")
    return done.stdout.strip()


def bits(observation: Observation) -> tuple[Any, ...]:
    """Everything in an observation that must repeat, floats as their bytes (NaN equals itself, -0.0 is not 0.0)."""

    def pack(values: tuple[float, ...] | None) -> bytes | None:
        return None if values is None else struct.pack(f"<{len(values)}d", *values)

    extra = None if observation.extra is None else json.dumps(dict(observation.extra), sort_keys=True)
    return (
        pack(observation.values), observation.status, pack(observation.behaviour), extra, observation.fingerprint,
    )  # fmt: skip


def arrangements(requests: list[Request]) -> dict[str, list[list[Request]]]:
    """The same requests in other calls: name -> calls."""
    order = np.random.default_rng(5).permutation(len(requests))
    padded = [*requests, *(r._replace(id=1000 + r.id) for r in requests[:3])]
    return {
        "permuted": [[requests[i] for i in order]],
        "split": [requests[:1], requests[1:3], requests[3:]] if len(requests) > 3 else [[r] for r in requests],
        "one by one, backwards": [[r] for r in reversed(requests)],
        "padded": [padded],
        "again": [requests],
    }


def close(a: Fingerprints, b: Fingerprints, row: int) -> bool:
    """Whether two rows agree to the bits that their columns keep, against the scale of their group of columns.

    Four units in the last kept place are allowed: canonical equality does not promise equal rounding.
    """
    x, y = a.values[row], b.values[row]
    kept = np.broadcast_to(np.asarray(a.bits), x.shape)
    groups = np.zeros(x.shape, int) if a.groups is None else np.asarray(a.groups)
    finite = np.isfinite(x) & np.isfinite(y)
    if not np.array_equal(x[~finite], y[~finite], equal_nan=True):
        return False
    exact = kept == 0
    if not np.array_equal(x[finite & exact], y[finite & exact]):
        return False
    for group in np.unique(groups):
        here = finite & ~exact & (groups == group)
        if here.any():
            scale = max(float(np.abs(x[here]).max()), np.finfo(np.float64).tiny)
            if np.any(np.abs(x[here] - y[here]) > 4.0 * scale * 2.0 ** -kept[here].astype(float)):
                return False
    return True
