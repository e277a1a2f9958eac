"""What rescaling a layer does to a proxy, worked out from its form alone.

A layer's weights may be multiplied by a, and its output divided by a again (batch normalisation does so by itself); its
input may be multiplied by c, and its weights divided by c. Neither changes the network, nor, with scales fitted to the
weights, any quantized accuracy. A proxy whose ranking such a rescaling changes ranks by an accident of training: it may
fit the network it was searched on, and has no reason to hold on another.

By a and c, each input is multiplied by a power: W by a / c, dL/dW by c / a, the trace of the Hessian by (c / a)^2, z
by a, dL/dz by 1 / a, x by c. Operators carry powers through, or lose them. A logarithm turns a power into a term that
no bit changes: a shift. In a sum over layers a shift does not matter; in a product it does.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from search_spaces.emq.expression import Expression, Node, expression
from search_spaces.emq.language import Genome
from search_spaces.emq.operators import SCALAR


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
    "weight_error": (1.0, -1.0), "output_error": (1.0, 0.0), "parameters": NONE, "macs": NONE,
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


def screened(genome: Genome, invariant: bool) -> Expression:
    """The expression of a genome, rejected also where rescaling would change its ranking, if `invariant` asks for that.

    Mode "as-released" is left alone: there, tensors and bits are misaligned anyway.
    """
    found = expression(genome)
    if invariant and found.term is not None and not found.released and not holds(found.term, found.aggregation):
        return Expression(None, found.aggregation, False, SCALE)
    return found


def holds(term: Node, aggregation: str) -> bool:
    """Whether no rescaling changes how a proxy ranks.

    Args:
        term: of an expression of mode "corrected".
        aggregation: "mean" or "max".
    """
    found = scaling(term)
    return found is not None and (found.fixed or (aggregation == "mean" and found.power == NONE))


@lru_cache(1 << 16)
def scaling(node: Node) -> Scaling | None:
    """How rescaling changes a value; None where it changes it in another way than by a factor or a term."""
    if node.op == "input":
        return Scaling(INPUTS[node.text])
    if node.op == "zero":
        return FIXED
    parts = [scaling(argument) for argument in node.args]
    if any(part is None for part in parts):
        return None
    known: list[Scaling] = [part for part in parts if part is not None]
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
