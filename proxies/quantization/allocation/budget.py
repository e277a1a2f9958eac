"""Budgets of an allocation: a size, bit operations, or bits a weight, and how people write them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxies.errors import ProxyError

_SIZES = {
    "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30,
}  # fmt: skip
"""Bytes of a unit of size."""
_OPERATIONS = {"bops": 1e-9, "kbops": 1e-6, "mbops": 1e-3, "gbops": 1.0, "tbops": 1e3}
"""10^9 bit operations of a unit."""
_WRITTEN = re.compile(r"\s*(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)\s*([A-Za-z]+)\s*")
_LIMITS = {
    "size_mib": ("the size", "MiB"),
    "giga_bops": ("operations", "GBOPs"),
    "mean_bits": ("bits", "bits a weight"),
}
"""What each field limits, and its unit, for people."""
FORMS = "0.12MiB, 120KB, 1.5GBOPs, or 3bits (a weight, on average)"


@dataclass(frozen=True, slots=True)
class Budget:
    """What a configuration may cost; of several limits all hold.

    Attributes:
        size_mib: of the quantized weights, in MiB (2^20 bytes).
        giga_bops: 10^9 bit operations of one sample.
        mean_bits: bits a weight, averaged over all weights.
        units: by field, the unit that it was written in; for messages alone.
    """

    size_mib: float | None = None
    giga_bops: float | None = None
    mean_bits: float | None = None
    units: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        given = self.to_json()
        if not given:
            raise ProxyError("the budget limits nothing", f"give {FORMS}")
        for name, value in given.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not (math.isfinite(value) and value > 0):
                raise ProxyError(f"the budget's {name} is {value!r}", "give a finite number above zero")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """A budget as people write it: a number and a unit; several limits joined by commas.

        Raises:
            ProxyError: a number without a unit, an unknown unit, or one kind of limit twice.
        """
        found: dict[str, float] = {}
        units: dict[str, str] = {}
        for part in text.split(","):
            match = _WRITTEN.fullmatch(part)
            if match is None:
                raise ProxyError(f"cannot read the budget {text!r}", f"give a number with its unit: {FORMS}")
            number, unit = float(match.group(1)), match.group(2).lower()
            if unit in _SIZES:
                name, value = "size_mib", number * _SIZES[unit] / 2**20
            elif unit in _OPERATIONS:
                name, value = "giga_bops", number * _OPERATIONS[unit]
            elif unit in ("bit", "bits"):
                name, value = "mean_bits", number
            else:
                raise ProxyError(f"the budget {text!r} has an unknown unit, {match.group(2)!r}", f"give {FORMS}")
            if name in found:
                raise ProxyError(f"the budget {text!r} limits {_LIMITS[name][0]} twice", "give one of them")
            if not (math.isfinite(value) and value > 0):
                raise ProxyError(f"the budget {part.strip()!r} leaves nothing to spend", "give a number above zero")
            found[name] = value
            if name != "mean_bits":
                units[name] = match.group(2)
        return cls(**found, units=units)

    @classmethod
    def of(cls, value: Any) -> Budget:
        """A budget from itself, from text (`parse`), or from a mapping of its fields.

        Raises:
            ProxyError: none of these; a plain number says no unit.
        """
        if isinstance(value, Budget):
            return value
        if isinstance(value, str):
            return cls.parse(value)
        if isinstance(value, dict):
            try:
                return cls(**value)
            except TypeError as error:
                raise ProxyError(
                    f"no budget has the fields {', '.join(value)}", f"give some of {', '.join(_LIMITS)}"
                ) from error
        raise ProxyError(f"{value!r} is no budget", f"give Budget(size_mib=...) or text: {FORMS}")

    def to_json(self) -> dict[str, float]:
        """The limits that are there."""
        return {name: getattr(self, name) for name in _LIMITS if getattr(self, name) is not None}

    def __str__(self) -> str:
        return self.worded(self.to_json())

    def worded(self, costs: Mapping[str, float], up: bool = False) -> str:
        """Costs in the units in which this budget was written: "24 KiB, 1.5 GBOPs".

        Args:
            costs: by field, in the fields' units.
            up: rounded up, so that a budget of what is said suffices; else to nearest. Six digits.
        """
        said = []
        for name, cost in costs.items():
            unit = self.units.get(name, _LIMITS[name][1])
            value = cost * _per(name, unit)
            said.append(f"{_up(value) if up else f'{value:.6g}'} {unit}")
        return ", ".join(said)


def _per(name: str, unit: str) -> float:
    """How many of a unit the field's own unit is."""
    if name == "size_mib":
        return 2**20 / _SIZES[unit.lower()]
    return 1.0 / _OPERATIONS[unit.lower()] if name == "giga_bops" else 1.0


def _up(value: float) -> str:
    """Six digits, rounded up."""
    if value == 0:
        return "0"
    scale = 10.0 ** (5 - math.floor(math.log10(abs(value))))
    return f"{math.ceil(value * scale * (1 - 1e-15)) / scale:.6g}"
