"""Simplified expressions compute what genomes say, and equal keys mean equal rankings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.emq.expression import Node, binary, expression, formula, leaf, nodes, size, to_mean, unary, zero
from search_spaces.emq.known import KNOWN
from search_spaces.emq.language import Genome
from search_spaces.emq.operators import INPUTS
from search_spaces.emq.samples import Samples
from search_spaces.emq.scoring import raw_scores
from search_spaces.emq.tables import Tables
from search_spaces.emq.text import one_line
from search_spaces.emq.variation import Variation
from tests.search_spaces.emq import naive, tiny

DRAWN = [Variation("corrected", wide, ("linear", "tree", "graph"), 0.3) for wide in ("base", "wide")]
PLACES = np.searchsorted(tiny.CHOICES, tiny.configurations(30))
SAMPLES = tiny.gathered().samples


def shaken() -> Samples:
    """The same inputs, but the bits, moved by 1e-11 of themselves."""
    rng = np.random.default_rng(4)
    values = {
        word: value if word == "bits" else value * (1.0 + 1e-11 * rng.standard_normal(value.shape))
        for word, value in SAMPLES.values.items()
    }
    return replace(SAMPLES, values=values)


SHAKEN = shaken()


def drawn(seed: int) -> Genome:
    return DRAWN[seed % 2].sample(np.random.default_rng(seed))


def tree(a: str, b: str, op: str, **more: object) -> Genome:
    given = {"ua": ("no_op", "no_op"), "ub": ("no_op", "no_op"), "post": ("no_op", "no_op"), "over": "mean", **more}
    return Genome("corrected", "tree", (a, b), (*given["ua"], *given["ub"]), (op,), given["post"], given["over"])


def spread(x: np.ndarray) -> float:
    return float(x.max() - x.min())


@settings(max_examples=250, deadline=None, derandomize=True)
@given(st.integers(0, 10**9))
def test_the_simplified_expression_ranks_as_the_genome_read_literally(seed: int) -> None:
    genome = drawn(seed)
    expected, moved = (naive.scores(genome, samples, PLACES) for samples in (SAMPLES, SHAKEN))
    found = expression(genome)
    # what a change of the inputs by 1e-11 does to a score, rounding may do too: z-scores of equal numbers,
    # logarithms of sums that cancel
    with np.errstate(invalid="ignore"):
        slack = 30.0 * float(np.abs((moved - moved[0]) - (expected - expected[0])).max())
    if not (np.isfinite(expected).all() and np.isfinite(moved).all()):
        return  # a part that ranks do not see was dropped, and with it, it may be, what overflowed
    if found.term is None:
        assert spread(expected) <= slack + 1e-9 * np.abs(expected).max() + 1e-12, "it depends on the bits"
        return
    raw = raw_scores(Tables(tiny.gathered()).table(found)[None], PLACES, [found.aggregation])[0]
    if found.aggregation == "mean":
        raw = raw / len(tiny.LAYERS)
    if not np.isfinite(raw).all():
        return
    # equal up to sign and a constant
    tolerance = slack + 1e-5 * spread(raw) + 1e-9 * max(np.abs(expected).max(), np.abs(raw).max())
    a, b = expected - expected[0], raw - raw[0]
    assert np.abs(a - b).max() <= tolerance or np.abs(a + b).max() <= tolerance, found.key


def same(a: Genome, b: Genome) -> bool:
    assert expression(a).key is not None
    return expression(a).key == expression(b).key


def test_order_of_a_sum_and_of_a_product_does_not_matter() -> None:
    for op in ("sum", "product"):
        assert same(tree("weight_error", "bits", op), tree("bits", "weight_error", op))
    assert same(tree("weight_error", "bits", "difference"), tree("bits", "weight_error", "difference"))


def test_signs_are_taken_out() -> None:
    plain = tree("weight_error", "hessian_trace", "product", ua=("pow", "no_op"))
    assert same(plain, tree("weight_error", "hessian_trace", "product", ua=("revert", "pow")))
    assert same(plain, tree("weight_error", "hessian_trace", "product", ua=("pow", "revert")))
    assert same(plain, tree("weight_error", "hessian_trace", "product", ua=("pow", "no_op"), post=("no_op", "revert")))
    largest = tree("weight_error", "hessian_trace", "product", ua=("pow", "no_op"), over="max")
    turned = tree("weight_error", "hessian_trace", "product", ua=("pow", "revert"), over="max")
    assert not same(largest, turned), "the largest of the negated terms is another term"


def test_what_no_bit_changes_is_dropped_from_a_sum_over_layers_but_not_from_a_maximum() -> None:
    assert same(
        tree("weight_error", "macs", "sum", ua=("pow", "no_op")),
        tree("weight_error", "weight", "sum", ua=("pow", "no_op")),
    )
    assert not same(
        tree("weight_error", "macs", "sum", ua=("pow", "no_op"), over="max"),
        tree("weight_error", "weight", "sum", ua=("pow", "no_op"), over="max"),
    )


def test_a_weighted_sum_is_a_product() -> None:
    assert same(
        tree("weight_error", "weight_error", "product", over="parameters"),
        tree("weight_error", "parameters", "product", ua=("pow", "no_op"), over="sum"),
    )


def test_the_trap_of_the_released_genotype_is_seen_before_any_cost() -> None:
    """The mean of a softmax is constant: with it, and a branch that no bit touches, nothing is left."""
    found = expression(tree("weight_error", "weight", "product", ua=("abslog", "softmax"), ub=("relu", "sqrt"),
                            post=("no_op", "no_op")))  # fmt: skip
    assert found.term is not None, "multiplied element by element it is no constant"
    flat = Genome("corrected", "linear", ("weight_error",), ("abslog", "softmax", "normalized_sum", "sqrt"))
    assert expression(flat).rejected == "bit-independent"
    assert expression(flat).key is None


@pytest.mark.parametrize("word", [w for w, known in INPUTS.items() if not known.bits])
def test_inputs_without_bits_alone_are_rejected(word: str) -> None:
    assert expression(Genome("corrected", "linear", (word,), ("no_op",) * 4)).rejected == "bit-independent"
    with_bits = Genome("corrected", "linear", (word,), ("times_bits", "no_op", "no_op", "no_op"))
    assert expression(with_bits).term is not None


def test_a_z_score_undoes_a_factor() -> None:
    chain = ("times_bits", "normalize", "abs", "no_op")
    assert expression(Genome("corrected", "linear", ("weight",), chain)).rejected == "bit-independent"


def test_equal_parts_cancel() -> None:
    assert expression(tree("weight_error", "weight_error", "difference")).rejected == "bit-independent"


def test_a_tensor_of_zeros_is_not_the_number_zero() -> None:
    """Its size shows: the log-softmax of r equal rows is -ln r, which times the bits is no constant."""
    nothing = binary("product", leaf("activation"), to_mean(unary("normalize", leaf("activation"))))
    assert nothing == zero("output")
    assert unary("logsoftmax", nothing).kind == "output"
    assert unary("logsoftmax", zero()) == zero()
    assert binary("sum", leaf("bits"), nothing).kind == "output"
    assert binary("sum", leaf("weight_error"), zero("weight")) == leaf("weight_error")
    assert binary("difference", zero(), leaf("bits")) == unary("revert", leaf("bits"))
    assert to_mean(unary("row_sum", unary("normalize", leaf("weight_error")))) == zero()


def test_equality_is_of_text_and_survives_the_memory_of_the_builders() -> None:
    before = unary("pow", leaf("weight_error"))
    for builder in (unary, binary, to_mean, leaf):
        builder.cache_clear()
    after = unary("pow", leaf("weight_error"))
    assert before is not after
    assert before == after
    assert hash(before) == hash(after)
    assert before != unary("abs", leaf("weight_error"))


def test_size_counts_each_sub_program_once() -> None:
    assert size(to_mean(unary("pow", leaf("weight_error")))) == 3
    part = to_mean(unary("pow", leaf("weight_error")))
    assert size(binary("product", part, unary("sqrt", part))) == 5
    assert [n.text for n in nodes(part)] == ["weight_error", "pow(weight_error)", "mean(pow(weight_error))"]


def test_formulas_read_as_written_by_hand() -> None:
    read = {name: formula(expression(genome).term) for name, genome in KNOWN.items()}  # type: ignore[arg-type]
    assert read["hawq_v2"] == "tr(H) mean(dW^2)"
    assert read["fisher"] == "sum((dz (dL/dz))^2)"
    assert read["first_order"] == "mean(rowsum(dz (dL/dz))^2)"
    assert read["sqrt_bits"] == "sqrt(b)"
    assert one_line(KNOWN["hawq_v2"]) == "+-mean_l tr(H) mean(dW^2)"


def test_a_formula_closes_what_binds_less() -> None:
    a, b, c = leaf("bits"), leaf("macs"), leaf("parameters")
    assert formula(binary("product", binary("sum", a, b), c)) == "n (b + macs)"
    assert formula(unary("pow", binary("sum", a, b))) == "(b + macs)^2"
    assert formula(unary("pow", unary("pow", a))) == "(b^2)^2"
    assert formula(Node("difference", (a, binary("difference", b, c)), "scalar", True, False)) == "b - (macs - n)"
    assert formula(unary("invert", binary("product", a, b))) == "1 / (b macs)"
    assert formula(binary("product", unary("invert", c), b)) == "(1 / n) macs"
    norm = unary("frobenius_norm", unary("min_max_normalize", leaf("weight")))
    sigmoid = unary("invert", unary("sigmoid", a))
    square = unary("pow", Node("product", (unary("times_2^-bits", norm), sigmoid), "scalar", True, False))
    assert formula(square) == "(2^-b norm(minmax(W)) (1 / sigmoid(b)))^2"
    assert formula(Node("product", (unary("over_bits", c), b), "scalar", True, False)) == "(n / b) macs"
    assert formula(unary("over_bits", unary("over_bits", c))) == "(n / b) / b"
    assert formula(Node("sum", (unary("invert", a), b), "scalar", True, False)) == "1 / b + macs"
    assert formula(unary("times_bits", leaf("weight_gradient"))) == "b (dL/dW)"
    assert formula(leaf("weight_gradient"), released=True) == "b (dL/dW)"


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_a_pickled_expression_is_the_same(seed: int) -> None:
    import pickle

    found = expression(drawn(seed))
    assert pickle.loads(pickle.dumps(found)) == found
