"""Liveness across steps: what is removed, and that nothing else changes."""

from hypothesis import given
from hypothesis import strategies as st

from evo.program import Program, live, live_slots
from tests.evo.program.rewriting import STEADY, random_program
from tests.evo.program.table import ADAMW, LANGUAGE, LION, PROGRAM_4, run, same_bits


def test_the_cosh_of_the_papers_program_is_dead_across_steps():
    kept = live(LANGUAGE, PROGRAM_4)
    assert "cosh" not in str(kept)
    assert len(kept) == len(PROGRAM_4) - 1
    assert live_slots(LANGUAGE, PROGRAM_4) == ("v2",)


def test_slots_of_known_programs():
    assert live_slots(LANGUAGE, ADAMW) == ("v1", "v2")
    assert live_slots(LANGUAGE, LION) == ("v1",)
    assert live(LANGUAGE, ADAMW) == ADAMW


def test_a_slot_that_only_feeds_itself_is_dead():
    assert str(live(LANGUAGE, Program.parse("v1 = add(v1, g); update = abs(g)"))) == "update = abs(g)"


def test_a_slot_is_live_through_another_slot():
    program = Program.parse("update = abs(v2); v2 = sin(v1); v1 = add(v1, g)")
    assert live(LANGUAGE, program) == program


def test_an_overwritten_statement_is_dead_and_its_own_reader_is_not():
    program = Program.parse("a = sin(g); a = abs(g); a = cosh(a); update = abs(a)")
    assert str(live(LANGUAGE, program)) == "a = abs(g)\na = cosh(a)\nupdate = abs(a)"


def test_a_dead_slot_left_with_another_type_is_renamed():
    program = Program.parse("v1 = global_norm(g); update = mul(w, v1); v1 = cosh(update)")
    kept = live(LANGUAGE, program)
    assert LANGUAGE.is_valid(kept)
    assert str(kept) == "t0 = global_norm(g)\nupdate = mul(w, t0)"


@STEADY
@given(st.integers(0, 10**6))
def test_removing_dead_code_keeps_the_behaviour_and_is_idempotent(seed):
    program = random_program(seed)
    kept = live(LANGUAGE, program)
    assert LANGUAGE.is_valid(kept)
    assert len(kept) <= len(program)
    assert live(LANGUAGE, kept) == kept
    assert same_bits(run(kept), run(program))


@STEADY
@given(st.integers(0, 10**6))
def test_what_is_kept_matters_to_the_data_flow(seed):
    """Without any one of the statements kept, the program is another one or none at all."""
    kept = live(LANGUAGE, random_program(seed))
    for index in range(len(kept)):
        shorter = Program(kept.instructions[:index] + kept.instructions[index + 1 :])
        assert not LANGUAGE.is_valid(shorter) or live(LANGUAGE, shorter) != kept
