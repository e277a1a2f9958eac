"""What the operators of mode "corrected" compute, in float64, on all layers and bit-widths at once.

x is the sample of a layer's tensor, (rows, columns), one of one element for a scalar; n its number of elements. N is
what a sum over the whole tensor counts: `height * width` of its layout (elements of a weight, features of an output).

unary       value                                          guard
log         ln(x + 1e-9)                                   x <= 0 taken for 1 - 1e-9, so that it gives 0
abslog      ln|x|                                          0 taken for 1
abs, pow    |x|, x^2
exp         e^x                                            overflow stays inf: if it reaches the score, it is invalid
normalize   (x - mean) / std, std with n - 1               0 where std is none (see below) or n = 1
relu        max(x, 0)
invert      1 / (|x| + 1e-9), with x's sign                0 counts as positive
frobenius_norm    sqrt(mean(x^2) N)                        the norm of the whole tensor, estimated by its sample
softmax, logsoftmax    over the rows, each column alone
sigmoid     1 / (1 + e^-x)
sqrt        sqrt(max(x, 0))
revert      -x
min_max_normalize    (x - min) / (max - min)               0 where max - min is none
mean        mean(x); so normalized_sum and to_mean_scalar; l1_norm is mean|x|
to_std_scalar, to_var_scalar    with n - 1                 0 where n = 1 or std is none
to_sum_scalar    mean(x) N
row_sum     sum over the columns, times width / columns: one number a row
times_bits, over_bits, times_2^-bits    x b, x / b, x 2^-b
quantize    x on the grid {s (q - z)}, q = 0 .. 2^b - 1, s = (max(x, 0) - min(x, 0)) / (2^b - 1) over the tensor,
            z = round(-min(x, 0) / s), half upwards        x where s is 0
quantize_error    quantize(x) - x                          0 where that is none
sign, swish, mish, leaky_relu    x sigmoid(x), x tanh(ln(1 + e^x)), x or 0.1 x
p_dist      Euclidean distances of the pairs of rows, times sqrt(width / columns)
gram_matrix x x^T, times width / columns
slogdet     ln |det(gram_matrix(x) / width + 1e-6 I)|
to_min_scalar, to_max_scalar    least and largest;    to_sqrt_scalar    sqrt(max(mean(x), 0))

binary      sum, difference, product, mean (a + b) / 2; lesser_than, greater_than, equal_to: 1 or 0, element by element
matmul      a b^T, times width / columns
hamming_distance    mean(sign(a) != sign(b))
pairwise_distance   mean over the rows of |a - b|, Euclidean, times sqrt(width / columns)
kl_divergence       mean over the rows of KL(softmax(a) || softmax(b)), over the columns
cosine_similarity   mean over the rows of a.b / max(|a| |b|, 1e-9)
mse_loss, l1_loss   mean (a - b)^2, mean |a - b|

None is what is at most 1e-12 of the largest |x| of the tensor: rounding, which another order of additions, or another
library, rounds otherwise, and which a division would make as large as anything. For the same reason half upwards means:
from 1e-9 below the half on, since values on a grid of their own meet halves exactly. What remains: the difference, or a
comparison, of two values that are equal but for rounding.

Every array is (1, n) or (choices, n): a leading 1 where the bit-width does not matter. A value depends on its own
layer and bit-width alone, and on nothing else that was computed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from search_spaces.emq.operators import SCALAR
from search_spaces.emq.samples import Layout, Samples, derived

Array = np.ndarray

NONE = 1e-12
"""Relative: spreads and errors of at most this are rounding."""
HALF = 1e-9
"""Quotients so close below a half are rounded as the half."""


class Arithmetic:
    """The operators on one network's samples.

    Args:
        samples: gives layouts and bit-widths.
    """

    def __init__(self, samples: Samples) -> None:
        self._layouts = dict(samples.layouts)
        ones = np.ones(len(samples.layers), np.int64)
        self._layouts[SCALAR] = Layout(ones, ones, ones.astype(np.float64), ones.astype(np.float64))
        self._bits = np.array(samples.choices, np.float64)[:, None]
        self._plans: dict[str, _Plan] = {}

    def unary(self, op: str, kind: str, x: Array) -> Array:
        """op(x), x of this kind."""
        simple = _ELEMENTWISE.get(op)
        if simple is not None:
            return simple(x)
        if op in _WITH_BITS:
            return _WITH_BITS[op](x, self._bits)
        plan = self.plan(kind)
        if op in ("quantize", "quantize_error"):
            found = self._quantize(x, plan)
            return found if op == "quantize" else _without_rounding(found - x, x, plan)
        return _OF_TENSORS[op](x, plan)

    def binary(self, op: str, kind_a: str, a: Array, kind_b: str, b: Array) -> Array:
        """op(a, b), of one kind, or one of them a scalar that is spread over the other."""
        kind = kind_b if kind_a == SCALAR else kind_a
        if kind_a != kind_b:
            plan = self.plan(kind)
            a, b = (plan.spread(a), b) if kind_a == SCALAR else (a, plan.spread(b))
        simple = _PAIRWISE.get(op)
        return simple(a, b) if simple is not None else _OF_TWO[op](a, b, self.plan(kind))

    def spread(self, kind: str, x: Array) -> Array:
        """A number a layer as a tensor of this kind."""
        return self.plan(kind).spread(x)

    def plan(self, kind: str) -> _Plan:
        """Where the layers of a kind lie."""
        found = self._plans.get(kind)
        if found is None:
            if kind not in self._layouts:
                self._layouts[kind] = derived(self.plan(kind.rsplit("/", 1)[0]).layout, kind)
            found = self._plans[kind] = _Plan(self._layouts[kind])
        return found

    def _quantize(self, x: Array, plan: _Plan) -> Array:
        low, high = np.minimum(plan.min(x), 0.0), np.maximum(plan.max(x), 0.0)
        most = np.exp2(self._bits) - 1.0
        step = (high - low) / most
        usable = step > 0.0
        step = np.where(usable, step, 1.0)
        zero = _nearest(-low / step)
        wide_step, wide_zero = plan.spread(step), plan.spread(zero)
        rounded = (np.clip(_nearest(x / wide_step) + wide_zero, 0.0, most) - wide_zero) * wide_step
        return np.where(plan.spread(usable), rounded, x)


class _Plan:
    """A layout with what its reductions need, worked out once."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.starts = layout.starts
        self.sizes = layout.sizes
        self.n = self.sizes.astype(np.float64)
        self.whole = layout.height * layout.width
        self.scale = layout.width / layout.columns
        self.is_scalar = bool((self.sizes == 1).all())
        parts = zip(self.starts.tolist(), layout.rows.tolist(), layout.columns.tolist(), strict=True)
        self.parts = [(start, start + r * k, r, k) for start, r, k in parts]

    def spread(self, x: Array) -> Array:
        return x if self.is_scalar else np.repeat(x, self.sizes, axis=1)

    def sum(self, x: Array) -> Array:
        return x if self.is_scalar else np.add.reduceat(x, self.starts, axis=1)

    def mean(self, x: Array) -> Array:
        return x if self.is_scalar else np.add.reduceat(x, self.starts, axis=1) / self.n

    def min(self, x: Array) -> Array:
        return x if self.is_scalar else np.minimum.reduceat(x, self.starts, axis=1)

    def max(self, x: Array) -> Array:
        return x if self.is_scalar else np.maximum.reduceat(x, self.starts, axis=1)

    def size(self, x: Array) -> Array:
        """The largest |x|."""
        return self.max(np.abs(x))

    def variance(self, x: Array) -> Array:
        centred = x - self.spread(self.mean(x))
        found = self.sum(centred * centred) / np.maximum(self.n - 1.0, 1.0)
        return np.where(np.sqrt(found) <= NONE * self.size(x), 0.0, found)

    def each(self, work: Callable[[Array], Array], *arrays: Array) -> Array:
        """work on (choices, rows, columns) of each layer; results laid side by side."""
        found = []
        for start, stop, r, k in self.parts:
            result = work(*(x[:, start:stop].reshape(len(x), r, k) for x in arrays))
            found.append(result.reshape(len(result), -1))
        return np.concatenate(found, axis=1)


