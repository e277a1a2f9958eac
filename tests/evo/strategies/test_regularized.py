import math

import numpy as np
import pytest

from evo.errors import ConfigError
from evo.seeds import Streams
from evo.strategies import draw_indices
from evo.strategies.random import RandomSearch
from evo.strategies.regularized import RegularizedEvolution, RegularizedOptions
from evo.testing.strategies import Rehearsal, StrategyContract
from tests.evo.strategies.problems import Bits, BitsOptions, BitsWithoutCrossover, Schaffer, told


def make(space=None, **options):
    return RegularizedEvolution(space or Bits(), RegularizedOptions(**options))


class TestRegularizedContract(StrategyContract):
    @pytest.fixture(
        params=[
            {"initial": "mixed"},
            {"initial": "seed", "tournament": 3},
            {"initial": "mutated", "tournament": 1},
            {"initial": "sample", "crossover": 0.5, "mutation": 0.5},
            {"initial": "mutated", "reevaluate_every": 6, "reevaluate_top": 3, "reevaluate_replicates": 2},
        ],
        ids=lambda options: options["initial"] + "+rounds" * ("reevaluate_every" in options),
    )
    def make_strategy(self, request):
        return lambda: make(population=16, **request.param)


def parents_of(strategy, first_id, n, seed=0):
    return [proposal.parents for proposal in strategy.ask(first_id, n, Streams(seed))]


class TestInitialPopulation:
    def operators(self, lag=0, n=12, **options):
        rehearsal = Rehearsal(make(population=6, **options))
        rehearsal.run(n, chunk=1, lag=lag)
        return [proposal.operator for proposal in rehearsal.proposals]

    def test_seed_fills_the_population_with_the_seed_genome(self):
        assert self.operators(initial="seed") == ["seed"] * 6 + ["flip"] * 6

    def test_mixed_is_the_seed_and_samples(self):
        assert self.operators(initial="mixed") == ["seed"] + ["sample"] * 5 + ["flip"] * 6

    def test_mutated_is_the_seed_and_its_mutants(self):
        rehearsal = Rehearsal(make(population=6, initial="mutated"))
        rehearsal.run(6, chunk=6, lag=6)
        assert [p.operator for p in rehearsal.proposals] == ["seed"] + ["flip"] * 5
        assert [p.parents for p in rehearsal.proposals] == [()] + [(0,)] * 5

    def test_sample_leaves_the_seed_out(self):
        assert self.operators(initial="sample") == ["sample"] * 6 + ["flip"] * 6

    def test_before_anything_is_told_the_seed_is_mutated_beyond_the_population(self):
        strategy = make(population=3, initial="seed")
        assert [p.operator for p in strategy.ask(0, 6, Streams(0))] == ["seed"] * 3 + ["flip"] * 3

    def test_before_anything_is_told_samples_go_on(self):
        strategy = make(population=3, initial="sample")
        assert [p.operator for p in strategy.ask(0, 6, Streams(0))] == ["sample"] * 6

    def test_a_space_without_seeds_cannot_begin_from_them(self):
        with pytest.raises(ConfigError, match="has no seed genomes"):
            make(Bits(BitsOptions(seeds=False)), initial="seed")


class TestAging:
    def filled(self, values, **options):
        strategy = make(population=len(values), **options)
        strategy.ask(0, len(values), Streams(0))
        strategy.tell([told(i, (v,), genome=(0,) * 40) for i, v in enumerate(values)])
        return strategy

    def test_the_winner_of_a_tournament_is_the_best_drawn(self):
        values = np.random.default_rng(0).permutation(50).astype(float)
        strategy = self.filled(values.tolist(), tournament=4)
        for candidate_id in range(50, 100):
            drawn = draw_indices(Streams(0)(candidate_id, "tournament"), 50, 4)
            ((parent,),) = parents_of(strategy, candidate_id, 1)
            assert values[parent] == values[drawn].max()

    def test_the_oldest_dies_however_good(self):
        strategy = self.filled([100.0, 1.0, 1.0], tournament=64)
        assert {p for (p,) in parents_of(strategy, 3, 20)} == {0}
        strategy.tell([told(3, (0.0,), genome=(0,) * 40)])
        assert 0 not in {p for (p,) in parents_of(strategy, 23, 50)}

    def test_state_lists_the_members_from_the_oldest(self):
        strategy = self.filled([1.0, 2.0, 3.0])
        strategy.tell([told(7, (4.0,)), told(5, (4.0,))])
        assert strategy.state()["population"] == [2, 7, 5]

    def test_candidates_without_a_value_do_not_enter(self):
        strategy = self.filled([1.0, 2.0, 3.0])
        strategy.tell([told(3), told(4, (math.nan,)), told(5, (9.0,), rung=-1)])
        assert strategy.state()["population"] == [0, 1, 2]

    def test_a_later_rung_beats_a_better_value(self):
        strategy = make(population=2, tournament=64)
        strategy.ask(0, 2, Streams(0))
        strategy.tell([told(0, (99.0,), "stopped", 0, genome=(0,) * 40), told(1, (1.0,), rung=1, genome=(0,) * 40)])
        assert {p for (p,) in parents_of(strategy, 2, 20)} == {1}

    def test_equal_members_are_all_drawn(self):
        strategy = self.filled([1.0] * 5, tournament=3)
        assert {p for (p,) in parents_of(strategy, 5, 100)} == set(range(5))


