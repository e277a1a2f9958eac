"""How exported modules are worded: numbers that read back, origins that stand in a docstring."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 116


def float_text(value: float) -> str:
    """A float that Python reads back to the bit."""
    return repr(float(value)) if math.isfinite(value) else f'float("{value}")'


def wrapped(values: Mapping[str, float]) -> str:
    """A dictionary of floats as source."""
    return "{\n" + "".join(f'    "{name}": {float_text(value)},\n' for name, value in values.items()) + "}"


def origin_text(origin: Mapping[str, Any]) -> str:
    """One entry a line, wrapped; entries that are None are left out."""

    def shown(value: Any) -> str:
        if isinstance(value, Mapping):
            return ", ".join(f"{key} {shown(inner)}" for key, inner in value.items())
        if isinstance(value, float):
            return f"{value:.6g}"
        if isinstance(value, Sequence) and not isinstance(value, str):
            return "[" + ", ".join(map(shown, value)) + "]"
        return str(value)

    lines = [
        line
        for key, value in origin.items()
        if value is not None
        for line in textwrap.wrap(
            " ".join(f"{key}: {shown(value)}".split()), WIDTH, initial_indent="    ", subsequent_indent="        "
        )
    ]
    return escaped("\n".join(lines)) or "    not recorded"


def escaped(text: str) -> str:
    """Text that can stand in a docstring."""
    return text.replace("\\", "\\\\").replace('"""', "'''")
