"""Figures and tables as people read them: durations, numbers, columns."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Sequence


def duration(seconds: float | None) -> str:
    """0.4 s, 12 s, 3m 10s, 2h 05m, 3d 4h."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def number(value: float | int | None, digits: int = 5) -> str:
    """A value to five significant digits, integers with separators."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    return f"{value:.{digits}g}"


def vector(values: Sequence[float], digits: int = 5) -> str:
    """Objective values, one after the other."""
    return ", ".join(number(float(value), digits) for value in values) if values else "-"


def rate(value: float | None) -> str:
    """A rate per second."""
    if value is None:
        return "-"
    return f"{value:,.0f}/s" if value >= 10 else f"{value:.2g}/s"


def clip(text: str, width: int) -> str:
    """The first line's first `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"


def told_apart(texts: Sequence[str], width: int) -> list[str]:
    """The texts in at most `width` characters each; one that another equals up to there has a part left out before
    the place where it differs from the one most like it."""
    lines = [" ".join(text.split()) for text in texts]
    ordered = sorted(set(lines))
    alike = dict.fromkeys(ordered, 0)
    for one, other in itertools.pairwise(ordered):  # in this order the one most like it is a neighbour
        common = next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))
        alike[one], alike[other] = max(alike[one], common), max(alike[other], common)
    return [_shifted(line, alike[line], width) for line in lines]


def _shifted(line: str, differs: int, width: int) -> str:
    head, before = width // 4, width // 8
    if len(line) <= width or differs < width - before or width < 16:
        return clip(line, width)
    start = min(differs - before, len(line) - (width - head - 1))
    return line[:head] + "…" + clip(line[start:], width - head - 1)


def width() -> int:
    """Columns of the terminal; 120 where there is none."""
    return shutil.get_terminal_size((120, 40)).columns


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[object]],
    right: Sequence[int] = (),
    indent: str = "  ",
    flexible: int = -1,
) -> str:
    """Columns aligned by spaces.

    Args:
        right: indices of right-aligned columns.
        flexible: the column that is clipped so that lines fit the terminal, each cell so that it can be told from
            the others; -1: the last.
    """
    cells = [[str(item) for item in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(headers), *cells]) for i in range(len(headers))]
    flexible %= len(headers)
    spare = width() - len(indent) - sum(widths) - 2 * (len(widths) - 1)
    if spare < 0:
        widths[flexible] = max(8, len(headers[flexible]), widths[flexible] + spare)
        for row, text in zip(cells, told_apart([row[flexible] for row in cells], widths[flexible]), strict=True):
            row[flexible] = text

    def line(items: Sequence[str]) -> str:
        shown = [
            clip(item, size).rjust(size) if i in right else clip(item, size).ljust(size)
            for i, (item, size) in enumerate(zip(items, widths, strict=True))
        ]
        return (indent + "  ".join(shown)).rstrip()

    return "\n".join([line(headers), *map(line, cells)])


def indented(text: str, indent: str = "    ") -> str:
    """Every line moved to the right."""
    return "\n".join(indent + line if line else "" for line in text.splitlines())
