"""A search space that costs nothing to evaluate: for tests of the engine and for measuring its overhead.

A genome is one integer; its value is a hash of it. Options choose how often genomes or functions repeat, how many
objectives and rungs there are, and which faults candidates have. `python -m benchmarks.overhead` runs on it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evo.errors import ConfigError
from evo.space import BaseSpace, Figure, Fingerprints, Objective, Observation, Request, Rung, Variation

if TYPE_CHECKING:
    import numpy as np

    from evo.run.reader import RunReader

MASK64 = (1 << 64) - 1
PROBES = 4
"""Columns of the fingerprint: with 32 bits each, two functions never collide by chance."""

FAULTS = ("raises", "nan", "inf", "hangs", "exits", "leaks", "invalid")


def mix(value: int) -> int:
    """A bijection of the 64-bit integers that scatters them evenly (the finaliser of SplitMix64)."""
    value = (value + 0x9E3779B97F4A7C15) & MASK64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK64
    return value ^ (value >> 31)


def unit(value: int) -> float:
    """A number in [0, 1) from the upper 53 bits of a 64-bit integer."""
    return (value >> 11) * 2.0**-53


@dataclass(frozen=True, slots=True)
class NoOpOptions:
    """Options of `NoOpSpace`.

    Attributes:
        alphabet: how many genomes there are; small numbers give many structural hits. None: 2**63, nearly all distinct.
        functions: None: every genome is a function of its own, and there is no fingerprint. A number: genomes that
            agree modulo it compute the same function, which only the fingerprint can see (functional hits).
        objectives: 1 ("loss", minimised) or 2 (also "score", maximised); both lie in [0, 1) where noise is 0.
        cost: adds the cost objective "bits": the number of one bits of the genome, minimised.
        behaviour: length of the behaviour descriptor; 0: none.
        noise: size of the part of a value that depends on the seed.
        rungs: number of rungs.
        replicates: replicates at the last rung.
        hurdle: the hurdle of every rung but the last, a quantile in [0, 1); None: none.
        hurdle_after: distinct functions told before the hurdle stands.
        sleep_s: seconds the evaluator sleeps a request.
        faults: from a kind ("raises", "nan", "inf", "hangs", "exits", "leaks", "invalid") to n: one function in n has
            it. "hangs" sleeps for an hour, "exits" leaves the process, "leaks" allocates without end, "invalid" makes
            `canonical` return None.
    """

    __pydantic_config__ = {"extra": "forbid"}

    alphabet: int | None = None
    functions: int | None = None
    objectives: int = 1
    cost: bool = False
    behaviour: int = 0
    noise: float = 0.0
    rungs: int = 1
    replicates: int = 1
    hurdle: float | None = None
    hurdle_after: int = 50
    sleep_s: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)


class NoOpSpace(BaseSpace[int]):
    """Integers below 2**63 whose value is a hash.

    Raises:
        ConfigError: for an option out of range.
    """

    name = "noop"
    Options = NoOpOptions
    options: NoOpOptions

    def __init__(self, options: NoOpOptions | None = None) -> None:
        super().__init__(options)
        check(self.options)
        self._size = self.options.alphabet or 1 << 63
        observed = (Objective("loss"), Objective("score", "maximise"))[: self.options.objectives]
        self.objectives = (*observed, Objective("bits", cost=True)) if self.options.cost else observed
        self.rungs = rungs(self.options)
        self._invalid = self.options.faults.get("invalid", 0)

    def sample(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self._size))

    def mutate(self, genome: int, rng: np.random.Generator) -> Variation:
        """A new integer that depends on the parent, so that a replay with a wrong parent shows."""
        return Variation((genome + int(rng.integers(self._size))) % self._size, "mutate")

    def crossover(self, a: int, b: int, rng: np.random.Generator) -> Variation:
        """Each bit from one of the two."""
        mask = int(rng.integers(1 << 63))
        return Variation(((a & mask) | (b & ~mask)) % self._size, "crossover")

    def seeds(self) -> Sequence[int]:
        return (1,) if not self._invalid else ()

    def function(self, genome: int) -> int:
        """The number of the function that a genome computes."""
        return genome if self.options.functions is None else genome % self.options.functions

    def canonical(self, genome: int) -> bytes | None:
        if self._invalid and has_fault(self.function(genome), "invalid", self._invalid):
            return None
        return genome.to_bytes(8, "big")

    def fingerprint(self, genomes: Sequence[int]) -> Fingerprints | None:
        """Values in [-1, 1), shape (n_genomes, PROBES), where `functions` is set; else None."""
        if self.options.functions is None:
            return None
        import numpy as np

        rows = [[2.0 * unit(mix(mix(self.function(g)) ^ k)) - 1.0 for k in range(PROBES)] for g in genomes]
        return Fingerprints(np.array(rows, np.float64).reshape(len(genomes), PROBES))

    def evaluator(self, prepared: Any) -> NoOpEvaluator:
        return NoOpEvaluator(self.options)

    def costs(self, genome: int) -> Mapping[str, float]:
        return {"bits": float(genome.bit_count())} if self.options.cost else {}

    def describe(self, genome: int) -> str:
        return f"genome   {genome:#018x}\nfunction {self.function(genome):#018x}"

    def summary(self, genome: int) -> str:
        return f"noop {genome:#x}"

    def figures(self, run: RunReader) -> Iterable[Figure]:
        return (Figure("No-op", "<p>Values are hashes of genomes.</p>", "A place holder: there is nothing to see."),)

    def export(self, genome: int, path: Path, origin: Mapping[str, Any]) -> Path:
        value = self.evaluator(None).observe(genome, 0).values
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = ['"""A no-op genome."""', "", f"GENOME = {genome}", f"VALUES = {value!r}", f"ORIGIN = {dict(origin)!r}"]
        path.write_text("\n".join(lines) + "\n")
        return path

    def namespace(self) -> Mapping[str, str]:
        o = self.options
        return {"task": f"hash/{o.functions}/{o.objectives}/{o.behaviour}/{o.noise}", "fitness": "1", "probe": "1"}

    def report(self, genomes: Sequence[int], seeds: Sequence[int], prepared: Any) -> list[dict[str, Any]]:
        evaluator = self.evaluator(prepared)
        return [
            {
                "name": self.summary(genome),
                "task": "hash",
                "metric": "loss",
                "values": [evaluator.observe(genome, seed).values[0] for seed in seeds],
                "genome_index": index,
            }
            for index, genome in enumerate(genomes)
        ]


class NoOpEvaluator:
    """Hashes genomes; fails, sleeps or dies as the options say."""

    def __init__(self, options: NoOpOptions) -> None:
        self.options = options
        self._plain = not options.faults and options.objectives == 1 and not options.behaviour and not options.noise

    def evaluate(self, requests: Sequence[Request]) -> list[list[Observation]]:
        """One observation a seed of each request, in order.

        Raises:
            ArithmeticError: for a function with the fault "raises".
        """
        options, answers = self.options, []
        for request in requests:
            if options.sleep_s:
                time.sleep(options.sleep_s)
            function = request.genome if options.functions is None else request.genome % options.functions
            if self._plain:
                answers.append([Observation((unit(mix(function)),))] * len(request.seeds))
                continue
            for kind, n in options.faults.items():
                if has_fault(function, kind, n):
                    misbehave(kind, function)
            answers.append([self.observe(request.genome, seed) for seed in request.seeds])
        return answers

    def observe(self, genome: int, seed: int) -> Observation:
        """The observation of one genome under one seed, faults that kill left out."""
        options = self.options
        function = genome if options.functions is None else genome % options.functions
        word = mix(function)
        noise = options.noise * unit(mix(word ^ seed)) if options.noise else 0.0
        values = tuple(unit(mix(word ^ k) if k else word) + noise for k in range(options.objectives))
        if has_fault(function, "nan", options.faults.get("nan", 0)):
            values = (float("nan"), *values[1:])
        elif has_fault(function, "inf", options.faults.get("inf", 0)):
            values = (float("inf"), *values[1:])
        behaviour = tuple(unit(mix(~word & MASK64 ^ k)) for k in range(options.behaviour)) or None
        return Observation(values, "ok", behaviour)


def has_fault(function: int, kind: str, n: int) -> bool:
    """Whether a function has a fault that one in `n` has; independent between kinds."""
    return n > 0 and mix(function ^ (FAULTS.index(kind) + 1) << 56) % n == 0


def misbehave(kind: str, function: int) -> None:
    """Do what a candidate with this fault does."""
    if kind == "raises":
        raise ArithmeticError(f"function {function:#x} raises, as asked for")
    if kind == "hangs":
        time.sleep(3600)
    elif kind == "exits":
        os._exit(3)
    elif kind == "leaks":
        hoard = []
        while True:
            hoard.append(bytearray(os.urandom(1 << 16) * 256))


def rungs(options: NoOpOptions) -> tuple[Rung, ...]:
    """The rungs that the options ask for: "search", or "rung0", "rung1", ... with the hurdle on all but the last."""
    if options.rungs == 1:
        return (Rung("search", options.replicates),)
    cheap = [Rung(f"rung{i}", 1, options.hurdle, options.hurdle_after) for i in range(options.rungs - 1)]
    return (*cheap, Rung(f"rung{options.rungs - 1}", options.replicates))


def check(options: NoOpOptions) -> None:
    """Raise ConfigError for an option out of range."""
    for name in ("alphabet", "functions"):
        value = getattr(options, name)
        if value is not None and not 1 <= value <= 1 << 63:
            raise ConfigError(f"noop: {name} = {value}", "give a number from 1 to 2**63, or null")
    if options.objectives not in (1, 2):
        raise ConfigError(f"noop: objectives = {options.objectives}", "there are 1 or 2")
    if options.rungs < 1 or options.replicates < 1:
        raise ConfigError(f"noop: rungs = {options.rungs}, replicates = {options.replicates}", "both are at least 1")
    unknown = set(options.faults) - set(FAULTS)
    if unknown:
        raise ConfigError(f"noop: unknown fault {sorted(unknown)[0]!r}", f"there are {', '.join(FAULTS)}")
