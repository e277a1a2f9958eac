"""The options of the space, as a user writes them under `options:` in a run's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from evo.errors import ConfigError
from search_spaces.emq.known import KNOWN, RELEASED
from search_spaces.emq.language import SHAPES
from search_spaces.emq.operators import Mode, OperatorSet
from search_spaces.emq.scaling import Invariance, screened

Fitness = Literal["spearman", "kendall", "spearman_top"]
Rows = Literal["nearest", "adaround", "all"]


@dataclass(frozen=True, slots=True)
class EMQOptions:
    """What is searched, and on which benchmark candidates are judged.

    Attributes:
        mode: "corrected", or "as-released": EMQ's released code, quirks and all (see `language.py`).
        structures: of "linear", "tree", "graph": each sample draws one of them.
        operators: "base": EMQ's 20 unary and 4 binary operators (and, in mode corrected, ours that bring bits and sums
            in); "wide": also the 12 unary and 10 binary ones that its authors defined and did not use.
        invariance: what is rejected unseen because its ranking would change under a rescaling that changes no network
            (mode corrected; see `scaling.py`): "channels": of single channels of a layer; "layers": of whole layers
            alone, which leaves the Hessian's trace in; "none": nothing.
        fitness: rank correlation of score and accuracy on the search rows, larger is better: "spearman", "kendall"
            (tau-b), or "spearman_top": Spearman among the rows that the proxy itself scores highest.
        top: their share, for "spearman_top".
        size_objective: also minimise the proxy's size, operators and inputs (a second objective, for `nsga2`).
        gene_mutation: probability that a mutation draws a gene anew; one gene at least is changed.
        redraws: how often a draw that would be rejected unseen is drawn again: forms cost microseconds, and of random
            ones a tenth or less is worth a table. 0: none, as in EMQ.
        seeds: known proxies that a warm start begins with (`known.py`); none by default.
        search: the benchmark that the search sees: "resnet", "mobilenet", or a table's path (.npz, .csv, .pkl).
        held_out: the benchmark of another network that it does not see; null for none.
        model, data: for a table of your own at `search`: module:attr of the model (a torch module, or a function that
            makes one) and of a batch (images, labels), or a function that makes one; of (training, test), as
            `evo bench build` takes them, the first `batch` training samples are the batch.
        held_out_model, held_out_data: the same for `held_out`.
        rows: which rows of a table count: "nearest" (weights rounded to nearest), "adaround", or "all".
        batch: images of a batch that statistics are gathered on.
        batches: disjoint batches of training images, over which fitness is the mean: on one alone, luck ranks well.
        fresh: further batches, of which the search sees none, for the report; 0: it takes those of the search.
        screen: fitness on the first batch below which it stands, and the other batches are not looked at.
        samples: elements of each layer's tensors that proxies look at; null: all of them.
        memory_mb: what a worker may use to remember sub-programs; changes speed alone.
    """

    __pydantic_config__ = {"extra": "forbid"}

    mode: Mode = "corrected"
    structures: tuple[str, ...] = ("tree",)
    operators: OperatorSet = "base"
    invariance: Invariance = "channels"
    fitness: Fitness = "spearman"
    top: float = 0.5
    size_objective: bool = False
    gene_mutation: float = 0.25
    redraws: int = 12
    seeds: tuple[str, ...] = ()
    search: str = "resnet"
    held_out: str | None = "mobilenet"
    model: str | None = None
    data: str | None = None
    held_out_model: str | None = None
    held_out_data: str | None = None
    rows: Rows = "nearest"
    batch: int = 64
    batches: int = 3
    fresh: int = 4
    screen: float = 0.6
    samples: int | None = 2048
    memory_mb: int = 288

    def __post_init__(self) -> None:
        object.__setattr__(self, "structures", tuple(self.structures))
        object.__setattr__(self, "seeds", tuple(self.seeds))
        _one_of("mode", self.mode, get_args(Mode))
        _one_of("operators", self.operators, get_args(OperatorSet))
        _one_of("fitness", self.fitness, get_args(Fitness))
        _one_of("invariance", self.invariance, get_args(Invariance))
        _one_of("rows", self.rows, get_args(Rows))
        if not self.structures or len(set(self.structures)) != len(self.structures):
            raise ConfigError(f"options.structures is {list(self.structures)}: name at least one, and none twice")
        for structure in self.structures:
            _one_of("structures", structure, tuple(SHAPES))
        known = KNOWN if self.mode == "corrected" else RELEASED
        for seed in self.seeds:
            _one_of("seeds", seed, tuple(known))
        for seed in self.seeds:
            if screened(known[seed], self.invariance).term is None:
                raise ConfigError(
                    f"options.seeds: {seed} changes when a layer is rescaled", "set options.invariance: none"
                )
        if not 0.0 < self.top <= 1.0:
            raise ConfigError(f"options.top is {self.top}; it is a share in (0, 1]")
        if not 0.0 < self.gene_mutation <= 1.0:
            raise ConfigError(f"options.gene_mutation is {self.gene_mutation}; it is a probability above 0")
        if not self.screen <= 1.0:
            raise ConfigError(f"options.screen is {self.screen}; it is a correlation, at most 1")
        least_of = {"redraws": 0, "batch": 2, "batches": 1, "fresh": 0, "samples": 16, "memory_mb": 1}
        for name, least in least_of.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"options.{name} is {value}; it must be at least {least}")
        for which in ("", "held_out_"):
            if (getattr(self, f"{which}model") is None) != (getattr(self, f"{which}data") is None):
                raise ConfigError(
                    f"of options.{which}model and options.{which}data one is missing",
                    "a table of your own needs both, as module:attr; one that ships needs neither",
                )


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"options.{name}: {value!r} is none of {', '.join(allowed)}")
