"""The final comparison, its intervals, and the pictures made from a real run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau, rankdata, spearmanr

from evo import Search
from evo.report.heldout import held_out
from evo.run.reader import RunReader
from search_spaces.emq import EMQ, EMQOptions
from search_spaces.emq.expression import expression
from search_spaces.emq.figures import FOUND, MADE, MEASURE, bars, figures, screening, screening_counts
from search_spaces.emq.gathered import Gathered
from search_spaces.emq.known import KNOWN
from search_spaces.emq.language import Genome
from search_spaces.emq.problem import Problem
from search_spaces.emq.report import (
    CEILING,
    REGRESSION,
    RIVALS,
    best_handmade,
    bootstrap_batches,
    bootstrap_indices,
    cross_fitted,
    fitted,
    rows,
)
from search_spaces.emq.tables import Tables
from tests.search_spaces.emq import tiny
from tests.search_spaces.emq.test_space import own

GENOMES = [KNOWN["fisher"], KNOWN["first_order"]]


def report(**change: Any) -> list[dict[str, Any]]:
    problem = tiny.problem()
    other = replace(problem, name="other", **change)
    return rows(EMQOptions(), GENOMES, {"search": problem, "held_out": other})


def of(found: list[dict[str, Any]], name: str, task: str, metric: str = "Spearman") -> dict[str, Any]:
    return next(r for r in found if r["name"] == name and r["task"] == task and r["metric"] == metric)


INSIDE, OUTSIDE = "tiny, held-out rows", "other, held-out network"


def test_correlations_are_over_held_out_rows_and_over_all_rows_of_the_other_network() -> None:
    found, problem = report(), tiny.problem()
    bits = tiny.configurations().astype(float)
    for task, at in ((INSIDE, problem.held_out_rows), (OUTSIDE, np.arange(60))):
        expected = spearmanr(bits[at].sum(1), problem.accuracies[at].mean(1)).statistic
        assert of(found, "bit_sum", task)["values"][0] == pytest.approx(expected, abs=1e-12)
        expected = kendalltau(bits[at].sum(1), problem.accuracies[at].mean(1)).statistic
        assert of(found, "bit_sum", task, "Kendall")["values"][0] == pytest.approx(expected, abs=1e-12)
        assert of(found, "bit_sum", task)["interval"][3] == len(at)


def test_the_first_line_is_the_hand_made_proxy_that_was_best_on_the_search_rows() -> None:
    problem, found = tiny.problem(), report()
    chosen = best_handmade(EMQOptions(), problem, problem.search_rows)
    for task in (INSIDE, OUTSIDE):
        assert next(r["name"] for r in found if r["task"] == task) == chosen
    at, values = problem.search_rows, dict[str, float]()
    for gathered in problem.search:
        for name, scores in scores_of(problem, gathered, at).items():
            values[name] = values.get(name, 0.0) + spearmanr(scores, problem.accuracy[at]).statistic
    assert chosen == max(values, key=lambda name: values[name])
    assert {"fisher", "hawq_v2"} <= set(values)


def scores_of(problem: Problem, gathered: Gathered, at: np.ndarray) -> dict[str, np.ndarray]:
    """Of every hand-made proxy on a batch, row by row."""
    made = {**gathered.handmade}
    for name in RIVALS:
        made[name] = -Tables(gathered).table(expression(KNOWN[name]))  # an error: the smaller the better
    return {
        name: np.array([sum(table[p, i] for i, p in enumerate(row)) for row in problem.places[at]])
        for name, table in made.items()
    }


def test_differences_are_paired_over_the_same_rows() -> None:
    found, problem = report(), tiny.problem()
    at = problem.held_out_rows
    chosen, accuracy = found[0]["name"], problem.accuracy[at]
    other = "snip" if chosen != "snip" else "fisher"
    scores = [scores_of(problem, gathered, at) for gathered in problem.fresh]
    gaps = np.array(
        [
            [gap(of_batch[other][i], of_batch[chosen][i], accuracy[i]) for of_batch in scores]
            for i in bootstrap_indices(len(at))
        ]
    )
    batches = bootstrap_batches(2)
    assert {tuple(sorted(set(row))) for row in batches.tolist()} == {(0,), (1,), (0, 1)}
    drawn = np.take_along_axis(gaps, batches, axis=1).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    estimate = np.mean([gap(of_batch[other], of_batch[chosen], accuracy) for of_batch in scores])
    entry = of(found, other, INSIDE)["difference"]
    assert entry == pytest.approx([estimate, low, high, len(at)], abs=1e-9)


def gap(a: np.ndarray, b: np.ndarray, accuracy: np.ndarray) -> float:
    ranks = [rankdata(x) for x in (a, b, accuracy)]
    return float(np.corrcoef(ranks[0], ranks[2])[0, 1] - np.corrcoef(ranks[1], ranks[2])[0, 1])


def test_the_fresh_batches_alone_are_reported_on() -> None:
    problem = tiny.problem()
    found = rows(EMQOptions(), GENOMES, {"search": replace(problem, search=problem.search[::-1]), "held_out": None})
    again = rows(EMQOptions(), GENOMES, {"search": problem, "held_out": None})
    assert found == again
    other = rows(EMQOptions(), GENOMES, {"search": replace(problem, fresh=problem.fresh[:1]), "held_out": None})
    assert of(other, "finalist 1", INSIDE)["values"] != of(found, "finalist 1", INSIDE)["values"]


def test_best_here_is_the_best_hand_made_proxy_of_the_task_itself() -> None:
    found = report()
    for task in (INSIDE, OUTSIDE):
        made = [r for r in found if r["task"] == task and r["metric"] == "Spearman" and r["genome_index"] is None]
        made = [r for r in made if not r["name"].startswith((REGRESSION, CEILING))]
        best = max(made, key=lambda r: r["values"][0])
        assert {r["best"] for r in made} == {best["name"]}
        assert best["against_best"] is None


def test_the_regression_is_fitted_on_search_rows_alone() -> None:
    problem = tiny.problem()
    at = problem.held_out_rows
    changed = problem.accuracies.copy()
    changed[at] = 0.1
    a = fitted(problem, problem.search_rows, at)
    assert np.array_equal(a, fitted(replace(problem, accuracies=changed), problem.search_rows, at))
    roots = np.sqrt(np.array(tiny.CHOICES, float))[problem.places]
    exact = replace(problem, accuracies=(0.1 + roots @ np.array([0.1, 0.02, 0.05, 0.03]))[:, None])
    np.testing.assert_allclose(fitted(exact, exact.search_rows, at), exact.accuracy[at], rtol=1e-9)
    rng = np.random.default_rng(0)
    noise = replace(problem, accuracies=rng.random((60, 1)))
    assert abs(spearmanr(cross_fitted(noise, np.arange(60)), noise.accuracy).statistic) < 0.4, "no row predicts itself"


def test_the_ceiling_stands_beside() -> None:
    entry = of(report(), CEILING, INSIDE)
    assert entry["values"] == [0.98]
    assert entry["interval"][:3] == [0.98, 0.97, 0.99]
    assert not [r for r in report(ceiling=None) if r["name"] == CEILING and r["task"] == OUTSIDE]


def test_a_finalist_that_gives_no_score_on_the_other_network_is_left_out_there() -> None:
    problem = tiny.problem()
    samples = problem.fresh[0].samples
    zero = {**samples.values, "output_gradient": samples.values["output_gradient"] * 0.0}
    gathered = replace(problem.fresh[0], samples=replace(samples, values=zero))
    found = report(fresh=(gathered,))
    assert not [r for r in found if r["task"] == OUTSIDE and r["genome_index"] == 0]
    assert of(found, "finalist 1", INSIDE)["genome_index"] == 0


def test_the_tables_of_the_engine_show_these_intervals() -> None:
    found = report()
    for row in found:
        row["candidate"] = None if row["genome_index"] is None else 7
    cell = next(c for c in held_out(found) if c.name == "finalist 1" and c.task == INSIDE and c.metric == "Spearman")
    entry = of(found, "finalist 1", INSIDE)
    assert list(cell.interval) == entry["interval"]
    assert cell.difference is not None
    assert list(cell.difference) == entry["difference"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("run")
    options = own(folder, redraws=1)
    from dataclasses import asdict

    given = {
        **asdict(options),
        "held_out": options.search,
        "held_out_model": options.model,
        "held_out_data": options.data,
    }
    search = Search(
        "search_spaces.emq:EMQ", options=given, runs_dir=str(folder / "runs"), name="small", seed=1,
        strategy={"name": "diversity", "options": {"population": 10}}, budget={"proposals": 300, "stall": None},
        executor={"kind": "inline", "timeout_s": None, "memory_mb": None}, report={"candidates": 1, "seeds": 1},
    )  # fmt: skip
    with RunReader(search.run().path) as reader:
        yield reader


def test_every_proposal_is_accounted_for(run: RunReader) -> None:
    counts = screening_counts(run)
    assert counts["proposed"] == 300
    assert sum(n for name, n in counts.items() if name != "proposed") == 300
    assert counts["distinct proxies"] == len({row.function for row in run.commits() if row.status == "ok"})
    assert counts["rejected unseen: scale-dependent"] > 0
    assert counts["merged: rank-equivalent"] > 0


def test_the_report_has_its_pictures(run: RunReader) -> None:
    found = list(EMQ().figures(run))
    titles = [figure.title for figure in found]
    assert titles == [
        "Correlations: tiny, held-out rows", "Correlations: tiny, held-out network",
        "Score and accuracy: tiny, held-out rows", "Score and accuracy: tiny, held-out network",
        "Compatibility screening",
    ]  # fmt: skip
    assert "paired difference" in found[0].caption
    assert "Blue: found; grey: hand-made; yellow: no proxy" in found[0].caption
    for figure in found[:4]:
        assert "system-ui" in figure.html, "pictures have the page's style"
        assert all(colour in figure.html for colour in (FOUND, MADE))
        assert (MEASURE in figure.html) == figure.title.startswith("Correlations")
    assert list(figures(None)) == []


def test_a_colour_that_is_not_there_is_not_explained() -> None:
    row = {"task": "t", "metric": "Spearman", "values": [0.5], "interval": [0.5, 0.4, 0.6, 10], "name": "hawq"}
    [figure] = bars([row])
    assert "Grey: hand-made." in figure.caption
    assert "Blue" not in figure.caption


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run that meets copies of forms that were merged by their ranks, without any rule about scales."""
    from dataclasses import asdict

    folder = tmp_path_factory.mktemp("crowded")
    search = Search(
        f"{__name__}:FewForms", options=asdict(own(folder, invariance="none")), runs_dir=str(folder / "runs"),
        name="crowded", seed=1, strategy={"name": "random", "options": {}}, budget={"proposals": 200, "stall": None},
        executor={"kind": "inline", "timeout_s": None, "memory_mb": None}, report={"candidates": 0, "seeds": 1},
    )  # fmt: skip
    with RunReader(search.run().path) as reader:
        yield reader


