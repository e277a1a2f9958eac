"""Budgets are read, problems are checked, and an impossible budget says what is possible."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies import BitConfigError
from proxies.errors import ProxyError
from proxies.quantization import PLAIN, all_giga_bops, sizes_mib
from proxies.quantization.allocation import Budget, InfeasibleBudgetError, problem
from tests.proxies.quantization.allocation.cases import listed, random_problem, shapes


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("0.5MiB", Budget(size_mib=0.5)),
        (" 512 KiB ", Budget(size_mib=0.5)),
        ("524288B", Budget(size_mib=0.5)),
        ("1mb", Budget(size_mib=1e6 / 2**20)),
        ("1.5GBOPs", Budget(giga_bops=1.5)),
        ("3MBOPs", Budget(giga_bops=0.003)),
        ("3bits", Budget(mean_bits=3)),
        ("1MiB, 2 GBOPs", Budget(size_mib=1, giga_bops=2)),
    ],
)
def test_budgets_are_read_as_people_write_them(text, budget):
    assert Budget.parse(text).to_json() == pytest.approx(budget.to_json())
    assert Budget.of(budget) is budget
    assert Budget.of(budget.to_json()) == budget


@pytest.mark.parametrize("text", ["", "3", "MiB", "3 parsecs", "-1MiB", "0MiB", "1MiB,2KB", "nanMiB", "1e400MiB"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(ProxyError):
        Budget.parse(text)


@pytest.mark.parametrize("text", ["0bits", "0.0 KiB", "1MiB, 0GBOPs"])
def test_a_budget_of_nothing_is_named_as_it_was_written(text):
    with pytest.raises(ProxyError) as caught:
        Budget.parse(text)
    assert caught.value.message == f"the budget {text.split(', ')[-1]!r} leaves nothing to spend"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["B", "KB", "KiB", "mib", "GB", "BOPs", "MBOPs", "tbops"]))
def test_an_impossible_budget_is_answered_in_its_own_unit_and_what_is_said_suffices(seed, unit):
    posed, _ = random_problem(seed, 3)
    with pytest.raises(InfeasibleBudgetError) as caught:
        problem(posed.shapes, Budget.parse(f"1e-15{unit}"), posed.bits)
    said = caught.value.message.split("smallest possible is ")[1]
    assert said.endswith(f" {unit}")
    assert caught.value.message.startswith(f"no configuration fits 1e-15 {unit}:")
    assert len(listed(problem(posed.shapes, Budget.parse(said), posed.bits))) >= 1


@pytest.mark.parametrize("value", [3, None, {}, {"size": 3}, {"size_mib": True}, {"size_mib": float("inf")}])
def test_budgets_of_other_types_are_refused(value):
    with pytest.raises(ProxyError):
        Budget.of(value)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_costs_are_those_of_the_cost_rules_and_the_own_cost_fits(seed):
    posed, _ = random_problem(seed, 4)
    places = listed(posed)[seed % len(listed(posed))]
    configs, costs = posed.configs(places[None]), posed.costs_of(places)
    assert costs["size_mib"] == sizes_mib(configs, posed.shapes)[0]
    assert costs["giga_bops"] == all_giga_bops(configs, posed.shapes)[0]
    assert (posed.places(posed.config(places)) == places).all()
    for name, value in costs.items():
        # as a number, and after a detour over decimals
        for written in (value, float(f"{value:.15g}")):
            own = problem(posed.shapes, Budget(**{name: written}), posed.bits)
            assert own.fits(places[None])[0]


def test_fixed_bits_need_not_be_among_the_choices():
    posed = problem(shapes([3, 4]), Budget(mean_bits=8), (2, 4), {"l1": 8}, PLAIN)
    assert posed.bits == (2, 4, 8)
    assert listed(posed).tolist() == [[0, 2], [1, 2]]
    with pytest.raises(BitConfigError, match="l1 may not have 2 bits"):
        posed.places({"l0": 2, "l1": 2})


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 0.999))
def test_an_impossible_budget_states_the_smallest_possible_one(seed, share):
    posed, _ = random_problem(seed, 3)
    least = posed.costs_of(posed.smallest())
    for name in ("size_mib", "giga_bops", "mean_bits"):
        with pytest.raises(InfeasibleBudgetError, match="smallest possible") as caught:
            problem(posed.shapes, Budget(**{name: least[name] * share}), posed.bits)
        assert caught.value.smallest[name] == least[name]
        assert pickle.loads(pickle.dumps(caught.value)).smallest == caught.value.smallest
        stated = float(caught.value.message.split("smallest possible is ")[1].split()[0])
        assert len(listed(problem(posed.shapes, Budget(**{name: stated}), posed.bits))) >= 1
        assert stated == pytest.approx(least[name], rel=1e-5)


def test_fixed_layers_are_named_where_they_break_the_budget():
    with pytest.raises(InfeasibleBudgetError, match=r"free the fixed layers \(l0\)"):
        problem(shapes([100, 1]), Budget(mean_bits=4), (2, 4), {"l0": 8})


@pytest.mark.parametrize(
    ("choices", "fixed", "says"),
    [((), {}, "no bits to choose"), ((1, 2), {}, "1 bits are among"), ((2,), {"x": 8}, "unknown layer 'x'"),
     ((2.5,), {}, "2.5"), ((2,), {"l0": 40}, "l0 has 40 bits")],
)  # fmt: skip
def test_problems_that_make_no_sense_are_refused(choices, fixed, says):
    with pytest.raises(BitConfigError, match=says):
        problem(shapes([3, 4]), None, choices, fixed)


def test_large_models_are_counted_exactly():
    posed = problem(shapes([2**40 + 1, 3], [2**15, 1]), None)
    assert posed.sizes()[0, 0] == 2 * (2**40 + 1)
    assert posed.operations()[0, -1] == (2**40 + 1) * 2**15 * 64
    assert np.issubdtype(posed.operations().dtype, np.int64)
