"""Budgets of an allocation: a size, bit operations, or bits a weight, and how people write them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from proxies.errors import ProxyError

_SIZES = {
    "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30,
}  # fmt: skip
"""Bytes of a unit of size."""
_OPERATIONS = {"bops": 1e-9, "kbops": 1e-6, "mbops": 1e-3, "gbops": 1.0, "tbops": 1e3}
"""10^9 bit operations of a unit."""
_WRITTEN = re.compile(r"\s*(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)\s*([A-Za-z]+)\s*")
FORMS = "0.12MiB, 120KB, 1.5GBOPs, or 3bits (a weight, on average)"


@dataclass(frozen=True, slots=True)
class Budget:
    """What a configuration may cost; of several limits all hold.

    Attributes:
        size_mib: of the quantized weights, in MiB (2^20 bytes).
        giga_bops: 10^9 bit operations of one sample.
        mean_bits: bits a weight, averaged over all weights.
    """

    size_mib: float | None = None
    giga_bops: float | None = None
    mean_bits: float | None = None

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in self.__slots__ if getattr(self, name) is not None}
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
                raise ProxyError(f"the budget {text!r} limits {name} twice", "give one of them")
            found[name] = value
        return cls(**found)

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
                raise ProxyError(f"no budget has the fields {', '.join(value)}", f"give {cls.__slots__}") from error
        raise ProxyError(f"{value!r} is no budget", f"give Budget(size_mib=...) or text: {FORMS}")

    def to_json(self) -> dict[str, float]:
        """The limits that are there."""
        return {name: getattr(self, name) for name in self.__slots__ if getattr(self, name) is not None}

    def __str__(self) -> str:
        units = {"size_mib": "MiB", "giga_bops": "GBOPs", "mean_bits": "bits a weight"}
        return ", ".join(f"{value:.6g} {units[name]}" for name, value in self.to_json().items())
