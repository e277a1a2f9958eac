"""Pictures for the report: the found architecture, accuracy against queries, weights, metrics, training curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from evo.space import Figure
from search_spaces.robot.cell_drawing import cell_svg
from search_spaces.robot.stored import StoredPool

if TYPE_CHECKING:
    from evo.run.reader import RunReader
    from search_spaces.robot.space import Robot

EXPLORED, EXPLOITED, OTHER, FAINT = "#c98a1b", "#1b6ca8", "#5b8c5a", "#b9b9b9"
PHASES = {"exploration: weights": EXPLORED, "exploitation: greedy": EXPLOITED, "others": OTHER}
CURVES = 12
"""Training curves that are drawn: those of the best."""


class Query(NamedTuple):
    """One architecture whose accuracy was looked at.

    Attributes:
        id: of the first candidate that stands for it.
        number: from 1 on, in the order of the search.
        accuracy: what it was worth.
        architecture: its text.
        operator: how the search came to it.
        curve: of its training: (loss, train, validation) for each epoch; empty where it was looked up.
    """

    id: int
    number: int
    accuracy: float
    architecture: str
    operator: str
    curve: Sequence[Sequence[float]]

    @property
    def phase(self) -> str:
        """Of `PHASES`."""
        if self.operator == "greedy":
            return "exploitation: greedy"
        return "exploration: weights" if self.operator in EXPLORING else "others"


EXPLORING = ("warm start", "uniform", "ucb", "gp", "tpe", "cmaes", "qmc", "random", "weight")


def figures(space: Robot, run: RunReader | None) -> Iterator[Figure]:
    """What can be drawn of a run; nothing before its first query."""
    if run is None:
        return
    found = queries(run)
    if not found:
        return
    best = max(found, key=lambda query: (query.accuracy, -query.number))
    yield architecture(best, space.stored)
    yield against_queries(found)
    weights = best_weights(run, found)
    if weights is not None:
        yield weighed(space.metrics, *weights)
    if space.stored is not None:
        yield against_metrics(found, space.stored)
    if any(query.curve for query in found):
        yield curves(found)


def queries(run: RunReader) -> list[Query]:
    """The distinct architectures of a run that have an accuracy, in order."""
    found: list[Query] = []
    for row in run.commits():
        if not row.miss or row.kind or row.status != "ok" or not row.values:
            continue
        extra: dict[str, Any] = row.extra or {}
        found.append(
            Query(row.id, len(found) + 1, row.values[0], str(extra.get("architecture", "")), row.operator,
                  extra.get("curve") or ())
        )  # fmt: skip
    return found


def best_weights(run: RunReader, found: Sequence[Query]) -> tuple[int, tuple[float, ...]] | None:
    """The candidate of the best accuracy that is a vector of weights, and these."""
    accuracy = {query.architecture: query.accuracy for query in found}
    best: tuple[float, int, tuple[float, ...]] | None = None
    for query in found:
        genome = run.genome(query.id)
        if isinstance(genome, list) and (best is None or accuracy[query.architecture] > best[0]):
            best = (accuracy[query.architecture], query.id, tuple(map(float, genome)))
    return None if best is None else best[1:]


def architecture(best: Query, pool: StoredPool | None) -> Figure:
    """The best architecture: as a graph where it is a cell."""
    drawn = cell_svg(best.architecture) or ""
    words = f"<p><code>{escape(best.architecture)}</code></p>"
    of = f" of {pool.name}" if pool is not None else ""
    return Figure(
        "Found architecture",
        drawn + words,
        f"Query {best.number} (#{best.id}), validation accuracy {best.accuracy:.2f}{of}. "
        + ("A node is the sum of what comes in; edges that lead nowhere are pale." if drawn else ""),
    )


def against_queries(found: Sequence[Query]) -> Figure:
    """Accuracy of each query, and the best so far."""
    import plotly.graph_objects as go

    figure = go.Figure()
    best, line = float("-inf"), []
    for query in found:
        best = max(best, query.accuracy)
        line.append(best)
    figure.add_scatter(
        x=[query.number for query in found], y=line, mode="lines", name="best so far",
        line={"color": "#333", "width": 1.5, "shape": "hv"},
    )  # fmt: skip
    for phase, colour in PHASES.items():
        some = [query for query in found if query.phase == phase]
        if some:
            figure.add_scatter(
                x=[q.number for q in some], y=[q.accuracy for q in some], mode="markers", name=phase,
                marker={"color": colour, "size": 9},
                text=[f"#{q.id} {q.operator}<br>{escape(q.architecture)}" for q in some], hoverinfo="text+y",
            )  # fmt: skip
    figure.update_xaxes(title_text="queries: distinct architectures")
    figure.update_yaxes(title_text="validation accuracy")
    return _plotted(
        "Accuracy against queries", figure, 360,
        "Exploration: the first architecture that a vector of weights ranks. Exploitation: further architectures in "
        "the order of the chosen weights. Repeats cost no query and are not drawn.",
    )  # fmt: skip


def weighed(names: Sequence[str], candidate: int, weights: Sequence[float]) -> Figure:
    """The best vector's weights, the largest first."""
    import plotly.graph_objects as go

    if len(names) != len(weights):
        names = [f"metric {number}" for number in range(1, len(weights) + 1)]
    order = sorted((i for i in range(len(weights)) if weights[i]), key=lambda i: abs(weights[i]))
    rest = f" Those of the other {len(weights) - len(order)} are 0." if len(order) < len(weights) else ""
    figure = go.Figure(
        go.Bar(
            x=[weights[i] for i in order], y=[names[i] for i in order], orientation="h",
            marker_color=[EXPLOITED if weights[i] >= 0 else EXPLORED for i in order],
        )
    )  # fmt: skip
    figure.update_xaxes(title_text="weight of the scaled metric")
    figure.update_yaxes(automargin=True)
    return _plotted(
        f"Weights of #{candidate}", figure, 110 + 20 * len(order),
        f"The vector whose first architecture was the most accurate. Negative: less of it is taken for better.{rest}",
    )  # fmt: skip


