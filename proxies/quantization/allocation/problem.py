"""An allocation problem: which bits each layer may have, what they cost, what may be spent. In whole numbers: exact."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from proxies.errors import BitConfigError, ProxyError
from proxies.quantization.allocation.budget import Budget
from proxies.quantization.bits import LEAST, MOST, BitConfig, checked_table, is_bits
from proxies.quantization.costs import MIB, PLAIN, CostRule
from proxies.quantization.layers import LayerShape

SLACK = 1e-12
"""Relative: a budget that was written as a decimal still admits the configuration whose cost it is."""


class InfeasibleBudgetError(ProxyError):
    """No configuration fits the budget; the message states the smallest budget that one fits.

    Attributes:
        smallest: the cost of the smallest configuration: {"size_mib", "giga_bops", "mean_bits"}.
    """

    def __init__(self, message: str, hint: str = "", smallest: Mapping[str, float] | None = None) -> None:
        super().__init__(message, hint)
        self.smallest = dict(smallest or {})

    def __reduce__(self) -> tuple[type[InfeasibleBudgetError], tuple]:
        return type(self), (self.message, self.hint, self.smallest)


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Layers, their bits to choose from, and limits. Make it with `problem`.

    A configuration is a row of places: for each layer the column of its bits in `bits`.

    Attributes:
        shapes: the layers.
        bits: ascending: the columns.
        allowed: (layers, columns) bool: which bits a layer may have.
        rule: what counts as parameters and operations.
        budget: what may be spent; None: everything.
    """

    shapes: tuple[LayerShape, ...]
    bits: tuple[int, ...]
    allowed: np.ndarray
    rule: CostRule
    budget: Budget | None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the layers."""
        return tuple(shape.name for shape in self.shapes)

    def parameters(self) -> np.ndarray:
        """(layers,) int64: parameters stored at the layer's bits."""
        return np.array([self.rule.parameters(shape) for shape in self.shapes], np.int64)

    def sizes(self) -> np.ndarray:
        """(layers, columns) int64: bits of storage."""
        return self.parameters()[:, None] * np.array(self.bits, np.int64)

    def operations(self) -> np.ndarray:
        """(layers, columns) int64: bit operations of one sample."""
        single = [self.rule.operations(shape) * self.rule.activation_bits for shape in self.shapes]
        return np.array(single, np.int64)[:, None] * np.array(self.bits, np.int64)

    def limits(self) -> list[tuple[np.ndarray, int]]:
        """(costs (layers, columns) int64, the most that their sum may be), one a limit of the budget."""
        if self.budget is None:
            return []
        sizes, operations = self.sizes(), self.operations()
        found = []
        for value, costs, unit in (
            (self.budget.size_mib, sizes, MIB),
            (self.budget.mean_bits, sizes, int(self.parameters().sum())),
            (self.budget.giga_bops, operations, 10**9),
        ):
            if value is not None:
                found.append((costs, math.floor(value * unit * (1 + SLACK))))
        return found

    def fits(self, places: np.ndarray) -> np.ndarray:
        """(n,) bool, of places (n, layers): which configurations keep to every limit. The bits must be allowed."""
        fits = np.ones(len(places), bool)
        for costs, most in self.limits():
            fits &= total(costs, places) <= most
        return fits

    def smallest(self) -> np.ndarray:
        """(layers,) places of the fewest bits; it has both the least size and the least operations."""
        return self.allowed.argmax(1)

    def configs(self, places: np.ndarray) -> np.ndarray:
        """(n, layers) int64 of bits, of places (n, layers)."""
        return np.array(self.bits, np.int64)[places]

    def config(self, places: np.ndarray) -> BitConfig:
        """Bits by name, of places (layers,)."""
        return BitConfig.from_row(self.configs(places), self.names)

    def places(self, bits: Mapping[str, int]) -> np.ndarray:
        """(layers,) places of bits by name.

        Raises:
            BitConfigError: other layers than these, or bits that a layer may not have.
        """
        row = BitConfig(bits).row(self.names)
        found = np.searchsorted(self.bits, row).clip(max=len(self.bits) - 1)
        for layer, place in enumerate(found):
            if self.bits[place] != row[layer] or not self.allowed[layer, place]:
                raise BitConfigError(f"{self.names[layer]} may not have {row[layer]} bits", f"of {self.bits}")
        return found

    def costs_of(self, places: np.ndarray) -> dict[str, float]:
        """Of places (layers,): {"size_mib", "giga_bops", "mean_bits"}."""
        size = int(total(self.sizes(), places[None])[0])
        return {
            "size_mib": size / MIB,
            "giga_bops": int(total(self.operations(), places[None])[0]) / 1e9,
            "mean_bits": size / int(self.parameters().sum()),
        }

    def require_feasible(self) -> None:
        """Raise `InfeasibleBudgetError` where even the fewest bits cost more than the budget."""
        places = self.smallest()
        if self.budget is None or bool(self.fits(places[None])[0]):
            return
        least = self.costs_of(places)
        needed = self.budget.worded({name: least[name] for name in self.budget.to_json()}, up=True)
        fixed = [name for name, row in zip(self.names, self.allowed, strict=True) if row.sum() == 1]
        raise InfeasibleBudgetError(
            f"no configuration fits {self.budget}: the smallest possible is {needed}",
            "raise the budget, allow fewer bits"
            + (f", or free the fixed layers ({', '.join(fixed)})" if fixed and len(self.bits) > 1 else ""),
            least,
        )


