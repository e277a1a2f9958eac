"""What rescaling a layer does to a proxy, worked out from its form alone.

An output channel k of a layer may have its weights multiplied by any a_k, negative ones too, and its output divided by
a_k again: batch normalisation does so by itself. A layer's input may be multiplied by c > 0, and its weights divided by
c. Neither changes the network; nor, with a grid for each channel fitted to its weights, any quantized accuracy. A proxy
whose ranking such a rescaling changes ranks by an accident of training: it may fit the network it was searched on, and
has no reason to hold on another.

By a and c, each input is multiplied by a power: W by a / c, dL/dW by c / a, z by a, dL/dz by 1 / a, x by c; where all
a_k are one a, the Hessian's trace by (c / a)^2. Operators carry powers through, or lose them. A logarithm turns a
power into a term that no bit changes: a shift. In a sum over layers a shift does not matter; in a product it does. With
an a_k for each channel, a power must be gone before channels meet, and a sign before anything looks at it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

from search_spaces.emq.expression import BIT_FREE, Expression, Node, expression
from search_spaces.emq.language import Genome
from search_spaces.emq.operators import BIT_UNARY, SCALAR
from search_spaces.emq.operators import INPUTS as WORDS


class Scaling(NamedTuple):
    """How a value changes: it is multiplied by a^power[0] c^power[1], or has shift[0] ln a + shift[1] ln c added to it.

    Attributes:
        power, shift: exponents and coefficients; one of the two is (0, 0).
    """

    power: tuple[float, float] = (0.0, 0.0)
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def fixed(self) -> bool:
        """Whether nothing changes."""
        return self == FIXED


FIXED = Scaling()
NONE = (0.0, 0.0)

INPUTS = {
    "activation": (1.0, 0.0), "weight_gradient": (-1.0, 1.0), "weight": (1.0, -1.0), "virtual_gradient": (-1.0, 1.0),
    "hessian_eigenvalue": (-2.0, 2.0), "hessian_trace": (-2.0, 2.0), "layer_input": (0.0, 1.0),
    "output_gradient": (-1.0, 0.0), "logit_gradient": (-1.0, 0.0), "bits": NONE, "weight_quantized": (1.0, -1.0),
    "weight_error": (1.0, -1.0), "output_error": (1.0, 0.0), "margin": NONE, "margin_change": NONE, "loss_change": NONE,
    "parameters": NONE, "macs": NONE,
}  # fmt: skip
"""By input: the exponents of a and c."""

_KEEP = frozenset({
    "abs", "relu", "leaky_relu", "revert", "mean", "frobenius_norm", "to_std_scalar", "to_sum_scalar", "row_sum",
    "to_min_scalar", "to_max_scalar", "times_bits", "over_bits", "times_2^-bits", "quantize", "quantize_error",
    "p_dist",
})  # fmt: skip
_TIMES = {"pow": 2.0, "sqrt": 0.5, "invert": -1.0, "to_var_scalar": 2.0, "gram_matrix": 2.0, "to_sqrt_scalar": 0.5}
_FREE = frozenset({"normalize", "min_max_normalize", "sign"})
_SHIFT_KEPT = frozenset({"mean", "to_min_scalar", "to_max_scalar"})
_SHIFT_GONE = frozenset(
    {"normalize", "min_max_normalize", "softmax", "logsoftmax", "to_std_scalar", "to_var_scalar", "p_dist"}
)


SCALE = "scale-dependent"
Invariance = Literal["channels", "layers", "none"]


_BIT_INPUTS = frozenset(word for word, known in WORDS.items() if known.bits)
_BIT_WORDS = frozenset(BIT_UNARY)


def touches_bits(genome: Genome) -> bool:
    """Whether any word of a genome could bring the bit-width in."""
    if genome.mode == "as-released" or not _BIT_INPUTS.isdisjoint(genome.inputs):
        return True
    return not (_BIT_WORDS.isdisjoint(genome.unary) and _BIT_WORDS.isdisjoint(genome.post))


@lru_cache(1 << 12)
def screened(genome: Genome, invariance: Invariance) -> Expression:
    """The expression of a genome, rejected also where a rescaling that `invariance` names would change its ranking.

    Mode "as-released" is left alone: there, tensors and bits are misaligned anyway.
    """
    if not touches_bits(genome):  # half of all draws: not worth an expression
        return Expression(None, "mean", False, BIT_FREE)
    found = expression(genome)
    if invariance == "none" or found.term is None or found.released:
        return found
    if (invariance == "layers" or holds_by_channel(found.term)) and holds(found.term, found.aggregation):
        return found
    return Expression(None, found.aggregation, False, SCALE)


def holds(term: Node, aggregation: str) -> bool:
    """Whether no rescaling of whole layers, a_k = a > 0, changes how a proxy ranks.

    Args:
        term: of an expression of mode "corrected".
        aggregation: "mean" or "max".
    """
    found = scaling(term)
    return found is not None and (found.fixed or (aggregation == "mean" and found.power == NONE))


def scaling(node: Node) -> Scaling | None:
    """How rescaling changes a value; None where it changes it in another way than by a factor or a term."""
    if "scaling" not in node.notes:
        node.notes["scaling"] = _scaling(node)
    found: Scaling | None = node.notes["scaling"]
    return found


def _scaling(node: Node) -> Scaling | None:
    if node.op == "input":
        return Scaling(INPUTS[node.text])
    if node.op == "zero":
        return FIXED
    known = []
    for argument in node.args:
        part = scaling(argument)
        if part is None:
            return None
        known.append(part)
    return _unary(node.op, node.args[0], known[0]) if len(known) == 1 else _binary(node.op, *known)


def _unary(op: str, a: Node, s: Scaling) -> Scaling | None:
    if s.fixed:
        return FIXED
    if s.shift != NONE:
        if op in _SHIFT_GONE and a.kind != SCALAR:
            return FIXED
        if op == "revert":
            return Scaling(shift=(-s.shift[0], -s.shift[1]))
        if op == "exp":
            return Scaling(s.shift)
        return s if op in _SHIFT_KEPT else None
    if op in _KEEP:
        return s
    if op in _TIMES:
        return Scaling((s.power[0] * _TIMES[op], s.power[1] * _TIMES[op]))
    if op in _FREE:
        return FIXED
    if op in ("log", "abslog"):
        # zeros of a tensor stay where they are while the rest is shifted; of numbers, log leaves the negative ones out
        return Scaling(shift=s.power) if a.kind == SCALAR and (op == "abslog" or a.positive) else None
    return None


def _binary(op: str, a: Scaling, b: Scaling) -> Scaling | None:
    if a.fixed and b.fixed:
        return FIXED
    if op in ("product", "matmul"):
        if a.shift != NONE or b.shift != NONE:
            return None
        return Scaling((a.power[0] + b.power[0], a.power[1] + b.power[1]))
    if op in ("sum", "difference", "mean"):
        if a.shift != NONE or b.shift != NONE:
            if a.power != NONE or b.power != NONE:
                return None
            sign, part = (-1.0 if op == "difference" else 1.0), (0.5 if op == "mean" else 1.0)
            return Scaling(shift=(part * (a.shift[0] + sign * b.shift[0]), part * (a.shift[1] + sign * b.shift[1])))
        return a if a.power == b.power else None
    if op in ("lesser_than", "greater_than", "equal_to"):
        return FIXED if a == b else None
    if op == "hamming_distance":
        return FIXED if a.shift == b.shift == NONE else None
    if op == "cosine_similarity":
        return FIXED if a.shift == b.shift == NONE else None
    if op in ("pairwise_distance", "l1_loss", "mse_loss"):
        if a != b:
            return None
        if a.shift != NONE:
            return FIXED
        times = 2.0 if op == "mse_loss" else 1.0
        return Scaling((times * a.power[0], times * a.power[1]))
    return None


class ByChannel(NamedTuple):
    """How a value changes when each channel k has its own a_k: by a factor |a_k|^power, and the sign of a_k if odd."""

    power: float = 0.0
    odd: bool = False


STILL = ByChannel()
_MANY_CHANNELS = frozenset({"hessian_trace", "hessian_eigenvalue"})
"""Of the whole layer: channels have met in them."""


def holds_by_channel(term: Node) -> bool:
    """Whether no rescaling of single channels changes a term."""
    return by_channel(term) == STILL


def by_channel(node: Node) -> ByChannel | None:
    """How rescaling channels changes a value; None where it changes it in another way."""
    if "by channel" not in node.notes:
        node.notes["by channel"] = _by_channel(node)
    found: ByChannel | None = node.notes["by channel"]
    return found


def _by_channel(node: Node) -> ByChannel | None:
    if node.op == "input":
        power = INPUTS[node.text][0]
        return None if node.text in _MANY_CHANNELS else ByChannel(power, power % 2 == 1)
    if node.op == "zero":
        return STILL
    known = []
    for argument in node.args:
        part = by_channel(argument)
        if part is None:
            return None
        known.append(part)
    if all(part == STILL for part in known):
        return STILL
    return _unary_by_channel(node, known[0]) if len(known) == 1 else _binary_by_channel(node, *known)


def _unary_by_channel(node: Node, s: ByChannel) -> ByChannel | None:
    op = node.op
    if op in ("revert", "times_bits", "over_bits", "times_2^-bits"):
        return s
    if op in ("abs", "pow"):
        return ByChannel(s.power * (2.0 if op == "pow" else 1.0))
    if op == "invert":
        return ByChannel(-s.power, s.odd)
    if op == "sign":
        return ByChannel(0.0, s.odd)
    if op in ("relu", "leaky_relu", "sqrt"):
        return None if s.odd else ByChannel(s.power * (0.5 if op == "sqrt" else 1.0))
    if op == "row_sum" and node.args[0].kind == "weight":
        return s  # a row is one channel's
    return None


def _binary_by_channel(node: Node, a: ByChannel, b: ByChannel) -> ByChannel | None:
    if node.op == "product":
        return ByChannel(a.power + b.power, a.odd != b.odd)
    if node.op in ("sum", "difference", "mean"):
        return a if a == b else None
    if node.op in ("lesser_than", "greater_than", "equal_to"):
        return STILL if a == b and not a.odd else None
    return None
