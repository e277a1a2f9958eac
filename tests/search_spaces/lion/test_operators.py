"""The operator table: the paper's 45 primitives and one for matrices, in agreement with what the kernels compute."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.program import Instruction, Program, canonical, lower, simplify
from kernels.programs import OPCODES, reference_step
from kernels.programs.opcodes import ARITY, KIND_NAMES, result_kind
from search_spaces.lion.language import LION
from search_spaces.lion.operators import DRAWN, OPERATORS
from tests.search_spaces.lion.helpers import random_program, same, steps

SEGMENTS = (0, 16, 32, 64)
SHAPES = ((16, 1), (4, 4), (8, 4))


def test_there_are_the_papers_45_and_one_more_and_the_kernels_know_them_all() -> None:
    assert len(OPERATORS) == 46
    assert set(OPERATORS) == set(OPCODES)
    assert set(DRAWN["matrix"]) == set(OPERATORS)
    assert set(DRAWN["matrix"]) - set(DRAWN["paper"]) == {"orthogonalize"}
    assert all(operator.arity == ARITY[OPCODES[name]] for name, operator in OPERATORS.items())


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_result_types_are_the_kernels(name: str) -> None:
    for kinds in itertools.product(range(3), repeat=OPERATORS[name].arity):
        ours = OPERATORS[name].infer(tuple(KIND_NAMES[kind] for kind in kinds)) if kinds else OPERATORS[name].infer(())
        theirs = result_kind(OPCODES[name], kinds)
        if ours is not None:
            assert theirs is not None, f"{name}{kinds} is accepted here and refused there"
            assert ours == KIND_NAMES[theirs]
        else:
            assert name == "clip_by_global_norm", "only clip takes no leaf as its bound"


def computed(name: str, arguments: list[float]) -> float:
    """An operator on literals by the reference: update = w + (value * 1), at w = 0."""
    program = Program((Instruction("x", name, tuple(arguments)), Instruction("update", "add", ("w", "x"))))
    zero = torch.zeros(1, dtype=torch.float64)
    lowered = lower(LION, program, OPCODES)
    return float(reference_step(lowered, zero, zero, [zero, zero], 1.0, (0, 1)).update)


@pytest.mark.parametrize("name", sorted(name for name, operator in OPERATORS.items() if operator.fold))
def test_folding_gives_what_the_reference_computes(name: str) -> None:
    operator = OPERATORS[name]
    values = (-2.5, -1.0, -0.3, 0.0, 1e-9, 0.25, 0.7, 1.0, 3.0)
    for arguments in itertools.product(values, repeat=operator.arity):
        try:
            folded = operator.fold(*arguments)
        except (ArithmeticError, ValueError):
            continue
        assert folded == pytest.approx(computed(name, list(arguments)), rel=1e-12, abs=1e-15), arguments


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("div", (1.0, 0.0), 1e8),
        ("div", (1.0, -1e-8), -5e7),
        ("log", (-math.e,), 1.0),
        ("sqrt", (-4.0,), 2.0),
        ("cbrt", (-8.0,), -2.0),
        ("invert", (0.25,), 0.75),
        ("log1p", (-3.0,), math.log(2.0)),
        ("interp", (1.0, 3.0, 1.5), 4.0),
        ("eps", (), 1e-8),
        ("orthogonalize", (-3e-8,), -0.75),
    ],
)
def test_protected_and_repaired_operators(name: str, arguments: tuple[float, ...], expected: float) -> None:
    assert OPERATORS[name].fold is not None
    assert OPERATORS[name].fold(*arguments) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_simplified_programs_compute_the_same(seed: int) -> None:
    """Identities of the table are exact: to the bit, but for literals folded by another library of functions."""
    program = random_program(seed)
    short = simplify(LION, program)
    assert canonical(LION, short) == canonical(LION, program)
    generator = torch.Generator().manual_seed(seed)
    weights, *gradients = torch.randn((4, 64), dtype=torch.float64, generator=generator)
    fractions = (1.0, 0.6, 0.2)
    before = steps(program, weights, gradients, fractions, SEGMENTS, SHAPES)
    after = steps(short, weights, gradients, fractions, SEGMENTS, SHAPES)
    if {a for step in program.instructions for a in step.arguments if not isinstance(a, str)}:
        # a literal that was folded may differ in its last bit, and a program may amplify that: one step only
        torch.testing.assert_close(after[0], before[0], rtol=1e-7, atol=1e-7, equal_nan=True)
    else:
        assert all(same(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_identity_holds_where_it_is_declared(name: str) -> None:
    """Each left side, with variables and literals put in, gives the bits of its right side."""
    inputs = {"x": "w", "y": "g", "z": "v1", "w": "v2"}
    literals = {"a": -0.75, "b": -1.5, "c": -3.0, "d": -0.2}
    values = torch.tensor([-3.0, -1.0, -0.2, -0.0, 0.0, 0.5, 2.0, 40.0, math.inf, -math.inf, math.nan, 1e-30] * 4)
    values = values.double()
    rolled = [values.roll(shift) for shift in (0, 5, 17, 31)]
    finite = list(torch.randn((4, 48), dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    for identity in OPERATORS[name].identities:
        if identity.level == "real":
            continue
        outputs = []
        for text in (identity.pattern, identity.result):
            lines: list[Instruction] = []
            flatten(text, inputs, literals, lines)
            program = Program(
                (*lines, Instruction("update", "mul", (lines[-1].target if lines else inputs[text], 1.0)))
            )
            if LION.trace(program) is None:  # a scalar: make it a tree
                program = Program((*lines, Instruction("update", "add", ("w", lines[-1].target))))
            code = lower(LION, program, OPCODES)
            for values in (rolled, finite):
                result = reference_step(
                    code, values[0], values[1], values[2:], 1.0, (0, 16, 48), shapes=((16, 1), (4, 8))
                )
                outputs.append(result.update)
        assert same(outputs[0], outputs[2]), f"{identity.pattern} = {identity.result}"
        assert same(outputs[1], outputs[3]), f"{identity.pattern} = {identity.result}"


def test_a_positive_factor_is_not_taken_out_of_orthogonalize() -> None:
    """It is no identity: small matrices feel the guard of their norm."""
    plain, scaled, negative, outside = (
        Program.parse(f"{text}\nupdate = mul(x, lr)")
        for text in (
            "x = orthogonalize(g)",
            "y = mul(g, 1e-6)\nx = orthogonalize(y)",
            "y = negative(g)\nx = orthogonalize(y)",
            "y = orthogonalize(g)\nx = negative(y)",
        )
    )
    assert canonical(LION, plain) != canonical(LION, scaled)
    assert canonical(LION, negative) == canonical(LION, outside)
    zero, gradient = torch.zeros(64), torch.full((64,), 1e-3)
    a, b = (steps(p, zero, [gradient], [1.0], SEGMENTS, SHAPES)[0] for p in (plain, scaled))
    assert not torch.allclose(a, b, rtol=1e-3)


def flatten(text: str, inputs: dict[str, str], literals: dict[str, float], lines: list[Instruction]) -> str | float:
    """Statements that compute an expression like "add(x, negative(y))"."""
    text = text.strip()
    if "(" not in text:
        return inputs[text] if text in inputs else literals[text] if text in literals else float(text)
    head, rest = text.split("(", 1)
    rest, depth, part, parts = rest[:-1], 0, "", []
    for character in rest:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            parts.append(part)
            part = ""
        else:
            part += character
    parts.append(part)
    arguments = tuple(flatten(part, inputs, literals, lines) for part in parts)
    lines.append(Instruction(f"t{len(lines)}", head, arguments))
    return lines[-1].target
