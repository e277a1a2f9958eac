"""Pictures of an allocation: the proxy against the cost, and the bits of each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evo.report.charts import BLUE, ROSE, SLATE, TEAL, layout
from evo.space import Figure

COSTS = {"size_mib": ("size of the weights, KiB", 1024.0), "giga_bops": ("10^9 bit operations of a sample", 1.0)}


def figures(data: Mapping[str, Any]) -> Iterator[Figure]:
    """Fragments without plotly itself."""
    if data["front"]:
        yield _front(data)
    yield _bits(data)


def _front(data: Mapping[str, Any]) -> Figure:
    label, scale = COSTS[data["front_by"]]
    by, result, front = data["front_by"], data["allocation"], data["front"]
    exact = all(point["optimal"] for point in front)
    traces = [
        {
            "type": "scatter", "mode": "lines+markers", "name": "best at each budget",
            "x": [point[by] * scale for point in front], "y": [point["score"] for point in front],
            "line": {"color": BLUE, "width": 2}, "marker": {"size": 5},
            "hovertemplate": "%{x:.4g}: %{y:.5g}<extra></extra>",
        },
        {
            "type": "scatter", "mode": "markers+text", "name": "uniform bits",
            "x": [level[by] * scale for level in data["uniform_levels"]],
            "y": [level["score"] for level in data["uniform_levels"]],
            "text": [str(level["bits"]) for level in data["uniform_levels"]], "textposition": "bottom right",
            "marker": {"color": SLATE, "size": 8, "symbol": "diamond"},
            "hovertemplate": "%{text} bits: %{y:.5g}<extra></extra>",
        },
        {
            "type": "scatter", "mode": "markers", "name": "allocated", "x": [result[by] * scale],
            "y": [result["score"]], "marker": {"color": ROSE, "size": 12, "symbol": "star"},
            "hovertemplate": "allocated, %{x:.4g}: %{y:.5g}<extra></extra>",
        },
    ]  # fmt: skip
    return Figure(
        "Score against cost",
        _html(traces, layout(label, f"{result['proxy']}, larger is better", height=400)),
        ("Each point is proven the best of its budget." if exact else "Found by evolution: a point may be improved.")
        + " Uniform bits lie below the line where mixing pays, by the proxy's own measure; accuracies stand above.",
    )


def _bits(data: Mapping[str, Any]) -> Figure:
    layers = data["layers"]
    traces = [
        {
            "type": "bar", "x": [layer["name"] for layer in layers], "y": [layer["bits"] for layer in layers],
            "marker": {"color": [SLATE if layer["fixed"] else TEAL for layer in layers]},
            "text": [f"{layer['share']:.0%}" for layer in layers], "textposition": "outside", "cliponaxis": False,
            "customdata": [[layer["parameters"], layer["macs"]] for layer in layers],
            "hovertemplate": "%{x}: %{y} bits<br>%{customdata[0]:,} parameters, %{customdata[1]:,} multiply-accumulates"
            "<extra></extra>",
        }
    ]  # fmt: skip
    return Figure(
        "Bits of each layer",
        _html(traces, layout("", "bits of its weights", height=420, showlegend=False, yaxis={"rangemode": "tozero"})),
        "In the model's order, from input to output. Above each bar: the layer's share of the size. Grey: fixed.",
    )


def _html(traces: list[dict[str, Any]], of: dict[str, Any]) -> str:
    import plotly.graph_objects as go

    return str(go.Figure(data=traces, layout=of).to_html(full_html=False, include_plotlyjs=False))
