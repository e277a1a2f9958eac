"""Pictures for the report: held-out correlations with intervals, score against accuracy, what screening did."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from evo.space import Figure
from search_spaces.emq.language import Genome
from search_spaces.emq.scaling import screened

if TYPE_CHECKING:
    from evo.run.reader import RunReader

FOUND, MADE = "#1b6ca8", "#9a9a9a"


def figures(run: RunReader | None) -> Iterator[Figure]:
    """Screening of the proposals; and the held-out evaluation, where that was done."""
    if run is None:
        return
    reports = [row for row in run.reports() if row.get("interval")]
    yield from bars(reports)
    yield from scatters(reports)
    yield screening(screening_counts(run))


def bars(rows: Sequence[dict[str, Any]]) -> Iterator[Figure]:
    """One picture a task: Spearman of all contenders with bootstrap intervals."""
    import plotly.graph_objects as go

    for task in dict.fromkeys(row["task"] for row in rows):
        members = [row for row in rows if row["task"] == task and row["metric"] == "Spearman"]
        members.sort(key=lambda row: row["values"][0])
        values = [row["values"][0] for row in members]
        figure = go.Figure(
            go.Bar(
                x=values,
                y=[_name(row) for row in members],
                orientation="h",
                marker_color=[FOUND if row.get("candidate") is not None else MADE for row in members],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [row["interval"][2] - value for row, value in zip(members, values, strict=True)],
                    "arrayminus": [value - row["interval"][1] for row, value in zip(members, values, strict=True)],
                },
            )
        )
        figure.update_layout(
            height=90 + 24 * len(members), margin={"l": 10, "r": 20, "t": 10, "b": 40},
            xaxis_title="Spearman correlation of score and accuracy", yaxis={"automargin": True},
        )  # fmt: skip
        yield Figure(
            f"Correlations: {task}",
            figure.to_html(full_html=False, include_plotlyjs=False),
            f"95 % bootstrap intervals over {members[0]['interval'][3]} rows. Blue: found; grey: hand-made. "
            + _verdict(members),
        )


def _name(row: dict[str, Any]) -> str:
    candidate = row.get("candidate")
    return str(row["name"]) if candidate is None else f"{row['name']} (#{candidate})"


def _verdict(members: Sequence[dict[str, Any]]) -> str:
    first = next((row for row in members if row.get("candidate") is not None and row.get("points")), None)
    if first is None:
        return ""
    chosen = next((row["name"] for row in members if row.get("points") and row.get("candidate") is None), "")
    said = []
    for key, rival, how in (
        ("difference", chosen, "best on the search rows"), ("against_best", first["best"], "best on this task")
    ):  # fmt: skip
        if first.get(key):
            estimate, low, high = first[key][:3]
            said.append(f"{estimate:+.3f} ({low:+.3f} to {high:+.3f}) to {rival}, the hand-made one {how}")
    return f"The first finalist's paired difference: {'; '.join(said)}." if said else ""


def scatters(rows: Sequence[dict[str, Any]]) -> Iterator[Figure]:
    """Rank of the score against accuracy, the first finalist beside the best hand-made proxy."""
    from plotly.subplots import make_subplots

    for task in dict.fromkeys(row["task"] for row in rows):
        members = [row for row in rows if row["task"] == task and row.get("points")]
        if not members:
            continue
        titles = [f"{_name(row)}: {row['values'][0]:.3f}" for row in members]
        figure = make_subplots(rows=1, cols=len(members), subplot_titles=titles, shared_yaxes=True)
        for column, row in enumerate(members, 1):
            colour = FOUND if row.get("candidate") is not None else MADE
            figure.add_scatter(
                x=row["points"]["rank"], y=row["points"]["accuracy"], mode="markers", showlegend=False,
                marker={"color": colour, "size": 5}, row=1, col=column,
            )  # fmt: skip
        figure.update_xaxes(title_text="rank of the score")
        figure.update_yaxes(title_text="accuracy", col=1)
        figure.update_layout(height=380, margin={"l": 60, "r": 20, "t": 40, "b": 40})
        yield Figure(
            f"Score and accuracy: {task}",
            figure.to_html(full_html=False, include_plotlyjs=False),
            "Each point is a bit configuration; a perfect proxy gives a rising line.",
        )


def screening_counts(run: RunReader) -> dict[str, int]:
    """What became of the proposals: how many were rejected, and why, or merged, and how."""
    counts = {"proposed": int(next(run.rows("SELECT count(*) FROM proposals WHERE kind = 0"))[0])}
    # nothing was computed for these; why is worked out again from what was proposed
    unseen = run.rows(
        "SELECT p.genome FROM proposals p JOIN identities i USING (id) WHERE p.kind = 0 AND i.source = 'invalid'"
    )
    for (text,) in unseen:
        reason = f"rejected unseen: {screened(Genome.from_json(json.loads(text)), 'channels').rejected}"
        counts[reason] = counts.get(reason, 0) + 1
    for source, number in run.rows(
        "SELECT source, count(*) FROM identities WHERE source IN ('structural', 'functional', 'twin', 'imported')"
        " GROUP BY 1 ORDER BY 1"
    ):
        counts["merged: known form" if source != "imported" else "imported"] = (
            counts.get("merged: known form", 0) + number if source != "imported" else number
        )
    late = next(run.rows("SELECT count(*) FROM late_identities WHERE function != id"))[0]
    counts["merged: rank-equivalent"] = int(late)
    for reason, number in run.rows(
        "SELECT json_extract(c.extra, '$.rejected'), count(*) FROM commits c JOIN identities i USING (id)"
        " WHERE i.source = 'evaluated' AND c.status = 'invalid' GROUP BY 1"
    ):
        counts[f"rejected by its table: {reason}"] = number
    lost = sum(number for name, number in counts.items() if name != "proposed")
    counts["distinct proxies"] = counts["proposed"] - lost
    return counts


def screening(counts: dict[str, int]) -> Figure:
    """A table of the counts."""
    total = max(1, counts["proposed"])
    cells = "".join(
        f"<tr><td>{escape(name)}</td><td class='n'>{number:,}</td><td class='n'>{100 * number / total:.1f} %</td></tr>"
        for name, number in counts.items()
    )
    return Figure(
        "Compatibility screening",
        f"<table class='grid'><thead><tr><th>what became of a proposal</th><th class='n'>proposals</th>"
        f"<th class='n'>share</th></tr></thead><tbody>{cells}</tbody></table>",
        "Unseen: rejected from its form, before anything was computed. Known form: it simplifies to an earlier proxy. "
        "Rank-equivalent: it ranks the search rows exactly as an earlier one does.",
    )
