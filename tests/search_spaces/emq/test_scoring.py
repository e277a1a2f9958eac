"""Scores: sums over layers, screening, orientation, ties; no row depends on the others in the call."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, spearmanr

from evo.space import Observation, Request
from kernels.ranks import kendall, spearman, spearman_top
from search_spaces.emq.arithmetic import Arithmetic
from search_spaces.emq.evaluator import EMQEvaluator, scored
from search_spaces.emq.expression import expression
from search_spaces.emq.known import KNOWN
from search_spaces.emq.language import Genome
from search_spaces.emq.options import EMQOptions
from search_spaces.emq.problem import Problem
from search_spaces.emq.scoring import (
    BIT_FREE,
    CONSTANT,
    NOT_FINITE,
    UNORIENTED,
    kept_share,
    places_of,
    rank_digests,
    raw_scores,
    score,
    score_samples,
)
from search_spaces.emq.tables import Tables
from search_spaces.emq.variation import Variation
from tests.search_spaces.emq import tiny

PLACES = places_of(tiny.configurations(), tiny.CHOICES)
RNG = np.random.default_rng(0)
TABLES = RNG.standard_normal((6, 4, 4))


def one(table: np.ndarray, over: str = "mean", oriented: bool = True):  # type: ignore[no-untyped-def]
    return score(table[None], PLACES, [over], [oriented])


def test_a_score_is_the_sum_or_the_largest_of_the_terms_of_its_bits() -> None:
    for over, reduce in (("mean", np.sum), ("max", np.max)):
        found = raw_scores(TABLES[:1], PLACES, [over])[0]
        expected = [reduce([TABLES[0, place, layer] for layer, place in enumerate(row)]) for row in PLACES]
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_places_are_the_indices_of_the_bits() -> None:
    assert places_of(np.array([[2, 8, 3, 4]]), (2, 3, 4, 8)).tolist() == [[0, 3, 1, 2]]


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(6)), st.integers(1, 6))
def test_scores_do_not_depend_to_the_bit_on_who_shares_the_call(order: list[int], n: int) -> None:
    over = ["mean", "max", "mean", "mean", "max", "mean"]
    tables = TABLES * np.array([1, 1e-8, 1e9, 3, 7, 1e-3])[:, None, None]
    alone = [score(tables[i][None], PLACES, [over[i]], [True]) for i in range(6)]
    chosen = order[:n]
    found = score(tables[chosen], PLACES, [over[i] for i in chosen], [True] * n)
    for row, i in enumerate(chosen):
        assert found.scores[row].tobytes() == alone[i].scores[0].tobytes()
        assert found.signs[row] == alone[i].signs[0]


def test_orientation_puts_most_bits_above_fewest() -> None:
    rising = np.tile(np.arange(4.0)[:, None], (1, 4))
    up, down = one(rising), one(-rising)
    assert up.signs[0] == 1
    assert down.signs[0] == -1
    assert np.array_equal(up.scores, down.scores)
    assert one(-rising, oriented=False).signs[0] == 1
    assert np.array_equal(one(-rising, oriented=False).scores, -up.scores)


def test_screening_names_its_reasons() -> None:
    table = np.tile(np.arange(4.0)[:, None], (1, 4))
    broken = table.copy()
    broken[2, 1] = np.nan
    endless = table.copy()
    endless[0, 0] = np.inf
    flat = np.tile(np.array([1.0, 5.0, 2.0, 9.0]), (4, 1))
    hump = np.tile(np.array([1.0, 2.0, 3.0, 1.0])[:, None], (1, 4))
    hidden = table.copy()
    hidden[:, 3] = 100.0  # a maximum that is always layer 3's
    assert one(broken).rejected[0] == NOT_FINITE
    assert one(endless).rejected[0] == NOT_FINITE
    assert one(flat).rejected[0] == BIT_FREE
    assert one(flat * (1 + 1e-12 * RNG.standard_normal((4, 4)))).rejected[0] == BIT_FREE, "rounding noise"
    assert one(hump).rejected[0] == UNORIENTED
    assert one(hump, oriented=False).rejected[0] == ""
    assert one(hidden, "max").rejected[0] == CONSTANT
    assert one(hidden).rejected[0] == ""
    with np.errstate(over="ignore"):
        huge = table * 5e307
    assert one(huge).rejected[0] == NOT_FINITE, "the sum overflows"
    assert (one(broken).scores == 0).all()


def test_scores_that_differ_by_rounding_are_ties() -> None:
    """The same total from other layers: 0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1."""
    table = np.array([[0.1, 0.1, 0.1, 0.1], [0.2] * 4, [0.3] * 4, [0.7] * 4])
    places = np.array([*permutations(range(4)), [0, 0, 0, 0]])
    raw = raw_scores(table[None], places, ["mean"])[0]
    assert len(set(raw[:-1].tolist())) > 1, "a case without rounding shows nothing"
    found = score(table[None], places, ["mean"], [True]).scores[0]
    assert len(set(found[:-1].tolist())) == 1
    assert found[-1] < found[0]


def test_equal_ranks_have_equal_digests_and_others_other_ones() -> None:
    base = np.array([[1.0, 3.0, 2.0, 2.0]])
    monotone = base**3 + 5
    a, b, c, d = (rank_digests(x)[0] for x in (base, monotone, -base, np.array([[1.0, 3.0, 2.0, 2.5]])))
    assert a == b
    assert len({a, c, d}) == 3
    assert len(a) == 16


def requests(genomes):  # type: ignore[no-untyped-def]
    return [Request(i, genome, "search", (5,)) for i, genome in enumerate(genomes)]


@pytest.mark.parametrize("fitness", ["spearman", "kendall", "spearman_top"])
def test_fitness_is_the_named_correlation_on_the_search_rows(fitness: str) -> None:
    problem = tiny.problem()
    options = EMQOptions(fitness=fitness, top=0.4, invariance="none", screen=-2.0)  # type: ignore[arg-type]
    genomes = list(KNOWN.values())
    found = [answer[0] for answer in EMQEvaluator(options, problem).evaluate(requests(genomes))]
    rows = problem.search_rows
    accuracy = problem.accuracies[rows].mean(1)
    expected, results = [], []
    for gathered in problem.search:
        result = scored(Tables(gathered), [expression(g) for g in genomes], problem.places[rows])
        results.append(result)
        expected.append(
            {
                "spearman": lambda r: spearman(r.scores, accuracy),
                "kendall": lambda r: kendall(r.scores, accuracy),
                "spearman_top": lambda r: spearman_top(r.scores, accuracy, (0.4,))[:, 0],
            }[fitness](result)
        )
    assert [o.values[0] for o in found] == ((expected[0] + expected[1]) / 2).tolist()
    assert not np.array_equal(*expected), "two batches that agree show nothing"
    assert all(o.status == "ok" for o in found)
    assert [o.extra["sign"] for o in found] == results[0].signs.tolist()  # type: ignore[index]
    digests = zip(*(rank_digests(result.scores) for result in results), strict=True)
    assert [o.fingerprint for o in found] == [xxhash.xxh3_128_digest(a + b) for a, b in digests]


def test_below_the_screen_only_the_first_batch_counts() -> None:
    problem, genomes = tiny.problem(), list(KNOWN.values())
    alone = replace(problem, search=problem.search[:1])

    def found(of: Problem, screen: float) -> list[Observation]:
        options = EMQOptions(invariance="none", screen=screen)
        return [answer[0] for answer in EMQEvaluator(options, of).evaluate(requests(genomes))]

    on_one, on_both = found(alone, -2.0), found(problem, -2.0)
    screen = sorted(o.values[0] for o in on_one)[len(genomes) // 2]
    for screened, one, both in zip(found(problem, screen), on_one, on_both, strict=True):
        assert screened == (both if one.values[0] >= screen else one)
    assert found(problem, 1.0) == on_one


def test_what_is_rejected_on_a_later_batch_is_rejected() -> None:
    problem, genome = tiny.problem(), KNOWN["fisher"]
    samples = problem.search[1].samples
    zero = {**samples.values, "output_gradient": samples.values["output_gradient"] * 0.0}
    broken = replace(problem.search[1], samples=replace(samples, values=zero))
    options = EMQOptions(screen=-2.0)
    changed = replace(problem, search=(problem.search[0], broken))
    [[before]], [[after]] = (EMQEvaluator(options, p).evaluate(requests([genome])) for p in (problem, changed))
    assert before.status == "ok"
    assert after.status == "invalid"


def test_held_out_rows_do_not_touch_the_fitness() -> None:
    problem = tiny.problem()
    accuracies = problem.accuracies.copy()
    accuracies[problem.held_out_rows] = 0.5
    changed = replace(problem, accuracies=accuracies)
    genomes = list(KNOWN.values())
    a, b = (EMQEvaluator(EMQOptions(), p).evaluate(requests(genomes)) for p in (problem, changed))
    assert a == b
    accuracies = problem.accuracies.copy()
    accuracies[problem.search_rows] = accuracies[problem.search_rows][::-1]
    c = EMQEvaluator(EMQOptions(), replace(problem, accuracies=accuracies)).evaluate(requests(genomes))
    assert a != c


@pytest.mark.parametrize("mode", ["corrected", "as-released"])
def test_what_is_remembered_changes_no_value(mode: str) -> None:
    drawn = Variation(mode, "wide", ("linear", "tree", "graph"), 0.3)  # type: ignore[arg-type]
    genomes = [drawn.sample(np.random.default_rng(i)) for i in range(40)]
    found = [e for e in map(expression, genomes) if e.term is not None]
    warm, cold = Tables(tiny.gathered()), [Tables(tiny.gathered()) for _ in found]
    tight = Tables(tiny.gathered(), megabytes=0)
    for _ in range(2):
        for e, fresh in zip(found, cold, strict=True):
            expected = fresh.table(e).tobytes()
            assert warm.table(e).tobytes() == expected
            assert tight.table(e).tobytes() == expected


def test_the_memory_stays_within_its_limit_and_keeps_what_was_used_last() -> None:
    from search_spaces.emq.tables import _Recent

    memory = _Recent(limit=5000)
    for i in range(100):
        memory.put(str(i), np.zeros(100))
        memory.get("0") if i % 2 else None
    held = [i for i in range(100) if memory.get(str(i)) is not None]
    assert len(held) <= 5
    assert {0, 99} <= set(held)


def test_rejected_expressions_are_told_so() -> None:
    flat = Genome("corrected", "linear", ("weight",), ("no_op",) * 4)
    overflow = Genome("corrected", "linear", ("bits",), ("exp", "exp", "no_op", "no_op"))
    found = [answer[0] for answer in EMQEvaluator(EMQOptions(), tiny.problem()).evaluate(requests([flat, overflow]))]
    assert [o.status for o in found] == ["invalid", "invalid"]
    assert [o.extra["rejected"] for o in found] == ["bit-independent", "not finite"]  # type: ignore[index]
    assert [o.message for o in found] == ["rejected: bit-independent", "rejected: not finite"]
    with pytest.raises(ValueError, match="bit-independent"):
        Tables(tiny.gathered()).table(expression(flat))


def test_flips_are_the_share_of_samples_that_keep_their_class() -> None:
    problem, found = tiny.problem(), expression(KNOWN["margin_flips"])
    tables, rows = Tables(problem.gathered), problem.search_rows
    changes = problem.gathered.samples.values["margin_change"].reshape(4, 4, 12)
    margins = problem.gathered.samples.values["margin"].reshape(4, 12)[0]
    expected = [
        np.mean(
            [
                norm.cdf(m / np.sqrt(sum(changes[p, i, s] ** 2 for i, p in enumerate(row))))
                for s, m in enumerate(margins)
            ]
        )
        for row in problem.places[rows]
    ]
    np.testing.assert_allclose(
        kept_share(tables.table(found), tables.margins, problem.places[rows]), expected, rtol=1e-12
    )
    result = scored(tables, [found, expression(KNOWN["fisher"]), found], problem.places[rows])
    assert spearmanr(result.scores[0], expected).statistic == pytest.approx(1.0)
    alone = scored(tables, [expression(KNOWN["fisher"])], problem.places[rows])
    assert np.array_equal(result.scores[1], alone.scores[0]), "neighbours change nothing"
    assert np.array_equal(result.scores[0], result.scores[2])


def test_flips_that_see_no_sample_are_the_mean() -> None:
    a, b = (
        Genome("corrected", "linear", ("weight_error",), ("pow",) + ("no_op",) * 3, (), (), x)
        for x in ("flips", "mean")
    )
    assert expression(a).key == expression(b).key


@pytest.mark.parametrize(("change", "reason"), [(np.nan, NOT_FINITE), (np.inf, NOT_FINITE), (0.0, BIT_FREE)])
def test_flips_are_screened(change: float, reason: str) -> None:
    table = np.full((4, 3, 5), change)
    found = score_samples(table, np.ones(5), np.array([[0, 1, 2], [3, 2, 1]]))
    assert found.rejected.tolist() == [reason]
    assert not found.scores.any()


@pytest.mark.parametrize("noise", [0.0, 1e-15, 1e-13])
def test_a_spread_or_an_error_that_is_rounding_counts_as_none(noise: float) -> None:
    samples = tiny.gathered().samples
    operators = Arithmetic(samples)
    like = samples.values["weight"]
    wobble = np.where(np.arange(like.shape[1]) % 2, 1.0, 1.0 + noise)[None]
    for scale in (1e-6, 1.0, -3e7):
        flat = scale * wobble
        for op in ("normalize", "min_max_normalize", "to_std_scalar", "to_var_scalar", "quantize_error"):
            assert not operators.unary(op, "weight", flat).any(), op
        steps = flat * np.where(np.arange(like.shape[1]) % 3, 1.0, 0.5)
        for op in ("normalize", "min_max_normalize", "to_std_scalar"):
            found, exact = (operators.unary(op, "weight", x) for x in (steps, steps / wobble))
            np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-11 * max(1.0, abs(scale)))


@pytest.mark.parametrize("noise", [-1e-13, 0.0, 1e-13])
def test_a_half_is_rounded_upwards_whatever_its_rounding(noise: float) -> None:
    samples = tiny.gathered().samples
    x = np.resize([-1.0, 1.0, 0.5, -0.5], samples.values["weight"].shape[1])[None]
    wobbled = np.where(x == -1.0, x * (1.0 + noise), x)
    exact, found = (Arithmetic(samples).unary("quantize", "weight", v) for v in (x, wobbled))
    np.testing.assert_allclose(found, exact, atol=1e-9)
