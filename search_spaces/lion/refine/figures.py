"""Pictures of a refinement for the report: the result, the funnel, the course of the search on tasks that judge it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from evo.space import Figure

META = "meta-validation"

SEARCH, UNSEEN = "#7f7f7f", "#1b6ca8"


def figures(result: Mapping[str, Any]) -> Iterator[Figure]:
    """Figures of the contents of RUN/refined/result.json; infinities may stand there as text."""
    evidence = result["evidence"]
    steps = "".join(f"<li>{escape(step)}</li>" for step in result["steps"])
    table = evidence["table"]
    yield Figure(
        f"Refined, from candidate #{result['candidate']}",
        f"<ol>{steps}</ol>{_table(table['headers'], table['rows'])}<pre>{escape(result['source'])}</pre>",
        f"{table['title'][:1].upper()}{table['title'][1:]}, paired by seed. Below 1 is better than the first row. "
        "What stands as found keeps the rate of the search's short courses, which longer ones may not bear.",
    )
    yield Figure(
        "The funnel",
        _funnel(evidence),
        f"Loss relative to {_unit(evidence)} (geometric mean over tasks; in brackets the 95 % t interval over seeds, "
        "paired). Each program stands with its overall rate tuned, by the factor in the third column, each baseline "
        "with its own. The choice is by the last column, never by search fitness; whoever has no value in a column "
        "did not go that far." + _seen(evidence),
    )
    curve = evidence.get("curve")
    if curve:
        title = "Meta-overfitting" if _judged(curve) == META else "The course of the search, trained longer"
        drawn = _curve(curve, int(result["proposals"]), _unit(evidence))
        bars = " Bars are 95 % t intervals over seeds." if any(_bounded(point) for point in curve["points"]) else ""
        yield Figure(title, drawn, f"{curve['sentence']}{bars}")


def _judged(curve: Mapping[str, Any]) -> str:
    """What the curve's means are called."""
    return str(curve.get("judged", META))


def _unit(evidence: Mapping[str, Any]) -> str:
    """What all losses of the funnel and the curve are relative to: its first line."""
    return str(evidence["funnel"]["lines"][0]["name"])


def _seen(evidence: Mapping[str, Any]) -> str:
    seen = evidence.get("seen") or ()
    return f" A rehearsal: {', '.join(seen)} are the search's own tasks." if seen else ""


def _bounded(found: Mapping[str, Any]) -> bool:
    """Whether a mean has an interval: one seed gives none."""
    return math.isfinite(float(found["low"])) and math.isfinite(float(found["high"]))


def _curve(curve: Mapping[str, Any], proposals_made: int, unit: str) -> str:
    """Both curves against proposals: the search's fitness to its end, and what judges it with its interval."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    points = curve["points"]
    proposals = [point["candidate"] for point in points]
    means, lows, highs = ([_ratio(point[key]) for point in points] for key in ("mean", "low", "high"))
    judged = _judged(curve)
    name = f"{judged} on unseen tasks (right)" if judged == META else f"{judged} (right)"
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    figure.add_trace(
        go.Scatter(
            x=[*proposals, proposals_made], y=[_finite(point["search"]) for point in [*points, points[-1]]],
            name="search fitness, mean over all its evaluations (left)",
            mode="lines+markers", line={"color": SEARCH, "dash": "dot", "shape": "hv"},
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=proposals, y=means, name=name, mode="lines+markers",
            line={"color": UNSEEN},
            error_y={
                "type": "data", "symmetric": False, "thickness": 1,
                "array": [None if a is None or b is None else b - a for a, b in zip(means, highs, strict=True)],
                "arrayminus": [None if a is None or b is None else a - b for a, b in zip(means, lows, strict=True)],
            },
        ),
        secondary_y=True,
    )  # fmt: skip
    best = points[curve["best"]]
    figure.add_vline(x=best["candidate"], line_dash="dash", line_color=UNSEEN, annotation_text=f"best by {judged}")
    figure.update_xaxes(title_text="proposals of the search")
    figure.update_yaxes(title_text="fitness: loss / AdamW seed program's", secondary_y=False)
    figure.update_yaxes(title_text=f"loss / {unit}", secondary_y=True, showgrid=False)
    figure.update_layout(
        height=400, margin={"l": 60, "r": 60, "t": 30, "b": 40}, legend={"orientation": "h", "y": -0.2}
    )
    return str(figure.to_html(full_html=False, include_plotlyjs=False))


def _funnel(evidence: Mapping[str, Any]) -> str:
    lines = sorted(
        evidence["funnel"]["lines"],
        key=lambda line: (line["final"] is None, float(line["score"])),
    )
    rows = [
        [
            line["name"],
            "" if line["search"] is None else f"{float(line['search']):.4g}",
            f"{line['rate']:g}" if line["candidate"] is not None else "",
            _cell(line["selection"]),
            _cell(line["final"]),
            "" if line["final"] is None else _words(line["score"]),
        ]
        for line in lines
    ]
    tasks = evidence["tasks"]
    headers = [
        "", "search fitness", "rate x (tuned)", ", ".join(tasks["selection"]), ", ".join(tasks["final"]),
        "all of these",
    ]  # fmt: skip
    return _table(headers, rows)


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    if not math.isfinite(float(found["mean"])):
        return "diverged"
    if not _bounded(found):
        return f"{_words(found['mean'])} (one seed)"
    return f"{_words(found['mean'])} ({_words(found['low'])} to {_words(found['high'])})"


def _words(log: Any) -> str:
    ratio = _ratio(log)
    return "diverged" if ratio is None else f"{ratio:.3f}"


def _ratio(log: Any) -> float | None:
    """exp of a logarithm that may be infinite, or "inf"."""
    value = _finite(log)
    return None if value is None else math.exp(value)


def _finite(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _table(headers: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f"<th>{escape(str(cell))}</th>" for cell in headers)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
