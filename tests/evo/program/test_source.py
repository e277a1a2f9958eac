"""Rendered source: it reads well, it runs, and it gives the same numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.errors import InvalidGenomeError
from evo.program import Operator, Program, operator_table, render, statements
from evo.program.language import Language
from tests.evo.program.rewriting import STEADY, random_program
from tests.evo.program.table import ADAMW, EVALUATE, LANGUAGE, SIGNATURE


@STEADY
@given(st.integers(0, 10**6))
def test_calls_read_back_as_the_same_program(seed):
    program = random_program(seed)
    assert Program.parse("\n".join(statements(LANGUAGE, program, "calls"))) == program


def test_infix_source_reads_like_mathematics():
    assert render(LANGUAGE, ADAMW, style="infix", name="adamw").splitlines() == [
        "def adamw(w, g, v1, v2, lr):",
        "    g2 = square(g)",
        "    v1 = interp(g, v1, 0.9)",
        "    v2 = interp(g2, v2, 0.999)",
        "    s = sqrt(v2)",
        "    u = v1 / s",
        "    wd = w * 0.01",
        "    u = u + wd",
        "    lr = lr * 0.001",
        "    update = u * lr",
        "    return update, v1, v2",
    ]


def test_digits_shorten_literals():
    program = Program.parse("update = mul(g, 0.123456789)")
    assert statements(LANGUAGE, program, "infix", digits=3) == ["update = g * 0.123"]


def test_negative_literals_are_bracketed_only_where_a_template_needs_it():
    program = Program.parse("a = sub(g, -0.5); b = negative(-2); c = mul(-1.5, a); update = interp(c, -0.25, b)")
    assert statements(LANGUAGE, program, "infix") == [
        "a = g - (-0.5)",
        "b = -(-2.0)",
        "c = (-1.5) * a",
        "update = interp(c, -0.25, b)",
    ]


def test_a_sign_does_not_slip_under_a_power():
    power = Operator("power", 2, lambda t: t[0], "{0} ** {1}")
    language = Language(SIGNATURE, operator_table([*LANGUAGE.operators.values(), power]))
    (line, _) = statements(language, Program.parse("a = power(-2, 2); update = mul(g, a)"))
    scope: dict[str, float] = {}
    exec(line, scope)
    assert scope["a"] == 4.0


@STEADY
@given(st.integers(0, 10**6))
def test_rendered_source_runs_and_computes_the_program(seed):
    program = random_program(seed)
    scope = {"np": type("Namespace", (), {k: staticmethod(v) for k, v in EVALUATE.items()})}
    exec(render(LANGUAGE, program), scope)
    rng = np.random.default_rng(seed)
    trees = [(rng.standard_normal(4), rng.standard_normal(3)) for _ in range(4)]
    variables = dict(zip((n for n, _ in SIGNATURE.inputs), [*trees, np.float64(0.5)], strict=True))
    for target, operator, arguments in program.instructions:
        variables[target] = EVALUATE[operator](
            *[variables[a] if isinstance(a, str) else np.float64(a) for a in arguments]
        )
    found = scope["train"](*trees, np.float64(0.5))
    for (name, _), value in zip(SIGNATURE.outputs, found, strict=True):
        for a, b in zip(variables[name], value, strict=True):
            assert np.array_equal(a, b, equal_nan=True)


def test_an_invalid_program_is_not_rendered():
    with pytest.raises(InvalidGenomeError):
        render(LANGUAGE, Program.parse("update = abs(q)"))
