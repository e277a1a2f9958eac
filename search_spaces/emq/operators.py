"""The words of the language: inputs, unary and binary operators, aggregations, and how often each is drawn.

Names, order and weights of the first 20 unary and 4 binary operators are EMQ's (ICCV 2023), read from the authors'
later code, as are the names of the wider set. What the words compute stands in `arithmetic.py` (mode "corrected") and
`released.py` (mode "as-released"). This module imports nothing that computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Mode = Literal["corrected", "as-released"]
Structure = Literal["linear", "tree", "graph"]
OperatorSet = Literal["base", "wide"]

SCALAR = "scalar"
"""The kind of a value that is one number a layer (and bit-width)."""
SAMPLE = "sample"
"""The kind of a value that is one number for each sample of the batch (and layer, and bit-width)."""
FLIPS = "flips"
"""An aggregation of what is a number a sample: see `AGGREGATIONS`."""


@dataclass(frozen=True, slots=True)
class Input:
    """What a proxy may start from.

    Attributes:
        kind: the tensors it belongs with: "weight" (rows: output channels; columns: the rest), "output" and "input"
            (rows: samples; columns: features), "sample" (a number a sample), or "scalar". Inputs of one kind have one
            shape, layer by layer.
        bits: whether its value depends on the bit-width.
        meaning: in a line.
        symbol: in formulas.
    """

    kind: str
    bits: bool
    meaning: str
    symbol: str


INPUTS: Mapping[str, Input] = {
    "activation": Input("output", False, "the layer's output z", "z"),
    "weight_gradient": Input("weight", False, "dL/dW on the batch", "dL/dW"),
    "weight": Input("weight", False, "the weight W", "W"),
    "virtual_gradient": Input("weight", False, "d(sum of the logits)/dW on a batch of ones", "dS/dW"),
    "hessian_eigenvalue": Input(SCALAR, False, "top eigenvalue of the loss's Hessian by W", "eig(H)"),
    "hessian_trace": Input(SCALAR, False, "trace of the loss's Hessian by W", "tr(H)"),
    "layer_input": Input("input", False, "what the layer receives, x", "x"),
    "output_gradient": Input("output", False, "dL/dz, L the loss of a sample", "dL/dz"),
    "logit_gradient": Input("output", False, "d(sum of +-logits)/dz, signs drawn at random a sample", "dY/dz"),
    "bits": Input(SCALAR, True, "the bit-width b", "b"),
    "weight_quantized": Input("weight", True, "Q(W) at b bits", "Q(W)"),
    "weight_error": Input("weight", True, "Q(W) - W", "dW"),
    "output_error": Input("output", True, "what Q(W) changes in z, the layer's input unchanged", "dz"),
    "margin": Input(SAMPLE, False, "a sample's largest logit minus the next, m", "m"),
    "margin_change": Input(SAMPLE, True, "what Q(W) changes in m, to first order: the sum of dm/dz dz", "dm"),
    "loss_change": Input(
        SAMPLE, True, "what Q(W) changes in a sample's loss, to first order: the sum of dL/dz dz", "dL"
    ),
    "parameters": Input(SCALAR, False, "elements of the weight", "n"),
    "macs": Input(SCALAR, False, "multiply-accumulates a sample", "macs"),
}
RELEASED_INPUTS = ("activation", "weight_gradient", "weight", "virtual_gradient")

UNARY: tuple[str, ...] = (
    "log", "abslog", "abs", "pow", "exp", "normalize", "relu", "invert", "frobenius_norm", "normalized_sum",
    "l1_norm", "softmax", "sigmoid", "logsoftmax", "sqrt", "revert", "min_max_normalize", "to_mean_scalar",
    "to_std_scalar", "no_op",
)  # fmt: skip
"""EMQ's 20, in its order: genotypes name them by index."""

WIDE_UNARY: tuple[str, ...] = (
    "sign", "mish", "swish", "leaky_relu", "p_dist", "slogdet", "to_sum_scalar", "to_var_scalar", "to_min_scalar",
    "to_max_scalar", "to_sqrt_scalar", "gram_matrix",
)  # fmt: skip
"""Defined in the authors' code, and not drawn by it."""

