"""A cell as a picture: four nodes in a row, an arc for each operation; text where it is no such cell."""

from __future__ import annotations

import re
from html import escape
from typing import NamedTuple

COLOURS = {
    "nor_conv_3x3": "#1b6ca8",
    "nor_conv_1x1": "#3fa7a0",
    "avg_pool_3x3": "#c98a1b",
    "skip_connect": "#7d7d7d",
}
WORDS = {
    "nor_conv_3x3": "conv 3x3",
    "nor_conv_1x1": "conv 1x1",
    "avg_pool_3x3": "avg pool 3x3",
    "skip_connect": "skip",
}
_OTHER = "#8a4fa3"
_SPACE, _LEFT, _MIDDLE, _RADIUS = 190, 60, 130, 19


class Edge(NamedTuple):
    """An operation from a node to a later one."""

    start: int
    end: int
    operation: str


def edges_of(architecture: str) -> list[Edge] | None:
    """The edges of "|op~0|+|op~0|op~1|+...", "none" left out; None for text of another form."""
    nodes = architecture.strip().split("+")
    found = []
    for end, part in enumerate(nodes, 1):
        if not re.fullmatch(r"\|(?:[^|~]+~\d+\|)+", part):
            return None
        for edge in part.strip("|").split("|"):
            operation, _, start = edge.rpartition("~")
            if int(start) >= end:
                return None
            if operation != "none":
                found.append(Edge(int(start), end, operation))
    return found


def cell_svg(architecture: str) -> str | None:
    """An SVG of the cell; None for text of another form. Edges that lead nowhere are drawn pale."""
    edges = edges_of(architecture)
    if edges is None:
        return None
    count = architecture.count("+") + 2
    alive = _alive(edges, count)
    width = 2 * _LEFT + _SPACE * (count - 1)
    parts = [
        f'<svg viewBox="0 -12 {width} 284" role="img" aria-label="{escape(architecture)}"'
        f' style="max-width:{width}px;width:100%;height:auto;font:13px sans-serif">'
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>'
    ]
    for edge in edges:
        parts.append(_arc(edge, edge in alive))
    for node in range(count):
        name = "in" if node == 0 else "out" if node == count - 1 else str(node)
        parts.append(
            f'<circle cx="{_x(node)}" cy="{_MIDDLE}" r="{_RADIUS}" fill="#fff" stroke="#333" stroke-width="1.5"/>'
            f'<text x="{_x(node)}" y="{_MIDDLE + 5}" text-anchor="middle" fill="#222">{name}</text>'
        )
    return "".join([*parts, "</svg>"])


def _alive(edges: list[Edge], count: int) -> set[Edge]:
    """Edges on a path from the first node to the last."""
    reached, leading = {0}, {count - 1}
    for node in range(1, count):
        if any(edge.end == node and edge.start in reached for edge in edges):
            reached.add(node)
    for node in reversed(range(count - 1)):
        if any(edge.start == node and edge.end in leading for edge in edges):
            leading.add(node)
    return {edge for edge in edges if edge.start in reached and edge.end in leading}


def _arc(edge: Edge, alive: bool) -> str:
    span = edge.end - edge.start
    colour = COLOURS.get(edge.operation, _OTHER)
    words = WORDS.get(edge.operation, edge.operation)
    middle = (_x(edge.start) + _x(edge.end)) / 2
    if span == 1:
        path = f"M{_x(edge.start) + _RADIUS} {_MIDDLE}L{_x(edge.end) - _RADIUS - 2} {_MIDDLE}"
        height = _MIDDLE - 8.0
    else:
        # above for those from the input, below for the others: no two on one path
        side = -1 if edge.start == 0 else 1
        bend = side * (52 + 50 * (span - 2) + 30)
        offset = 11
        path = (
            f"M{_x(edge.start) + offset} {_MIDDLE + side * 15}"
            f"Q{middle} {_MIDDLE + side * 15 + 1.5 * bend} {_x(edge.end) - offset} {_MIDDLE + side * 17}"
        )
        height = _MIDDLE + side * 15 + 0.75 * bend - (6 if side < 0 else -16)
    faded = "" if alive else ' opacity="0.3"'
    return (
        f'<g{faded}><path d="{path}" fill="none" stroke="{colour}" stroke-width="2.5" marker-end="url(#head)"/>'
        f'<text x="{middle}" y="{height:.0f}" text-anchor="middle" fill="{colour}">{escape(words)}</text></g>'
    )


def _x(node: int) -> int:
    return _LEFT + _SPACE * node
