"""Diversity-prompting selection, beside a plain sequential loop of the same algorithm written here."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.errors import ConfigError
from evo.search import Search
from evo.seeds import Streams
from evo.space import Objective
from evo.strategies import build_strategy
from evo.strategies.diversity import DiversityOptions, DiversityPrompting
from evo.strategies.random import RandomSearch
from evo.testing.strategies import Rehearsal, StrategyContract
from tests.evo.engine import make as make_search
from tests.evo.engine import parts, query, run, stop_after
from tests.evo.strategies.problems import Bits, BitsOptions, BitsWithoutCrossover, told

LATE = "tests.evo.late_space:LateSpace"
ZEROS = (0,) * 40


def make(space=None, **options):
    return DiversityPrompting(space or Bits(), DiversityOptions(**options))


class TestDiversityContract(StrategyContract):
    @pytest.fixture(
        params=[
            {},
            {"newcomers": False, "initial": "mixed"},
            {"crossover": 0.0, "top": 0.1, "initial": "mutated"},
            {"crossover": 1.0, "mutation": 0.0, "top": 1.0, "initial": "seed"},
        ],
        ids=lambda options: "+".join(map(str, options)) or "defaults",
    )
    def make_strategy(self, request):
        return lambda: make(population=10, **request.param)


class TestRestartedContract(StrategyContract):
    @pytest.fixture
    def make_strategy(self):
        inner = {"population": 8, "initial": "mixed"}
        options = {"strategy": "diversity", "options": inner, "after": 25}
        return lambda: build_strategy("restart", Bits(), options)


def full(values, **options):
    """A strategy whose population is 0, 1, 2, ... with these values, and that was asked for one step since."""
    strategy = make(population=len(values), **{"top": 1.0, **options})
    strategy.ask(0, len(values), Streams(0))
    strategy.tell([told(i, (value,), genome=ZEROS) for i, value in enumerate(values)])
    strategy.ask(len(values), 2, Streams(0))
    return strategy


def child(candidate_id, value=None, **rest):
    values = () if value is None else (value,)
    return told(candidate_id, values, operator="flip", parents=(0,), genome=ZEROS, **rest)


def newcomer(candidate_id, value=None, **rest):
    return told(candidate_id, () if value is None else (value,), operator="newcomer", genome=ZEROS, **rest)


class TestFilling:
    def operators(self, **options):
        rehearsal = Rehearsal(make(population=4, crossover=0.0, **options))
        rehearsal.run(8, chunk=1, lag=0)
        return [proposal.operator for proposal in rehearsal.proposals]

    def test_by_default_the_population_is_sampled(self):
        assert self.operators() == ["sample"] * 4 + ["flip", "newcomer"] * 2

    def test_mixed_takes_the_seeds_first(self):
        assert self.operators(initial="mixed") == ["seed"] + ["sample"] * 3 + ["flip", "newcomer"] * 2

    @pytest.mark.parametrize("initial", ["seed", "mutated"])
    def test_from_seeds_it_goes_on_with_mutants_since_copies_cannot_live_in_it(self, initial):
        rehearsal = Rehearsal(make(population=4, initial=initial))
        rehearsal.run(4, chunk=4)
        assert [(p.operator, p.parents) for p in rehearsal.proposals] == [("seed", ())] + [("flip", (0,))] * 3

    def test_only_distinct_functions_with_a_value_count(self):
        strategy = make(population=3, top=1.0)
        strategy.tell([told(0, (1.0,)), told(1, (2.0,), function=0), told(2), told(3, (math.nan,))])
        strategy.tell([told(4, (9.0,), rung=-1), told(5, (-math.inf,))])
        assert strategy.population == (0, 5)
        assert [p.operator for p in strategy.ask(6, 2, Streams(0))] == ["sample"] * 2

    def test_initial_candidates_told_when_it_is_full_enter_where_they_beat_the_worst(self):
        strategy = make(population=2, top=1.0)
        strategy.ask(0, 5, Streams(0))
        strategy.tell([told(i, (value,)) for i, value in enumerate([2.0, 1.0, 0.5, 3.0, 2.5])])
        assert strategy.population == (3, 4)

    def test_initial_candidates_told_after_the_first_child_was_asked_for_are_no_contenders(self):
        strategy = make(population=2, top=1.0)
        strategy.ask(0, 4, Streams(0))
        strategy.tell([told(0, (2.0,), genome=ZEROS), told(1, (1.0,), genome=ZEROS)])
        strategy.ask(4, 2, Streams(0))
        strategy.tell([told(2, (0.5,)), told(3, (3.0,))])
        assert strategy.population == (3, 0)
        assert strategy.state()["unpaired"] == []


class TestStep:
    def test_by_hand(self):
        """The population 0..3 with values 4, 3, 2, 1; steps of a child and a newcomer each."""
        strategy = full([4.0, 3.0, 2.0, 1.0])
        strategy.tell([child(4, 2.5), newcomer(5, 0.5)])  # the child is the better: 3 leaves
        assert strategy.population == (0, 1, 4, 2)
        strategy.tell([child(6, 0.1), newcomer(7, 9.0)])  # the newcomer is: 2 leaves
        assert strategy.population == (7, 0, 1, 4)
        strategy.tell([child(8, 0.2), newcomer(9, 0.1)])  # worse than all, it enters all the same: 4 leaves
        assert strategy.population == (7, 0, 1, 8)
        strategy.tell([child(10, 3.5), newcomer(11, 3.25)])  # and is the next to leave
        assert strategy.population == (7, 0, 10, 1)

    def test_values_are_compared_in_the_objective_s_direction(self):
        space = Bits()
        space.objectives = (Objective("loss", "minimise"),)
        strategy = make(space, population=2, top=1.0)
        strategy.tell([told(0, (2.0,), genome=ZEROS), told(1, (1.0,), genome=ZEROS)])
        strategy.ask(2, 2, Streams(0))
        strategy.tell([child(2, 0.5), newcomer(3, 3.0)])
        assert strategy.population == (2, 1)

    def test_the_first_objective_decides_and_the_next_breaks_ties(self):
        space = Bits()
        space.objectives = (Objective("ones", "maximise"), Objective("size", cost=True))
        strategy = make(space, population=3, top=1.0)
        strategy.tell([told(0, (1.0, 5.0)), told(1, (1.0, 4.0)), told(2, (2.0, 9.0))])
        assert strategy.population == (2, 1, 0)

    def test_a_later_rung_beats_a_better_value(self):
        strategy = make(population=2, top=1.0)
        strategy.tell([told(0, (99.0,), "stopped", 0), told(1, (1.0,), rung=1)])
        assert strategy.population == (1, 0)

    def test_of_equal_ones_the_smaller_id_is_the_better(self):
        strategy = full([1.0, 1.0, 1.0])
        assert strategy.population == (0, 1, 2)
        strategy.tell([child(3, 1.0), newcomer(4, 1.0)])
        assert strategy.population == (0, 1, 3)

    def test_the_best_never_leaves(self):
        strategy = full([1.0, 5.0])
        for step in range(2, 20, 2):
            strategy.tell([child(step, 0.0), newcomer(step + 1, -1.0)])
            assert strategy.population == (1, step)

    def test_where_one_has_no_value_the_other_enters(self):
        strategy = full([4.0, 3.0, 2.0])
        strategy.tell([child(3), newcomer(4, 1.0)])
        assert strategy.population == (0, 1, 4)
        strategy.tell([child(5, 0.5), newcomer(6, math.nan)])
        assert strategy.population == (0, 1, 5)

    def test_where_neither_has_one_nobody_leaves(self):
        strategy = full([4.0, 3.0])
        strategy.tell([child(2), newcomer(3, math.nan)])
        assert strategy.population == (0, 1)
        assert strategy.state()["unpaired"] == []

    def test_a_function_that_lives_does_not_enter_again_and_the_other_does(self):
        strategy = full([4.0, 3.0, 2.0])
        strategy.tell([child(3, 4.0, function=0), newcomer(4, 1.0)])
        assert strategy.population == (0, 1, 4)
        strategy.tell([child(5, 4.0, function=0), newcomer(6, 1.0, function=4)])
        assert strategy.population == (0, 1, 4)

    def test_a_function_that_has_left_may_come_back(self):
        strategy = full([4.0, 3.0])
        strategy.tell([child(2, 3.5), newcomer(3)])
        strategy.tell([child(4, 3.0, function=1), newcomer(5)])
        assert strategy.population == (0, 4)

    def test_two_of_one_function_fill_one_place(self):
        strategy = full([4.0, 3.0])
        strategy.tell([child(2, 5.0), newcomer(3, 5.0, function=2)])
        assert strategy.population == (2, 0)

    def test_without_newcomers_every_child_enters(self):
        strategy = full([4.0, 3.0, 2.0], newcomers=False)
        assert "newcomer" not in {p.operator for p in strategy.ask(5, 20, Streams(0))}
        strategy.tell([child(3, 1.0)])
        assert strategy.population == (0, 1, 3)
        strategy.tell([child(4, 5.0), child(5), child(6, 4.0, function=0)])
        assert strategy.population == (4, 0, 1)


class TestPairing:
    def test_a_child_waits_for_its_newcomer(self):
        strategy = full([4.0, 3.0])
        strategy.tell([child(2, 9.0)])
        assert strategy.population == (0, 1)
        assert strategy.state()["unpaired"] == [2]
        strategy.tell([newcomer(3, 5.0)])
        assert strategy.population == (2, 0)

    def test_the_two_of_a_step_are_proposed_one_after_the_other_however_asking_is_cut(self):
        whole, cut = full([4.0, 3.0]), full([4.0, 3.0])
        together = whole.ask(4, 6, Streams(0))
        assert [p.operator == "newcomer" for p in together] == [False, True] * 3
        assert [*cut.ask(4, 1, Streams(0)), *cut.ask(5, 5, Streams(0))] == together

    def test_out_of_order_they_are_paired_in_the_order_told(self):
        """As in throughput mode: newcomers 4 and 6 come first, then children 5 and 3: pairs (5, 4) and (3, 6)."""
        strategy = full([9.0, 8.0, 7.0])
        strategy.tell([newcomer(4, 1.0), newcomer(6, 2.0), child(5, 0.0)])
        assert strategy.population == (0, 1, 4)
        assert strategy.state()["unpaired"] == [6]
        strategy.tell([child(3, 3.0)])
        assert strategy.population == (0, 1, 3)

    def test_an_unpaired_one_survives_a_restart_of_the_engine(self):
        strategy = full([4.0, 3.0])
        results = {i: told(i, (v,), genome=ZEROS) for i, v in enumerate([4.0, 3.0])} | {2: child(2, 9.0)}
        strategy.tell([results[2]])
        again = make(population=2, top=1.0)
        again.restore(json.loads(json.dumps(strategy.state())), lambda ids: [results[i] for i in ids])
        again.tell([newcomer(3, 5.0)])
        assert again.population == (2, 0)


class TestParents:
    def parents(self, n=400, **options):
        strategy = full([float(i) for i in range(10)], **options)  # the best is 9
        proposals = [p for p in strategy.ask(12, n, Streams(0)) if p.operator != "newcomer"]
        return Counter(parent for p in proposals for parent in p.parents)

    @pytest.mark.parametrize(
        ("top", "drawn"), [(0.2, {9, 8}), (0.5, {9, 8, 7, 6, 5}), (0.39, {9, 8, 7}), (1.0, set(range(10)))]
    )
    def test_are_drawn_from_the_best_share_rounded_down(self, top, drawn):
        assert set(self.parents(top=top)) == drawn

    def test_the_share_does_not_lose_a_member_to_rounding_errors(self):
        assert DiversityOptions(population=100, top=0.29).n_parents == 29

    def test_at_least_one_is_drawn(self):
        assert set(self.parents(top=0.0, crossover=0.0)) == {9}
        assert DiversityOptions(population=10, top=0.0, crossover=0.0).n_parents == 1

    def test_all_of_the_share_are_equally_likely(self):
        counts = self.parents(n=4000, top=0.5, crossover=0.0)
        assert all(abs(count - 400) < 5 * math.sqrt(400) for count in counts.values())

    def test_they_are_the_best_of_what_was_told_when_the_child_is_asked_for(self):
        strategy = full([4.0, 3.0, 2.0, 1.0], top=0.5)
        strategy.tell([child(4, 9.0), newcomer(5, 0.0)])
        drawn = {parent for p in strategy.ask(6, 60, Streams(0)) for parent in p.parents}
        assert drawn == {4, 0}


class TestVariation:
    def kinds(self, **options):
        rehearsal = Rehearsal(make(population=20, top=1.0, **options))
        rehearsal.run(1000)
        children = [p for p in rehearsal.proposals if p.operator not in ("sample", "newcomer")]
        assert len(children) > 450
        return {kind: count / len(children) for kind, count in Counter(p.operator for p in children).items()}

    def test_a_quarter_is_crossed_alone_a_quarter_is_also_mutated_and_the_rest_is_mutated_alone(self):
        """A half of the children are crossed but for those with one member drawn twice, one in twenty."""
        shares = self.kinds()
        assert shares.keys() == {"uniform", "uniform+flip", "flip"}
        crossed = 0.5 * 19 / 20
        assert shares["uniform"] == pytest.approx(crossed / 2, abs=0.08)
        assert shares["uniform+flip"] == pytest.approx(crossed / 2, abs=0.08)

    def test_without_crossover_every_child_is_mutated_whatever_the_probability(self):
        assert self.kinds(crossover=0.0, mutation=0.0).keys() == {"flip"}

    def test_without_mutation_one_member_drawn_twice_is_still_no_copy(self):
        assert self.kinds(crossover=1.0, mutation=0.0).keys() == {"uniform", "flip"}

    def test_newcomers_are_samples_without_parents(self):
        rehearsal = Rehearsal(make(population=5))
        rehearsal.run(40)
        for candidate_id, proposal in enumerate(rehearsal.proposals):
            if proposal.operator == "newcomer":
                assert proposal.parents == ()
                assert proposal.genome == Bits().sample(Streams(0)(candidate_id, "sample"))


class TestOptions:
    def test_the_defaults_are_emq_s(self):
        assert DiversityOptions() == DiversityOptions(50, 0.5, 0.5, 0.5, newcomers=True, initial="sample")

    def test_a_space_without_crossover_is_refused_before_the_run(self):
        with pytest.raises(ConfigError, match=r"diversity\.crossover is 0\.5, but space 'bits' has no crossover"):
            build_strategy("diversity", BitsWithoutCrossover())

    def test_without_crossover_it_needs_none(self):
        rehearsal = Rehearsal(make(BitsWithoutCrossover(), population=4, crossover=0.0))
        rehearsal.run(30)
        assert {p.operator for p in rehearsal.proposals} == {"sample", "newcomer", "flip"}

    @pytest.mark.parametrize(
        "options",
        [{"population": 1}, {"top": 1.1}, {"crossover": -0.1}, {"mutation": math.nan}, {"initial": "samples"}],
        ids=lambda options: next(iter(options)),
    )
    def test_out_of_range_are_refused_by_name(self, options):
        (name,) = options
        with pytest.raises(ConfigError, match=rf"diversity\.{name} is"):
            DiversityOptions(**options)

    def test_crossover_of_a_single_parent_is_refused(self):
        with pytest.raises(ConfigError, match="leaves one parent"):
            DiversityOptions(population=10, top=0.19)
        assert DiversityOptions(population=10, top=0.19, crossover=0.0).n_parents == 1

    def test_a_space_without_seeds_cannot_begin_from_them(self):
        with pytest.raises(ConfigError, match=r"diversity\.initial is 'seed'.*has no seed genomes"):
            make(Bits(BitsOptions(seeds=False)), initial="seed")


def one_by_one(population, results, newcomers):
    """EMQ's loop as it is written down, over results (id, function, value or None) in the order it makes them."""
    living, results = [], iter(results)
    for result in results:
        if result[2] is not None and all(result[1] != other[1] for other in living):
            living.append(result)
        if len(living) == population:
            break
    for offspring in results:
        contenders = [offspring, *([next(results, None)] if newcomers else [])]
        if None in contenders:
            break
        allowed = [one for one in contenders if one[2] is not None and all(one[1] != other[1] for other in living)]
        living.sort(key=lambda one: (-one[2], one[0]))
        if allowed:
            del living[-1]
            living.append(sorted(allowed, key=lambda one: (-one[2], one[0]))[0])
    return {one[0] for one in living}