BIT_UNARY: tuple[str, ...] = ("times_bits", "over_bits", "times_2^-bits", "quantize", "quantize_error")
"""Ours: they bring the bit-width in at any place."""

SUM_UNARY: tuple[str, ...] = ("to_sum_scalar", "row_sum")
"""Ours: sums where the others have means, so that large layers may count for more."""

BINARY: tuple[str, ...] = ("sum", "difference", "product", "matmul")
WIDE_BINARY: tuple[str, ...] = (
    "mean", "lesser_than", "greater_than", "equal_to", "hamming_distance", "pairwise_distance", "kl_divergence",
    "cosine_similarity", "mse_loss", "l1_loss",
)  # fmt: skip

AGGREGATIONS: tuple[str, ...] = ("mean", "sum", "parameters", "macs", "max", FLIPS)
"""Over layers: mean and sum (which rank alike), sums weighted by parameters or by MACs, and the largest term.

flips, ours: of a number a sample, t_il, the mean over samples i of Phi(m_i / sqrt(sum_l |t_il|)), m_i the sample's
margin and Phi the normal distribution function. Where |t_il| is the variance of what layer l changes in the margin,
that is the share of samples that keep their class: an accuracy, of layers that err independently. It adds within each
sample before it saturates, so that it is no sum over layers. Of anything that is not a number a sample: the mean.
"""

ADDITIVE = frozenset({"mean", "sum", "parameters", "macs"})
"""Aggregations under which a score is a sum of one term a layer."""

REDUCING = frozenset({
    "frobenius_norm", "normalized_sum", "l1_norm", "to_mean_scalar", "to_std_scalar", "to_sum_scalar", "to_var_scalar",
    "to_min_scalar", "to_max_scalar", "to_sqrt_scalar", "slogdet",
})  # fmt: skip
"""Unary operators that give one number a layer."""

COMPARING = frozenset({
    "hamming_distance", "pairwise_distance", "kl_divergence", "cosine_similarity", "mse_loss", "l1_loss",
})  # fmt: skip
"""Binary operators that give one number a layer."""

COMMUTATIVE = frozenset({"sum", "product", "mean", "equal_to"} | (COMPARING - {"kl_divergence"}))
"""Binary operators whose arguments may be swapped without changing a bit of the result."""


@dataclass(frozen=True, slots=True)
class Pool:
    """What a gene is drawn from.

    Attributes:
        words: the alleles.
        weights: one positive number an allele; they need not sum to 1.
    """

    words: tuple[str, ...]
    weights: tuple[float, ...]


def pools(mode: Mode, operators: OperatorSet) -> Mapping[str, Pool]:
    """By kind of gene ("input", "unary", "binary", "aggregation"): what it may be, and how often it is drawn.

    The weights of EMQ's words are its prior: 0.1 for a unary operator and 0.2 for no_op, 0.6, 0.3, 0.05 and 0.05 for
    the binary ones. In mode "corrected", where tensors are multiplied too, product has 0.6 and sum 0.3 and difference
    0.15: a product is what a sensitivity times an error is.
    """
    unary, binary = list(UNARY), list(BINARY)
    if mode == "corrected":
        unary += [*BIT_UNARY, *SUM_UNARY]
    if operators == "wide":
        unary += [word for word in WIDE_UNARY if word not in unary]
        binary += WIDE_BINARY
    weights = {"sum": 0.6, "difference": 0.3} if mode == "as-released" else \
        {"product": 0.6, "sum": 0.3, "difference": 0.15}  # fmt: skip
    inputs = RELEASED_INPUTS if mode == "as-released" else tuple(INPUTS)
    aggregations = ("mean",) if mode == "as-released" else AGGREGATIONS
    return {
        "input": Pool(inputs, (1.0,) * len(inputs)),
        "unary": Pool(tuple(unary), tuple(0.2 if word == "no_op" else 0.1 for word in unary)),
        "binary": Pool(tuple(binary), tuple(weights.get(word, 0.05) for word in binary)),
        "aggregation": Pool(aggregations, (1.0,) * len(aggregations)),
    }
