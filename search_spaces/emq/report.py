"""The final comparison: finalists beside hand-made proxies, on rows and on a network that the search never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.ranks import average_ranks, kendall, spearman, spearman_bootstrap
from search_spaces.emq.evaluator import scored
from search_spaces.emq.expression import expression
from search_spaces.emq.figures import CEILING, REGRESSION
from search_spaces.emq.gathered import Gathered
from search_spaces.emq.known import KNOWN
from search_spaces.emq.language import Genome
from search_spaces.emq.options import EMQOptions
from search_spaces.emq.problem import Problem
from search_spaces.emq.scoring import raw_scores
from search_spaces.emq.tables import Tables

RESAMPLES = 2000
LEVEL = 0.95
FOLDS = 5
RIVALS = ("fisher", "first_order", "output_error")
"""Of `known.KNOWN`, those that stand in the literature and are not among `proxies.quantization.HANDMADE`."""
WORDS = {
    "spread": "means over batches of images, bootstrap over the table's rows and the batches",
    "paired": "over the same resampled rows and batches",
}
"""What intervals and differences are, for captions."""


@dataclass(frozen=True, slots=True, eq=False)
class Contest:
    """Who is compared on what.

    Attributes:
        task: for people.
        names: of the contenders.
        scores: (batches, contenders, rows) float64, larger is better; NaN where one gives no score on this network.
        accuracy: (rows,) float64.
        ceiling: as in `Problem`.
        places: (rows, layers) indices of choices.
    """

    task: str
    names: tuple[str, ...]
    scores: np.ndarray
    accuracy: np.ndarray
    ceiling: tuple[float, float, float] | None
    places: np.ndarray


Prepared = Mapping[str, Problem | None]
"""What `EMQ.prepare` gives: "search" and "held_out"."""


def rows(options: EMQOptions, genomes: Sequence[Genome], prepared: Prepared) -> list[dict[str, Any]]:
    """Rows for the report's tables, by task and metric: hand-made proxies first, then the finalists.

    The first row is the hand-made proxy that was best on the search rows; every other's difference is to that one,
    paired over the same resampled rows and batches. Correlations are means over batches of images that the search did
    not see (`Problem.reported`); "interval" and "difference" are [estimate, low, high, rows]: percentile bootstrap
    over rows of the table and over batches at once. `against_best` is the difference to the hand-made proxy that
    turned out best on this very task, which favours that one. The first finalist also carries "points", for a picture.
    """
    search = prepared["search"]
    assert search is not None
    chosen = best_handmade(options, search, search.search_rows)
    found = []
    for contest in contests(options, genomes, prepared):
        found += _table(contest, chosen, len(genomes))
    return found


def handmade_scores(
    options: EMQOptions, problem: Problem, gathered: Gathered, which: np.ndarray
) -> dict[str, np.ndarray]:
    """By name, (rows,) scores of the hand-made proxies on one batch, among them those of `RIVALS`."""
    places = problem.places[which]
    found = {name: raw_scores(table[None], places, ["mean"])[0] for name, table in gathered.handmade.items()}
    rivals = genome_scores(options, problem, gathered, [KNOWN[name] for name in RIVALS], which)
    return found | dict(zip(RIVALS, rivals, strict=True))


def best_handmade(options: EMQOptions, problem: Problem, which: np.ndarray) -> str:
    """The hand-made proxy of the highest Spearman on these rows, over the batches that the search sees."""
    values = []
    for gathered in problem.search:
        found = handmade_scores(options, problem, gathered, which)
        values.append(spearman(np.stack(list(found.values())), problem.accuracy[which]))
    return list(found)[int(np.nanargmax(np.mean(values, axis=0)))]


def contests(options: EMQOptions, genomes: Sequence[Genome], prepared: Prepared) -> list[Contest]:
    """The held-out rows of the search network, and all rows of the held-out network."""
    found = []
    for which in ("search", "held_out"):
        problem = prepared[which]
        if problem is None:
            continue
        inside = which == "search"
        both = np.sort(np.concatenate([problem.search_rows, problem.held_out_rows]))
        at = problem.held_out_rows if inside else both
        if inside:
            regression = {REGRESSION: fitted(problem, problem.search_rows, at)}
        else:
            regression = {f"{REGRESSION}, its own rows": cross_fitted(problem, at)}
        scores = []
        for gathered in problem.reported:
            made = handmade_scores(options, problem, gathered, at) | regression
            own = genome_scores(options, problem, gathered, genomes, at)
            scores.append(np.concatenate([np.stack(list(made.values())), own]))
        names = (*made, *(f"finalist {i + 1}" for i in range(len(genomes))))
        task = f"{problem.name}, held-out rows" if inside else f"{problem.name}, held-out network"
        found.append(Contest(task, names, np.stack(scores), problem.accuracy[at], problem.ceiling, problem.places[at]))
    return found


def genome_scores(
    options: EMQOptions, problem: Problem, gathered: Gathered, genomes: Sequence[Genome], which: np.ndarray
) -> np.ndarray:
    """(genomes, rows) oriented scores on one batch; NaN where a proxy gives none on this network."""
    tables = Tables(gathered, options.memory_mb)
    found = np.full((len(genomes), len(which)), np.nan)
    for row, genome in enumerate(genomes):
        e = expression(genome)
        if e.term is not None:
            result = scored(tables, [e], problem.places[which])
            if not result.rejected[0]:
                found[row] = result.scores[0]
    return found


def fitted(problem: Problem, rows_to_fit: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Predictions of the regression of accuracy on the square roots of all layers' bits, (which,) float64: what EMQ's
    released proxy comes to, with the best coefficients there are."""
    roots = np.sqrt(np.array(problem.choices, np.float64))[problem.places]
    design = np.column_stack([roots, np.ones(len(roots))])
    weights = np.linalg.lstsq(design[rows_to_fit], problem.accuracy[rows_to_fit], rcond=None)[0]
    return design[which] @ weights


