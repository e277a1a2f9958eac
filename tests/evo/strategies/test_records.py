import math

import pytest

from evo.errors import ConfigError
from evo.space import Objective
from evo.strategies.records import Records
from evo.strategies.regularized import RegularizedEvolution, RegularizedOptions
from evo.testing.strategies import Rehearsal
from tests.evo.strategies.problems import Bits, BitsOptions, told

LOSS, SIZE, SCORE = Objective("loss"), Objective("size", cost=True), Objective("score", "maximise")


def test_hall_of_fame_is_best_first_in_the_objectives_direction():
    for objective, expected in ((LOSS, [1.0, 2.0]), (SCORE, [5.0, 3.0])):
        records = Records([objective], hall_of_fame=2)
        records.tell([told(i, (v,)) for i, v in enumerate((3.0, 1.0, 5.0, 2.0))])
        records.flush()
        assert [individual.fitness.values for individual in records.hall_of_fame] == [(v,) for v in expected]


def test_hall_of_fame_holds_a_function_once():
    records = Records([LOSS])
    records.tell([told(0, (1.0,)), told(1, (1.0,), function=0), told(2, (1.0,))])
    records.flush()
    assert {individual.id for individual in records.hall_of_fame} == {0, 2}


def test_a_shorter_twin_enters_where_size_is_an_objective():
    records = Records([LOSS, SIZE])
    records.tell([told(0, (1.0, 9.0)), told(1, (1.0, 4.0), function=0)])
    records.flush()
    assert [individual.id for individual in records.hall_of_fame] == [1, 0]
    assert [individual.id for individual in records.pareto_front] == [1]


def test_pareto_front_holds_the_non_dominated():
    records = Records([LOSS, SCORE])
    values = [(1.0, 1.0), (2.0, 2.0), (2.0, 1.0), (0.5, 0.0), (1.0, 1.0)]
    records.tell([told(i, v) for i, v in enumerate(values)])
    records.flush()
    assert sorted(individual.id for individual in records.pareto_front) == [0, 1, 3]


def test_what_is_not_comparable_is_left_out_and_failures_are_counted():
    records = Records([LOSS], every=5)
    records.tell(
        [
            told(0, (1.0,)),
            told(1),
            told(2, (math.nan,), "nan"),
            told(3, (0.0,), "stopped"),
            told(4, (0.0,), operator="reevaluate"),
        ]
    )
    assert [individual.id for individual in records.hall_of_fame] == [0]
    (row,) = records.logbook
    assert (row["told"], row["evals"], row["failed"], row["new"]) == (5, 1, 2, 5)


def test_statistics_are_over_finite_values():
    records = Records([LOSS, SCORE], every=3)
    records.tell([told(0, (1.0, 5.0)), told(1, (math.inf, 7.0)), told(2, (3.0, -math.inf))])
    assert records.logbook.chapters["loss"].select("avg", "min", "max") == ([2.0], [1.0], [3.0])
    assert records.logbook.chapters["score"].select("avg") == [6.0]
    assert math.isinf(records.hall_of_fame[2].fitness.values[0])


def test_a_row_without_individuals_has_nan_statistics():
    records = Records([LOSS], every=2)
    records.tell([told(0), told(1)])
    assert math.isnan(records.logbook.chapters["loss"][0]["avg"])


def test_how_telling_is_cut_does_not_matter():
    results = [told(i, (float(i * 37 % 101),)) for i in range(100)]
    whole, cut = Records([LOSS], every=7), Records([LOSS], every=7)
    whole.tell(results)
    for result in results:
        cut.tell([result])
    assert whole.logbook == cut.logbook
    assert [i.id for i in whole.hall_of_fame] == [i.id for i in cut.hall_of_fame]
    assert len(whole.logbook) == 14
    whole.flush()
    whole.flush()
    assert len(whole.logbook) == 15
    assert whole.logbook[-1]["told"] == 100


def test_users_register_their_own_figures():
    records = Records([LOSS], every=2)
    records.statistics.register("worst", max)
    records.tell([told(0, (1.0,)), told(1, (4.0,))])
    assert records.logbook.chapters["loss"].select("worst") == [4.0]
    assert "loss" in str(records.logbook)


def test_two_searches_do_not_share_a_fitness_class_and_creator_stays_clean():
    from deap import creator

    before = set(vars(creator))
    up, down = Records([SCORE]), Records([LOSS])
    up.tell([told(0, (1.0,)), told(1, (2.0,))])
    down.tell([told(0, (1.0,)), told(1, (2.0,))])
    up.flush()
    down.flush()
    assert up.hall_of_fame[0].id == 1
    assert down.hall_of_fame[0].id == 0
    assert set(vars(creator)) == before


def test_follow_a_search():
    rehearsal = Rehearsal(RegularizedEvolution(Bits(BitsOptions(length=20)), RegularizedOptions(population=20)))
    rehearsal.run(300)
    rehearsal.tell()
    records = Records(Bits.objectives, every=50)
    records.tell(rehearsal.told.values())
    assert records.hall_of_fame[0].fitness.values == rehearsal.best().values
    averages = records.logbook.chapters["ones"].select("avg")
    assert len(averages) == 6
    assert averages[-1] > averages[0] + 2


def test_sizes_below_one_are_refused():
    with pytest.raises(ConfigError, match=r"records\.every"):
        Records([LOSS], every=0)
