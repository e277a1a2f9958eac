"""Closed forms: what they find, that they compute the same, and that they settle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evo.program import MutationOptions, Mutator, Program, canonical, live, simplify
from search_spaces.lion.language import LION
from search_spaces.lion.programs import adamw, discovered, lion, momentum
from search_spaces.lion.refine import courses
from search_spaces.lion.refine.closed_forms import closed_form, complexity, digits
from search_spaces.lion.refine.courses import same_course
from search_spaces.lion.refine.naming import named
from search_spaces.lion.refine.rewrites import tidy
from tests.search_spaces.lion.helpers import random_program

STEADY = settings(deadline=None, derandomize=True)
ARITHMETIC = Mutator(
    LION.restricted(("add", "sub", "mul", "interp", "negative", "invert", "div", "sqrt", "square", "abs", "sign")),
    MutationOptions(),
)


def arithmetic_program(seed: int) -> Program:
    """A known program after many mutations among sums, products and averages: where algebra finds most to do."""
    rng = np.random.Generator(np.random.Philox(seed))
    program = (adamw(), lion(), momentum(0.1, 0.01))[seed % 3]
    for _ in range(int(rng.integers(5, 40))):
        program = ARITHMETIC.mutate(program, rng).genome
    return program


PROGRAMS = st.one_of(
    st.integers(0, 10_000).map(arithmetic_program), st.integers(0, 10_000).map(lambda seed: random_program(seed, 150))
)


def closed(text: str) -> list[str]:
    """The closed form's statements under textbook names."""
    return [str(step) for step in tidy(Program.parse(text)).instructions]


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        # two chained averages of one state are one: (1 - ab) g + ab v
        (
            "m = interp(g, v1, 0.5)\nv1 = interp(g, m, 1.5)\nupdate = sign(v1)",
            ["v1 = interp(g, v1, 0.75)", "update = sign(v1)"],
        ),
        # an average written as a correction
        (
            "d = sub(g, v1)\nd = mul(d, 0.1)\nv1 = add(v1, d)\nupdate = mul(v1, lr)",
            ["v1 = interp(g, v1, 0.9)", "update = mul(v1, lr)"],
        ),
        # momentum is an average times 1 / (1 - 0.9), which joins the rate
        (
            "a = mul(v1, 0.9)\nv1 = add(a, g)\nu = mul(v1, 0.1)\nr = mul(lr, 0.01)\nupdate = mul(u, r)",
            ["v1 = interp(g, v1, 0.9)", "rate = mul(lr, 0.01)", "update = mul(v1, rate)"],
        ),
        # two slots that always hold the same
        (
            "v1 = interp(g, v1, 0.9)\nv2 = interp(g, v2, 0.9)\nd = sub(v1, v2)\nu = add(v1, d)\nupdate = mul(u, lr)",
            ["v1 = interp(g, v1, 0.9)", "update = mul(v1, lr)"],
        ),
        # state that nothing feeds is zero
        (
            "v1 = mul(v1, 0.5)\nm = interp(g, v1, 0.75)\nupdate = mul(m, lr)",
            ["rate = mul(lr, 0.25)", "update = mul(g, rate)"],
        ),
        # literals of a chain of products meet
        ("a = mul(g, 2.0)\nb = mul(a, lr)\nupdate = mul(b, 0.25)", ["rate = mul(lr, 0.5)", "update = mul(g, rate)"]),
        # a common factor
        (
            "a = mul(g, lr)\nb = mul(w, lr)\nupdate = add(a, b)",
            ["update = add(g, w)", "update = mul(update, lr)"],
        ),
        ("s = square(g)\ns = sqrt(s)\nupdate = mul(s, lr)", ["update = abs(g)", "update = mul(update, lr)"]),
        ("a = add(g, g)\nb = sub(a, g)\nupdate = mul(b, lr)", ["update = mul(g, lr)"]),
    ],
)
def test_closed_form_of(written: str, wanted: list[str]) -> None:
    found = closed(written)
    assert [sorted(line) for line in found] == [sorted(line) for line in wanted]  # either order of a product


