"""The judgement's measures against cases computed by hand, infinities among them."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.lion.judge import statistics as s

INF = math.inf
costs = st.floats(1.0, 1e6) | st.just(INF)


def test_a_target_is_reached_at_the_first_validation_at_or_below_it():
    assert s.reached([0, 10, 20, 30], [3.0, 2.0, 1.0, 2.0], 2.0) == 10
    assert s.reached([0, 10, 20, 30], [3.0, 2.5, 1.0, 0.5], 2.0) == 20


def test_a_target_never_reached_is_infinite():
    assert s.reached([0, 10], [3.0, INF], 2.0) == INF


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0, 1.0, 2.0], 2.0),
        ([1.0, 2.0, INF], 2.0),
        ([1.0, INF, INF], INF),
        ([1.0, 3.0], 2.0),
        ([1.0, 2.0, INF, INF], INF),
        ([INF, INF], INF),
    ],
)
def test_median_with_infinities(values, expected):
    assert s.median(values) == expected


def test_the_interval_of_a_median_holds_failures():
    assert s.median_interval([10.0, 10.0, 10.0, 10.0, INF]) == (10.0, 10.0, INF)  # three of five picks fail: 5.8 %
    assert s.median_interval([10.0]) == (10.0, 10.0, 10.0)
    assert s.median_interval([INF] * 5) == (INF, INF, INF)


def test_a_failure_of_the_judged_is_infinite_and_one_of_the_reference_counts_as_its_whole_run():
    assert s.ratio(300.0, 400.0, 500.0) == 0.75
    assert s.ratio(INF, 400.0, 500.0) == INF
    assert s.ratio(300.0, INF, 500.0) == 0.6
    assert s.ratio(INF, INF, 500.0) == INF
    assert s.ratio(0.0, 0.0, 500.0) == 1.0


@given(costs, costs)
def test_a_failed_reference_never_makes_a_ratio_better_than_the_truth(value, truth):
    """Had the reference been trained on, it would have needed at least the bound."""
    bound = 500.0
    truth = max(truth, bound)
    if not (math.isinf(value) and math.isinf(truth)):
        assert s.ratio(value, INF, bound) >= value / truth


def test_geometric_mean():
    assert s.geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
    assert s.geometric_mean([0.5, 0.5, INF]) == INF
    assert s.geometric_mean([0.0, 4.0]) == 0.0


def test_mean_ratio_of_equal_seeds_has_no_spread():
    found = s.mean_ratio([[200.0] * 3, [100.0] * 3], [[400.0] * 3, [200.0] * 3], [500.0, 500.0])
    assert found == pytest.approx((0.5, 0.5, 0.5))


def test_mean_ratio_compares_seed_by_seed():
    """A hard seed is hard for both: resampled together, their ratio does not move."""
    reference = [100.0, 200.0, 400.0, 300.0, 150.0]
    assert s.mean_ratio([[c / 2 for c in reference]], [reference], [500.0]) == pytest.approx((0.5, 0.5, 0.5))


def test_mean_ratio_with_failures():
    value, low, high = s.mean_ratio([[200.0, 200.0, INF]], [[400.0] * 3], [500.0])
    assert (value, low, high) == (0.5, 0.5, INF)
    assert s.mean_ratio([[200.0], [INF]], [[400.0], [400.0]], [500.0] * 2).value == INF


@settings(max_examples=25, deadline=None)
@given(st.lists(costs, min_size=1, max_size=7))
def test_a_subject_costs_as_much_as_itself_unless_it_fails(seeds):
    finite = [v for v in seeds if math.isfinite(v)]
    if finite:
        assert s.mean_ratio([finite], [finite], [1e9]).value == pytest.approx(1.0)


def test_performance_ratios_are_to_the_best_on_each_task():
    found = s.performance_ratios({"a": [100.0, 300.0, INF], "b": [200.0, INF, INF]})
    assert found == {"a": [1.0, 1.0, INF], "b": [2.0, INF, INF]}


def test_profile_and_its_score():
    ratios = [1.0, 2.0, INF, 4.0]
    assert s.profile(ratios, [1.0, 1.9, 2.0, 4.0]) == [0.25, 0.25, 0.5, 0.75]
    # full for one task, two thirds for the second, nothing for the others
    assert s.profile_score(ratios, 4.0) == pytest.approx((1.0 + 2.0 / 3.0) / 4.0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(1.0, 8.0) | st.just(INF), min_size=1, max_size=6))
def test_the_score_is_the_normalised_area_under_the_profile(ratios):
    taus = [1.0 + 3.0 * (k + 0.5) / 3000 for k in range(3000)]
    area = sum(s.profile(ratios, taus)) / len(taus)
    assert s.profile_score(ratios, 4.0) == pytest.approx(area, abs=1e-3)


@pytest.mark.parametrize("target", [INF, math.nan, -INF])
def test_an_infinite_target_is_not_reached_by_everybody_but_refused(target):
    with pytest.raises(ValueError, match="no target"):
        s.reached([0, 10], [INF, INF], target)


def test_bounds_are_those_of_95_percent():
    """How far the 95 % bounds of a median reach into its values; at 90 % the second and third cases would be tighter,
    at 97 % the first and the last wider. With t, the quantile of four degrees of freedom is 2.776."""
    ranks = {n: s.median_interval([float(v) for v in range(1, n + 1)])[1:] for n in (8, 9, 10)}
    assert ranks == {8: (2.0, 7.0), 9: (2.0, 8.0), 10: (3.0, 8.0)}
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    reach = 2.7764 * math.sqrt(2.5 / 5)
    assert s.mean_interval(values) == pytest.approx((3.0, 3.0 - reach, 3.0 + reach), rel=1e-4)


def test_the_interval_of_a_mean_ratio_is_of_95_percent_too():
    costs, reference = [float(v) for v in range(1, 11)], [1.0] * 10
    assert s.mean_ratio([costs], [reference], [1e9]) == pytest.approx((5.5, 3.0, 8.0))


def test_the_interval_of_a_mean_with_failures_or_one_value():
    assert s.mean_interval([1.0, INF]) == (INF, INF, INF)
    assert s.mean_interval([2.0]) == (2.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="no values"):
        s.mean_interval([])


@pytest.mark.parametrize(
    ("low", "value", "high", "expected"),
    [
        (0.6, 0.7, 0.8, "goal"),
        (0.6, 0.7, 0.81, "better"),
        (0.6, 0.7, 1.0, "not shown"),
        (0.6, 0.7, 1.2, "not shown"),
        (0.71, 0.75, INF, "not shown"),
        (0.9, 1.1, 1.3, "not shown"),
        (1.0, 1.0, 1.0, "not shown"),
        (1.01, 1.1, 1.3, "worse"),
        (INF, INF, INF, "worse"),
    ],
)
def test_what_is_shown_is_decided_by_the_bound_that_speaks_against_it(low, value, high, expected):
    assert s.standing(s.Estimate(value, low, high), 0.8, 5) == expected
    assert s.standing(s.Estimate(value, low, high), 0.8, 4) == "too few seeds"
    assert expected in s.STANDINGS


def test_five_seeds_are_the_fewest_whose_range_covers_a_median_with_nearly_95_percent():
    assert next(n for n in range(1, 20) if 1.0 - 2.0 ** (1 - n) >= 0.93) == s.LEAST_SEEDS
