"""Pictures of a refinement for the report: the course of the search on unseen tasks, the funnel, the result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from evo.space import Figure

SEARCH, UNSEEN = "#7f7f7f", "#1b6ca8"


def figures(result: Mapping[str, Any]) -> Iterator[Figure]:
    """Figures of the contents of RUN/refined/result.json; infinities may stand there as text."""
    evidence = result["evidence"]
    steps = "".join(f"<li>{escape(step)}</li>" for step in result["steps"])
    table = evidence["table"]
    yield Figure(
        f"Refined, from candidate #{result['candidate']}",
        f"<ol>{steps}</ol>{_table(table['headers'], table['rows'])}<pre>{escape(result['source'])}</pre>",
        f"{table['title'][:1].upper()}{table['title'][1:]}. Below 1 is better than AdamW, which "
        "was tuned by the same means.",
    )
    yield Figure(
        "The funnel",
        _funnel(evidence),
        "Loss relative to tuned AdamW (geometric mean over tasks, 95 % interval over seeds), each program with its "
        "overall rate tuned alike. The choice is by the last column, never by search fitness; whoever has no value in "
        "a column did not go that far.",
    )
    curve = evidence.get("curve")
    if curve:
        yield Figure("Meta-overfitting", _curve(curve, int(result["proposals"])), curve["sentence"])


def _curve(curve: Mapping[str, Any], proposals_made: int) -> str:
    """Both curves against proposals: the search's fitness to its end, and meta-validation with its interval."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    points = curve["points"]
    proposals = [point["candidate"] for point in points]
    means, lows, highs = ([_ratio(point[key]) for point in points] for key in ("mean", "low", "high"))
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    figure.add_trace(
        go.Scatter(
            x=[*proposals, proposals_made], y=[_finite(point["search"]) for point in [*points, points[-1]]],
            name="search fitness (left)",
            mode="lines+markers", line={"color": SEARCH, "dash": "dot", "shape": "hv"},
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=proposals, y=means, name="meta-validation on unseen tasks (right)", mode="lines+markers",
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
    figure.add_vline(x=best["candidate"], line_dash="dash", line_color=UNSEEN, annotation_text="best")
    figure.update_xaxes(title_text="proposals")
    figure.update_yaxes(title_text="loss / seed program's", secondary_y=False)
    figure.update_yaxes(title_text="loss / tuned AdamW's", secondary_y=True, showgrid=False)
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
        "", "search fitness", "rate x", ", ".join(tasks["selection"]), ", ".join(tasks["final"]), "all of these",
    ]  # fmt: skip
    return _table(headers, rows)


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    if not math.isfinite(float(found["mean"])):
        return "diverged"
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
