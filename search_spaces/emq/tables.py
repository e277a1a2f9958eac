"""Sub-programs evaluated once: an expression's term for every layer at every bit-width, through a bounded memory.

Equal sub-programs have equal text, and text is the key. What is remembered changes what is computed anew, never a
value: an array is always the result of the same operations on the same shapes.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from search_spaces.emq.arithmetic import Arithmetic
from search_spaces.emq.expression import Expression, Node
from search_spaces.emq.gathered import Gathered
from search_spaces.emq.operators import FLIPS, SCALAR
from search_spaces.emq.released import Released, released_samples


class Tables:
    """Tables of one network.

    Args:
        gathered: its samples.
        megabytes: what tensors may take in memory; tables may take a quarter of that beside them.
    """

    def __init__(self, gathered: Gathered, megabytes: int = 192) -> None:
        self._gathered = gathered
        self.choices = gathered.samples.choices
        self.n_layers = len(gathered.samples.layers)
        self._megabytes = megabytes
        self._programs: dict[bool, _Programs] = {}

    @property
    def margins(self) -> np.ndarray:
        """(samples,) float64, the margin of each sample of the batch."""
        values = self._gathered.samples.values["margin"]
        return values[0, : values.shape[1] // self.n_layers]

    def table(self, expression: Expression) -> np.ndarray:
        """What each layer adds at each bit-width: (choices, layers) float64; NaN and infinities as they come.

        For the aggregation "flips" (choices, layers, samples). Otherwise the score of a configuration is the mean, or
        the largest, over the layers; in mode "as-released" over the first layers, those that have a partner, the
        others' columns being 0.

        Args:
            expression: one that was not rejected.
        """
        if expression.term is None:
            raise ValueError(f"a rejected expression has no table: {expression.rejected}")
        found = self._of(expression.released).value(expression.term)
        if expression.aggregation == FLIPS:
            return found.reshape(len(found), self.n_layers, -1)
        table = np.zeros((len(self.choices), self.n_layers))
        table[:, : found.shape[1]] = found
        return table

    def pairs(self, released: bool) -> int:
        """How many layers a mean is over."""
        return len(self._of(released).samples.layers)

    def _of(self, released: bool) -> _Programs:
        found = self._programs.get(released)
        if found is None:
            samples = self._gathered.samples
            if released:
                samples = released_samples(samples, self._gathered.convolutions, self.n_layers)
            arithmetic = Released(samples) if released else Arithmetic(samples)
            found = self._programs[released] = _Programs(samples, arithmetic, self._megabytes << 20)
        return found

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_programs": {}}


class _Programs:
    """Values of nodes, the least recently used forgotten."""

    def __init__(self, samples, arithmetic: Arithmetic, limit: int) -> None:  # type: ignore[no-untyped-def]
        self.samples = samples
        self._arithmetic = arithmetic
        self._scalars = _Recent(limit // 4)
        self._tensors = _Recent(limit)

    def value(self, node: Node) -> np.ndarray:
        """(1 or choices, elements of the node's kind)."""
        if node.op == "input":
            return self.samples.values[node.text]
        if node.op == "zero":
            return np.zeros((1, self._arithmetic.plan(node.kind).layout.total))
        memory = self._scalars if node.kind == SCALAR else self._tensors
        found = memory.get(node.text)
        if found is None:
            with np.errstate(all="ignore"):  # overflow and its like are looked at once, in the finished table
                found = self._compute(node)
            memory.put(node.text, found)
        return found

    def _compute(self, node: Node) -> np.ndarray:
        values = [self.value(argument) for argument in node.args]
        if len(values) == 1:
            return self._arithmetic.unary(node.op, node.args[0].kind, values[0])
        a, b = node.args
        return self._arithmetic.binary(node.op, a.kind, values[0], b.kind, values[1])


class _Recent:
    """Arrays by text, at most so many bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._arrays: OrderedDict[str, np.ndarray] = OrderedDict()

    def get(self, key: str) -> np.ndarray | None:
        found = self._arrays.get(key)
        if found is not None:
            self._arrays.move_to_end(key)
        return found

    def put(self, key: str, array: np.ndarray) -> None:
        self._arrays[key] = array
        self._bytes += array.nbytes + 300
        while self._bytes > self._limit and len(self._arrays) > 1:
            _, gone = self._arrays.popitem(last=False)
            self._bytes -= gone.nbytes + 300