class FewForms(EMQ):
    """Draws from a dozen forms: largest bits in several disguises, errors that depend on the scale, and no bits."""

    forms = tuple(
        Genome("corrected", "linear", (word,), (op, "no_op", "no_op", "no_op"), (), (), aggregation)
        for word, aggregation in (("bits", "max"), ("weight_error", "mean"), ("weight", "mean"))
        for op in ("no_op", "log", "sqrt", "pow")
    )

    def sample(self, rng: np.random.Generator) -> Genome:
        return self.forms[int(rng.integers(len(self.forms)))]


def test_screening_reconciles_with_the_counters_of_the_engine(crowded: RunReader) -> None:
    counts = screening_counts(crowded)
    engine = crowded.status()["counts"]
    commits = list(crowded.commits())
    late = {row[0] for row in crowded.rows("SELECT id FROM late_identities WHERE function != id")}
    copies = {row[0] for row in crowded.rows("SELECT id FROM identities WHERE source IN ('structural', 'twin')")}
    assert late & copies, "some copies are of forms that were merged"
    assert sum(n for name, n in counts.items() if name != "proposed") == counts["proposed"] == 200
    assert counts["merged: known form"] == engine["structural"] + engine["twin"] == len(copies)
    assert counts["merged: rank-equivalent"] == engine["functional"]
    assert counts["distinct proxies"] == len({row.function for row in commits if row.status in ("ok", "nan")})
    scored = counts["distinct proxies"] + counts["merged: rank-equivalent"]
    scored += sum(n for name, n in counts.items() if name.startswith("rejected by its table"))
    assert scored == engine["calls"]
    assert f"Every other form is scored: {scored:,} were" in screening(counts).caption
    assert not [name for name in counts if "scale-dependent" in name], "the option says no such rule"
    assert counts["rejected unseen: bit-independent"] > 0
