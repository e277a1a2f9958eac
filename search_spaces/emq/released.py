"""What the operators compute in mode "as-released": EMQ's code as it is, guards that do not guard and all.

Tensors are those of the convolutions in the model's order; both gradients come in reverse order; tensor i belongs to
column i of the configurations, as many as the shorter of the two has (zip), and is multiplied by its bits before any
operator. Read from the authors' later code; what their ResNet-18 run does follows: 20 convolutions, 18 bits.

Two things are otherwise. There, gradients add up from one evaluation to the next, because nothing zeroes them, so that
a score depends on how many came before; here each is gathered once, as at the first evaluation there. And there tensors
are whole: so they are here with `options.samples: null`, with which genotype (a) equals its closed form. With a number,
operators see that many elements of each tensor, and the mean of a softmax is 1 / (rows kept), not 1 / (channels).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from search_spaces.emq.arithmetic import Arithmetic, Array, _Plan
from search_spaces.emq.operators import INPUTS, RELEASED_INPUTS
from search_spaces.emq.samples import Layout, Samples

REVERSED = frozenset(["weight_gradient", "virtual_gradient"])


def released_samples(samples: Samples, convolutions: Sequence[int], columns: int) -> Samples:
    """The samples as the released code pairs them with configurations.

    Args:
        samples: of the network.
        convolutions: indices of its layers, in the order in which the model registers them.
        columns: of the configurations.

    Returns:
        Samples whose layer i is paired with column i; kinds "weight", "gradient" and "output".
    """
    n = min(len(convolutions), columns)
    forward, backward = list(convolutions[:n]), list(convolutions[::-1][:n])
    bits = np.array(samples.choices, np.float64)[:, None]
    layouts: dict[str, Layout] = {}
    values: dict[str, Array] = {}
    for word in RELEASED_INPUTS:
        kind, order = (INPUTS[word].kind, forward) if word not in REVERSED else ("gradient", backward)
        whole = samples.layouts[INPUTS[word].kind]
        layouts[kind] = Layout(whole.rows[order], whole.columns[order], whole.width[order], whole.height[order])
        starts, sizes, value = whole.starts, whole.sizes, samples.values[word]
        parts = [value[:, starts[i] : starts[i] + sizes[i]] for i in order]
        values[word] = np.concatenate(parts, axis=1) * bits
    return Samples(tuple(str(i) for i in range(n)), samples.choices, layouts, values)


class Released(Arithmetic):
    """The released operators; `row_sum` and those that bring bits in do not exist."""

    def unary(self, op: str, kind: str, x: Array) -> Array:
        simple = _ELEMENTWISE.get(op)
        if simple is not None:
            return simple(x)
        own = _OF_TENSORS.get(op)
        return own(x, self.plan(kind)) if own is not None else super().unary(op, kind, x)


def _sqrt(x: Array) -> Array:
    return np.sqrt(np.where(x <= 0.0, 0.0, x))


def _normalize(x: Array, plan: _Plan) -> Array:
    centred = x - plan.spread(plan.mean(x))
    deviation = np.sqrt(plan.sum(centred * centred) / (plan.n - 1.0))
    z = centred / plan.spread(deviation)
    return np.where(np.isnan(z), 0.0, z)


def _min_max(x: Array, plan: _Plan) -> Array:
    least = plan.min(x)
    return (x - plan.spread(least)) / plan.spread(plan.max(x) - least + 1e-9)


def _variance(x: Array, plan: _Plan) -> Array:
    centred = x - plan.spread(plan.mean(x))
    return plan.sum(centred * centred) / (plan.n - 1.0)  # of one number: 0 / 0, as in torch


_ELEMENTWISE: Mapping[str, Callable[[Array], Array]] = {
    "log": lambda x: np.log(x + 1e-9),
    "invert": lambda x: 1.0 / (x + 1e-9),
    "sqrt": _sqrt,
}
_OF_TENSORS: Mapping[str, Callable[[Array, _Plan], Array]] = {
    "normalize": _normalize,
    "frobenius_norm": lambda x, plan: np.sqrt(plan.sum(x * x)),
    "normalized_sum": lambda x, plan: plan.sum(x) / (plan.n + 1e-9),
    "l1_norm": lambda x, plan: plan.sum(np.abs(x)) / (plan.n + 1e-9),
    "to_mean_scalar": lambda x, plan: plan.mean(x),
    "to_std_scalar": lambda x, plan: np.sqrt(_variance(x, plan)),
    "to_var_scalar": _variance,
    "to_sum_scalar": lambda x, plan: plan.sum(x),
    "min_max_normalize": _min_max,
}