def test_a_literal_zero_is_not_taken_for_a_tree_where_norms_are_read() -> None:
    # the norm of a scalar 1 is 1, that of a tree of ones is the root of its size
    written = Program.parse("a = exp10(v2)\na = clip_by_global_norm(a, lr)\nupdate = max(a, g)")
    assert "exp10" in str(closed_form(written))


def test_the_discovered_program_but_for_what_is_no_algebra() -> None:
    assert [str(step) for step in tidy(discovered()).instructions] == [
        "clipped = clip_by_global_norm(g, lr)",
        "u = arcsin(clipped)",
        "m = interp(u, v1, 0.899)",
        "size = abs(m)",
        "update = div(m, size)",
        "decay = mul(w, 0.4602)",
        "update = add(update, decay)",
        "rate = mul(lr, 0.0002)",
        "update = mul(update, rate)",
        "v1 = interp(u, v1, 0.996991)",
    ]


def test_without_guards_a_value_over_its_size_is_its_sign() -> None:
    found = str(tidy(discovered(), guarded=True))
    assert "update = sign(m)" in found
    assert "div" not in found
    assert not same_course(Program.parse("a = abs(g)\nupdate = div(g, a)"), Program.parse("update = sign(g)"))


@given(PROGRAMS)
@settings(STEADY, max_examples=40)
def test_a_closed_form_takes_the_same_course(program: Program) -> None:
    found = closed_form(program)
    assume(complexity(found) < complexity(simplify(LION, program)))
    # beyond the edge of a domain real numbers and floats differ by right: 0 * NaN is no 0
    assert same_course(program, found) or not finite(program)


def finite(program: Program) -> bool:
    return all(np.isfinite(courses.updates(program, courses.inputs(scale, 0))).all() for scale in courses.SCALES)


@given(PROGRAMS)
@settings(STEADY, max_examples=60)
def test_a_closed_form_is_valid_never_longer_and_final(program: Program) -> None:
    found = closed_form(program)
    LION.infer(found)
    assert complexity(found) <= complexity(simplify(LION, program))
    assert len(found) <= len(live(LION, program))
    tidied = tidy(program)
    assert tidy(tidied) == tidied


@given(PROGRAMS)
@settings(STEADY, max_examples=60)
def test_names_change_nothing(program: Program) -> None:
    short = closed_form(program)
    found = named(short)
    assert canonical(LION, found) == canonical(LION, short)
    assert named(found) == found


@given(st.floats(0.5, 0.999), st.floats(0.01, 2.0), st.integers(0, 3))
@settings(STEADY, max_examples=15)
def test_chained_averages_are_one_average(inner: float, outer: float, seed: int) -> None:
    assume(abs(inner * outer - 1) > 1e-6)  # nothing would ever feed that slot
    written = Program.parse(
        f"m = interp(g, v1, {inner!r})\nu = sign(m)\nv1 = interp(g, m, {outer!r})\nupdate = mul(u, lr)"
    )
    found = closed_form(written)
    assert same_course(written, found, seed)
    averages = [step for step in found.instructions if step.target == "v1"]
    assert len(averages) == 1
    assert averages[0].arguments[:2] == ("g", "v1")
    assert averages[0].arguments[2] == pytest.approx(inner * outer, rel=1e-12)


def test_a_course_tells_a_small_change_of_a_constant() -> None:
    assert same_course(lion(), lion())
    assert same_course(lion(), simplify(LION, lion()))
    assert not same_course(lion(), lion(weight_decay=0.1 + 1e-7))


@pytest.mark.parametrize(
    ("value", "wanted"), [(0.997, 1), (0.9, 1), (0.899, 3), (0.0002, 1), (0.4602, 4), (1e-8, 1), (2.0, 1)]
)
def test_digits_count_from_the_nearer_of_zero_and_one(value: float, wanted: int) -> None:
    assert digits(value) == wanted