@settings(max_examples=150, deadline=None)
@given(
    outcomes=st.lists(st.tuples(st.integers(0, 12), st.none() | st.integers(-3, 3)), max_size=50),
    population=st.integers(2, 5),
    newcomers=st.booleans(),
)
def test_told_at_once_it_is_the_sequential_algorithm(outcomes, population, newcomers):
    strategy = make(population=population, newcomers=newcomers, crossover=0.0)
    rows = []
    for candidate_id, (function, value) in enumerate(outcomes):
        (proposal,) = strategy.ask(candidate_id, 1, Streams(0))
        rows.append((candidate_id, function, value))
        values = () if value is None else (float(value),)
        operator, genome = proposal.operator, proposal.genome
        strategy.tell([told(candidate_id, values, function=function, operator=operator, genome=genome)])
    assert set(strategy.population) == one_by_one(population, rows, newcomers)


@pytest.mark.parametrize("lag", [0, 32])
def test_beats_random_search_by_a_wide_margin(lag):
    """1,500 candidates on 60 bits, half of them newcomers: random search ends near 43, evolution well beyond it."""
    space = Bits(BitsOptions(length=60))
    for seed in range(2):
        evolved = Rehearsal(make(space, population=20), seed)
        evolved.run(1500, lag=lag)
        sampled = Rehearsal(RandomSearch(space), seed)
        sampled.run(1500)
        assert evolved.best().values[0] >= sampled.best().values[0] + 8


