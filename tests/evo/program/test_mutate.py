"""Mutation: closed under validity, reproducible, every kind as it says."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.errors import ConfigError, InvalidGenomeError
from evo.program import Language, MutationOptions, Mutator, Program, Signature
from evo.program.options import KINDS
from tests.evo.program.rewriting import MUTATOR, STEADY, random_program
from tests.evo.program.table import ADAMW, KNOWN, LANGUAGE, PROGRAM_4


def only(kind: str, **options) -> Mutator:
    return Mutator(LANGUAGE, MutationOptions(**{name: float(name == kind) for name in KINDS}, **options))


def differences(a: Program, b: Program) -> list[int]:
    return [i for i, (x, y) in enumerate(zip(a.instructions, b.instructions, strict=True)) if x != y]


def test_thousands_of_steps_stay_valid_and_within_the_length():
    mutator = Mutator(LANGUAGE, MutationOptions(max_length=25, modify=0.5))
    for seed, start in enumerate(KNOWN):
        rng, program, operators = np.random.default_rng(seed), start, Counter()
        for _ in range(3000):
            program, operator = mutator.mutate(program, rng)
            operators[operator] += 1
            LANGUAGE.infer(program)
            assert 1 <= len(program) <= 25
        assert set(operators) == set(KINDS)


def test_a_stream_gives_one_child_and_the_parent_is_not_touched():
    text = str(PROGRAM_4)
    for seed in range(50):
        first = MUTATOR.mutate(PROGRAM_4, np.random.default_rng(seed))
        assert Mutator(LANGUAGE).mutate(PROGRAM_4, np.random.default_rng(seed)) == first
    assert str(PROGRAM_4) == text


@STEADY
@given(st.integers(0, 10**6))
def test_an_inserted_statement_is_the_only_difference(seed):
    program = random_program(seed)
    child, operator = only("insert").mutate(program, np.random.default_rng(seed))
    assert operator == "insert"
    places = [
        i for i in range(len(child)) if child.instructions[:i] + child.instructions[i + 1 :] == program.instructions
    ]
    assert places
    fresh = {s.target for s in child.instructions} - {s.target for s in program.instructions}
    assert all(name.startswith("t") or name in dict(LANGUAGE.signature.inputs) for name in fresh)


@STEADY
@given(st.integers(0, 10**6))
def test_deletion_removes_one_statement_or_gives_up(seed):
    program = random_program(seed)
    child, operator = only("delete").mutate(program, np.random.default_rng(seed))
    if operator == "none":
        assert child == program
    else:
        assert any(
            program.instructions[:i] + program.instructions[i + 1 :] == child.instructions for i in range(len(program))
        )


@STEADY
@given(st.integers(0, 10**6))
def test_a_modified_argument_is_the_only_difference(seed):
    program = random_program(seed)
    child, operator = only("modify_argument").mutate(program, np.random.default_rng(seed))
    if operator == "none":
        return
    (index,) = differences(program, child)
    old, new = program.instructions[index], child.instructions[index]
    assert (old.target, old.operator) == (new.target, new.operator)
    assert sum(a != b for a, b in zip(old.arguments, new.arguments, strict=True)) == 1


@STEADY
@given(st.integers(0, 10**6))
def test_a_replaced_operator_keeps_the_arguments(seed):
    program = random_program(seed)
    child, operator = only("replace_operator").mutate(program, np.random.default_rng(seed))
    if operator == "none":
        return
    (index,) = differences(program, child)
    assert program.instructions[index]._replace(operator="") == child.instructions[index]._replace(operator="")


def test_constants_are_scaled_by_powers_of_two_and_change_sign_only_by_option():
    ratios = []
    for seed in range(400):
        child, operator = only("modify_constant", sign_flip=0.0).mutate(ADAMW, np.random.default_rng(seed))
        assert operator == "modify_constant"
        (index,) = differences(ADAMW, child)
        pairs = zip(ADAMW.instructions[index].arguments, child.instructions[index].arguments, strict=True)
        ratios += [b / a for a, b in pairs if a != b]
    logs = np.log2(ratios)
    # 400 draws of N(0, 1): mean within 4 standard errors, spread within 15 %
    assert abs(logs.mean()) < 0.2
    assert 0.85 < logs.std() < 1.15
    flipped = only("modify_constant", sign_flip=1.0).mutate(ADAMW, np.random.default_rng(0)).genome
    assert "-" in str(flipped)


def test_literals_stay_within_their_limit():
    mutator, rng, program = (
        only("modify_constant", constant_step=40.0, constant_limit=100.0),
        np.random.default_rng(0),
        ADAMW,
    )
    for _ in range(300):
        program = mutator.mutate(program, rng).genome
        assert all(abs(a) <= 100.0 for s in program.instructions for a in s.arguments if not isinstance(a, str))


def test_a_kind_that_cannot_be_applied_falls_back_to_another():
    single = Program.parse("update = abs(g)")
    both = Mutator(
        LANGUAGE, MutationOptions(insert=0, modify_constant=1, delete=1, modify_argument=0, replace_operator=1e-9)
    )
    assert both.mutate(single, np.random.default_rng(0)).operator == "replace_operator"
    assert only("modify_constant").mutate(single, np.random.default_rng(0)) == (single, "none")


def test_a_program_at_full_length_is_not_lengthened():
    mutator = only("insert", max_length=9, sample_length=(4, 9))
    assert mutator.mutate(ADAMW, np.random.default_rng(0)) == (ADAMW, "none")


def test_inserted_operators_are_about_uniform():
    counts = Counter()
    for seed in range(3400):
        child = only("insert").mutate(ADAMW, np.random.default_rng(seed)).genome
        (new,) = (Counter(child.instructions) - Counter(ADAMW.instructions)).elements()
        counts[new.operator] += 1
    assert set(counts) == set(LANGUAGE.operators)
    expected = 3400 / len(LANGUAGE.operators)
    assert all(abs(n - expected) < 5 * expected**0.5 for n in counts.values())


def test_an_invalid_parent_is_refused():
    with pytest.raises(InvalidGenomeError, match="'q' is not defined"):
        MUTATOR.mutate(Program.parse("update = abs(q)"), np.random.default_rng(0))


@STEADY
@given(st.integers(0, 10**6))
def test_samples_are_valid_and_of_the_wanted_length(seed):
    program = Mutator(LANGUAGE, MutationOptions(sample_length=(3, 7))).sample(np.random.default_rng(seed))
    LANGUAGE.infer(program)
    assert 3 <= len(program) <= 7


def test_a_language_without_a_way_to_its_output_is_reported():
    language = Language(Signature((("lr", "scalar"),), (("update", "tree"),)), LANGUAGE.restricted(["abs"]).operators)
    with pytest.raises(ConfigError, match="update"):
        Mutator(language).sample(np.random.default_rng(0))


@pytest.mark.parametrize(
    "options",
    [
        {"insert": -1.0},
        {name: 0.0 for name in KINDS},
        {"constant_probability": 1.5},
        {"max_length": 0},
        {"tries": 0},
        {"sample_length": (5, 4)},
        {"sample_length": (4, 100)},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError):
        MutationOptions(**options)


def test_only_the_named_operators_are_drawn_and_others_may_stay():
    drawn = ("add", "mul", "sin")
    mutator = Mutator(LANGUAGE, MutationOptions(), drawn)
    before = {step.operator for step in ADAMW.instructions}
    assert not before <= set(drawn)
    rng, program, used = np.random.default_rng(5), ADAMW, set()
    for _ in range(1500):
        program, _ = mutator.mutate(program, rng)
        LANGUAGE.infer(program)
        used |= {step.operator for step in program.instructions}
    assert used <= before | set(drawn)
    assert set(drawn) <= used
    assert {
        step.operator for seed in range(50) for step in mutator.sample(np.random.default_rng(seed)).instructions
    } <= {*drawn}


def test_naming_all_operators_changes_no_draw():
    everything = Mutator(LANGUAGE, MutationOptions(), list(LANGUAGE.operators)[::-1])
    for seed in range(50):
        assert everything.mutate(PROGRAM_4, np.random.default_rng(seed)) == MUTATOR.mutate(
            PROGRAM_4, np.random.default_rng(seed)
        )


def test_an_operator_that_is_not_in_the_language_is_refused():
    with pytest.raises(ConfigError, match="no operators frobnicate"):
        Mutator(LANGUAGE, MutationOptions(), ("add", "frobnicate"))


def test_modify_scales_a_literal_or_swaps_a_variable_for_another_of_its_type():
    weights = dict.fromkeys(KINDS, 0.0) | {"modify": 1.0}
    mutator = Mutator(LANGUAGE, MutationOptions(**weights, sign_flip=0.0))
    rng, literals, variables = np.random.default_rng(5), 0, 0
    for start in KNOWN:
        types = LANGUAGE.infer(start)
        for _ in range(200):
            child, operator = mutator.mutate(start, rng)
            assert operator == "modify"
            assert LANGUAGE.infer(child) == types  # every statement keeps its type
            (position,) = differences(start, child) or (None,)
            if position is None:  # a literal that is zero stays zero
                continue
            old, new = start.instructions[position], child.instructions[position]
            assert (old.target, old.operator) == (new.target, new.operator)
            ((a, b),) = [(a, b) for a, b in zip(old.arguments, new.arguments, strict=True) if a != b]
            assert isinstance(a, str) == isinstance(b, str)
            literals, variables = literals + (not isinstance(a, str)), variables + isinstance(a, str)
            if not isinstance(a, str):
                assert a * b > 0
    assert literals > 50
    assert variables > 50
