"""The contract between the engine and a search space: what is proposed, evaluated, observed and told.

A search space is one object that fulfils `SearchSpace`. The engine knows nothing else of it. Everything that
crosses the border is a small frozen value; genomes are immutable and round-trip through JSON (`encode`, `decode`).
This module imports neither numpy nor torch, so that a run can be listed and shown in milliseconds.

The life of a candidate:

    Breed / Reevaluate (a strategy proposes)  ->  it gets an id  ->  canonical key, fingerprint (identity)
    ->  Request (what an evaluator must do)   ->  Observation (raw values)  ->  Told (what the strategy learns)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from evo.run.reader import RunReader

G = TypeVar("G")
Json = Any
"""A value made of dict, list, str, int, float, bool and None alone."""

Status = Literal["ok", "stopped", "invalid", "failed", "nan", "timeout", "quarantined"]
"""How an evaluation ended.

ok: values are there. stopped: a hurdle ended it early (a rung's value is there). invalid: it can never be valid.
failed: the candidate raised. nan: an objective was NaN. timeout, quarantined: it ran out of time, or took its worker
down, twice and alone. `timeout` and `quarantined` are never cached as facts about a function.
"""

Source = Literal["evaluated", "structural", "functional", "twin", "imported", "invalid", "reevaluated"]
"""Where a candidate's observations came from.

evaluated: its own evaluation. structural / functional: an earlier candidate of this run with the same canonical key /
the same behaviour, already told when this one was asked. twin: such a candidate that was still untold then.
imported: the shared cache. reevaluated: a `Reevaluate` proposal.
"""


@dataclass(frozen=True, slots=True)
class Objective:
    """One axis of fitness.

    Attributes:
        name: as shown to people.
        direction: "minimise" or "maximise"; raw values keep their natural direction everywhere.
        cost: True if the value comes from `SearchSpace.costs` (syntactic: recomputed for each candidate, never
            cached by function) under the same name; False if it comes from observations.
    """

    name: str
    direction: Literal["minimise", "maximise"] = "minimise"
    cost: bool = False


@dataclass(frozen=True, slots=True)
class Rung:
    """One stage of evaluation; a space's rungs run from cheap to dear.

    Attributes:
        name: the protocol's name; part of every observation's key.
        replicates: independent repetitions, each with its own seed; folded to their mean in order.
        hurdle: None, or the quantile in [0, 1) of the distinct functions told so far at this rung (0 is the worst,
            1 the best) that the first objective must exceed to go on to the next rung.
        hurdle_after: the number of distinct functions that must have been told at this rung before the hurdle stands.
    """

    name: str
    replicates: int = 1
    hurdle: float | None = None
    hurdle_after: int = 50


class Variation(NamedTuple):
    """A new genome and the name of the operator that made it."""

    genome: Any
    operator: str


@dataclass(frozen=True, slots=True)
class Breed(Generic[G]):
    """A strategy's proposal of a new genome.

    Attributes:
        genome: the genome.
        parents: candidate ids it was made from, at most a few; empty for a sample or a seed.
        operator: the name of the operator ("sample", "seed", "insert", ...).
        salt: 0 for common random numbers over the whole run; another integer (a generation, say) gives fresh seeds,
            and observations under different salts answer different questions.
    """

    genome: G
    parents: tuple[int, ...] = ()
    operator: str = "sample"
    salt: int = 0


@dataclass(frozen=True, slots=True)
class Reevaluate:
    """A strategy's proposal to evaluate an earlier candidate again; it does not read the cache.

    Attributes:
        candidate: the id of the candidate.
        rung: the protocol's name; None for the space's last rung.
        replicates: the replicate numbers wanted. Seeds derive from (rung, replicate, salt): numbers not used before
            give fresh noise, and candidates re-evaluated under the same numbers are compared under the same noise.
        salt: as in `Breed`.
    """

    candidate: int
    rung: str | None = None
    replicates: tuple[int, ...] = (1,)
    salt: int = 0


Proposal = Breed[G] | Reevaluate


class Request(NamedTuple):
    """What an evaluator is asked to do for one candidate.

    Attributes:
        id: the candidate's id; for messages only, it must not affect the result.
        genome: the genome.
        rung: the protocol's name.
        seeds: one 63-bit seed a replicate; the same for all candidates under common random numbers.
    """

    id: int
    genome: Any
    rung: str
    seeds: tuple[int, ...]


class Observation(NamedTuple):
    """What one evaluation of one function under one seed gave.

    Attributes:
        values: one float for each objective that is not a cost, in order, in its natural direction. An infinity is
            a legitimate value (a diverged optimiser has infinite loss); NaN makes the status "nan".
        status: see `Status`; an evaluator returns "ok", "invalid" or "failed".
        behaviour: a small fixed vector for novelty search, or None.
        extra: further figures worth keeping (a loss a task, say), JSON, small.
        message: for a failure: what happened.
        fingerprint: where the evaluation itself yields the candidate's identity (`emq`), the digest's bytes.
    """

    values: tuple[float, ...]
    status: Status = "ok"
    behaviour: tuple[float, ...] | None = None
    extra: Mapping[str, Any] | None = None
    message: str = ""
    fingerprint: bytes | None = None


class Told(NamedTuple):
    """What a strategy learns of one candidate, in commit order.

    Attributes:
        id: candidate id.
        genome: the genome (for a `Reevaluate`, that of the candidate re-evaluated).
        values: one float an objective (observed means over replicates, and costs), natural direction; empty if
            there is no value at all.
        status: see `Status`.
        rung: index of the last rung that gave a value; -1 if none.
        function: function id: the smallest candidate id that computes the same function.
        operator: the operator that made it; "reevaluate" for a `Reevaluate`.
        parents: candidate ids; for a `Reevaluate` the one re-evaluated.
        behaviour: the mean behaviour descriptor, or None.
        new: True for the first candidate of its function in this run.
        observations: the observations behind it, (seed, values) in replicate order; filled for `Reevaluate` alone,
            whose spread strategies look at.
        before: for a `Reevaluate`: the values that the candidate re-evaluated was told with at that same rung, empty
            if it has none there; so that the mean over all observations can be formed.
    """

    id: int
    genome: Any
    values: tuple[float, ...]
    status: Status
    rung: int
    function: int
    operator: str
    parents: tuple[int, ...]
    behaviour: tuple[float, ...] | None = None
    new: bool = True
    observations: tuple[tuple[int, tuple[float, ...]], ...] = ()
    before: tuple[float, ...] = ()


class Fingerprints(NamedTuple):
    """Behaviour of N genomes on fixed probe inputs.

    Attributes:
        values: float64 array (N, D); NaN and infinities are behaviours like any other.
        bits: significant bits kept a column, (D,) integers, or one integer for all columns; 0 marks columns that are
            exact (rank vectors) and compared to the bit.
        valid: None, or bool (N,): False for what can never be valid on any input. An overflow on a fixture is a
            behaviour, not a failure.
        groups: None, or (D,) integers: columns of one group share their scale (a trajectory's step, say).
    """

    values: np.ndarray
    bits: Any = 32
    valid: Any = None
    groups: Any = None


@runtime_checkable
class Evaluator(Protocol):
    """Evaluates requests; picklable; built once a worker, then stateless as far as results go.

    `evaluate` returns, for each request in order, one observation for each of its seeds. What a candidate gets may
    not depend on which requests share the call, on their order, or on earlier calls (a contract test permutes,
    splits and pads). It may raise for a candidate's fault: the engine then finds the candidate by bisection.
    """

    def evaluate(self, requests: Sequence[Request]) -> list[list[Observation]]: ...


@dataclass(frozen=True, slots=True)
class Preparation:
    """What `SearchSpace.prepare` may use.

    Attributes:
        folder: a directory for content-addressed files that survive the run (`runs/.prepared` by default).
        map: `map(function, items)` over the executor's workers, in order; `function` must be picklable.
        progress: `progress(done, total, what)`.
    """

    folder: Path
    map: Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
    progress: Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Candidate(Generic[G]):
    """A candidate of a run as `SearchSpace.refine` gets it.

    Attributes:
        id: candidate id.
        genome: the genome.
        values: one float an objective, natural direction, as the search knew them.
    """

    id: int
    genome: G
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Refinement(Generic[G]):
    """What `SearchSpace.refine` may use: what a finished (or still running) search found, and a place to work in.

    Attributes:
        folder: RUN/refined; whatever is written there survives a kill, and the next call goes on from it.
        leaders: the best distinct functions of the run, best first.
        history: those that were the best of the search so far, in order of their ids: the course of the search.
        seed: the run's.
        prepared: what `prepare` gave.
        map: `map(function, items)` over the executor's workers, in order; `function` must be picklable.
        progress: `progress(done, total, what)`.
        settings: of the space's own (`evo refine --set`); it raises ConfigError for those it does not know. `--quick`
            gives "quick": True.
    """

    folder: Path
    leaders: Sequence[Candidate[G]]
    history: Sequence[Candidate[G]]
    seed: int
    prepared: Any
    map: Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
    progress: Callable[[int, int, str], None]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refined(Generic[G]):
    """What `SearchSpace.refine` gives back.

    Attributes:
        genome: the one that was selected and refined.
        candidate: the id of the leader that it came from.
        steps: what was done to it, a line each, for people.
        evidence: JSON: figures behind the choice and behind each step (values, seeds, intervals). A "table" in it,
            {"title", "headers", "rows"}, is printed.
    """

    genome: G
    candidate: int
    steps: tuple[str, ...]
    evidence: Json


@dataclass(frozen=True, slots=True)
class Judgement:
    """What `SearchSpace.judge` gives back.

    Attributes:
        text: for the terminal: a table and a verdict.
        data: JSON: all that the text and the figures are made from.
        figures: for the page that `evo judge` writes.
    """

    text: str
    data: Json
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture a space adds to the report.

    Attributes:
        title: heading.
        html: an HTML fragment (a plotly `div` without the library, an SVG, a table).
        caption: one or two sentences that say what to look for.
    """

    title: str
    html: str
    caption: str = ""


@runtime_checkable
class SearchSpace(Protocol[G]):
    """What a search space is. Derive from `BaseSpace` to get the defaults.

    All methods are pure: what they return depends on their arguments and on the options the space was built with.
    `rng` is a `numpy.random.Generator` that is valid during the call only.
    """

    name: str
    objectives: tuple[Objective, ...]
    rungs: tuple[Rung, ...]
    links: bool

    def sample(self, rng: np.random.Generator) -> G: ...
    def mutate(self, genome: G, rng: np.random.Generator) -> Variation: ...
    def crossover(self, a: G, b: G, rng: np.random.Generator) -> Variation: ...
    def seeds(self) -> Sequence[G]: ...
    def canonical(self, genome: G) -> bytes | None: ...
    def fingerprint(self, genomes: Sequence[G]) -> Fingerprints | None: ...
    def prepare(self, preparation: Preparation) -> Any: ...
    def evaluator(self, prepared: Any) -> Evaluator: ...
    def costs(self, genome: G) -> Mapping[str, float]: ...
    def encode(self, genome: G) -> Json: ...
    def decode(self, value: Json) -> G: ...
    def encode_link(self, genome: G, parents: tuple[int, ...]) -> Json: ...
    def decode_link(self, value: Json, parent: G | None) -> G: ...
    def describe(self, genome: G) -> str: ...
    def summary(self, genome: G) -> str: ...
    def figures(self, run: RunReader) -> Iterable[Figure]: ...
    def export(self, genome: G, path: Path, origin: Mapping[str, Any]) -> Path: ...
    def namespace(self) -> Mapping[str, str]: ...
    def report(self, genomes: Sequence[G], seeds: Sequence[int], prepared: Any) -> list[dict[str, Any]]: ...


class Axis(NamedTuple):
    """One coordinate of a box: its name, and the closed interval that it lies in."""

    name: str
    low: float
    high: float


@runtime_checkable
class BoxSpace(Protocol[G]):
    """What a space has beyond `SearchSpace` where (some of) its genomes are vectors of a box: strategy `bayesian`.

    A vector ranks items of a pool and stands for the first of them (`robot`: weights of metrics rank architectures); a
    genome may also be one such item itself. `canonical` of both is the identity of the item. All methods are pure.

    box: the coordinates, in order. from_vector: the genome of a vector, (d,) floats inside the box. to_vector: its
    inverse; None for a genome that is an item. greedy: the items that a vector ranks, as genomes, best first, one for
    each canonical key. features: None, or the (d,) floats that a vector weighs of the item behind a genome: a vector's
    score of that item is their inner product, so that only a vector's direction matters.
    """

    def box(self) -> Sequence[Axis]: ...
    def from_vector(self, vector: Sequence[float]) -> G: ...
    def to_vector(self, genome: G) -> tuple[float, ...] | None: ...
    def greedy(self, genome: G) -> Iterator[G]: ...
    def features(self, genome: G) -> tuple[float, ...] | None: ...


@dataclass(frozen=True, slots=True)
class NoOptions:
    """Options of a space that has none."""

    __pydantic_config__ = {"extra": "forbid"}


class BaseSpace(Generic[G]):
    """Defaults for the parts of `SearchSpace` that a space may leave out.

    A space class sets `name`, `objectives`, `rungs` and `Options` (a frozen dataclass of JSON-able fields whose
    `__pydantic_config__` forbids unknown keys) and takes one instance of it. Import torch only inside what
    evaluates: the engine builds spaces in commands that must answer within 0.3 s.
    """

    name: str = ""
    Options: type = NoOptions
    objectives: tuple[Objective, ...] = (Objective("loss"),)
    rungs: tuple[Rung, ...] = (Rung("search"),)
    links: bool = False
    """True: runs store a genome as `encode_link` gives it, its parent's id and what was added (a seed chain, say)."""
    defaults: Mapping[str, Any] = {}
    """Defaults of the run's configuration that suit this space (strategy, budget, loop, ...); users override."""

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options

    @classmethod
    def defaults_for(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """`defaults` of a run with these options, as the user gave them: `defaults`, unless they depend on them."""
        return cls.defaults

    def locate(self, folder: Path) -> None:
        """Told by the commands that read a stored run, before they describe, draw or export its genomes: where
        `prepare` left its files. They may be gone."""

    def sample(self, rng: np.random.Generator) -> G:
        raise NotImplementedError(f"{type(self).__name__}.sample")

    def mutate(self, genome: G, rng: np.random.Generator) -> Variation:
        raise NotImplementedError(f"{type(self).__name__}.mutate")

    def crossover(self, a: G, b: G, rng: np.random.Generator) -> Variation:
        """Not every space has one; a strategy that needs it says so before the run starts."""
        raise NotImplementedError(f"{type(self).__name__} has no crossover")

    def seeds(self) -> Sequence[G]:
        """Known genomes to warm-start from; none by default."""
        return ()

    def canonical(self, genome: G) -> bytes | None:
        """Structural identity: equal bytes mean equal function. None: the genome can never be valid."""
        raise NotImplementedError(f"{type(self).__name__}.canonical")

    def fingerprint(self, genomes: Sequence[G]) -> Fingerprints | None:
        """Behavioural identity of what `canonical` could not tell apart; None where structure is identity."""
        return None

    def prepare(self, preparation: Preparation) -> Any:
        """What must exist before the first candidate: content-addressed, resumable, picklable."""
        return None

    def evaluator(self, prepared: Any) -> Evaluator:
        raise NotImplementedError(f"{type(self).__name__}.evaluator")

    def costs(self, genome: G) -> Mapping[str, float]:
        """Syntactic costs (length, parameters, latency from a table pinned in the run)."""
        return {}

    def encode(self, genome: G) -> Json:
        return genome

    def decode(self, value: Json) -> G:
        return value  # type: ignore[no-any-return]

    def encode_link(self, genome: G, parents: tuple[int, ...]) -> Json:
        """Where `links` is set: {"parent": parents[0], ...} with what distinguishes the genome from that parent, or any
        other value where it has none."""
        return self.encode(genome)

    def decode_link(self, value: Json, parent: G | None) -> G:
        """The inverse; `parent` is the genome that value["parent"] names, or None."""
        return self.decode(value)

    def describe(self, genome: G) -> str:
        """What a person reads in `evo show`: several lines, source where there is source."""
        return str(genome)

    def summary(self, genome: G) -> str:
        """One line for leaderboards."""
        return self.describe(genome).replace("\n", "; ")

    def notes(self) -> Sequence[str]:
        """What somebody who starts a run with these options should know beforehand, a sentence each."""
        return ()

    def figures(self, run: RunReader) -> Iterable[Figure]:
        """Pictures for the report."""
        return ()

    def export(self, genome: G, path: Path, origin: Mapping[str, Any]) -> Path:
        """Write a Python module that imports without this project; return the file written."""
        raise NotImplementedError(f"{type(self).__name__} has no export")

    def namespace(self) -> Mapping[str, str]:
        """What the value of a function depends on beside itself: task, data digest, fitness and probe versions,
        numeric backend. Part of the shared cache's key."""
        return {}

    def report(self, genomes: Sequence[G], seeds: Sequence[int], prepared: Any) -> list[dict[str, Any]]:
        """Held-out evaluation of the finalists beside baselines, never told to a strategy; rows for a table.

        One row a (name, task): {"name", "task", "metric", "values": [one a seed], "genome_index" or None}.
        """
        return []

    def refine(self, work: Refinement[G]) -> Refined[G]:
        """What turns a search's leaders into a result: selection on work that the search never saw, tuning,
        simplification. Called by `evo refine`, again after a kill; not every space has it.
        """
        raise NotImplementedError(f"{type(self).__name__} refines nothing: its leaders are its results")

    def refine_settings(self) -> type | None:
        """The frozen dataclass whose fields are the settings of `refine`, its docstring saying what each means under
        "Attributes:"; `evo refine SPACE --settings` prints them. None where the space has none, or does not say."""
        return None

    def judge(self, modules: Sequence[Path], settings: Mapping[str, Any], work: Preparation) -> Judgement:
        """Exported modules beside tuned baselines, on held-out work. Called by `evo judge`; not every space has it.

        Args:
            modules: exported Python files.
            settings: of the space's own; it raises ConfigError for those it does not know.
            work: where its files go (content-addressed: what is there is not done again), workers, progress.
        """
        raise NotImplementedError(f"{type(self).__name__} judges nothing")

    def allocate(
        self, settings: Mapping[str, Any], folder: Path, progress: Callable[[int, int, str], None]
    ) -> Judgement:
        """What the space's results are for, applied to a user's own model (`emq`: bits of each layer under a budget).
        Called by `evo allocate`; not every space has it.

        Args:
            settings: of the space's own; it raises ConfigError for those it does not know.
            folder: for files that the result refers to.
            progress: `progress(done, total, what)`.
        """
        raise NotImplementedError(f"{type(self).__name__} allocates nothing")

    def build_benchmark(
        self, settings: Mapping[str, Any], folder: Path, progress: Callable[[int, int, str], None]
    ) -> Judgement:
        """Make the benchmark that candidates are judged on, or one for a user's own model and data. Called by
        `evo bench build`, again after a kill; not every space has it.

        Args:
            settings: of the space's own; it raises ConfigError for those it does not know.
            folder: for its files: what is there already is not done again.
            progress: `progress(done, total, what)`.
        """
        raise NotImplementedError(f"{type(self).__name__} builds no benchmark")

    def benchmark_settings(self) -> type | None:
        """The frozen dataclass that `build_benchmark` reads its settings into, for `evo bench build --settings`."""
        return None


def decode_genome(space: SearchSpace[Any], value: Json, load: Callable[[int], Json]) -> Any:
    """A genome from its stored value.

    Args:
        load: the stored value of another candidate of the run, by id; called for the ancestors of a link alone.
    """
    if not space.links:
        return space.decode(value)
    chain = []
    while isinstance(value, dict) and value.get("parent") is not None:
        chain.append(value)
        value = load(int(value["parent"]))
    genome = space.decode_link(value, None)
    for link in reversed(chain):
        genome = space.decode_link(link, genome)
    return genome
