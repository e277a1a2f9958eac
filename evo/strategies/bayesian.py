"""Bayesian optimisation over the vectors that a space declares, then greedy exploitation of the best one.

Source: He, Shu, Dai, Low, "Robustifying and Boosting Training-Free Neural Architecture Search" (RoBoT; ICLR 2024, arXiv
2403.07591), algorithm 1 and the released code. There, vectors are weights of training-free metrics. For any space with
a box (`evo.space.BoxSpace`):

1. Explore: `explore` proposals are vectors. First those of the warm start, then `uniform_first` uniform ones, then
   the sampler's. A vector stands for the first item that it ranks; one that stands for a known item costs nothing.
2. Choose a vector from what was told.
3. Exploit: walk down the items as the chosen vector ranks them, and propose each that was not evaluated yet. Where all
   of them were, there is nothing more to propose, and the search ends.

`preset: published` is RoBoT as released: GP-UCB, no warm start, one uniform probe first, the last of the equally best
vectors. `preset: robust` is ours: each axis is tried by itself first, and the vector to exploit is not that whose one
item was luckiest but the one that explains all values told, by a Bayesian regression whose noise is estimated; it is
fitted again before each item.

Proposals wait until fewer than `batch` of them are out; those that are count, to the sampler, as if they had given the
mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, isnan
from typing import Any, Literal, get_args

import numpy as np

from evo.errors import ConfigError
from evo.seeds import Streams
from evo.space import BoxSpace, Breed, G, Json, Proposal, SearchSpace, Told
from evo.strategies._linear import fit_weights
from evo.strategies._options import check_at_least, check_choice
from evo.strategies._vectors import MODELS, SAMPLERS, History
from evo.strategies.base import BaseStrategy, Fetch

Preset = Literal["robust", "published"]
WarmStart = Literal["none", "units", "sum", "units+sum"]
Choice = Literal["observed", "regression"]

PRESETS: dict[str, dict[str, Any]] = {
    "robust": {"sampler": "ucb", "warm_start": "units+sum", "uniform_first": 0, "choice": "regression"},
    "published": {"sampler": "ucb", "warm_start": "none", "uniform_first": 1, "choice": "observed"},
}


@dataclass(frozen=True, slots=True)
class BayesianOptions:
    """Options of Bayesian optimisation with greedy exploitation; null: as the preset has it.

    Attributes:
        preset: "robust" or "published" (see the module).
        sampler: of vectors: "ucb" (RoBoT's Gaussian process), Optuna's "gp" or "tpe", "cmaes", "qmc" (even spread), or
            "random" (both learn nothing).
        warm_start: the first vectors: "none"; "units", each axis alone at its upper bound; "sum", all at their upper
            bounds; or "units+sum", the latter first.
        uniform_first: uniform vectors after that, before the sampler.
        explore: vectors proposed in all, repeats included; 0: those of the warm start alone; null in a run: the search
            explores to its end.
        choice: what is exploited: "observed", the vector whose item had the best value (of equals the last), or
            "regression", the weights that explain all values told (the space needs features).
        kappa: for "ucb", the weight of the standard deviation.
        batch: proposals that may be out at a time; more keeps more workers busy, on older knowledge.
    """

    __pydantic_config__ = {"extra": "forbid"}

    preset: Preset = "robust"
    sampler: str | None = None
    warm_start: WarmStart | None = None
    uniform_first: int | None = None
    explore: int | None = 20
    choice: Choice | None = None
    kappa: float = 2.576
    batch: int = 1

    def __post_init__(self) -> None:
        check_choice("bayesian.preset", self.preset, get_args(Preset))
        for name, value in PRESETS[self.preset].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        check_choice("bayesian.sampler", self.sampler, tuple(SAMPLERS))
        check_choice("bayesian.warm_start", self.warm_start, get_args(WarmStart))
        check_choice("bayesian.choice", self.choice, get_args(Choice))
        check_at_least("bayesian.uniform_first", self.uniform_first or 0, 0)
        check_at_least("bayesian.batch", self.batch, 1)
        if self.explore is not None:
            check_at_least("bayesian.explore", self.explore, 0)
        if self.explore == 0 and self.warm_start == "none":
            raise ConfigError(
                "bayesian.explore is 0 and bayesian.warm_start is none, so that there is nothing to exploit",
                "set bayesian.explore to 1 or more, or bayesian.warm_start to units",
            )
        if not 0.0 <= self.kappa < inf:
            raise ConfigError(f"bayesian.kappa is {self.kappa}; it must be finite and at least 0")


class BayesianOptimisation(BaseStrategy[G]):
    """Vectors by a sampler, then the items that the best vector ranks.

    Looks at the first objective at the last rung. A candidate without a value there (it failed, or was stopped) counts
    as the worst told so far; infinities count as the best or worst finite value.
    """

    name = "bayesian"
    Options = BayesianOptions
    options: BayesianOptions

    def __init__(self, space: SearchSpace[G], options: Any = None) -> None:
        super().__init__(space, options)
        if not isinstance(space, BoxSpace):
            raise ConfigError(
                f"strategy 'bayesian' searches a box, and space {space.name!r} has none",
                "use another strategy, or give the space box, from_vector, to_vector, greedy and features",
            )
        self._box: BoxSpace[G] = space
        axes = tuple(space.box())
        self._low = np.array([axis.low for axis in axes], np.float64)
        self._high = np.array([axis.high for axis in axes], np.float64)
        if not len(axes) or not np.all(self._low < self._high):
            raise ConfigError(f"space {space.name!r} declares the box {list(axes)}, which has no inside")
        self._sign = -1.0 if self.objectives[0].direction == "minimise" else 1.0
        self._last_rung = len(space.rungs) - 1
        self._seed: int | None = None  # drawn with the first proposal, for what spans the run
        self._told: list[Told] = []
        self._vectors: list[tuple[float, ...] | None] = []  # of those told
        self._pending: dict[int, G] = {}
        self._keys: set[bytes | None] = set()  # identities proposed so far
        self._vectors_asked = 0

    # ------------------------------------------------------------------ asking

    def ask(self, first_id: int, n: int, streams: Streams) -> Sequence[Proposal[G]]:
        proposals: list[Proposal[G]] = []
        while len(proposals) < n and len(self._pending) < self.options.batch:
            candidate_id = first_id + len(proposals)
            if self._seed is None:
                self._seed = int(streams(candidate_id, "run").integers(2**31))
            proposal = self._propose(candidate_id, streams)
            if proposal is None:
                break
            self._pending[candidate_id] = proposal.genome
            self._keys.add(self.space.canonical(proposal.genome))
            proposals.append(proposal)
        return proposals

    def _propose(self, candidate_id: int, streams: Streams) -> Breed[G] | None:
        """None: every item was proposed."""
        explore = self.options.explore if self.options.explore != 0 else len(self._warm())
        if explore is None or self._vectors_asked < explore:
            return self._vector(candidate_id, streams)
        vector, parents = self._chosen()
        if vector is not None:
            ranked = 0
            for genome in self._box.greedy(self._box.from_vector(vector)):
                if self.space.canonical(genome) not in self._keys:
                    return Breed(genome, parents, "greedy")
                ranked += 1
            if ranked:
                # a further vector would stand for one of these again
                return None
        # nothing had a value: there is nothing to exploit
        return self._vector(candidate_id, streams)

    def _vector(self, candidate_id: int, streams: Streams) -> Breed[G]:
        number = self._vectors_asked
        self._vectors_asked += 1
        given = self._warm()
        if number < len(given):
            return Breed(self._box.from_vector(given[number]), (), "warm start")
        rng = streams(candidate_id, "vector")
        uniform = number < len(given) + (self.options.uniform_first or 0)
        name = str(self.options.sampler)
        if uniform or (name in MODELS and not self._any_value()):
            name = "random"
        drawn = SAMPLERS[name](self._history(number - len(given)), rng)
        return Breed(self._box.from_vector(tuple(drawn.tolist())), (), "uniform" if uniform else name)

    def _warm(self) -> list[tuple[float, ...]]:
        if self.options.warm_start == "none":
            return []
        rest = np.clip(0.0, self._low, self._high)
        units = [tuple(np.where(np.arange(len(rest)) == i, self._high, rest).tolist()) for i in range(len(rest))]
        both = {"units": units, "sum": [], "units+sum": units}[str(self.options.warm_start)]
        return both if self.options.warm_start == "units" else [tuple(self._high.tolist()), *both]

    def _history(self, number: int) -> History:
        values = self._values()
        rows = [i for i, vector in enumerate(self._vectors) if vector is not None]
        points = [self._vectors[i] for i in rows]
        found = [float(values[i]) for i in rows]
        drawn = [self._told[i].operator != "warm start" for i in rows]
        mean = float(np.mean(found)) if found else 0.0
        for genome in self._pending.values():
            vector = self._box.to_vector(genome)
            if vector is not None:
                points.append(vector)
                found.append(mean)
                drawn.append(True)
        at = np.array(points, np.float64).reshape(len(points), len(self._low))
        told, seed = len(rows), self._seed or 0
        return History(
            self._low, self._high, at, np.array(found), told, np.array(drawn, bool), number, seed, self.options.kappa
        )

    # ------------------------------------------------------------------ learning

    def tell(self, results: Sequence[Told]) -> None:
        for result in results:
            self._pending.pop(result.id, None)
            self._told.append(result)
            self._vectors.append(self._box.to_vector(result.genome))

    def _values(self) -> np.ndarray:
        """(told,) finite, larger is better."""
        raw = np.array([self._sign * told.values[0] if self._has_value(told) else -inf for told in self._told])
        finite = raw[np.isfinite(raw)]
        if not len(finite):
            return np.zeros(len(raw))
        clipped: np.ndarray = np.clip(raw, finite.min(), finite.max())
        return clipped

    def _has_value(self, told: Told) -> bool:
        return bool(told.values) and told.rung == self._last_rung and not isnan(told.values[0])

    def _any_value(self) -> bool:
        return any(self._has_value(told) and isfinite(told.values[0]) for told in self._told)

    def _chosen(self) -> tuple[tuple[float, ...] | None, tuple[int, ...]]:
        """The vector to exploit and the candidate it came from; None where no value was told."""
        if not self._any_value():
            return None, ()
        values = self._values()
        if self.options.choice == "regression":
            vector = self._regressed(values)
            if vector is not None:
                return vector, ()
        best: int | None = None
        for i, vector in enumerate(self._vectors):
            if vector is not None and (best is None or values[i] >= values[best]):
                best = i
        if best is None:
            return None, ()
        return self._vectors[best], (self._told[best].id,)

    def _regressed(self, values: np.ndarray) -> tuple[float, ...] | None:
        """The direction of the regression's weights, as long as the box allows; None where they are all zero."""
        rows = [i for i, told in enumerate(self._told) if told.new]
        features = []
        for i in rows:
            found = self._box.features(self._told[i].genome)
            if found is None:
                raise ConfigError(
                    f"bayesian.choice is 'regression', but space {self.space.name!r} gives no features",
                    "set bayesian.choice to 'observed'",
                )
            features.append(found)
        if not rows:
            return None
        weights = fit_weights(np.array(features), values[rows]).weights
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(weights > 0, self._high / weights, np.where(weights < 0, self._low / weights, inf))
        longest = float(room.min())
        if not isfinite(longest) or longest <= 0.0:
            return None
        return tuple(np.clip(weights * longest, self._low, self._high).tolist())

    # ------------------------------------------------------------------ state

    def state(self) -> Json:
        return {
            "seed": self._seed,
            "told": [told.id for told in self._told],
            "pending": [[i, self.space.encode(genome)] for i, genome in self._pending.items()],
            "vectors": self._vectors_asked,
        }

    def restore(self, state: Json, fetch: Fetch) -> None:
        self._seed, self._vectors_asked = state["seed"], state["vectors"]
        self._told, self._vectors, self._pending = [], [], {}
        self.tell(fetch(state["told"]))
        self._pending = {i: self.space.decode(value) for i, value in state["pending"]}
        genomes = [*(told.genome for told in self._told), *self._pending.values()]
        self._keys = {self.space.canonical(genome) for genome in genomes}