def problem(
    shapes: Sequence[LayerShape],
    budget: Budget | None,
    choices: Sequence[int] = (2, 3, 4, 8),
    fixed: Mapping[str, int] | None = None,
    rule: CostRule = PLAIN,
) -> Problem:
    """A problem, checked.

    Args:
        shapes: of the layers (`layer_shapes`, `Statistics.shapes`).
        budget: what may be spent; None: everything.
        choices: bits that a layer may have.
        fixed: layer to the bits that it has in any case; they need not be among the choices.
        rule: what counts as parameters and operations.

    Raises:
        BitConfigError: bits out of range, or fixed bits of what is no layer.
        InfeasibleBudgetError: nothing fits.
    """
    fixed, names = dict(fixed or {}), [shape.name for shape in shapes]
    unknown = [name for name in fixed if name not in names]
    if unknown:
        raise BitConfigError(
            f"fixed bits for an unknown layer {', '.join(map(repr, unknown))}", f"the layers are {', '.join(names)}",
            unknown=unknown,
        )  # fmt: skip
    if not choices:
        raise BitConfigError("there are no bits to choose from", f"give some of {LEAST} to {MOST}")
    for value in choices:
        if not is_bits(value):
            raise BitConfigError(
                f"{value!r} bits are among those to choose from", f"give whole numbers from {LEAST} to {MOST}"
            )
    if fixed:
        BitConfig(fixed)  # whole, and in range
    columns = sorted({*choices, *fixed.values()})
    bits = tuple(int(value) for value in columns)
    checked_table(np.full((1, len(names)), bits[0]), names)
    allowed = np.zeros((len(names), len(bits)), bool)
    for layer, name in enumerate(names):
        of_layer = [fixed[name]] if name in fixed else choices
        allowed[layer, [bits.index(int(value)) for value in of_layer]] = True
    made = Problem(tuple(shapes), bits, allowed, rule, budget)
    made.require_feasible()
    return made


def total(table: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(n,) sums over layers of table[layer, place], of a table (layers, columns) and places (n, layers).

    Layer after layer, so that a row's float sum does not depend on how many rows there are.
    """
    found = np.zeros(len(places), table.dtype)
    for layer in range(places.shape[1]):
        found += table[layer, places[:, layer]]
    return found
