"""What an allocation gives: bits by name, how they were found, and what they cost; to and from JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from proxies.errors import ProxyError
from proxies.quantization.allocation.budget import Budget
from proxies.quantization.bits import BitConfig

FORMAT = "evo.allocation/1"


@dataclass(frozen=True, slots=True)
class Allocation:
    """Bits of each layer under a budget.

    Attributes:
        bits: layer to weight bits.
        score: of the proxy, larger is better.
        size_mib: of the weights, in MiB.
        giga_bops: 10^9 bit operations of one sample.
        mean_bits: a weight, averaged over all.
        method: "milp" (integer programming) or "evolution".
        optimal: whether it is proven that nothing within the budget scores more (to 1e-10 of the scores' range).
        bound: nothing within the budget scores above it; None where that is not known.
        evaluations: configurations that were scored; 0 for "milp".
        proxy: its name.
        budget: what might be spent; None: a point of a front.
        choices: bits that a layer might have.
        fixed: layers whose bits were given.
    """

    bits: BitConfig
    score: float
    size_mib: float
    giga_bops: float
    mean_bits: float
    method: str
    optimal: bool
    bound: float | None
    evaluations: int
    proxy: str
    budget: Budget | None
    choices: tuple[int, ...]
    fixed: BitConfig | None

    def to_json(self) -> dict[str, Any]:
        """JSON types alone; `from_json` is the inverse."""
        value: dict[str, Any] = {"format": FORMAT}
        for field in fields(self):
            value[field.name] = getattr(self, field.name)
        value["bits"] = dict(self.bits)
        value["fixed"] = None if self.fixed is None else dict(self.fixed)
        value["budget"] = None if self.budget is None else self.budget.to_json()
        value["choices"] = list(self.choices)
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Allocation:
        """From what `to_json` gave.

        Raises:
            ProxyError: another format, or a field is missing or of another type.
        """
        if not isinstance(value, Mapping) or value.get("format") != FORMAT:
            raise ProxyError("this is no allocation", f"its format must be {FORMAT!r}")
        try:
            given = {field.name: value[field.name] for field in fields(cls)}
        except KeyError as error:
            raise ProxyError(f"the allocation lacks {error.args[0]!r}", "write it with to_json") from None
        for name, kinds in _KINDS.items():
            if not isinstance(given[name], kinds) or (isinstance(given[name], bool) and kinds is not bool):
                raise ProxyError(f"the allocation's {name} is {given[name]!r}", "write it with to_json")
        given["bits"] = BitConfig(given["bits"])
        given["fixed"] = None if given["fixed"] is None else BitConfig(given["fixed"])
        given["budget"] = None if given["budget"] is None else Budget.of(given["budget"])
        given["choices"] = tuple(given["choices"])
        return cls(**given)

    def save(self, path: Path | str) -> Path:
        """Write it as a JSON file; returns the path."""
        path = Path(path)
        path.write_text(json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n", "utf-8")
        return path

    @classmethod
    def load(cls, path: Path | str) -> Allocation:
        """From a file that `save` or `evo allocate` wrote.

        Raises:
            ProxyError: there is no such file, it is no JSON, or no allocation.
        """
        try:
            value = json.loads(Path(path).read_text("utf-8"))
        except OSError as error:
            raise ProxyError(
                f"cannot read {path}: {error.strerror or error}", "give a file of Allocation.save"
            ) from error
        except ValueError as error:
            raise ProxyError(f"{path} is no JSON: {error}", "give a file of Allocation.save") from error
        return cls.from_json(value.get("allocation", value) if isinstance(value, dict) else value)


_KINDS: Mapping[str, Any] = {
    "bits": Mapping, "score": int | float, "size_mib": int | float, "giga_bops": int | float,
    "mean_bits": int | float, "method": str, "optimal": bool, "bound": int | float | None, "evaluations": int,
    "proxy": str, "budget": Mapping | None, "choices": list | tuple, "fixed": Mapping | None,
}  # fmt: skip


def finite_or_none(value: float) -> float | None:
    """For JSON, which has no NaN."""
    return value if math.isfinite(value) else None