class TestCrossover:
    def test_children_of_two_name_both_parents_and_both_operators(self):
        rehearsal = Rehearsal(make(population=20, initial="sample", crossover=1.0))
        rehearsal.run(120)
        crossed = [p for p in rehearsal.proposals if p.operator == "uniform+flip"]
        assert len(crossed) > 80
        assert all(len(set(p.parents)) == 2 for p in crossed)

    def test_without_mutation_the_child_is_crossed_alone(self):
        rehearsal = Rehearsal(make(population=20, initial="sample", crossover=1.0, mutation=0.0))
        rehearsal.run(60)
        assert "uniform" in {p.operator for p in rehearsal.proposals}
        assert "uniform+flip" not in {p.operator for p in rehearsal.proposals}

    def test_a_space_without_crossover_is_refused_before_the_run(self):
        with pytest.raises(ConfigError, match="has no crossover"):
            make(BitsWithoutCrossover(), crossover=0.1)


@pytest.mark.parametrize("options", [{"population": 0}, {"tournament": 0}, {"crossover": 1.5}, {"initial": "sede"}])
def test_options_out_of_range_are_refused_by_name(options):
    (name,) = options
    with pytest.raises(ConfigError, match=rf"regularized\.{name} is"):
        RegularizedOptions(**options)


@pytest.mark.parametrize("lag", [0, 32])
def test_beats_random_search_by_a_wide_margin(lag):
    """1,500 candidates on 60 bits: random search ends near 30 + 3.3 sd = 43, evolution within a few bits of 60."""
    space = Bits(BitsOptions(length=60))
    for seed in range(3):
        evolved = Rehearsal(make(space, population=50, tournament=5), seed)
        evolved.run(1500, lag=lag)
        sampled = Rehearsal(RandomSearch(space), seed)
        sampled.run(1500)
        assert evolved.best().values[0] >= sampled.best().values[0] + 10


class TestTies:
    """With `tie`, the second objective decides between first values of one cell."""

    def winners(self, results, tie):
        strategy = make(Schaffer(), population=len(results), tournament=40, initial="sample", tie=tie)
        strategy.ask(0, len(results), Streams(0))
        strategy.tell([told(id, values, genome=(float(id), 0.0, 0.0)) for id, values in enumerate(results)])
        return {parents[0] for parents in parents_of(strategy, len(results), 30)}

    def test_without_it_any_difference_decides(self):
        assert self.winners([(0.51, 1.0), (0.50, 9.0)], 0.0) == {1}

    def test_of_one_cell_the_second_objective_decides_and_then_the_value(self):
        assert self.winners([(1.01, 9.0), (1.05, 1.0), (1.09, 5.0)], 0.1) == {1}
        assert self.winners([(1.05, 1.0), (1.01, 1.0)], 0.1) == {1}

    def test_another_cell_decides_before_the_second_objective(self):
        assert self.winners([(1.05, 9.0), (1.15, 1.0)], 0.1) == {0}
        assert self.winners([(0.104, 9.0), (0.118, 1.0)], 0.1) == {0}  # cells are relative

    def test_values_below_zero_and_zero_keep_their_order(self):
        assert self.winners([(-1.05, 9.0), (-1.15, 9.0), (0.0, 1.0)], 0.1) == {1}
        assert self.winners([(-1.01, 9.0), (-1.05, 1.0)], 0.1) == {1}
        assert self.winners([(0.0, 9.0), (0.01, 1.0)], 0.1) == {0}

    def test_an_infinite_value_loses_to_any_other(self):
        assert self.winners([(math.inf, 0.0), (1e9, 9.0)], 0.1) == {1}

    @pytest.mark.parametrize("tie", [-0.1, math.inf, math.nan])
    def test_a_width_that_is_none_is_refused(self, tie):
        with pytest.raises(ConfigError, match="tie"):
            RegularizedOptions(tie=tie)