def _nearest(x: Array) -> Array:
    return np.floor(x + (0.5 + HALF))


def _without_rounding(error: Array, x: Array, plan: _Plan) -> Array:
    return np.where(np.abs(error) <= NONE * plan.spread(plan.size(x)), 0.0, error)


def _log(x: Array) -> Array:
    return np.log(np.where(x > 0.0, x + 1e-9, 1.0))


def _abslog(x: Array) -> Array:
    size = np.abs(x)
    return np.log(np.where(size == 0.0, 1.0, size))


def _invert(x: Array) -> Array:
    return np.where(x < 0.0, -1.0, 1.0) / (np.abs(x) + 1e-9)


def _sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def _normalize(x: Array, plan: _Plan) -> Array:
    centred = x - plan.spread(plan.mean(x))
    deviation = np.sqrt(plan.sum(centred * centred) / np.maximum(plan.n - 1.0, 1.0))
    usable = (deviation > NONE * plan.size(x)) & (plan.n > 1.0)
    return np.where(plan.spread(usable), centred / plan.spread(np.where(usable, deviation, 1.0)), 0.0)


def _min_max(x: Array, plan: _Plan) -> Array:
    least = plan.min(x)
    span = plan.max(x) - least
    flat = (span <= NONE * plan.size(x)) & np.isfinite(span)
    return np.where(plan.spread(flat), 0.0, (x - plan.spread(least)) / plan.spread(np.where(flat, 1.0, span)))


