"""A space whose candidates misbehave on request, to test that an engine survives them.

A genome is {"x": float, "act": act}; its loss is x squared, or its act happens: "raise" an exception, give "nan",
"hang", "exit" (the whole process, at once), "hog" memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from evo.errors import InvalidGenomeError
from evo.space import BaseSpace, Evaluator, Fingerprints, Json, Observation, Request, Variation

ACTS = ("ok", "raise", "nan", "hang", "exit", "hog")
_CHUNK_MB = 16

Genome = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MisbehavingOptions:
    """Options of `MisbehavingSpace`.

    Attributes:
        acts: what a sampled or mutated genome may do, drawn uniformly; repeat "ok" to make the others rarer.
        sleep_s: seconds that each evaluation of a request sleeps.
        hang_s: seconds after which a hang gives up, so that a test without deadline ends.
        hog_mb: megabytes after which a hog gives up, so that a test without memory limit harms nobody.
        broken: "build" (the evaluator cannot be built), "build_exit" (building it ends the process), or what the
            evaluator gets wrong: "requests", "seeds", "values", "type", "status".
    """

    __pydantic_config__ = {"extra": "forbid"}

    acts: tuple[str, ...] = ("ok",)
    sleep_s: float = 0.0
    hang_s: float = 600.0
    hog_mb: int = 4096
    broken: Literal["", "build", "build_exit", "requests", "seeds", "values", "type", "status"] = ""


class MisbehavingEvaluator:
    """Evaluates genomes, one after the other."""

    def __init__(self, options: MisbehavingOptions) -> None:
        self.options = options

    def evaluate(self, requests: Sequence[Request]) -> list[list[Observation]]:
        """One observation a seed: (x squared,). Seeds do not matter."""
        answers = [[self._observe(request.genome)] * len(request.seeds) for request in requests]
        match self.options.broken:
            case "requests":
                answers.pop()
            case "seeds":
                answers[-1].pop()
            case "values":
                answers[-1][0] = Observation((1.0, 2.0))
            case "type":
                answers[-1][0] = cast("Observation", (1.0,))
            case "status":
                answers[-1][0] = Observation((1.0,), "quarantined")
        return answers

    def _observe(self, genome: Genome) -> Observation:
        if self.options.sleep_s:
            time.sleep(self.options.sleep_s)
        act, x = genome["act"], genome["x"]
        if act == "raise":
            raise ValueError(f"candidate raises at x = {x}")
        if act == "hang":
            end = time.monotonic() + self.options.hang_s
            while time.monotonic() < end:
                pass
        if act == "exit":
            os._exit(17)
        if act == "hog":
            self._hog()
        return Observation((float("nan") if act == "nan" else x * x,))

    def _hog(self) -> None:
        held: list[np.ndarray] = []
        while len(held) * _CHUNK_MB < self.options.hog_mb:
            held.append(np.ones(_CHUNK_MB << 20, np.uint8))
        raise RuntimeError(f"no memory limit stood at {self.options.hog_mb} MB")


class MisbehavingSpace(BaseSpace[Genome]):
    """Minimise x squared; see the module's text."""

    name = "misbehaving"
    Options = MisbehavingOptions

    def sample(self, rng: np.random.Generator) -> Genome:
        """x uniform in [-1, 1), act from the options."""
        return {"x": float(rng.uniform(-1.0, 1.0)), "act": str(rng.choice(self.options.acts))}

    def mutate(self, genome: Genome, rng: np.random.Generator) -> Variation:
        """A step of x (normal, 0.1); the act is drawn anew."""
        x = float(np.clip(genome["x"] + 0.1 * rng.standard_normal(), -1.0, 1.0))
        return Variation({"x": x, "act": str(rng.choice(self.options.acts))}, "step")

    def crossover(self, a: Genome, b: Genome, rng: np.random.Generator) -> Variation:
        """The mean of both, with the first one's act."""
        return Variation({"x": (a["x"] + b["x"]) / 2, "act": a["act"]}, "mean")

    def seeds(self) -> Sequence[Genome]:
        """One well-behaved genome."""
        return ({"x": 1.0, "act": "ok"},)

    def canonical(self, genome: Genome) -> bytes | None:
        """|x| and the act: x and -x compute the same."""
        return f"{abs(genome['x'])!r}/{genome['act']}".encode()

    def fingerprint(self, genomes: Sequence[Genome]) -> Fingerprints | None:
        """None: structure is identity."""
        return None

    def evaluator(self, prepared: Any) -> Evaluator:
        """An evaluator; nothing is prepared."""
        if self.options.broken == "build":
            raise RuntimeError("no data")
        if self.options.broken == "build_exit":
            os._exit(17)
        return MisbehavingEvaluator(self.options)

    def encode(self, genome: Genome) -> Json:
        """The genome itself."""
        return dict(genome)

    def decode(self, value: Json) -> Genome:
        """The inverse of `encode`.

        Raises:
            InvalidGenomeError: it is no {"x": number, "act": one of ACTS}.
        """
        if not isinstance(value, dict) or value.keys() != {"x", "act"} or value["act"] not in ACTS:
            raise InvalidGenomeError(f"{value!r} is no genome of {self.name}", f"acts: {', '.join(ACTS)}")
        return {"x": float(value["x"]), "act": value["act"]}

    def describe(self, genome: Genome) -> str:
        """One line."""
        return f"x = {genome['x']:.6g}, {genome['act']}"

    def export(self, genome: Genome, path: Path, origin: Mapping[str, Any]) -> Path:
        """A module with a function `loss()`."""
        path.write_text(f"def loss():\n    return {genome['x']!r} ** 2\n")
        return path

    def namespace(self) -> Mapping[str, str]:
        """Constant."""
        return {"task": "square"}
