"""Pictures for the report: what the run was refined to, and how networks train under what was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from evo.space import Figure

if TYPE_CHECKING:
    from evo.run.reader import RunReader

COLOURS = ("#1b6ca8", "#7f7f7f", "#e08214", "#5aae61", "#c51b7d", "#762a83", "#b2182b", "#01665e")


def figures(run: RunReader | None) -> Iterator[Figure]:
    """The refinement, where there was one, and training curves of the held-out evaluation, where that was done."""
    if run is None:
        return
    from evo.refining import read_result
    from search_spaces.lion.refine.figures import figures as refined

    result = read_result(run.path)
    if result is not None:
        yield from refined(result)
    yield from training_curves([row for row in run.reports() if row.get("curve")])


def training_curves(rows: Sequence[dict[str, Any]]) -> Iterator[Figure]:
    """One picture a task, beside the baselines; none without rows."""
    if not rows:
        return
    from plotly.subplots import make_subplots

    tasks = list(dict.fromkeys(row["task"] for row in rows))
    names = list(dict.fromkeys(row["name"] for row in rows))
    figure = make_subplots(rows=1, cols=len(tasks), subplot_titles=tasks, horizontal_spacing=0.06)
    for row in rows:
        place = names.index(row["name"])
        figure.add_scatter(
            x=row["curve"]["steps"],
            y=row["curve"]["loss"],
            name=_label(row),
            legendgroup=row["name"],
            showlegend=row["task"] == tasks[0],
            mode="lines",
            line={"color": COLOURS[place % len(COLOURS)], "dash": "dot" if row.get("candidate") is None else "solid"},
            row=1,
            col=tasks.index(row["task"]) + 1,
        )
    figure.update_xaxes(title_text="step")
    figure.update_yaxes(type="log")
    figure.update_yaxes(title_text="test loss", col=1)
    figure.update_layout(
        height=420, margin={"l": 60, "r": 20, "t": 40, "b": 40}, legend={"orientation": "h", "y": -0.2}
    )
    yield Figure(
        "Training curves on test data",
        figure.to_html(full_html=False, include_plotlyjs=False),
        "Mean over fresh seeds; the end of the curve counts. Dotted: baselines, tuned on validation data by the "
        "measure of the search. Solid: what the search found.",
    )


def _label(row: dict[str, Any]) -> str:
    candidate = row.get("candidate")
    return str(row["name"]) if candidate is None else f"candidate {candidate}"