def _softmax_rows(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _logsoftmax_rows(x: Array) -> Array:
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _logsoftmax_columns(x: Array) -> Array:
    shifted = x - x.max(axis=2, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))


def _products(a: Array, b: Array) -> Array:
    # matmul of broadcast stacks; einsum would add in another order for one bit-width and for several
    return np.matmul(a, b.transpose(0, 2, 1))


def _gram(x: Array, plan: _Plan) -> Array:
    return plan.each(lambda part: _products(part, part), x) * np.repeat(plan.scale, plan.layout.rows**2)


def _pairs(x: Array) -> Array:
    first, second = np.triu_indices(x.shape[1], 1)
    if not len(first):
        return np.zeros((len(x), 1))
    gap = x[:, first] - x[:, second]
    return np.sqrt((gap * gap).sum(axis=2))


def _p_dist(x: Array, plan: _Plan) -> Array:
    pairs = np.maximum(plan.layout.rows * (plan.layout.rows - 1) // 2, 1)
    return plan.each(_pairs, x) * np.repeat(np.sqrt(plan.scale), pairs)


def _slogdet(x: Array, plan: _Plan) -> Array:
    def work(part: Array) -> Array:
        _, r, k = part.shape
        return np.linalg.slogdet(_products(part, part) / k + 1e-6 * np.eye(r))[1][:, None]

    return plan.each(work, x)


def _row_sum(x: Array, plan: _Plan) -> Array:
    return plan.each(lambda part: part.sum(axis=2), x) * np.repeat(plan.scale, plan.layout.rows)


def _pairwise(a: Array, b: Array, plan: _Plan) -> Array:
    def work(p: Array) -> Array:
        return np.sqrt((p * p).sum(axis=2)).mean(axis=1)[:, None]

    return plan.each(work, a - b) * np.sqrt(plan.scale)


def _kl(a: Array, b: Array, plan: _Plan) -> Array:
    def work(p: Array, q: Array) -> Array:
        log_p, log_q = _logsoftmax_columns(p), _logsoftmax_columns(q)
        return (np.exp(log_p) * (log_p - log_q)).sum(axis=2).mean(axis=1)[:, None]

    return plan.each(work, a, b)


def _cosine(a: Array, b: Array, plan: _Plan) -> Array:
    def work(p: Array, q: Array) -> Array:
        norms = np.sqrt((p * p).sum(axis=2)) * np.sqrt((q * q).sum(axis=2))
        return ((p * q).sum(axis=2) / np.maximum(norms, 1e-9)).mean(axis=1)[:, None]

    return plan.each(work, a, b)


def _matmul(a: Array, b: Array, plan: _Plan) -> Array:
    return plan.each(_products, a, b) * np.repeat(plan.scale, plan.layout.rows**2)


_ELEMENTWISE: dict[str, Callable[[Array], Array]] = {
    "log": _log,
    "abslog": _abslog,
    "abs": np.abs,
    "pow": np.square,
    "exp": np.exp,
    "relu": lambda x: np.maximum(x, 0.0),
    "invert": _invert,
    "sigmoid": _sigmoid,
    "sqrt": lambda x: np.sqrt(np.maximum(x, 0.0)),
    "revert": np.negative,
    "sign": np.sign,
    "swish": lambda x: x * _sigmoid(x),
    "mish": lambda x: x * np.tanh(np.logaddexp(0.0, x)),
    "leaky_relu": lambda x: np.where(x >= 0.0, x, 0.1 * x),
}
_WITH_BITS: dict[str, Callable[[Array, Array], Array]] = {
    "times_bits": lambda x, b: x * b,
    "over_bits": lambda x, b: x / b,
    "times_2^-bits": lambda x, b: x * np.exp2(-b),
}
_OF_TENSORS: dict[str, Callable[[Array, _Plan], Array]] = {
    "mean": lambda x, plan: plan.mean(x),
    "normalize": _normalize,
    "frobenius_norm": lambda x, plan: np.sqrt(plan.mean(x * x) * plan.whole),
    "softmax": lambda x, plan: plan.each(_softmax_rows, x),
    "logsoftmax": lambda x, plan: plan.each(_logsoftmax_rows, x),
    "min_max_normalize": _min_max,
    "to_std_scalar": lambda x, plan: np.sqrt(plan.variance(x)),
    "to_var_scalar": lambda x, plan: plan.variance(x),
    "to_sum_scalar": lambda x, plan: plan.mean(x) * plan.whole,
    "to_min_scalar": lambda x, plan: plan.min(x),
    "to_max_scalar": lambda x, plan: plan.max(x),
    "to_sqrt_scalar": lambda x, plan: np.sqrt(np.maximum(plan.mean(x), 0.0)),
    "row_sum": _row_sum,
    "p_dist": _p_dist,
    "gram_matrix": _gram,
    "slogdet": _slogdet,
}
_PAIRWISE: dict[str, Callable[[Array, Array], Array]] = {
    "sum": np.add,
    "difference": np.subtract,
    "product": np.multiply,
    "mean": lambda a, b: (a + b) / 2.0,
    "lesser_than": lambda a, b: (a < b).astype(np.float64),
    "greater_than": lambda a, b: (a > b).astype(np.float64),
    "equal_to": lambda a, b: (a == b).astype(np.float64),
}
_OF_TWO: dict[str, Callable[[Array, Array, _Plan], Array]] = {
    "matmul": _matmul,
    "hamming_distance": lambda a, b, plan: plan.mean((np.sign(a) != np.sign(b)).astype(np.float64)),
    "pairwise_distance": _pairwise,
    "kl_divergence": _kl,
    "cosine_similarity": _cosine,
    "mse_loss": lambda a, b, plan: plan.mean(np.square(a - b)),
    "l1_loss": lambda a, b, plan: plan.mean(np.abs(a - b)),
}
