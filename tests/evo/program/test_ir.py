"""The representation: JSON and text round trips, and what they refuse."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.errors import InvalidGenomeError
from evo.program import Instruction, Program
from tests.evo.program.rewriting import STEADY, random_program
from tests.evo.program.table import ADAMW


@STEADY
@given(st.integers(0, 10**6))
def test_json_and_text_give_the_same_program_again(seed):
    program = random_program(seed)
    assert Program.from_json(json.loads(json.dumps(program.to_json()))) == program
    assert Program.parse(str(program)) == program
    assert pickle.loads(pickle.dumps(program)) == program


def test_json_is_a_compact_list_of_statements():
    assert ADAMW.to_json()[:2] == [["g2", "square", "g"], ["v1", "interp", "g", "v1", 0.9]]


def test_integers_in_json_become_float_literals():
    assert Program.from_json([["u", "mul", "g", 2]]).instructions == (Instruction("u", "mul", ("g", 2.0)),)


def test_parse_reads_statements_split_by_semicolons_and_negative_literals():
    program = Program.parse("a = mul(g, -0.5); b = pi()")
    assert program.instructions == (Instruction("a", "mul", ("g", -0.5)), Instruction("b", "pi", ()))


@pytest.mark.parametrize(
    "value",
    [
        "u = g",
        7,
        None,
        {},
        [["u"]],
        [["u", 3, "g"]],
        [["u", "mul", "g", None]],
        [["u", "mul", "g", True]],
        [["u", "mul", "g", [1.0]]],
        [["u", "mul", "g", float("nan")]],
        [["u", "mul", "g", float("inf")]],
        [["u", "mul", "g", 10**400]],
        [["u", "mul", "g; import os"]],
        [["lambda", "mul", "g", 1.0]],
        [["u v", "mul", "g", 1.0]],
    ],
)
def test_malformed_json_is_refused(value):
    with pytest.raises(InvalidGenomeError) as caught:
        Program.from_json(value)
    assert caught.value.hint


@pytest.mark.parametrize(
    "text", ["u = g", "u = mul(g, h(g))", "u, v = mul(g, g)", "mul(g, g)", "u = mul(g, a=1)", "u = ("]
)
def test_malformed_text_is_refused(text):
    with pytest.raises(InvalidGenomeError):
        Program.parse(text)