def cross_fitted(problem: Problem, which: np.ndarray) -> np.ndarray:
    """The same on another network, whose layers are others: fitted on its own rows, each predicted by a fit that did
    not see it. No proxy gets such help."""
    order = np.random.Generator(np.random.Philox(key=[0, 0x5ED])).permutation(len(which))
    found = np.empty(len(which))
    for fold in range(FOLDS):
        inside = order[fold::FOLDS]
        found[inside] = fitted(problem, which[np.setdiff1d(order, inside)], which[inside])
    return found


def bootstrap_indices(rows: int) -> np.ndarray:
    """(RESAMPLES, rows), the same for every contender: differences are paired."""
    return np.random.Generator(np.random.Philox(key=[1, rows])).integers(rows, size=(RESAMPLES, rows))


def bootstrap_batches(batches: int) -> np.ndarray:
    """(RESAMPLES, batches), the same for every contender."""
    return np.random.Generator(np.random.Philox(key=[2, batches])).integers(batches, size=(RESAMPLES, batches))


def correlations(contest: Contest, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """(contenders,) means over batches, and (contenders, RESAMPLES) of them over resampled rows and batches;
    "Spearman" or "Kendall"."""
    indices, accuracy = bootstrap_indices(len(contest.accuracy)), contest.accuracy
    estimates, drawn = [], []
    for scores in contest.scores:
        if metric == "Spearman":
            estimates.append(spearman(scores, accuracy))
            drawn.append(spearman_bootstrap(scores, accuracy, indices))
        else:
            estimates.append(kendall(scores, accuracy))
            resampled = [kendall(np.ascontiguousarray(scores[:, i]), accuracy[i]) for i in indices]
            drawn.append(np.stack(resampled, axis=1))
    by_batch = np.stack(drawn)  # (batches, contenders, RESAMPLES)
    chosen = bootstrap_batches(len(by_batch))
    means = np.zeros(by_batch.shape[1:])
    for place in range(len(by_batch)):
        means += by_batch[chosen[:, place], :, np.arange(RESAMPLES)].T
    return np.mean(estimates, axis=0), means / len(by_batch)


def interval(estimate: float, drawn: np.ndarray, n: int) -> list[float]:
    """[estimate, low, high, rows], the percentile bootstrap."""
    tail = (1.0 - LEVEL) / 2.0
    if not np.isfinite(drawn).any():
        return [float(estimate), float("nan"), float("nan"), n]
    low, high = np.nanquantile(drawn, [tail, 1.0 - tail])
    return [float(estimate), float(low), float(high), n]


def _table(contest: Contest, chosen: str, finalists: int) -> list[dict[str, Any]]:
    n, first_finalist = len(contest.accuracy), len(contest.names) - finalists
    made = [name for name in contest.names[:first_finalist] if not name.startswith(REGRESSION)]
    order = [chosen, *(name for name in contest.names if name != chosen)]
    found = []
    for metric in ("Spearman", "Kendall"):
        estimates, drawn = correlations(contest, metric)
        at = {name: row for row, name in enumerate(contest.names)}
        rivals = {"difference": chosen, "against_best": max(made, key=lambda name: (estimates[at[name]], name))}
        for name in order:
            row = at[name]
            if not np.isfinite(estimates[row]):
                continue
            index = row - first_finalist if row >= first_finalist else None
            entry: dict[str, Any] = {
                "name": name, "task": contest.task, "metric": metric, "genome_index": index,
                "values": [float(estimates[row])], "interval": interval(estimates[row], drawn[row], n), "words": WORDS,
            }  # fmt: skip
            for key, rival in rivals.items():
                gap = drawn[row] - drawn[at[rival]]
                entry[key] = interval(estimates[row] - estimates[at[rival]], gap, n) if name != rival else None
            entry["best"] = rivals["against_best"]
            if metric == "Spearman" and (index == 0 or name == chosen):
                entry["points"] = _points(contest, row)
            found.append(entry)
        if metric == "Spearman" and contest.ceiling is not None:
            found.append(
                {"name": CEILING, "task": contest.task, "metric": metric, "genome_index": None,
                 "values": [contest.ceiling[0]], "interval": [*contest.ceiling, n],
                 "setting": "one calibration seed's accuracies against another's"}
            )  # fmt: skip
    return found


def _points(contest: Contest, row: int) -> dict[str, list[float]]:
    ranks = average_ranks(contest.scores[:, row]).mean(axis=0).argsort(kind="stable").argsort()
    return {"rank": ranks.tolist(), "accuracy": [round(float(a), 5) for a in contest.accuracy]}
