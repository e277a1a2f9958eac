"""Types and signatures: what is accepted, what is refused, and what the messages say."""

import pytest

from evo.errors import ConfigError, InvalidGenomeError
from evo.program import Language, Operator, Program, Signature, operator_table
from tests.evo.program.table import ADAMW, KNOWN, LANGUAGE, SIGNATURE


def test_types_follow_broadcasting_and_reductions():
    program = Program.parse("a = norm(g); b = global_norm(a); c = mul(a, b); d = pi(); update = mul(c, w)")
    assert LANGUAGE.infer(program) == ("leaf", "scalar", "leaf", "scalar", "tree")


def test_a_variable_may_change_its_type():
    assert LANGUAGE.infer(Program.parse("g = global_norm(g); g = mul(g, w); update = abs(g)")) == (
        "scalar",
        "tree",
        "tree",
    )


def test_outputs_that_are_inputs_may_pass_through():
    assert LANGUAGE.is_valid(Program.parse("update = abs(g)"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("update = abs(q)", "'q' is not defined"),
        ("a = abs(update); update = abs(g)", "'update' is not defined"),
        ("update = tanh(g)", "no operator is called 'tanh'"),
        ("update = abs(g, g)", "takes 1 arguments, not 2"),
        ("update = clip(g, w)", r"clip does not accept \(tree, tree\)"),
        ("a = abs(g)", "'update' is never assigned"),
        ("update = global_norm(g)", "must be a tree; it ends as a scalar"),
        ("update = abs(g); v1 = norm(g)", "'v1' must be a tree; it ends as a leaf"),
    ],
)
def test_an_invalid_program_is_refused_with_the_place_and_the_reason(text, message):
    program = Program.parse(text)
    assert not LANGUAGE.is_valid(program)
    assert LANGUAGE.trace(program) is None
    with pytest.raises(InvalidGenomeError, match=message):
        LANGUAGE.infer(program)


def test_a_literal_that_is_not_finite_is_refused():
    step = ADAMW.instructions[0]
    program = Program((step._replace(operator="mul", arguments=("g", float("inf"))), *ADAMW.instructions[1:]))
    assert not LANGUAGE.is_valid(program)
    with pytest.raises(InvalidGenomeError, match="finite"):
        LANGUAGE.infer(program)


def test_trace_agrees_with_infer():
    for program in KNOWN:
        assert tuple(LANGUAGE.trace(program)) == LANGUAGE.infer(program)


def test_inference_asks_an_operator_once_for_each_tuple_of_types():
    asked = []
    operator = Operator("f", 1, lambda types: asked.append(types) or types[0], "f({0})")
    language = Language(Signature((("x", "scalar"),), (("y", "scalar"),)), operator_table([operator]))
    for _ in range(5):
        language.infer(Program.parse("y = f(x); y = f(y)"))
    assert asked == [("scalar",)]


def test_a_signature_that_contradicts_itself_is_refused():
    with pytest.raises(ConfigError, match="twice"):
        Signature((("x", "tree"), ("x", "tree")), ())
    with pytest.raises(ConfigError, match="does not join"):
        Signature((("x", "tree"),), (("y", "scalar"),), {"y": "x"})
    with pytest.raises(ConfigError, match="feed one input"):
        Signature((("x", "tree"),), (("y", "tree"), ("z", "tree")), {"y": "x", "z": "x"})


def test_a_language_that_contradicts_itself_is_refused():
    unary = Operator("f", 1, lambda types: types[0], "f({0})", commutative=True)
    with pytest.raises(ConfigError, match="commutative"):
        Language(SIGNATURE, {"f": unary})
    with pytest.raises(ConfigError, match="type_order"):
        Language(SIGNATURE, {}, type_order=("tree",))
    with pytest.raises(ConfigError, match="defined twice"):
        operator_table([unary, unary])


def test_a_restricted_language_knows_fewer_operators_and_identities():
    small = LANGUAGE.restricted(["add", "sub", "sin"])
    assert set(small.operators) == {"add", "sub", "sin"}
    assert len(small.operators["add"].identities) == 2  # add(x, negative(y)) has lost its operator
    assert not small.is_valid(Program.parse("update = abs(g)"))
    with pytest.raises(ConfigError, match="tanh"):
        LANGUAGE.restricted(["tanh"])
