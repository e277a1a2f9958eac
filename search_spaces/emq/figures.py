"""Pictures for the report: held-out correlations with intervals, score against accuracy, what screening did."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from evo.report.charts import AMBER, BLUE, INK, SLATE, layout
from evo.space import Figure
from search_spaces.emq.language import Genome
from search_spaces.emq.options import EMQOptions
from search_spaces.emq.scaling import screened

if TYPE_CHECKING:
    from evo.run.reader import RunReader

FOUND, MADE, MEASURE = BLUE, SLATE, AMBER
"""Colours: what the search found, hand-made proxies, and what is no proxy: the ceiling and the fitted regression."""

CEILING, REGRESSION = "noise ceiling", "sqrt-bits regression"
"""Lines of the report that are no proxies."""


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
                marker_color=[_colour(row) for row in members],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [row["interval"][2] - value for row, value in zip(members, values, strict=True)],
                    "arrayminus": [value - row["interval"][1] for row, value in zip(members, values, strict=True)],
                    "color": INK,
                    "thickness": 1,
                },
                hovertemplate="%{y}: %{x:.3f}<extra></extra>",
            ),
            layout(
                "Spearman correlation of score and accuracy", "", height=90 + 24 * len(members),
                margin={"l": 10, "r": 20, "t": 10, "b": 48}, yaxis={"automargin": True},
            ),
        )  # fmt: skip
        yield Figure(
            f"Correlations: {task}",
            figure.to_html(full_html=False, include_plotlyjs=False),
            f"95 % bootstrap intervals over {members[0]['interval'][3]} rows. {_legend(members)} " + _verdict(members),
        )


def _colour(row: dict[str, Any]) -> str:
    if row.get("candidate") is not None:
        return FOUND
    return MEASURE if row["name"].startswith((CEILING, REGRESSION)) else MADE


def _legend(members: Sequence[dict[str, Any]]) -> str:
    """What the colours that are there say."""
    there = {_colour(row) for row in members}
    words = {
        FOUND: "Blue: found",
        MADE: "grey: hand-made",
        MEASURE: "yellow: no proxy, but a measure to hold them against",
    }
    said = "; ".join(text for colour, text in words.items() if colour in there)
    return f"{said[:1].upper()}{said[1:]}."


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
            figure.add_scatter(
                x=row["points"]["rank"], y=row["points"]["accuracy"], mode="markers", showlegend=False,
                marker={"color": _colour(row), "size": 5}, row=1, col=column,
                hovertemplate="rank %{x}, accuracy %{y:.4f}<extra></extra>",
            )  # fmt: skip
        quiet = layout("rank of the score", "accuracy", height=380, margin={"l": 64, "r": 20, "t": 40, "b": 48})
        figure.update_xaxes(quiet.pop("xaxis"))
        axis = quiet.pop("yaxis")
        title = axis.pop("title")
        figure.update_yaxes(axis)
        figure.update_yaxes(title=title, col=1)
        figure.update_layout(quiet)
        yield Figure(
            f"Score and accuracy: {task}",
            figure.to_html(full_html=False, include_plotlyjs=False),
            "Each point is a bit configuration; a perfect proxy gives a rising line.",
        )


COPIES, KNOWN_FORM, KNOWN_RANKS = "copies of seeds", "merged: known form", "merged: rank-equivalent"
DISTINCT, TABLE = "distinct proxies", "rejected by its table: "


def screening_counts(run: RunReader) -> dict[str, int]:
    """What became of the proposals, each counted once: rejected, and why, or merged, and how, or distinct."""
    counts = {"proposed": int(next(run.rows("SELECT count(*) FROM proposals WHERE kind = 0"))[0])}
    invariance = (run.config().get("options") or {}).get("invariance", EMQOptions().invariance)
    # nothing was computed for these; why is worked out again from what was proposed
    unseen = run.rows(
        "SELECT p.genome FROM proposals p JOIN identities i USING (id) WHERE p.kind = 0 AND i.source = 'invalid'"
    )
    for (text,) in unseen:
        reason = f"rejected unseen: {screened(Genome.from_json(json.loads(text)), invariance).rejected}"
        counts[reason] = counts.get(reason, 0) + 1
    # a copy of a form that was merged is merged by its form; it stands in late_identities, too
    merged = run.rows(
        "SELECT CASE WHEN i.source = 'imported' THEN 'imported'"
        f" WHEN p.operator = 'seed' THEN '{COPIES}' WHEN i.source = 'evaluated' THEN '{KNOWN_RANKS}'"
        f" ELSE '{KNOWN_FORM}' END, count(*)"
        " FROM identities i JOIN proposals p USING (id) LEFT JOIN late_identities l USING (id) WHERE p.kind = 0 AND"
        " (i.source IN ('structural', 'functional', 'twin', 'imported')"
        " OR (i.source = 'evaluated' AND l.function != i.id)) GROUP BY 1"
    )
    found = {str(name): int(number) for name, number in merged}
    counts |= {name: found[name] for name in (COPIES, KNOWN_FORM, KNOWN_RANKS, "imported") if name in found}
    for reason, number in run.rows(
        "SELECT json_extract(c.extra, '$.rejected'), count(*) FROM commits c JOIN identities i USING (id)"
        " JOIN proposals p USING (id) WHERE p.kind = 0 AND i.source = 'evaluated' AND c.status = 'invalid' GROUP BY 1"
    ):
        counts[f"{TABLE}{reason}"] = number
    lost = sum(number for name, number in counts.items() if name != "proposed")
    counts[DISTINCT] = counts["proposed"] - lost
    return counts


def screening(counts: dict[str, int]) -> Figure:
    """A table of the counts, and how they add up to the counters of the engine."""
    total = max(1, counts["proposed"])
    cells = "".join(
        f"<tr><td>{escape(name)}</td><td class='n'>{number:,}</td><td class='n'>{100 * number / total:.1f} %</td></tr>"
        for name, number in counts.items()
    )
    merged, distinct = counts.get(KNOWN_RANKS, 0), counts[DISTINCT]
    rejected = sum(number for name, number in counts.items() if name.startswith(TABLE))
    return Figure(
        "Compatibility screening",
        f"<table class='grid'><thead><tr><th>what became of a proposal</th><th class='n'>proposals</th>"
        f"<th class='n'>share</th></tr></thead><tbody>{cells}</tbody></table>",
        "Each proposal is counted once. Unseen: rejected from its form, before anything was computed. Known form: it "
        "simplifies to an earlier proxy, and is not scored (structural hits and twins). Every other form is scored: "
        f"{merged + rejected + distinct:,} were. Scoring is what shows the rest: "
        f"{merged:,} ranked the search rows exactly as an earlier proxy (functional hits), {rejected:,} were rejected "
        f"by their tables, {distinct:,} are distinct. Functions evaluated are the distinct and the table-rejected, "
        f"{rejected + distinct:,}: a proxy of a new form costs its scores even where it turns "
        "out to be known.",
    )
