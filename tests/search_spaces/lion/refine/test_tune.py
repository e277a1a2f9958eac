"""Tuning of constants by CMA-ES."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.program import Program, simplify
from search_spaces.lion.language import LION
from search_spaces.lion.programs import adamw, lion
from search_spaces.lion.refine.subjects import AdamWSetting
from search_spaces.lion.refine.tune import literals, tuned, with_constants
from tests.search_spaces.lion.helpers import random_program

TARGET = {0.9: 0.97, 0.999: 0.99, 0.01: 0.2, 0.001: 0.03}
"""Constants of AdamW and what they should become."""


def distance(program: Program) -> float:
    """How far the constants of an AdamW are from the target, on the scales that they are tuned on."""
    wanted = [literal.coordinate for literal in literals(with_target())]
    found = [literal.coordinate for literal in literals(program)]
    return float(np.square(np.array(wanted) - np.array(found)).sum())


def with_target() -> Program:
    return simplify(LION, adamw(TARGET[0.001], TARGET[0.01], TARGET[0.9], TARGET[0.999]))


def oracle(asked: list[tuple[int, ...]], batches: list[int]) -> Any:
    def assess(programs: Sequence[Program], seeds: Sequence[int]) -> np.ndarray:
        asked.append(tuple(seeds))
        batches.append(len(programs))
        worth = [distance(p) if len(literals(p)) == 4 else len(p) for p in programs]
        return np.array(worth, float)[:, None, None] * np.ones((1, 3, len(seeds)))

    return assess


def run(programs: Sequence[Program], generations: int, asked: Any = None, batches: Any = None) -> list[Program]:
    return tuned(
        programs, oracle([] if asked is None else asked, [] if batches is None else batches), lambda g: [100 + g],
        generations, population=10, spread=0.5, seed=5,
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200))
def test_constants_stay_where_their_coordinates_are(seed: int) -> None:
    program = simplify(LION, random_program(seed))
    places = literals(program)
    moved = with_constants(program, places, [literal.coordinate for literal in places])
    LION.infer(moved)
    for literal, again in zip(places, literals(moved), strict=True):
        assert again.value == pytest.approx(literal.value, rel=1e-5)
        assert again.anchor == literal.anchor or abs(again.value - 0.5) < 1e-5


def test_weights_of_averages_move_by_what_they_leave() -> None:
    places = literals(simplify(LION, adamw()))
    assert {literal.value: literal.anchor for literal in places} == {0.9: 1.0, 0.999: 1.0, 0.01: 0.0, 0.001: 0.0}
    slow = next(literal for literal in places if literal.value == 0.999)
    assert slow.at(slow.coordinate + math.log(10)) == 0.99
    assert slow.at(slow.coordinate - math.log(10)) == 0.9999


def test_signs_and_sides_are_kept_and_zeros_are_left_alone() -> None:
    program = Program.parse("v1 = interp(g, v1, 1.1); t = mul(v1, -0.5); update = add(t, 0.0)")
    places = literals(program)
    assert [literal.value for literal in places] == [1.1, -0.5]
    assert places[0].at(math.log(0.2)) == 1.2
    assert places[1].at(math.log(2.0)) == -2.0


def test_tuning_finds_the_constants_that_do_best() -> None:
    before = simplify(LION, adamw())
    (after,) = run([before], 40)
    assert distance(before) > 10
    assert distance(after) < 0.05
    assert [step.operator for step in after.instructions] == [step.operator for step in before.instructions]


def test_programs_share_a_batch_and_do_not_affect_each_other() -> None:
    batches: list[int] = []
    together = run([adamw(), lion()], 3, batches=batches)
    assert batches == [20, 20, 20]
    assert together[0] == run([adamw()], 3)[0]


def test_every_generation_meets_fresh_seeds() -> None:
    asked: list[tuple[int, ...]] = []
    run([adamw()], 4, asked)
    assert asked == [(100,), (101,), (102,), (103,)]


def test_the_same_again_gives_the_same() -> None:
    assert run([adamw()], 5) == run([adamw()], 5)


@pytest.mark.parametrize("text", ["update = sign(g)", "update = mul(g, 0.1)"])
def test_programs_with_hardly_a_constant_pass(text: str) -> None:
    (found,) = run([Program.parse(text)], 2)
    assert len(found) == 1


def test_the_centre_is_the_result_not_the_luckiest_candidate() -> None:
    asked: list[Program] = []

    def lucky(programs: Sequence[Program], seeds: Sequence[int]) -> np.ndarray:
        first = not asked
        asked.extend(programs)
        worth = np.array([distance(p) for p in programs])
        worth[0] -= 1e6 * first  # luck of one seed, never again
        return worth[:, None, None] * np.ones((1, 2, len(seeds)))

    for generations in (1, 4):
        asked.clear()
        (found,) = tuned([adamw()], lucky, lambda g: [g], generations, population=10, spread=0.5, seed=5)
        assert len(asked) == 10 * generations
        assert found not in asked
        assert found != simplify(LION, adamw())


def test_adamw_itself_is_tuned_on_the_scales_of_its_constants() -> None:
    wanted = AdamWSetting(0.03, 0.2, 0.97, 0.99)

    def worth(settings: Sequence[Any], seeds: Sequence[int]) -> np.ndarray:
        apart = [[a.coordinate - b.coordinate for a, b in zip(literals(s), literals(wanted), strict=True)]
                 for s in settings]  # fmt: skip
        return np.square(apart).sum(axis=1)[:, None, None] * np.ones((1, 1, len(seeds)))

    found = tuned([AdamWSetting(0.001)], worth, lambda g: [g], 40, population=10, spread=0.5, seed=5)[0]
    assert isinstance(found, AdamWSetting)
    for name in ("lr", "weight_decay"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=0.2)
    for name in ("beta1", "beta2"):
        assert 1 - getattr(found, name) == pytest.approx(1 - getattr(wanted, name), rel=0.2)


def test_a_decay_of_zero_stays_zero() -> None:
    before = AdamWSetting(0.001, 0.0)
    assert [literal.value for literal in literals(before)] == [0.001, 0.9, 0.999]
    after = with_constants(before, literals(before), [literal.coordinate + 0.1 for literal in literals(before)])
    assert isinstance(after, AdamWSetting)
    assert after.weight_decay == 0.0
    assert after.lr > 0.001


def test_no_generation_leaves_all_as_it_was() -> None:
    assert run([adamw()], 0) == [simplify(LION, adamw())]
