"""Pictures of a judgement: performance profiles, and training curves with the targets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from evo.space import Figure
from search_spaces.lion.judge.results import COSTS, OFFICIAL, TAUS

COLOURS = ("#7f7f7f", "#5aae61", "#e08214", "#c51b7d", "#762a83", "#1b6ca8", "#b2182b", "#01665e")
TITLES = {"steps": "steps to target", "seconds": "CPU time to target"}


def figures(data: Mapping[str, Any]) -> Iterator[Figure]:
    """Profile and curves, as fragments without plotly itself."""
    yield _profiles(data)
    yield _curves(data)


def _line(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    names = [subject["name"] for subject in data["subjects"]]
    place = names.index(name)
    module = data["subjects"][place]["module"]
    return {"color": COLOURS[place % len(COLOURS)], "dash": "solid" if module else "dot", "width": 3 if module else 1.8}


def _profiles(data: Mapping[str, Any]) -> Figure:
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=2, subplot_titles=[TITLES[cost] for cost in COSTS], horizontal_spacing=0.08)
    for column, cost in enumerate(COSTS, 1):
        for row in data["profile"][cost]:
            figure.add_scatter(
                x=TAUS, y=row["rho"], name=row["name"], legendgroup=row["name"], showlegend=column == 1, mode="lines",
                line={**_line(data, row["name"]), "shape": "hv"}, row=1, col=column,
                hovertemplate=f"{row['name']}: %{{y:.0%}} of the tasks within %{{x:.2f}} times the best<extra></extra>",
            )  # fmt: skip
    figure.update_xaxes(title_text="tau: times the best on the task")
    figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    figure.update_yaxes(title_text="share of tasks", col=1)
    figure.update_layout(
        height=400, margin={"l": 60, "r": 20, "t": 40, "b": 40}, legend={"orientation": "h", "y": -0.2}
    )
    return Figure(
        "Performance profiles",
        figure.to_html(full_html=False, include_plotlyjs=False),
        "The share of held-out tasks on which an optimizer needs at most tau times what the best one needs to reach "
        f"the {OFFICIAL} target (medians over fresh seeds); higher is better, a miss never counts, "
        "undecided tasks are left out. Solid: modules, dotted: tuned baselines.",
    )


def _curves(data: Mapping[str, Any]) -> Figure:
    from plotly.subplots import make_subplots

    tasks = data["tasks"]
    columns = min(2, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=[task["title"] for task in tasks], horizontal_spacing=0.08,
        vertical_spacing=0.24 / rows,
    )  # fmt: skip
    for number, task in enumerate(tasks):
        place = {"row": number // columns + 1, "col": number % columns + 1}
        for row in task["rows"]:
            loss = [value if math.isfinite(value) else None for value in row["curve"]["loss"]]
            figure.add_scatter(
                x=row["curve"]["steps"], y=loss, name=row["name"], legendgroup=row["name"], showlegend=number == 0,
                mode="lines", line=_line(data, row["name"]), **place,
            )  # fmt: skip
        target = task["targets"][OFFICIAL]["loss"]
        if math.isfinite(target):
            figure.add_hline(y=target, line={"color": "#222222", "width": 1}, **place)
    for number in range(max(0, len(tasks) - columns), len(tasks)):  # the lowest of each column
        figure.update_xaxes(title_text="step", row=number // columns + 1, col=number % columns + 1)
    figure.update_yaxes(type="log")
    figure.update_yaxes(title_text="validation loss", col=1)
    figure.update_layout(
        height=360 * rows, margin={"l": 60, "r": 20, "t": 40, "b": 40}, legend={"orientation": "h", "y": -0.24 / rows}
    )
    return Figure(
        "Training curves on the held-out tasks",
        figure.to_html(full_html=False, include_plotlyjs=False),
        f"Medians over fresh seeds, each optimizer in its tuned setting; the thin dark line is the {OFFICIAL} target.",
    )
