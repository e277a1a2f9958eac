"""The paired test of non-inferiority: what it accepts, how often it errs, and what divergence means."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from evo.errors import ConfigError
from evo.program import Program
from search_spaces.lion.programs import adamw, lion
from search_spaces.lion.refine.paired import (
    PairedTest,
    SeedSource,
    Verdict,
    bounds,
    differences,
    interval,
    paired_test,
)

REFERENCE, CANDIDATE = adamw(), lion()


def assess_with(difference: Callable[[np.random.Generator], Sequence[float]]) -> Callable[..., np.ndarray]:
    """An assessment in which the candidate differs from the reference by what is drawn from (seed): one number a task.
    Both share large noise of the seed."""

    def assess(programs: Sequence[Program], seeds: Sequence[int]) -> np.ndarray:
        columns = []
        for seed in seeds:
            rng = np.random.Generator(np.random.Philox(seed))
            apart = np.asarray(difference(rng), float)
            common = rng.standard_normal(len(apart))
            columns.append([common + (apart if program == CANDIDATE else 0 * common) for program in programs])
        return np.moveaxis(np.array(columns), 0, 2)

    return assess


def verdict(difference: Callable[..., Sequence[float]], test: PairedTest, root: int = 0) -> Verdict:
    take = lambda n, start: SeedSource(root).take("test", n, start)  # noqa: E731
    return paired_test(assess_with(difference), CANDIDATE, REFERENCE, take, test)


def test_equal_programs_are_accepted_at_the_first_look() -> None:
    found = verdict(lambda rng: [0.0, 0.0], PairedTest(first=4, cap=64))
    assert found.accepted
    assert found.seeds == 4
    assert abs(found.difference) < 1e-12


def test_what_is_clearly_worse_is_rejected_at_the_first_look() -> None:
    found = verdict(lambda rng: [0.1 + 0.01 * rng.standard_normal()], PairedTest(first=8, cap=64))
    assert not found.accepted
    assert found.seeds == 8
    assert found.low > 0.05
    assert "worse by more" in found.reason


def test_seeds_are_added_until_the_interval_decides() -> None:
    found = verdict(lambda rng: [0.01 * rng.standard_normal()], PairedTest(margin=0.005, first=4, cap=256))
    assert found.accepted
    assert 4 < found.seeds < 256
    assert found.high < 0.005


def test_what_the_cap_leaves_open_is_not_accepted() -> None:
    found = verdict(lambda rng: [1.0 * rng.standard_normal()], PairedTest(margin=0.005, first=4, cap=8))
    assert not found.accepted
    assert "not shown" in found.reason
    assert found.seeds == 8


def test_a_harm_on_one_task_is_not_paid_for_by_a_gain_on_another() -> None:
    found = verdict(lambda rng: [-0.2 + 0.01 * rng.standard_normal(), 0.1], PairedTest(first=8, cap=32))
    assert found.high < 0
    assert not found.accepted
    assert "task 1" in found.reason


def test_wrong_acceptance_at_the_margin_keeps_its_level_and_harmless_changes_pass() -> None:
    # 400 tests: at a true difference of the margin 5 % may be accepted; three deviations of the count are 3.3 %
    test = PairedTest(margin=0.005, alpha=0.05, first=8, cap=32)
    at_margin = [
        verdict(lambda rng: [0.005 + 0.01 * rng.standard_normal()], test, root).accepted for root in range(400)
    ]
    assert np.mean(at_margin) < 0.083
    harmless = [verdict(lambda rng: [0.005 * rng.standard_normal()], test, root).accepted for root in range(100)]
    assert np.mean(harmless) > 0.9


def test_divergence_of_the_candidate_alone_is_infinitely_worse() -> None:
    draws = iter([0.0, 0.0, math.inf, 0.0])
    found = verdict(lambda rng: [next(draws)], PairedTest(first=4, cap=8))
    assert not found.accepted
    assert found.difference == math.inf
    assert found.seeds == 4


def test_differences_where_someone_diverged() -> None:
    inf, nan = math.inf, math.nan
    candidate = np.array([[1.0, inf, 2.0, inf, nan]])
    reference = np.array([[0.5, 1.0, inf, inf, 1.0]])
    assert differences(candidate, reference).tolist() == [[0.5, inf, 0.0, 0.0, inf]]


def test_bounds_are_those_of_student() -> None:
    mean, low, high = bounds(np.array([1.0, 2.0, 3.0, 4.0]), 0.05)
    # t(0.95, 3) = 2.353363, standard deviation 1.290994
    assert mean == 2.5
    assert high == pytest.approx(2.5 + 2.353363 * 1.290994 / 2, rel=1e-6)
    assert low == pytest.approx(2.5 - 2.353363 * 1.290994 / 2, rel=1e-6)


def test_looks_double_up_to_the_cap() -> None:
    assert PairedTest(first=8, cap=64).looks() == (8, 16, 32, 64)
    assert PairedTest(first=6, cap=20).looks() == (6, 12, 20)
    assert PairedTest(first=5, cap=5).looks() == (5,)


def test_seeds_of_purposes_and_roots_never_meet() -> None:
    taken = [seed for root in (0, 1) for purpose in ("a", "b") for seed in SeedSource(root).take(purpose, 50)]
    assert len(set(taken)) == 200
    assert SeedSource(0).take("a", 30, 20) == SeedSource(0).take("a", 50)[20:]
    assert all(0 <= seed < 2**63 for seed in taken)


@pytest.mark.parametrize("wrong", [{"margin": 0.0}, {"alpha": 0.5}, {"first": 1}, {"first": 9, "cap": 8}])
def test_a_test_that_cannot_be_is_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PairedTest(**wrong)


def test_a_verdict_survives_json() -> None:
    found = verdict(lambda rng: [math.inf], PairedTest(first=2, cap=2))
    assert Verdict.from_json(json.loads(json.dumps(found.to_json()))) == found


# Intervals that are shown.


def test_an_interval_is_students_two_sided_at_95_percent() -> None:
    # t quantiles at 0.975 from any table: 3.182 for three degrees of freedom, 12.706 for one
    four = interval(np.array([1.0, 2.0, 3.0, 4.0]))
    half = 3.1824463 * math.sqrt(5 / 3) / 2
    assert four == pytest.approx({"mean": 2.5, "low": 2.5 - half, "high": 2.5 + half, "seeds": 4}, rel=1e-6)
    two = interval(np.array([1.0, 3.0]))
    assert (two["low"], two["high"]) == pytest.approx((2.0 - 12.7062047, 2.0 + 12.7062047), rel=1e-6)


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.Generator(np.random.Philox(3))
    found = [interval(sample) for sample in rng.standard_normal((4000, 4))]
    covered = np.mean([line["low"] < 0.0 < line["high"] for line in found])
    assert abs(covered - 0.95) < 0.012


def test_one_seed_has_no_interval_and_divergence_no_size() -> None:
    assert interval(np.array([0.5])) == {"mean": 0.5, "low": -math.inf, "high": math.inf, "seeds": 1}
    assert interval(np.array([0.5, math.inf, 0.1])) == {"mean": math.inf, "low": math.inf, "high": math.inf, "seeds": 3}
    assert interval(np.zeros(3)) == {"mean": 0.0, "low": 0.0, "high": 0.0, "seeds": 3}
