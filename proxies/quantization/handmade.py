"""The hand-made proxies of mixed-precision quantization: each is a sum over layers of a term in the layer's bits.

Larger means better predicted accuracy, for every proxy. "Released" is what EMQ's repository (ICCV 2023) computes under
a name; where that is not what the method's paper says, the paper's form stands beside it. Layers and bits meet by
name here; the repository pairs lists by position, which shifts them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from proxies.errors import ProxyError
from proxies.quantization.bits import checked_table
from proxies.quantization.costs import MIB, RELEASED
from proxies.quantization.layers import LayerShape
from proxies.quantization.statistics import LayerStatistics, Statistics

Terms = Callable[[Statistics, tuple[int, ...]], np.ndarray]
"""(statistics, bits) -> (layers, len(bits)) float64."""


@dataclass(frozen=True, slots=True)
class AdditiveProxy:
    """A proxy that is a sum over layers.

    Attributes:
        name: for messages and tables.
        summary: the formula, in a line.
        needs: the groups of statistics it reads.
        terms: what a layer adds at each bit-width.
    """

    name: str
    summary: str
    needs: frozenset[str]
    terms: Terms

    def table(self, statistics: Statistics, bits: Sequence[int]) -> np.ndarray:
        """What each layer adds at each bit-width: the coefficients of an exact allocation.

        Args:
            statistics: with the groups in `needs`.
            bits: the bit-widths, which are the columns.

        Returns:
            (layers, len(bits)) float64.

        Raises:
            MissingStatisticError: a group, or the errors at one of these bits, was not gathered.
            ProxyError: a term is not finite.
        """
        statistics.require(self.needs)
        table = np.asarray(self.terms(statistics, tuple(int(b) for b in bits)), np.float64)
        if not np.isfinite(table).all():
            layer = statistics.names[int(np.argwhere(~np.isfinite(table))[0][0])]
            raise ProxyError(f"{self.name} of layer {layer} is not finite", "check the model and the batch")
        return table

    def scores(self, statistics: Statistics, configs: Any) -> np.ndarray:
        """Scores of many configurations; a row's score does not depend on the other rows.

        Args:
            statistics: with the groups in `needs`.
            configs: (n, layers) whole numbers, columns in the order of `statistics.names`.

        Returns:
            (n,) float64, larger is better.

        Raises:
            BitConfigError: another shape, or bits out of range.
            MissingStatisticError, ProxyError: as `table`.
        """
        rows = checked_table(configs, statistics.names)
        bits = np.unique(rows)
        table, places = self.table(statistics, bits.tolist()), np.searchsorted(bits, rows)
        total = np.zeros(len(rows))
        # layer after layer: numpy's own sum may order its additions by the shape of the whole array
        for layer in range(len(statistics)):
            total += table[layer, places[:, layer]]
        return total


def proportional(
    name: str, summary: str, needs: str | None, value: Callable[[LayerStatistics], float]
) -> AdditiveProxy:
    """sum_l value(l) b_l."""

    def terms(statistics: Statistics, bits: tuple[int, ...]) -> np.ndarray:
        return np.outer([value(layer) for layer in statistics], bits)

    return AdditiveProxy(name, summary, frozenset([needs] if needs else []), terms)


def ompq(beta: float = 1.0) -> AdditiveProxy:
    """OMPQ (AAAI 2022): mean_l theta_l b_l, theta_l = exp(-beta gamma_l), gamma_l = sum_{j != l} ORM_lj, ORM the CKA.

    theta is divided by its largest value, which changes no ranking: with the published beta of 100 it would
    underflow to 0 in every layer.

    Args:
        beta: how strongly similar layers are held down; published: 100 and 3.3 (ResNets), 1e-9 (MobileNetV2).
    """

    def terms(statistics: Statistics, bits: tuple[int, ...]) -> np.ndarray:
        similarity = statistics.similarity.numpy()
        gamma = similarity.sum(1) - np.diag(similarity)
        theta = np.exp(-beta * (gamma - gamma.min() if beta >= 0 else gamma - gamma.max()))
        return np.outer(theta / len(theta), bits)

    return AdditiveProxy("ompq", f"mean theta_l b_l, theta from CKA, beta {beta:g}", frozenset(["similarity"]), terms)


def _count(terms: Callable[[int], float], name: str, summary: str) -> AdditiveProxy:
    def table(statistics: Statistics, bits: tuple[int, ...]) -> np.ndarray:
        return np.tile([terms(b) for b in bits], (len(statistics), 1)).astype(np.float64)

    return AdditiveProxy(name, summary, frozenset(), table)


def _hawq_v2(statistics: Statistics, bits: tuple[int, ...]) -> np.ndarray:
    mean_trace = np.array([layer.hessian_trace.value / layer.shape.weights for layer in statistics])
    return -mean_trace[:, None] * statistics.error_table(bits)


STAGE_WEIGHTS = (0.0, 0.0, 1.0, 1.0, 6.0)
"""Of the last five stages in QE, from the highest resolution to the lowest."""


@functools.cache
def gaussian_deviation(bits: int) -> float:
    """Standard deviation of a standard normal variable rounded to whole numbers and clipped at +-2^(bits - 1).

    Gives the table of the released QE, 1.0089, 1.0408 and 1.0408 for 2, 3 and 4 bits, which shows what that table
    is, and why 3 and 4 bits look alike to QE: beyond 3 bits only the rounding noise of 1/12 is left.
    """
    most = 2 ** (bits - 1)
    tail = [0.5 * math.erfc((k - 0.5) / math.sqrt(2)) for k in range(1, min(most, 40) + 1)]
    # E[q^2] = 2 sum_k k^2 P(q = k) = 2 sum_k (2k - 1) P(q >= k)
    return math.sqrt(2 * math.fsum((2 * k - 1) * p for k, p in enumerate(tail, 1)))


def stages_of(shapes: Sequence[LayerShape]) -> list[int | None]:
    """The stage of each convolution, from 0 at the highest output resolution; None for other layers."""
    areas = [math.prod(s.output_shape[1:]) if s.kind == "conv2d" else None for s in shapes]
    order = sorted({area for area in areas if area is not None}, reverse=True)
    return [None if area is None else order.index(area) for area in areas]


def _qe(statistics: Statistics, bits: tuple[int, ...]) -> np.ndarray:
    stages = stages_of(statistics.shapes)
    count = max((stage for stage in stages if stage is not None), default=-1) + 1
    weights = ([0.0] * count + list(STAGE_WEIGHTS))[-count:] if count else []
    table = np.zeros((len(statistics), len(bits)))
    entropy = np.log([gaussian_deviation(8) * gaussian_deviation(b) for b in bits])
    for layer, stage in enumerate(stages):
        if stage is not None:
            # a stage's entropy is that of all blocks so far, so a layer counts in its own and all later stages
            table[layer] = sum(weights[stage:]) * entropy
            if stage not in stages[layer + 1 :]:
                table[layer] += weights[stage] * math.log(statistics.layers[layer].shape.out_channels)
    return table


def _snip(layer: LayerStatistics) -> float:
    return float((layer.weight.double() * layer.gradient.double()).abs().sum())


BIT_SUM = _count(float, "bit_sum", "sum b_l")
SQRT_BITS = _count(math.sqrt, "sqrt_bits", "sum sqrt(b_l)")
BPARAMS = proportional(
    "bparams", "size in MiB, released rule", None, lambda layer: RELEASED.parameters(layer.shape) / MIB
)
BOPS = proportional(
    "bops",
    "10^9 bit operations, released rule",
    None,
    lambda layer: RELEASED.operations(layer.shape) * RELEASED.activation_bits / 1e9,
)
HAWQ = proportional(
    "hawq", "sum lambda_l b_l, lambda the top Hessian eigenvalue (released)", "hessian_eigenvalue",
    lambda layer: layer.hessian_eigenvalue.value,
)  # fmt: skip
HAWQ_V2_RELEASED = proportional(
    "hawq_v2_released", "sum tr_l b_l, tr the Hessian's trace (released)", "hessian_trace",
    lambda layer: layer.hessian_trace.value,
)  # fmt: skip
HAWQ_V2 = AdditiveProxy(
    "hawq_v2",
    "-sum tr_l / n_l ||Q(W_l) - W_l||^2 (Dong et al., NeurIPS 2020)",
    frozenset(["hessian_trace", "errors"]),
    _hawq_v2,
)
OMPQ = ompq()
QE = AdditiveProxy("qe", "sum over stages of their quantized entropy (released)", frozenset(), _qe)
SNIP = proportional("snip", "sum_l b_l sum |W dL/dW|", "gradients", _snip)
SYNFLOW = proportional(
    "synflow", "sum_l b_l sum |W dR/dW|, W drawn anew (released)", "synflow", lambda layer: layer.synflow
)

HANDMADE = (BIT_SUM, SQRT_BITS, BPARAMS, BOPS, HAWQ, HAWQ_V2_RELEASED, HAWQ_V2, OMPQ, QE, SNIP, SYNFLOW)
"""All of them."""
