"""Durations and budgets as people write them: "90s", "20m", "2h", "5000evals", "20000proposals"."""

from __future__ import annotations

import re

from evo.errors import UsageError

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_BUDGET = re.compile(r"(\d+(?:\.\d+)?(?:[eE]\+?\d+)?)\s*(evals?|evaluations?|proposals?)")


def parse_duration(text: str | float) -> float:
    """Seconds of "90s", "20m", "2h", "1h30m", or of a plain number of seconds.

    Raises:
        ValueError: not a duration, or not above zero.
    """
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise ValueError(f"expected seconds or a duration like 90s, 20m, 2h; got {text!r}")
    if isinstance(text, int | float):
        seconds = float(text)
    else:
        stripped = text.strip()
        parts = _DURATION_PART.findall(stripped)
        rest = _DURATION_PART.sub("", stripped).strip()
        if parts and not rest:
            seconds = sum(float(number) * SECONDS[unit] for number, unit in parts)
        else:
            try:
                seconds = float(stripped)
            except ValueError:
                raise ValueError(f"expected seconds or a duration like 90s, 20m, 2h; got {text!r}") from None
    if not 0 < seconds < float("inf"):
        raise ValueError(f"a duration must be above zero and finite; got {text!r}")
    return seconds


def parse_budget(text: str) -> dict[str, float | int]:
    """The `budget` keys that one `--budget` flag sets.

    "2h" sets wall, "5000evals" evaluations, "20000proposals" proposals; several are joined by commas.

    Raises:
        UsageError: none of these forms.
    """
    found: dict[str, float | int] = {}
    for part in text.split(","):
        match = _BUDGET.fullmatch(part.strip())
        if match:
            number = float(match.group(1))
            if number != int(number) or number < 1:
                raise UsageError(f"--budget {text}: {part.strip()} is no whole number above zero")
            found["evaluations" if match.group(2).startswith("eval") else "proposals"] = int(number)
            continue
        if re.fullmatch(r"[\d.eE+\s]+", part):
            raise UsageError(
                f"--budget {text}: {part.strip()!r} has no unit",
                f"{part.strip()}evals, {part.strip()}proposals or {part.strip()}s",
            )
        try:
            found["wall"] = parse_duration(part)
        except ValueError:
            raise UsageError(
                f"--budget {text}: cannot read {part.strip()!r}", "2h, 20m, 90s, 5000evals or 20000proposals"
            ) from None
    return found
