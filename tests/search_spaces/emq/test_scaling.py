"""Rescaling a layer's weights or input changes no ranking that the form says it does not change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.ranks import average_ranks
from search_spaces.emq.evaluator import scored
from search_spaces.emq.expression import binary, expression, leaf, to_mean, unary
from search_spaces.emq.known import KNOWN
from search_spaces.emq.operators import INPUTS as WORDS
from search_spaces.emq.samples import Samples
from search_spaces.emq.scaling import (
    FIXED,
    INPUTS,
    STILL,
    ByChannel,
    Scaling,
    by_channel,
    holds,
    holds_by_channel,
    scaling,
    screened,
)
from search_spaces.emq.tables import Tables
from search_spaces.emq.variation import Variation
from tests.search_spaces.emq import tiny

DRAWN = [Variation("corrected", wide, ("linear", "tree", "graph"), 0.3) for wide in ("base", "wide")]
PLACES = np.searchsorted(tiny.CHOICES, tiny.configurations(30))


def rescaled(samples: Samples, a: np.ndarray, c: np.ndarray) -> Samples:
    """The samples of the same network with layers rescaled: the statistics that it would have."""
    values = {}
    for word, value in samples.values.items():
        factor = a ** INPUTS[word][0] * c ** INPUTS[word][1]
        kind = WORDS[word].kind
        values[word] = value * (factor if kind == "scalar" else np.repeat(factor, samples.layouts[kind].sizes))
    return replace(samples, values=values)


A, C = np.array([2.0, 0.5, 8.0, 0.25]), np.array([0.5, 4.0, 2.0, 0.125])
"""Powers of two: what is invariant is so to the bit, but for the guards."""
GUARDED = {"invert", "slogdet", "log", "abslog"}
"""Their guards have a scale, and the logarithm of a number that is exactly 0 is not shifted."""
BEFORE = Tables(tiny.gathered())
AFTER = Tables(replace(tiny.gathered(), samples=rescaled(tiny.gathered().samples, A, C)))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 10**9))
def test_what_holds_by_its_form_ranks_alike_on_a_rescaled_network(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = None
    for _ in range(60):
        found = screened(DRAWN[seed % 2].sample(rng), "layers")
        if found.term is not None and not GUARDED & set(_ops(found.term)):
            break
    else:
        return
    before, after = (scored(tables, [found], PLACES) for tables in (BEFORE, AFTER))
    if before.rejected[0] or after.rejected[0]:
        return
    gap = np.abs(average_ranks(before.scores) - average_ranks(after.scores)).max()
    assert gap <= 1.0, found.key  # near ties may fall either way


def _ops(node) -> list[str]:  # type: ignore[no-untyped-def]
    return [node.op, *(op for argument in node.args for op in _ops(argument))]


def test_known_proxies() -> None:
    fixed = {name for name, genome in KNOWN.items() if (e := expression(genome)).term and holds(e.term, e.aggregation)}
    assert fixed == {"hawq_v2", "fisher", "first_order", "margin_flips", "sqrt_bits", "size"}


def test_powers_multiply_and_cancel() -> None:
    error = leaf("weight_error")
    assert scaling(unary("pow", error)) == Scaling((2.0, -2.0))
    assert scaling(unary("sqrt", to_mean(unary("pow", error)))) == Scaling((1.0, -1.0))
    assert scaling(binary("product", leaf("hessian_trace"), to_mean(unary("pow", error)))) == FIXED
    assert scaling(binary("sum", error, leaf("weight"))) == Scaling((1.0, -1.0))
    assert scaling(binary("sum", to_mean(error), leaf("hessian_trace"))) is None
    assert scaling(unary("exp", error)) is None
    assert scaling(unary("normalize", error)) == FIXED


def test_a_logarithm_makes_a_shift_which_a_sum_forgives_and_a_product_or_a_maximum_does_not() -> None:
    shifted = unary("abslog", to_mean(unary("abs", leaf("weight_error"))))
    assert scaling(shifted) == Scaling(shift=(1.0, -1.0))
    assert scaling(unary("abslog", leaf("weight_error"))) is None, "the zeros of a tensor are not shifted"
    assert holds(shifted, "mean")
    assert not holds(shifted, "max")
    assert scaling(binary("product", shifted, leaf("bits"))) is None
    assert scaling(unary("exp", shifted)) == Scaling((1.0, -1.0))
    assert scaling(unary("times_bits", shifted)) is None
    wide = binary("sum", unary("normalize", leaf("weight")), shifted)
    assert scaling(unary("softmax", wide)) == FIXED


def by_channels(samples: Samples, a: list[np.ndarray]) -> Samples:
    """The samples (whole tensors) of the same network with a factor for each output channel of each layer."""
    values = {}
    for word, value in samples.values.items():
        power, kind = INPUTS[word][0], WORDS[word].kind
        if kind in ("weight", "output") and power:
            layout = samples.layouts[kind]
            factors = []
            for layer, factor in enumerate(a):
                rows, columns = int(layout.rows[layer]), int(layout.columns[layer])
                whole = np.repeat(factor, rows * columns // len(factor)) if kind == "weight" else \
                    np.tile(np.repeat(factor, columns // len(factor)), rows)  # fmt: skip
                factors.append(whole**power)
            value = value * np.concatenate(factors)
        values[word] = value
    return replace(samples, values=values)


CHANNELS = [2.0 ** np.random.default_rng(i).integers(-3, 4, n) * np.random.default_rng(i + 9).choice([-1.0, 1.0], n)
            for i, n in enumerate((6, 6, 8, 5))]  # fmt: skip
WHOLE = Tables(tiny.gathered(None))
FLIPPED = Tables(replace(tiny.gathered(None), samples=by_channels(tiny.gathered(None).samples, CHANNELS)))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 10**9))
def test_what_holds_by_channel_ranks_alike_on_a_network_with_rescaled_and_flipped_channels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(80):
        found = screened(DRAWN[seed % 2].sample(rng), "channels")
        if found.term is not None and not GUARDED & set(_ops(found.term)):
            break
    else:
        return
    before, after = (scored(tables, [found], PLACES) for tables in (WHOLE, FLIPPED))
    if before.rejected[0] or after.rejected[0]:
        return
    gap = np.abs(average_ranks(before.scores) - average_ranks(after.scores)).max()
    assert gap <= 1.0, found.key


def test_by_channel_powers_go_before_channels_meet_and_signs_before_they_are_seen() -> None:
    error, gradient, moved = leaf("weight_error"), leaf("weight_gradient"), leaf("output_error")
    assert by_channel(moved) == ByChannel(1.0, True)
    assert by_channel(leaf("layer_input")) == STILL
    assert by_channel(binary("product", error, gradient)) == STILL
    assert by_channel(binary("product", unary("abs", error), gradient)) == ByChannel(0.0, True)
    assert by_channel(to_mean(binary("product", unary("abs", error), gradient))) is None
    assert by_channel(binary("product", to_mean(unary("abs", error)), to_mean(unary("abs", gradient)))) is None
    assert by_channel(unary("relu", moved)) is None
    assert by_channel(unary("relu", unary("pow", moved))) == ByChannel(2.0)
    assert by_channel(unary("row_sum", error)) == ByChannel(1.0, True)
    assert by_channel(unary("row_sum", moved)) is None
    assert by_channel(binary("sum", moved, leaf("activation"))) == ByChannel(1.0, True)
    assert by_channel(binary("sum", moved, unary("abs", moved))) is None


def test_what_mixes_channels_is_rejected_by_channel_alone() -> None:
    kept = {name for name, genome in KNOWN.items() if holds_by_channel(expression(genome).term)}  # type: ignore[arg-type]
    assert kept == {"fisher", "first_order", "margin_flips", "sqrt_bits", "size"}
    assert screened(KNOWN["hawq_v2"], "channels").rejected == "scale-dependent"
    assert screened(KNOWN["hawq_v2"], "layers").term is not None
    assert screened(KNOWN["weight_error"], "layers").rejected == "scale-dependent"
    assert screened(KNOWN["weight_error"], "none").term is not None
