"""The contract tests of a strategy: a pytest class that every strategy's own tests derive from.

    class TestRegularized(StrategyContract):
        @pytest.fixture
        def make_strategy(self):
            return lambda: RegularizedEvolution(MySpace(), RegularizedOptions(population=10))

Give small populations and generations: each test runs the strategy over `candidates` candidates a few times, and a
generation should end more than once in that many. `Rehearsal` is the run without an engine that the tests are made
of; it serves any test of a search's outcome too.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from evo.seeds import Streams, replicate_seed
from evo.space import Breed, Proposal, Reevaluate, Request, Told
from evo.strategies.base import Strategy

MakeStrategy = Callable[[], Any]
Outcome = Callable[[Told], Told]


class RecordingStreams(Streams):
    """Streams that remember the candidate ids they were asked for."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.asked_for: set[int] = set()

    def __call__(self, candidate_id: int, purpose: str) -> np.random.Generator:
        self.asked_for.add(candidate_id)
        return super().__call__(candidate_id, purpose)


class Rehearsal:
    """A run without engine, disk or workers: asks, evaluates with the space's own evaluator, tells.

    Args:
        strategy: a strategy with a `space` (as `BaseStrategy` has).
        seed: the run's seed.
        outcome: changes each result before it is told (to make candidates fail, say); None: as evaluated.

    Attributes:
        proposals: all proposals; the index is the candidate id.
        told: results told so far, by id.
    """

    def __init__(self, strategy: Strategy[Any], seed: int = 0, outcome: Outcome | None = None) -> None:
        self.strategy = strategy
        self.space: Any = strategy.space  # type: ignore[attr-defined]
        self.streams = RecordingStreams(seed)
        self.proposals: list[Proposal[Any]] = []
        self.told: dict[int, Told] = {}
        self._outcome = outcome
        self._evaluator = self.space.evaluator(None)
        self._functions: dict[bytes, int] = {}
        self._known: dict[tuple[int, int, str, tuple[int, ...]], tuple[tuple[float, ...], ...] | None] = {}

    @property
    def untold(self) -> int:
        """Candidates asked for and not told yet."""
        return len(self.proposals) - len(self.told)

    def ask(self, *sizes: int) -> list[Proposal[Any]]:
        """Ask once for each size in turn, with nothing told in between."""
        asked: list[Proposal[Any]] = []
        for size in sizes:
            given = list(self.strategy.ask(len(self.proposals), size, self.streams))
            assert len(given) <= size, f"asked for {size}, proposed {len(given)}"
            self.proposals += given
            asked += given
        return asked

    def tell(self, n: int | None = None, calls: int = 1) -> None:
        """Tell the next `n` results (None: all) in id order, cut into `calls` calls."""
        first = len(self.told)
        ids = range(first, len(self.proposals) if n is None else min(first + n, len(self.proposals)))
        results = [self._result(candidate_id) for candidate_id in ids]
        for part in np.array_split(np.arange(len(results)), calls):
            self.strategy.tell([results[index] for index in part])
        self.told.update((result.id, result) for result in results)

    def run(self, until: int, chunk: int = 8, lag: int = 5, split: bool = False) -> None:
        """Go on until there are `until` proposals, as the engine does: chunks, with `lag` results untold.

        Args:
            until: number of proposals in all.
            chunk: proposals asked for at a time.
            lag: results left untold before a chunk is asked for (fewer where the strategy waits).
            split: cut each chunk into two calls of `ask`, and each telling into calls of one result.
        """
        while len(self.proposals) < until:
            behind = max(0, self.untold - lag)
            self.tell(behind, calls=max(1, behind) if split else 1)
            size = min(chunk, until - len(self.proposals))
            if not self.ask(*((size - size // 3, size // 3) if split else (size,))):
                assert self.untold, f"all {len(self.told)} results are told, and the strategy proposes nothing"
                self.tell(1)

    def fetch(self, ids: Sequence[int]) -> list[Told]:
        """Told results by id, as a restored strategy gets them; KeyError for what was not told."""
        return [self.told[candidate_id] for candidate_id in ids]

    def fork(self, strategy: Strategy[Any]) -> Rehearsal:
        """The same run, going on with another strategy that is given this one's state by way of JSON."""
        other = Rehearsal(strategy, self.streams.seed, self._outcome)
        other.proposals, other.told = list(self.proposals), dict(self.told)
        other._functions = dict(self._functions)
        strategy.restore(json.loads(json.dumps(self.strategy.state(), allow_nan=False)), self.fetch)
        return other

    def plain(self) -> list[Any]:
        """All proposals as comparable values, genomes encoded."""
        return [
            (json.dumps(self.space.encode(p.genome)), tuple(p.parents), p.operator, p.salt)
            if isinstance(p, Breed)
            else p
            for p in self.proposals
        ]

    def best(self) -> Told:
        """The result with the best first objective among all that have one at the highest rung told."""
        sign = -1.0 if self.space.objectives[0].direction == "minimise" else 1.0
        fit = [t for t in self.told.values() if t.values and not math.isnan(t.values[0]) and t.operator != "reevaluate"]
        return max(fit, key=lambda told: (told.rung, sign * told.values[0], -told.id))

    def _result(self, candidate_id: int) -> Told:
        proposal = self.proposals[candidate_id]
        parents: tuple[int, ...]
        if isinstance(proposal, Reevaluate):
            genome, parents, operator = self.told[proposal.candidate].genome, (proposal.candidate,), "reevaluate"
            names = [rung.name for rung in self.space.rungs]
            rung = len(names) - 1 if proposal.rung is None else names.index(proposal.rung)
            replicates = proposal.replicates
        else:
            genome, parents, operator = proposal.genome, tuple(proposal.parents), proposal.operator
            rung = len(self.space.rungs) - 1
            replicates = tuple(range(self.space.rungs[rung].replicates))
        key = self.space.canonical(genome)
        function = candidate_id if key is None else self._functions.setdefault(key, candidate_id)
        result = Told(
            candidate_id, genome, (), "invalid", -1, function, operator, parents, None, function == candidate_id
        )
        if key is not None:
            result = self._evaluated(result, rung, replicates, proposal.salt)
        return result if self._outcome is None else self._outcome(result)

    def _evaluated(self, result: Told, rung: int, replicates: tuple[int, ...], salt: int) -> Told:
        name = self.space.rungs[rung].name
        seeds = tuple(replicate_seed(name, replicate, salt) for replicate in replicates)
        ((*observed,),) = self._evaluator.evaluate([Request(result.id, result.genome, name, seeds)])
        bad = [one.status for one in observed if one.status != "ok"]
        if bad:
            return result._replace(status=bad[0])
        means = iter(np.mean([one.values for one in observed], axis=0).tolist())
        costs = self.space.costs(result.genome)
        values = tuple(float(costs[o.name]) if o.cost else next(means) for o in self.space.objectives)
        if any(math.isnan(value) for value in values):
            return result._replace(values=values, status="nan")
        pairs = tuple((seed, tuple(one.values)) for seed, one in zip(seeds, observed, strict=True))
        return result._replace(
            values=values,
            status="ok",
            rung=rung,
            behaviour=observed[0].behaviour,
            observations=pairs if result.operator == "reevaluate" else (),
            before=self._before(result, rung) if result.operator == "reevaluate" else (),
        )

    def _before(self, result: Told, rung: int) -> tuple[float, ...]:
        told = self.told[result.parents[0]]
        return told.values if told.rung == rung else ()


def _all_fail(told: Told) -> Told:
    statuses = ("failed", "invalid", "timeout", "quarantined", "nan")
    return told._replace(values=(), status=statuses[told.id % 5], rung=-1)  # type: ignore[arg-type]


def _all_nan(told: Told) -> Told:
    return told._replace(values=(math.nan,) * max(1, len(told.values)), status="nan", rung=-1)


def _mixed_outcomes(told: Told) -> Told:
    """Half as they are; the rest infinite of either sign, NaN though "ok", stopped at the first rung, or failed."""
    width = len(told.values)
    changed = {
        1: told._replace(values=(math.inf,) * width),
        2: told._replace(values=(-math.inf,) * width),
        3: told._replace(values=(math.nan,) * width),
        4: told._replace(status="stopped", rung=0),
        5: told._replace(status="failed", values=(), rung=-1),
    }
    return changed.get(told.id % 10, told)


class StrategyContract:
    """What `evo.strategies.Strategy` promises, as tests.

    A subclass provides the fixture `make_strategy`: a function without arguments that builds a fresh strategy, always
    alike. It may lower or raise `candidates`.
    """

    candidates: int = 120
    """Proposals of each rehearsal."""

    @pytest.fixture
    def make_strategy(self) -> MakeStrategy:
        raise NotImplementedError(f"{type(self).__name__} must provide the fixture make_strategy")

    def rehearse(self, strategy: Any, outcome: Outcome | None = None, **how: Any) -> Rehearsal:
        rehearsal = Rehearsal(strategy, seed=7, outcome=outcome)
        rehearsal.run(self.candidates, **how)
        return rehearsal

    def test_has_the_methods_of_a_strategy(self, make_strategy: MakeStrategy) -> None:
        assert isinstance(make_strategy(), Strategy)

    def test_proposes_nothing_when_asked_for_nothing(self, make_strategy: MakeStrategy) -> None:
        assert list(make_strategy().ask(0, 0, Streams(7))) == []

    @pytest.mark.parametrize("lag", [0, 7, 64])
    def test_proposals_do_not_depend_on_how_asking_and_telling_are_cut(
        self, make_strategy: MakeStrategy, lag: int
    ) -> None:
        whole = self.rehearse(make_strategy(), lag=lag)
        cut = self.rehearse(make_strategy(), lag=lag, split=True)
        assert cut.plain() == whole.plain()

    def test_the_same_seed_gives_the_same_run_and_another_seed_another(self, make_strategy: MakeStrategy) -> None:
        first, second = self.rehearse(make_strategy()), self.rehearse(make_strategy())
        assert first.plain() == second.plain()
        other = Rehearsal(make_strategy(), seed=8)
        other.run(self.candidates)
        assert other.plain() != first.plain()

    @pytest.mark.parametrize("lag", [0, 7])
    def test_a_restored_strategy_goes_on_identically(self, make_strategy: MakeStrategy, lag: int) -> None:
        for stop in range(0, self.candidates, 11):
            before = Rehearsal(make_strategy(), seed=7)
            before.run(stop, lag=lag)
            # The engine snapshots just before a chunk is asked for, with the results of before already told.
            before.tell(max(0, before.untold - lag))
            after = before.fork(make_strategy())
            assert after.strategy.state() == before.strategy.state()
            before.run(self.candidates, lag=lag)
            after.run(self.candidates, lag=lag)
            assert after.plain() == before.plain(), f"stopped at {stop}"

    def test_its_state_is_plain_json_that_names_told_candidates_alone(self, make_strategy: MakeStrategy) -> None:
        rehearsal = Rehearsal(make_strategy(), seed=7, outcome=_mixed_outcomes)
        for until in range(0, self.candidates, 7):
            rehearsal.run(until, lag=9)
            state = rehearsal.strategy.state()
            assert json.loads(json.dumps(state, allow_nan=False)) == state
            rehearsal.fork(make_strategy())  # KeyError if it fetches what was not told

    def test_its_state_is_a_copy(self, make_strategy: MakeStrategy) -> None:
        rehearsal = Rehearsal(make_strategy(), seed=7)
        rehearsal.run(self.candidates // 2)
        state = rehearsal.strategy.state()
        text = json.dumps(state)
        rehearsal.run(self.candidates)
        rehearsal.tell()
        assert json.dumps(state) == text

    def test_while_it_waits_asking_again_changes_nothing(self, make_strategy: MakeStrategy) -> None:
        rehearsal = Rehearsal(make_strategy(), seed=7)
        while len(rehearsal.proposals) < self.candidates:
            if not rehearsal.ask(8):
                state = rehearsal.strategy.state()
                assert rehearsal.ask(1, 8) == []
                assert rehearsal.strategy.state() == state
                rehearsal.tell(1)

    def test_draws_from_the_streams_of_the_candidates_it_proposes_alone(self, make_strategy: MakeStrategy) -> None:
        rehearsal = Rehearsal(make_strategy(), seed=7)
        while len(rehearsal.proposals) < self.candidates:
            first = len(rehearsal.proposals)
            rehearsal.streams.asked_for.clear()
            given = rehearsal.ask(8)
            assert rehearsal.streams.asked_for <= set(range(first, first + len(given)))
            rehearsal.tell()

    def test_names_earlier_candidates_as_parents_and_re_evaluates_told_ones(self, make_strategy: MakeStrategy) -> None:
        rehearsal = Rehearsal(make_strategy(), seed=7)
        while len(rehearsal.proposals) < self.candidates:
            first = len(rehearsal.proposals)
            for index, proposal in enumerate(rehearsal.ask(8)):
                if isinstance(proposal, Reevaluate):
                    assert proposal.candidate in rehearsal.told
                    assert isinstance(rehearsal.proposals[proposal.candidate], Breed)
                    assert len(set(proposal.replicates)) == len(proposal.replicates) > 0
                else:
                    assert all(0 <= parent < first + index for parent in proposal.parents)
                    assert proposal.operator
            rehearsal.tell(5 if rehearsal.untold > 20 or len(rehearsal.proposals) == first else 0)

    def test_touches_no_global_random_state(self, make_strategy: MakeStrategy) -> None:
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        python_before, numpy_before = random.getstate(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
        first = self.rehearse(make_strategy())
        assert random.getstate() == python_before
        assert np.array_equal(np.random.get_state()[1], numpy_before)  # type: ignore[index]  # noqa: NPY002
        random.seed(2)
        np.random.seed(2)  # noqa: NPY002
        assert self.rehearse(make_strategy()).plain() == first.plain()

    @pytest.mark.parametrize("outcome", [_all_fail, _all_nan, _mixed_outcomes])
    def test_survives_failures_nan_and_infinities(self, make_strategy: MakeStrategy, outcome: Outcome) -> None:
        whole = self.rehearse(make_strategy(), outcome)
        cut = self.rehearse(make_strategy(), outcome, split=True)
        assert cut.plain() == whole.plain()
        half = Rehearsal(make_strategy(), seed=7, outcome=outcome)
        half.run(self.candidates // 2)
        half.tell(max(0, half.untold - 5))
        after = half.fork(make_strategy())
        after.run(self.candidates)
        half.run(self.candidates)
        assert after.plain() == half.plain()

    def test_survives_results_that_are_all_alike(self, make_strategy: MakeStrategy) -> None:
        alike = self.rehearse(make_strategy(), lambda told: told._replace(function=0, new=told.id == 0))
        assert len(alike.proposals) == self.candidates
