"""Canonical bytes: equal for equal functions written differently, distinct for different ones, the same everywhere."""

import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.program import Program, canonical
from tests.evo.program.rewriting import REWRITINGS, STEADY, random_program
from tests.evo.program.table import ADAMW, KNOWN, LANGUAGE, LION, PROGRAM_4, run, same_bits


def key(text: str) -> bytes:
    return canonical(LANGUAGE, Program.parse(text))


@settings(STEADY, max_examples=300)
@given(st.integers(0, 10**6), st.lists(st.sampled_from(REWRITINGS), min_size=1, max_size=4))
def test_rewritten_programs_have_equal_bytes_and_equal_trajectories(seed, rewritings):
    program = random_program(seed)
    rng = np.random.default_rng(seed)
    other = program
    for rewrite in rewritings:
        other = rewrite(other, rng)
        assert LANGUAGE.is_valid(other)
    assert canonical(LANGUAGE, other) == canonical(LANGUAGE, program)
    assert same_bits(run(other), run(program))


def test_equal_bytes_mean_equal_trajectories_along_a_random_walk():
    seen, again = {}, 0
    for seed in range(1500):
        program = random_program(seed)
        found, behaviour = canonical(LANGUAGE, program), run(program)
        if found in seen:
            again += 1
            assert same_bits(seen[found], behaviour), str(program)
        seen[found] = behaviour
    assert again > 20


def test_known_programs_are_distinct():
    assert len({canonical(LANGUAGE, program) for program in KNOWN}) == len(KNOWN)


def test_bytes_are_16_and_do_not_depend_on_the_process():
    code = (
        "from tests.evo.program.table import *; from evo.program import canonical;"
        "print([canonical(LANGUAGE, p).hex() for p in KNOWN])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": s}
        ).stdout
        for s in ("1", "2")
    }
    assert found == {f"{[canonical(LANGUAGE, p).hex() for p in KNOWN]}\n"}
    assert all(len(canonical(LANGUAGE, p)) == 16 for p in KNOWN)


def test_a_dead_slot_does_not_show():
    assert key("v1 = add(v1, g); update = abs(g)") == key("v2 = sin(w); update = abs(g)") == key("update = abs(g)")
    without_cosh = Program(tuple(s for s in PROGRAM_4.instructions if s.operator != "cosh"))
    assert canonical(LANGUAGE, without_cosh) == canonical(LANGUAGE, PROGRAM_4)


def test_exchanged_slots_are_one_function_and_half_exchanged_ones_are_not():
    a = key("v1 = add(v1, g); v2 = mul(v2, g); update = div(v1, v2)")
    assert key("v2 = add(v2, g); v1 = mul(v1, g); update = div(v2, v1)") == a
    assert key("v1 = add(v1, g); v2 = mul(v2, g); update = div(v2, v1)") != a
    assert key("v2 = add(v1, g); v1 = mul(v2, g); update = div(v1, v2)") != a


def test_slots_that_always_hold_the_same_are_one():
    assert key("v1 = add(v1, g); v2 = add(v2, g); update = div(v1, v2)") == key("v1 = add(v1, g); update = div(v1, v1)")


def test_slots_that_alternate_are_told_from_slots_that_stay():
    assert key("a = add(v1, g); v1 = abs(v2); v2 = abs(a); update = sub(v1, w)") != key(
        "a = add(v1, g); v1 = abs(a); v2 = abs(v2); update = sub(v1, w)"
    )


def test_what_differs_has_different_bytes():
    base = "a = interp(g, w, 0.9); update = mul(a, lr)"
    for other in (
        "a = interp(w, g, 0.9); update = mul(a, lr)",
        "a = interp(g, w, 0.90000001); update = mul(a, lr)",
        "a = interp(g, w, 0.9); update = add(a, lr)",
        "a = interp(g, w, 0.9); update = mul(a, a)",
        "a = interp(g, v1, 0.9); update = mul(a, lr)",
        "a = interp(g, w, 0.9); v1 = abs(v1); a = add(a, v1); update = mul(a, lr)",
    ):
        assert key(other) != key(base)


def test_which_output_gets_a_value_matters():
    assert key("update = abs(v1); v1 = abs(g)") != key("v1 = abs(g); update = abs(v1)")


def test_scaling_a_constant_changes_the_bytes_of_every_known_program():
    for program in (ADAMW, LION):
        for index, step in enumerate(program.instructions):
            arguments = tuple(a if isinstance(a, str) else a * 1.5 for a in step.arguments)
            if arguments != step.arguments:
                body = list(program.instructions)
                body[index] = step._replace(arguments=arguments)
                assert canonical(LANGUAGE, Program(tuple(body))) != canonical(LANGUAGE, program)
