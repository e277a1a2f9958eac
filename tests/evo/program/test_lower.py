"""Lowering: a register machine on the arrays gives what the program gives, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.errors import ConfigError
from evo.program import Lowered, Program, live, lower, simplify
from evo.program.language import Language, Operator, operator_table
from tests.evo.program.rewriting import STEADY, random_program
from tests.evo.program.table import (
    EVALUATE,
    LANGUAGE,
    OPCODES,
    PROGRAM_4,
    SIGNATURE,
    TYPES,
    run,
    same_bits,
)

NAMES = {number: name for name, number in OPCODES.items()}


def lowered(text: str) -> Lowered:
    return lower(LANGUAGE, Program.parse(text), OPCODES)


def kind(value: object) -> int:
    if isinstance(value, tuple):
        return TYPES.index("leaf" if np.ndim(value[0]) == 0 else "tree")
    return TYPES.index("scalar")


def execute(code: Lowered, inputs: list) -> list:
    """The register machine; checks on the way that registers are written once, in order, with the kind promised."""
    registers = [*inputs, *(np.float64(c) for c in code.constants)]
    assert len(inputs) == code.n_inputs
    for opcode, destination, *operands in code.code:
        used = [r for r in operands if r >= 0]
        assert destination == len(registers)
        assert operands == used + [-1] * (3 - len(used))
        registers.append(EVALUATE[NAMES[opcode]](*[registers[r] for r in used]))
    assert [kind(value) for value in registers] == list(code.kinds)
    return [registers[r] for r in code.outputs]


def run_lowered(code: Lowered, steps: int = 5, seed: int = 0) -> np.ndarray:
    """`table.run`, on the lowered form: the same draws."""
    rng = np.random.default_rng(seed)
    draw = lambda: (rng.standard_normal(4) * 10.0 ** rng.integers(-3, 2), rng.standard_normal(3))  # noqa: E731
    weights, slots, updates = draw(), [(np.zeros(4), np.zeros(3))] * 2, []
    for step in range(steps):
        gradient = draw()
        gradient[0][step % 4] = 0.0
        update, *slots = execute(code, [weights, gradient, *slots, np.float64(1.0 / (step + 1))])
        updates.append(np.concatenate(update))
    return np.array(updates)


@settings(STEADY, max_examples=200)
@given(st.integers(0, 10**6))
def test_the_register_machine_equals_direct_interpretation(seed):
    program = random_program(seed)
    code = lower(LANGUAGE, program, OPCODES)
    assert same_bits(run_lowered(code), run(program))
    assert len(code.code) <= len(live(LANGUAGE, program))
    assert same_bits(run_lowered(lower(LANGUAGE, simplify(LANGUAGE, program), OPCODES)), run(program))


def test_lowered_values_are_plain_python():
    code = lower(LANGUAGE, PROGRAM_4, OPCODES)
    assert all(type(v) is int for row in code.code for v in row)
    assert all(type(v) is float for v in code.constants)
    assert all(type(v) is int for v in (*code.kinds, *code.outputs, code.n_inputs))


def test_constants_and_equal_expressions_are_stored_once():
    code = lowered("a = mul(g, 0.5); b = mul(0.5, g); c = mul(w, 0.5); d = add(a, b); update = add(c, d)")
    assert code.constants == (0.5,)
    assert len(code.code) == 4


def test_zeros_of_both_signs_are_different_constants():
    assert len(lowered("a = mul(g, 0.0); b = mul(g, -0.0); update = add(a, b)").constants) == 2


def test_dead_slots_and_untouched_outputs_pass_their_input_through():
    code = lower(LANGUAGE, PROGRAM_4, OPCODES)
    inputs = [name for name, _ in SIGNATURE.inputs]
    assert code.outputs[1] == inputs.index("v1")
    assert lowered("a = abs(v2); v1 = add(a, g); update = mul(v1, v1)").outputs[2] == inputs.index("v2")


def test_a_missing_opcode_and_too_many_operands_are_reported():
    with pytest.raises(ConfigError, match="no opcode 'interp'"):
        lower(LANGUAGE, PROGRAM_4, {n: c for n, c in OPCODES.items() if n != "interp"})
    wide = Operator("wide", 4, lambda t: "tree", "")
    language = Language(SIGNATURE, operator_table([wide]))
    with pytest.raises(ConfigError, match="4 operands"):
        lower(language, Program.parse("update = wide(g, g, g, g)"), {"wide": 1})


def test_an_operator_may_carry_the_kernels_own_name():
    operator = Operator("plus", 2, lambda t: t[0], "", opcode="add")
    language = Language(SIGNATURE, operator_table([operator]))
    assert lower(language, Program.parse("update = plus(g, w)"), {"add": 7}).code == ((7, 5, 1, 0, -1),)