class TestInTheEngine:
    """On a space whose identities are known late, as emq's, with failures."""

    settings = {
        "space": LATE,
        "options": {"functions": 300, "faults": {"raises": 9, "nan": 11, "invalid": 13}},
        "strategy": {"name": "diversity", "options": {"population": 12}},
        "budget": {"proposals": 400, "stall": None},
    }

    def test_a_stopped_run_resumes_to_the_same_journal(self, tmp_path: Path) -> None:
        whole = run(tmp_path, "whole", **self.settings)
        cut = stop_after(make_search(tmp_path, "cut", **self.settings), 97)
        cut = stop_after(Search.open(cut.path), 230)
        assert parts(Search.open(cut.path).run()) == parts(whole)
        made = dict(query(whole, "SELECT operator, count(*) FROM proposals GROUP BY operator"))
        assert made["newcomer"] > 150
        assert made["crossover"] > 20

    def test_results_told_as_they_arrive_are_replayed(self, tmp_path: Path) -> None:
        loop = {"mode": "throughput", "chunk": 15, "lag": 40, "block": 4, "snapshot_every": 100}
        cut = stop_after(make_search(tmp_path, "cut", **self.settings, loop=loop), 230)
        again = Search.open(cut.path).run()  # a replay that differed from the journal would raise
        assert again.state == "finished"
        assert again.status["counts"]["committed"] == 400