def against_metrics(found: Sequence[Query], pool: StoredPool) -> Figure:
    """Each metric, scaled, against the accuracies of what was queried."""
    from plotly.subplots import make_subplots

    at = {text: row for row, text in enumerate(pool.architectures)}
    known = [(query, at[query.architecture]) for query in found if query.architecture in at]
    columns = 4
    rows = -(-len(pool.metrics) // columns)
    titles = [
        f"{name} ({spearman([column[row] for _, row in known], [query.accuracy for query, _ in known]):+.2f})"
        for name, column in zip(pool.metrics, pool.columns, strict=True)
    ]
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=titles, shared_yaxes=True, vertical_spacing=0.35 / max(rows, 1)
    )
    for place, column in enumerate(pool.columns):
        for phase, colour in PHASES.items():
            some = [(query, row) for query, row in known if query.phase == phase]
            if some:
                figure.add_scatter(
                    x=[column[row] for _, row in some], y=[query.accuracy for query, _ in some], mode="markers",
                    marker={"color": colour, "size": 6}, showlegend=False, text=[f"#{query.id}" for query, _ in some],
                    row=place // columns + 1, col=place % columns + 1,
                )  # fmt: skip
    figure.update_xaxes(range=[-0.05, 1.05])
    figure.update_annotations(font_size=12)
    dropped = "".join(f" {name} was left out: {reason}." for name, reason in pool.dropped.items())
    return _plotted(
        "Metrics against accuracy", figure, 60 + 170 * rows,
        "Queried architectures alone, which the search chose: the Spearman correlations in brackets are not those of "
        f"the whole pool. Colours as above.{dropped}",
    )  # fmt: skip


def curves(found: Sequence[Query]) -> Figure:
    """Training curves of the best: the best in colour."""
    import plotly.graph_objects as go

    figure = go.Figure()
    ranked = sorted((q for q in found if q.curve), key=lambda q: (-q.accuracy, q.number))[:CURVES]
    for place, query in reversed(list(enumerate(ranked))):
        epochs = list(range(1, len(query.curve) + 1))
        figure.add_scatter(
            x=epochs, y=[point[2] for point in query.curve], mode="lines+markers",
            line={"color": EXPLOITED if place == 0 else FAINT, "width": 2.5 if place == 0 else 1.2},
            marker={"size": 6 if place == 0 else 3}, showlegend=place == 0, name=f"#{query.id}, validation",
            text=f"#{query.id} {escape(query.architecture)}", hoverinfo="text+y",
        )  # fmt: skip
    best = ranked[0]
    figure.add_scatter(
        x=list(range(1, len(best.curve) + 1)), y=[point[1] for point in best.curve], mode="lines+markers",
        line={"color": EXPLORED, "width": 2, "dash": "dot"}, name=f"#{best.id}, training",
    )  # fmt: skip
    figure.update_xaxes(title_text="epoch", dtick=max(1, len(best.curve) // 10))
    figure.update_yaxes(title_text="accuracy")
    return _plotted(
        "Training curves", figure, 360,
        f"The best (#{best.id}) in colour, the {len(ranked) - 1} next in grey: accuracy on watched validation images "
        "after each epoch, of all after the last. Training accuracy is that of batches before their step.",
    )  # fmt: skip


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Rank correlation with ties; 0 where one is constant or there are fewer than two."""
    x, y = _ranks(a), _ranks(b)
    n = len(x)
    if n < 2:
        return 0.0
    mean_x, mean_y = sum(x) / n, sum(y) / n
    both = sum((p - mean_x) * (q - mean_y) for p, q in zip(x, y, strict=True))
    size = (sum((p - mean_x) ** 2 for p in x) * sum((q - mean_y) ** 2 for q in y)) ** 0.5
    return both / size if size else 0.0


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=lambda i: values[i])
    found = [0.0] * len(values)
    place = 0
    while place < len(order):
        last = place
        while last + 1 < len(order) and values[order[last + 1]] == values[order[place]]:
            last += 1
        for i in order[place : last + 1]:
            found[i] = (place + last) / 2
        place = last + 1
    return found


def _plotted(title: str, figure: Any, height: int, caption: str) -> Figure:
    figure.update_layout(
        height=height, margin={"l": 60, "r": 20, "t": 30, "b": 45}, legend={"orientation": "h", "y": 1.12},
        plot_bgcolor="#fff",
    )  # fmt: skip
    figure.update_xaxes(gridcolor="#e6e6e6", zerolinecolor="#cccccc")
    figure.update_yaxes(gridcolor="#e6e6e6", zerolinecolor="#cccccc")
    return Figure(title, figure.to_html(full_html=False, include_plotlyjs=False), caption)
