"""Candidate rewrites: all simpler, all valid, no function twice; rounding; names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.program import Program, live_slots
from search_spaces.lion.language import LION
from search_spaces.lion.programs import adamw, discovered, lion, momentum
from search_spaces.lion.refine.closed_forms import complexity
from search_spaces.lion.refine.naming import named
from search_spaces.lion.refine.rewrites import candidates, identity, roundings, tidy
from tests.search_spaces.lion.helpers import random_program


@given(st.integers(0, 10_000))
@settings(deadline=None, derandomize=True, max_examples=12)
def test_rewrites_are_valid_simpler_and_distinct(seed: int) -> None:
    program = tidy(random_program(seed, 30))
    found = candidates(program)
    for rewrite in found:
        LION.infer(rewrite.program)
        assert complexity(rewrite.program) == rewrite.complexity < complexity(program)
    functions = [identity(rewrite.program) for rewrite in found]
    assert len(set(functions)) == len(functions)
    assert identity(program) not in functions


def test_the_steps_from_the_discovered_program_to_lion_are_among_its_rewrites() -> None:
    labels = [rewrite.label for rewrite in candidates(tidy(discovered()))]
    assert "operand: clipped = clip_by_global_norm(g, lr): replaced by g" in labels
    assert "operand: u = arcsin(clipped): replaced by clipped" in labels
    assert "guard: divisions without their guard, as in x / abs(x) = sign(x)" in labels
    assert "constant: decay = w * 0.4602: replaced by 0" in labels


def test_a_term_a_statement_and_a_slot_can_go() -> None:
    results = {str(rewrite.program) for rewrite in candidates(tidy(momentum(0.1, 0.01)))}
    assert str(tidy(momentum(0.1, 0.0))) in results  # without the decay
    assert any("v1" not in result for result in results)  # without state


def test_averages_may_share_a_weight_but_factors_may_not() -> None:
    changes = [rewrite.change for rewrite in candidates(tidy(lion())) if rewrite.kind == "literal"]
    assert "0.9 becomes 0.99" in changes
    assert "0.1 becomes 0.0002" not in changes


def test_rewrites_that_ignore_the_gradient_are_left_out() -> None:
    for rewrite in candidates(tidy(adamw())):
        assert "g" in str(rewrite.program).replace("sign", "").split("(", 1)[1] or "v1" in str(rewrite.program)
        assert any("g" in step.arguments for step in rewrite.program.instructions)


def test_rounding_takes_digits_of_a_literal_or_of_its_distance_from_one() -> None:
    program = tidy(Program.parse("v1 = interp(g, v1, 0.996991)\nrate = mul(lr, 0.0123)\nupdate = mul(v1, rate)"))
    changes = [rewrite.change for rewrite in roundings(program)]
    assert "0.996991 becomes 0.997" in changes
    assert "0.0123 becomes 0.01" in changes
    assert "0.0123 becomes 0.012" in changes
    assert not any("becomes 1" in change.split(",")[0] and change[-9:] == "becomes 1" for change in changes)
    assert not roundings(tidy(lion()))


@pytest.mark.parametrize("program", [adamw(), lion(), momentum(0.1, 0.01), discovered()])
def test_known_programs_read_as_in_a_textbook(program: Program) -> None:
    found = tidy(program)
    targets = [step.target for step in found.instructions]
    assert targets.count("update") >= 1
    assert live_slots(LION, found)[0] == "v1"  # the first slot is used first
    assert not any(target[0] in "nt" and target[1:].isdigit() for target in targets)


def test_the_decay_the_rate_and_the_average_are_called_so() -> None:
    assert [step.target for step in named(lion()).instructions] == [
        "m", "update", "decay", "update", "rate", "update", "v1",
    ]  # fmt: skip
    assert [step.target for step in named(adamw()).instructions] == [
        "v1", "g2", "v2", "root", "update", "decay", "update", "rate", "update",
    ]  # fmt: skip


def test_slots_that_change_places_are_left_as_they_are() -> None:
    swapped = Program.parse("a = mul(v2, 0.5)\nv2 = interp(g, v1, 0.9)\nv1 = mul(a, 2.0)\nupdate = add(v1, v2)")
    LION.infer(named(swapped))
    assert identity(named(swapped)) == identity(swapped)
