"""Identities: how they are declared, matched, and refused."""

import pytest

from evo.errors import ConfigError
from evo.program import Identity, Language, Operator, Program, Signature, canonical, operator_table
from tests.evo.program.table import LANGUAGE


def same(a: str, b: str, level: str = "exact", language: Language = LANGUAGE) -> bool:
    return canonical(language, Program.parse(a), level) == canonical(language, Program.parse(b), level)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("a = add(g, 0); update = sin(a)", "update = sin(g)"),
        ("a = add(0, g); update = sin(a)", "update = sin(g)"),
        ("a = mul(1, g); update = sin(a)", "update = sin(g)"),
        ("a = negative(g); a = negative(a); update = sin(a)", "update = sin(g)"),
        ("a = abs(g); a = abs(a); update = sin(a)", "a = abs(g); update = sin(a)"),
        ("a = max(g, g); update = sin(a)", "update = sin(g)"),
        ("a = sign(g); a = sign(a); update = sin(a)", "a = sign(g); update = sin(a)"),
        ("update = square(g)", "update = mul(g, g)"),
        ("a = negative(w); update = sub(g, a)", "update = add(w, g)"),
        ("a = negative(g); a = abs(a); update = square(a)", "update = mul(g, g)"),
        ("a = negative(g); update = sin(a)", "a = sin(g); update = negative(a)"),
        ("a = sub(0, g); a = cosh(a); update = abs(a)", "a = cosh(g); update = abs(a)"),
        ("a = pi(); b = mul(a, 2); update = mul(g, b)", "update = mul(6.283185307179586, g)"),
        ("a = add(1, 2); b = sin(a); update = mul(g, b)", "update = mul(g, 0.1411200080598672)"),
    ],
)
def test_exact_identities_and_folding(written, normal):
    assert same(written, normal)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("a = mul(g, 0); update = add(w, a)", "update = add(w, 0)"),
        ("a = sub(g, g); update = add(w, a)", "update = add(w, 0)"),
        ("update = sub(g, w)", "update = sub(w, g)"),
        ("update = interp(g, w, 0.9)", "update = interp(w, g, 0.9)"),
        ("a = mul(g, 2); update = sign(a)", "update = sign(g)"),
        ("a = mul(g, 2); update = mul(a, 3)", "update = mul(g, 6)"),
    ],
)
def test_what_fails_for_nan_or_rounds_is_not_exact(a, b):
    assert not same(a, b)


def test_real_identities_apply_only_where_asked_for_and_where_their_condition_holds():
    assert same("a = mul(g, 2); update = mul(a, 3)", "update = mul(g, 6)", "real")
    assert same("a = mul(g, 2); update = sign(a)", "update = sign(g)", "real")
    assert not same("a = mul(g, -2); update = sign(a)", "update = sign(g)", "real")


def test_an_identity_that_would_change_the_type_is_not_applied():
    # x + y = x would turn a tree into a scalar where y is the wider one
    add = Operator(
        "add", 2, lambda t: "tree" if "tree" in t else "scalar", "", identities=(Identity("add(x, y)", "x"),)
    )
    signature = Signature((("g", "tree"), ("lr", "scalar")), (("update", "tree"),))
    language = Language(signature, operator_table([add]))
    assert same("update = add(g, lr)", "update = add(g, g)", language=language)
    assert not same("update = add(lr, g)", "update = add(g, lr)", language=language)


def test_identities_that_run_in_circles_are_reported():
    turning = Operator("f", 1, lambda t: t[0], "", identities=(Identity("f(f(x))", "f(f(f(x)))"),))
    language = Language(Signature((("g", "tree"),), (("update", "tree"),)), operator_table([turning]))
    with pytest.raises(ConfigError, match="without end"):
        canonical(language, Program.parse("a = f(g); update = f(a)"))


@pytest.mark.parametrize(
    ("pattern", "result", "message"),
    [
        ("f(x", "x", "cannot read"),
        ("f(x)", "y", "right side only"),
        ("x", "x", "must be a call of f"),
        ("f(q)", "q", "none of x y z w"),
        ("f(x, y)", "x", "takes 1 arguments"),
        ("f(h(x))", "x", "no operator is called 'h'"),
    ],
)
def test_a_malformed_identity_is_refused_when_the_language_is_made(pattern, result, message):
    operator = Operator("f", 1, lambda t: t[0], "", identities=(Identity(pattern, result),))
    with pytest.raises(ConfigError, match=message):
        Language(Signature((("g", "tree"),), (("update", "tree"),)), operator_table([operator]))


def test_a_fold_that_raises_leaves_the_call():
    def refuse(x):
        raise OverflowError

    operator = Operator("f", 1, lambda t: t[0], "", fold=refuse)
    language = Language(Signature((("x", "scalar"),), (("y", "scalar"),)), operator_table([operator]))
    assert not same("y = f(1)", "y = f(2)", language=language)
