"""Grids of baselines: they grow until no winner lies at an edge, and luck under one seed does not win."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.lion.programs import SEEDS
from search_spaces.lion.refine import grids
from search_spaces.lion.refine.grids import Family, families, tuned
from search_spaces.lion.refine.subjects import AdamWSetting


def bowl(rate: float, decay: float) -> Callable[[Any], float]:
    """Losses that are least at a rate and a decay."""

    def worth(subject: AdamWSetting) -> float:
        away = math.log(subject.lr / rate) ** 2
        return away + (math.log((subject.weight_decay + 1e-4) / (decay + 1e-4))) ** 2

    return worth


def score(worth: Callable[[Any], float], calls: list[bool] | None = None) -> grids.Score:
    def scored(subjects: Sequence[Any], further: bool) -> np.ndarray:
        if calls is not None:
            calls.append(further)
        return np.array([worth(subject) for subject in subjects])

    return scored


ADAMW = families(())[0]


@settings(max_examples=60, deadline=None)
@given(st.floats(-7.0, 3.0), st.sampled_from((0.0, 0.01, 0.1, 1.0, 10.0, 100.0)))
def test_no_winner_lies_at_an_edge(log_rate: float, decay: float) -> None:
    rate = 10.0 ** (0.4 * log_rate)
    (found,) = tuned([ADAMW], score(bowl(rate, decay)))
    record = found.record
    assert record["at_edge"] == []
    assert record["rates"][0] < record["rate"] < record["rates"][-1]
    assert record["decay"] < record["decays"][-1]
    assert math.log(record["rate"] / rate) == pytest.approx(0.0, abs=0.36)  # half a factor of two, and a little
    assert found.subject == AdamWSetting(record["rate"], record["decay"])


def test_a_winner_at_the_edge_of_what_may_be_tried_is_said_to_be() -> None:
    (found,) = tuned([ADAMW], score(lambda subject: -subject.lr))
    assert found.record["at_edge"] == ["rate high"]
    assert len(found.record["rates"]) == len(ADAMW.rates) + grids.EXTENSIONS


def test_no_decay_is_no_edge_but_the_largest_is() -> None:
    (found,) = tuned([ADAMW], score(lambda s: abs(math.log(s.lr / 0.004)) + s.weight_decay))
    assert (found.record["decay"], found.record["at_edge"], found.record["decays"]) == (0.0, [], [0.0, 0.01, 0.1, 1.0])
    (found,) = tuned([ADAMW], score(lambda s: abs(math.log(s.lr / 0.004)) + abs(s.weight_decay - 1.0)))
    assert found.record["decays"] == [0.0, 0.01, 0.1, 1.0, 10.0]


def test_luck_under_the_first_seeds_does_not_win() -> None:
    worth = bowl(0.004, 0.01)
    lucky = AdamWSetting(0.002, 0.1)

    def scored(subjects: Sequence[Any], further: bool) -> np.ndarray:
        return np.array([worth(s) - 100.0 * (s == lucky and not further) for s in subjects])

    (found,) = tuned([ADAMW], scored)
    assert found.subject == AdamWSetting(0.004, 0.01)


def test_a_winner_that_further_seeds_move_to_an_edge_makes_the_grid_grow() -> None:
    def scored(subjects: Sequence[Any], further: bool) -> np.ndarray:
        best = 0.016 if further else 0.0057  # under the first seeds inside the grid, truly at its last rate
        return np.array([abs(math.log(s.lr / best)) + 100.0 * abs(s.weight_decay - 0.01) for s in subjects])

    (found,) = tuned([ADAMW], scored)
    assert found.record["rate"] == 0.016 == ADAMW.rates[-1]
    assert found.record["rates"][-1] == 0.032
    assert found.record["at_edge"] == []


def test_only_a_shortlist_meets_further_seeds() -> None:
    asked: list[int] = []

    def scored(subjects: Sequence[Any], further: bool) -> np.ndarray:
        asked.extend([len(subjects)] * further)
        return np.array([bowl(0.004, 0.01)(subject) for subject in subjects])

    tuned([ADAMW], scored)
    assert asked == [grids.SHORTLIST]


def test_families_advance_together_and_do_not_affect_each_other() -> None:
    other = Family("other", lambda lr, decay: AdamWSetting(lr, decay, beta1=0.5), (0.1, 0.2), (0.0, 0.01, 0.1))

    def worth(subject: AdamWSetting) -> float:
        return bowl(0.003, 0.01)(subject) if subject.beta1 == 0.9 else bowl(3.0, 0.1)(subject)

    calls: list[bool] = []
    together = tuned([ADAMW, other], score(worth, calls))
    assert together == [tuned([ADAMW], score(worth))[0], tuned([other], score(worth))[0]]
    assert together[1].record["rate"] == 3.2
    assert calls[0] is False


def test_what_diverges_everywhere_has_no_winner() -> None:
    found = tuned([ADAMW], score(lambda subject: math.inf))[0]
    assert found.subject is None
    assert found.record["optimizer"] is None


def test_divergence_at_high_rates_is_no_reason_to_grow() -> None:
    worth = bowl(0.002, 0.01)
    (found,) = tuned([ADAMW], score(lambda s: math.inf if s.lr > 0.005 else worth(s)))
    assert found.record["rates"] == list(ADAMW.rates)


@pytest.mark.parametrize("name", SEEDS)
def test_every_seed_of_a_search_has_a_row_of_its_own_program(name: str) -> None:
    found = families((name,))
    assert [family.name for family in found[:2]] == ["AdamW", "Lion"]
    made = {str(family.make(0.01, 0.1)) for family in found}
    assert str(SEEDS[name](0.01, 0.1)) in made
    assert len(made) == len(found) == (2 if name == "lion" else 3)
