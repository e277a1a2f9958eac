"""The simplest proxy that the search's data cannot tell from its best: `python -m benchmarks.emq_parsimony RUN ...`.

Evolution goes on to climb the search rows when what it gains there no longer holds elsewhere. So among the best of
one or several runs, on the search rows of the search network and on the batches of the search and further ones
(`--closing`, which no report uses):

    1. the proxy of the highest mean Spearman over those batches;
    2. all whose paired difference to it is not beyond chance (95 % bootstrap interval over rows and batches);
    3. of these the smallest, by operators and inputs; of equal ones, the one that ranks best.

Held-out rows, the held-out network and the report's batches are looked at after that, once, for the winners alone.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import environment, table, write
from kernels.ranks import spearman, spearman_bootstrap
from search_spaces.emq import EMQ, EMQOptions
from search_spaces.emq.language import Genome
from search_spaces.emq.problem import Problem, problem_of
from search_spaces.emq.report import bootstrap_batches, bootstrap_indices, genome_scores, rows

CHUNK = 50


def best_of(run: Path, most: int) -> list[tuple[int, Genome, float]]:
    """(candidate, genome, fitness) of the best proxies of a run, each function once, best first."""
    with sqlite3.connect(f"file:{run / 'run.db'}?mode=ro", uri=True) as db:
        found = [
            (int(i), str(genome), float(np.frombuffer(values, "<f8")[0]))
            for i, genome, values in db.execute(
                "SELECT c.id, p.genome, c.vals FROM commits c JOIN identities i USING (id) JOIN proposals p USING (id)"
                " LEFT JOIN late_identities l USING (id) WHERE p.kind = 0 AND c.status = 'ok' AND"
                " i.source = 'evaluated' AND (l.function IS NULL OR l.function = c.id)"
            )
        ]
    found.sort(key=lambda row: (-row[2], row[0]))
    return [(i, Genome.from_json(json.loads(text)), value) for i, text, value in found[:most]]


def on_search_rows(options: EMQOptions, problem: Problem, batches: Any, genomes: list[Genome]) -> tuple[Any, Any]:
    """(n,) mean Spearman over the batches, and (n, resamples) of it over resampled rows and batches."""
    at, accuracy = problem.search_rows, problem.accuracy[problem.search_rows]
    indices, picks = bootstrap_indices(len(at)), bootstrap_batches(len(batches))
    # how often each batch is drawn in each resample: the mean over a resample's batches, without keeping them all
    weights = np.stack([(picks == b).mean(axis=1) for b in range(len(batches))])
    means, drawn = np.zeros(len(genomes)), np.zeros((len(genomes), len(indices)))
    for number, gathered in enumerate(batches):
        for first in range(0, len(genomes), CHUNK):
            part = slice(first, first + CHUNK)
            scores = genome_scores(options, problem, gathered, genomes[part], at)
            means[part] += spearman(scores, accuracy) / len(batches)
            drawn[part] += spearman_bootstrap(scores, accuracy, indices) * weights[number]
    return means, drawn


def main(arguments: list[str] | None = None) -> int:
    """Print the winners and write benchmarks/results/emq_parsimony.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs of the default options")
    parser.add_argument("--most", type=int, default=2000, help="proxies of each run that are looked at")
    parser.add_argument("--closing", type=int, default=3, help="further batches of the search network")
    parser.add_argument("--prepared", type=Path, help="folder of statistics [that of the first run]")
    parser.add_argument("--no-report", action="store_true", help="look at nothing that is held out")
    parser.add_argument("--output", default="emq_parsimony")
    given = parser.parse_args(arguments)
    folder = given.prepared or given.runs[0].parent / ".prepared"
    folder = next((path for path in sorted(folder.glob("*")) if path.is_dir()), folder)
    options = EMQOptions()
    wider = replace(options, fresh=options.fresh + given.closing)
    search = problem_of(wider, False, folder, lambda *_: None)
    assert search is not None
    batches = [*search.search, *search.fresh[options.fresh :]]
    space = EMQ(options)
    pool: dict[bytes, tuple[str, Genome, float]] = {}
    for run in given.runs:
        for candidate, genome, value in best_of(run, given.most):
            pool.setdefault(space.canonical(genome) or b"", (f"{run.name} #{candidate}", genome, value))
    entries = list(pool.values())
    means, drawn = on_search_rows(options, search, batches, [genome for _, genome, _ in entries])
    usable = np.flatnonzero(np.isfinite(means) & np.isfinite(drawn).all(axis=1))  # gives a score on every batch
    entries, means, drawn = [entries[at] for at in usable], means[usable], drawn[usable]
    top = int(means.argmax())
    high = np.quantile(drawn - drawn[top], 0.975, axis=1)
    sizes = np.array([space.costs(genome)["size"] for _, genome, _ in entries])
    equal = np.flatnonzero(high >= 0.0)
    order = equal[np.lexsort((-means[equal], sizes[equal]))]
    by_size = [order[np.flatnonzero(sizes[order] == size)[0]] for size in np.unique(sizes[order])]
    lines = [
        {
            "proxy": entries[at][0], "summary": space.summary(entries[at][1]), "size": float(sizes[at]),
            "fitness": entries[at][2], "closing": float(means[at]), "genome": entries[at][1].to_json(),
            "below_best": [float(x) for x in np.quantile(drawn[at] - drawn[top], [0.025, 0.975])],
        }
        for at in (top, *by_size)
    ]  # fmt: skip
    print(f"{len(entries)} proxies on {len(batches)} batches; {len(equal)} are not told from the best one")
    shown = [
        [("best", *("smallest of size " + f"{line['size']:g}" for line in lines[1:]))[n], line["proxy"],
         f"{line['fitness']:.4f}", f"{line['closing']:.4f}", f"{line['size']:g}", line["summary"]]
        for n, line in enumerate(lines)
    ]  # fmt: skip
    print(table(["", "proxy", "fitness", "all batches", "size", ""], shown))
    reported: list[dict[str, Any]] = []
    if not given.no_report:
        other = problem_of(options, True, folder, lambda *_: None)
        fresh = replace(search, fresh=search.fresh[: options.fresh])
        genomes = [entries[at][1] for at in (int(order[0]), top)]
        reported = rows(options, genomes, {"search": fresh, "held_out": other})
        reported = [{k: v for k, v in row.items() if k not in ("points", "words")} for row in reported]
        print(_report(reported))
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(given).items()}
    settings["runs"] = [run.name for run in given.runs]
    result = {**environment(("numpy", "torch")), "settings": settings, "selected": lines, "rows": reported}
    print("written:", write(given.output, result))
    return 0


def _report(found: list[dict[str, Any]]) -> str:
    names = {"finalist 1": "simplest", "finalist 2": "best"}
    lines = [
        [row["task"], names.get(row["name"], row["name"]), _interval(row["interval"]),
         _interval(row.get("difference")), f"{row.get('best', '')} {_interval(row.get('against_best'))}"]
        for row in found
        if row["metric"] == "Spearman"
    ]  # fmt: skip
    return table(["", "", "Spearman", "to the best on search rows", "to the best here"], lines)


def _interval(values: Any) -> str:
    return "" if not values else f"{values[0]:.4f} [{values[1]:.4f}, {values[2]:.4f}]"


if __name__ == "__main__":
    raise SystemExit(main())
