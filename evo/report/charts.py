"""The report's charts, as plain plotly specifications (data and layout), so that building them imports no plotly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

INK, MUTED, GRID = "#1f2933", "#616e7c", "#e4e7eb"
BLUE, TEAL, AMBER, ROSE, VIOLET, SLATE = "#2563a8", "#2a9d8f", "#d99a2b", "#c8553d", "#7a5ea8", "#8d99a6"
SOURCE_COLOURS = {
    "evaluated": BLUE, "structural": TEAL, "functional": AMBER, "twin": VIOLET, "imported": "#5b8c5a",
    "invalid": ROSE, "reevaluated": SLATE, "copies": GRID,
}  # fmt: skip


class Chart(TypedDict):
    """One plot: its element id, heading, what to look for, and plotly's data and layout."""

    id: str
    title: str
    caption: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]


def layout(x: str, y: str, **more: Any) -> dict[str, Any]:
    """A quiet layout with titled axes."""
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": "#cbd2d9", "ticks": "outside", "tickcolor": "#cbd2d9"}
    return {
        "margin": {"l": 64, "r": 16, "t": 12, "b": 48},
        "height": 320,
        "font": {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": {**axis, "title": {"text": x, "font": {"color": MUTED, "size": 13}}, **more.pop("xaxis", {})},
        "yaxis": {**axis, "title": {"text": y, "font": {"color": MUTED, "size": 13}}, **more.pop("yaxis", {})},
        "legend": {"orientation": "h", "y": 1.12, "x": 0, "font": {"color": MUTED}},
        "hoverlabel": {"bgcolor": "white", "font": {"color": INK}},
        **more,
    }


def finite(value: float | None) -> float | None:
    """The value, or None (a gap) where it is infinite or NaN."""
    return value if value is not None and math.isfinite(value) else None


def _value_axis(values: Sequence[float]) -> dict[str, Any]:
    """Logarithmic where positive values span more than two decades."""
    seen = [v for v in values if math.isfinite(v)]
    if seen and min(seen) > 0 and max(seen) / min(seen) > 100:
        return {"type": "log", "exponentformat": "power"}
    return {}


def time_unit(elapsed: float) -> tuple[str, float]:
    """The unit that suits so many seconds, and its length in seconds."""
    if elapsed > 3 * 3600:
        return "hours", 3600.0
    return ("minutes", 60.0) if elapsed > 300 else ("seconds", 1.0)


def best_so_far(
    curve: Sequence[tuple[int, int, float, tuple[float, ...]]], objective: str, evaluations: int, elapsed: float
) -> list[Chart]:
    """The best so far against evaluations and against time; the last value is drawn on to the run's end."""
    points = [(e, t, v[0]) for e, _, t, v in curve if v and math.isfinite(v[0])]
    if not points:
        return []
    values = [v for _, _, v in points]
    charts: list[Chart] = []
    unit, scale = time_unit(elapsed)
    for key, title, x, end, label in (
        (
            "best-evaluations",
            "Best so far against evaluations",
            [p[0] for p in points],
            evaluations,
            "functions evaluated",
        ),
        ("best-time", "Best so far against time", [p[1] / scale for p in points], elapsed / scale, f"{unit} of search"),
    ):
        line = {
            "x": [*x, max(end, x[-1])],
            "y": [*values, values[-1]],
            "type": "scatter",
            "mode": "lines",
            "line": {"shape": "hv", "color": BLUE, "width": 2},
            "name": objective,
            "hovertemplate": "%{x:,.4~g}: %{y:.5g}<extra></extra>",
        }
        marks = {
            "x": x,
            "y": values,
            "type": "scatter",
            "mode": "markers",
            "marker": {"color": BLUE, "size": 5},
            "hoverinfo": "skip",
            "showlegend": False,
        }
        shape = layout(label, objective, xaxis={"rangemode": "tozero"}, yaxis=_value_axis(values), showlegend=False)
        charts.append({"id": key, "title": title, "caption": "", "data": [line, marks], "layout": shape})
    return charts


def hits_over_proposals(sources: Sequence[tuple[int, Mapping[str, int]]]) -> Chart | None:
    """The share of candidates by where their observations came from, along the run."""
    if not sources:
        return None
    kinds = [kind for kind in SOURCE_COLOURS if any(counts.get(kind) for _, counts in sources)]
    totals = [max(1, sum(counts.values())) for _, counts in sources]
    data = [
        {
            "x": [first for first, _ in sources],
            "name": kind,
            "type": "scatter",
            "mode": "none",
            "stackgroup": "share",
            "y": [100.0 * counts.get(kind, 0) / total for (_, counts), total in zip(sources, totals, strict=True)],
            "fillcolor": SOURCE_COLOURS[kind],
            "line": {"width": 0, "shape": "hv"},
            "customdata": [counts.get(kind, 0) for _, counts in sources],
            "hovertemplate": kind + ": %{customdata:,} (%{y:.0f} %)<extra></extra>",
        }
        for kind in kinds
    ]
    return {
        "id": "hits",
        "title": "Where observations came from",
        "data": data,
        "caption": "Share of candidates along the run. The lowest band is what had to be evaluated.",
        "layout": layout("candidate", "% of candidates", yaxis={"range": [0, 100]}, hovermode="x unified"),
    }


def seconds_over_time(timeline: Sequence[tuple[float, Mapping[str, int], Mapping[str, float]]]) -> Chart | None:
    """Cumulative seconds evaluating, hashing and saved."""
    if len(timeline) < 2:
        return None
    unit, scale = time_unit(timeline[-1][0])
    lines = (
        ("saved", "saved", TEAL),
        ("evaluated", "evaluating", BLUE),
        ("hashed", "recognising", ROSE),
    )
    data = [
        {
            "x": [t / scale for t, _, _ in timeline],
            "y": [seconds.get(key, 0.0) for _, _, seconds in timeline],
            "name": name,
            "type": "scatter",
            "mode": "lines",
            "line": {"color": colour, "width": 2},
            "hovertemplate": name + " %{y:,.4~g} s<extra></extra>",
        }
        for key, name, colour in lines
    ]
    return {
        "id": "seconds",
        "title": "What recognising equals costs and saves",
        "data": data,
        "caption": "Worker seconds, summed. Saved: what evaluating the recognised candidates would have taken.",
        "layout": layout(
            f"{unit} of search", "seconds, summed over workers", xaxis={"rangemode": "tozero"}, hovermode="x unified"
        ),
    }


def undominated(values: Sequence[tuple[float, float]], signs: Sequence[float]) -> list[tuple[float, float]]:
    """The Pareto front of pairs, by the second value; a sign of -1 where larger is better."""
    front: list[tuple[float, float]] = []
    for first, second in sorted(set(values), key=lambda pair: (signs[1] * pair[1], signs[0] * pair[0])):
        if not front or signs[0] * first < signs[0] * front[-1][0]:
            front.append((first, second))
    return front


def pareto(leaders: Sequence[Mapping[str, Any]], objectives: Sequence[Mapping[str, Any]]) -> Chart | None:
    """Leaders in the plane of the first two objectives, where there are two; their front is joined."""
    points = [leader for leader in leaders if len(leader.get("values", [])) > 1]
    if len(objectives) < 2 or not points:
        return None
    signs = [-1.0 if o["direction"] == "maximise" else 1.0 for o in objectives[:2]]
    front = undominated([(float(p["values"][0]), float(p["values"][1])) for p in points], signs)
    data = [
        {
            "x": [finite(p["values"][1]) for p in points],
            "y": [finite(p["values"][0]) for p in points],
            "type": "scatter",
            "mode": "markers",
            "marker": {"color": BLUE, "size": 8, "opacity": 0.8},
            "name": "leaders",
            "text": [f"#{p['id']} {p.get('summary', '')[:80]}" for p in points],
            "hovertemplate": "%{text}<br>%{y:.5g}, %{x:.5g}<extra></extra>",
        },
        {
            "x": [finite(x) for _, x in front],
            "y": [finite(y) for y, _ in front],
            "name": "Pareto front",
            "type": "scatter",
            "mode": "lines+markers",
            "line": {"color": TEAL, "width": 1.5, "shape": "hv"},
            "marker": {"color": TEAL, "size": 10},
            "hoverinfo": "skip",
        },
    ]
    return {
        "id": "pareto",
        "title": "Trade-off between objectives",
        "data": data,
        "caption": "The leaderboard by its first two objectives; joined: those that none surpasses in both.",
        "layout": layout(*(f"{o['name']}, to {o['direction']}" for o in (objectives[1], objectives[0]))),
    }


def _gain_colour(step: Mapping[str, Any]) -> str:
    return TEAL if step["better"] else ROSE if step["worse"] else "#cbd2d9"


def lineage_values(steps: Sequence[Mapping[str, Any]], objective: str) -> Chart | None:
    """The value along the winner's main line of descent."""
    shown = [step for step in steps if step["value"] is not None]
    if len(shown) < 2:
        return None
    data = [
        {
            "x": [step["id"] for step in shown],
            "y": [step["value"] for step in shown],
            "type": "scatter",
            "mode": "lines+markers",
            "line": {"color": SLATE, "width": 1.5, "shape": "hv"},
            "marker": {
                "size": 9,
                "color": [_gain_colour(step) for step in shown],
                "line": {"color": "white", "width": 1},
            },
            "text": [f"#{step['id']} {step['operator']}" for step in shown],
            "hovertemplate": "%{text}<br>" + objective + " %{y:.5g}<extra></extra>",
        }
    ]
    return {
        "id": "lineage",
        "title": "",
        "caption": "Green: better than its parent; red: worse; grey: the same value.",
        "data": data,
        "layout": layout(
            "candidate", objective, yaxis=_value_axis([s["value"] for s in shown]), height=260, showlegend=False
        ),
    }
