"""How many proposals of a search are repeats: by form, by values, and by the ranks of the search rows, side by side.

    python -m benchmarks.emq_identity                      # 20,000 proposals of each kind: a few minutes
    python -m benchmarks.emq_identity --proposals 5000     # quick

Proposals come from the engine's own runs (`evo run emq`), read back from their journals in order. A repeat is one whose
key an earlier valid proposal had:

    form     the simplified expression
    values   its scores of all search rows, to 32 bits of their range
    affine   the same after a shift and a positive factor
    ranks    their tie-aware ranks

Rejected proposals (invalid, constant, bit-independent, changed by rescaling) are apart: shares are of the valid ones.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import environment, table, write
from benchmarks.engine_runs import INLINE, scratch
from evo import Search
from evo.run.reader import RunReader
from search_spaces.emq import EMQ, EMQOptions
from search_spaces.emq.evaluator import scored
from search_spaces.emq.language import Genome
from search_spaces.emq.operators import FLIPS
from search_spaces.emq.problem import Problem, problem_of
from search_spaces.emq.scaling import screened
from search_spaces.emq.scoring import kept_share, raw_scores
from search_spaces.emq.tables import Tables


def _regularized(population: int, tournament: int) -> dict[str, Any]:
    return {"name": "regularized", "options": {"population": population, "tournament": tournament, "crossover": 0.5}}


KINDS: dict[str, dict[str, Any]] = {
    "random": {"name": "random", "options": {}},
    "diversity, 50": {"name": "diversity", "options": {"population": 50}},
    "regularized, 20 of 5": _regularized(20, 5),
    "regularized, 100 of 10": _regularized(100, 10),
}


def proposals(strategy: dict[str, Any], options: dict[str, Any], count: int, seed: int, folder: Path) -> list[Genome]:
    """The genomes that a run proposed, in order."""
    search = Search(
        "search_spaces.emq:EMQ", options=options, seed=seed, runs_dir=str(folder), strategy=strategy,
        budget={"proposals": count, "stall": None}, executor=INLINE, report={"candidates": 0},
    )  # fmt: skip
    path = search.run().path
    with RunReader(path) as reader:
        rows = reader.rows("SELECT genome FROM proposals WHERE kind = 0 ORDER BY id")
        return [Genome.from_json(json.loads(text)) for (text,) in rows]


def shares(genomes: list[Genome], problem: Problem, invariance: Any) -> dict[str, Any]:
    """Of the valid proposals, the share that each key calls a repeat."""
    tables, places = Tables(problem.gathered), problem.places[problem.search_rows]
    seen: dict[str, set[Any]] = {name: set() for name in ("form", "values", "affine", "ranks")}
    hits = dict.fromkeys(seen, 0)
    valid = 0
    known: dict[bytes, tuple[Any, ...] | None] = {}
    for genome in genomes:
        found = screened(genome, invariance)
        if found.term is None or found.key is None:
            continue
        if found.key not in known:
            known[found.key] = _keys(tables, found, places)
        keys = known[found.key]
        if keys is None:
            continue
        valid += 1
        for name, key in zip(seen, (found.key, *keys), strict=True):
            hits[name] += key in seen[name]
            seen[name].add(key)
    return {"proposals": len(genomes), "valid": valid, **{name: n / max(1, valid) for name, n in hits.items()}}


def _keys(tables: Tables, found: Any, places: np.ndarray) -> tuple[Any, ...] | None:
    result = scored(tables, [found], places)
    if result.rejected[0]:
        return None
    term_table = tables.table(found)
    if found.aggregation == FLIPS:
        raw = kept_share(term_table, tables.margins, places)
    else:
        raw = raw_scores(term_table[None], places, [found.aggregation])[0] * result.signs[0]
    size = float(np.abs(raw).max())
    exponent = np.frexp(size)[1]
    values = np.rint(raw * 2.0 ** (32 - exponent)).astype(np.int64).tobytes() + bytes([exponent % 256])
    low, high = raw.min(), raw.max()
    # screening looks at the extremes too: a proxy may be constant on these rows alone, and then has no spread
    spread = (raw - low) / (high - low) if high > low else np.zeros_like(raw)
    affine = np.rint(spread * 2.0**32).astype(np.int64).tobytes()
    ranks = np.unique(result.scores[0], return_inverse=True)[1].astype(np.int32).tobytes()
    return values, affine, ranks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proposals", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--invariance", default="channels", choices=["channels", "layers", "none"])
    parser.add_argument("--options", default="{}", help="further options of the space, JSON")
    parser.add_argument("--prepared", type=Path, help="kept statistics to start from, as runs/.prepared")
    parser.add_argument("--output", default="emq_identity", help="name of the file under benchmarks/results")
    given = parser.parse_args()
    options = {"invariance": given.invariance, "held_out": None, **json.loads(given.options)}
    space = EMQ(EMQOptions(**options))
    with scratch() as folder:
        if given.prepared:
            shutil.copytree(given.prepared, folder / ".prepared", dirs_exist_ok=True)
        problem = problem_of(space.options, False, folder / ".prepared", lambda *_: None)
        assert problem is not None
        lines, results = [], {}
        for kind, strategy in KINDS.items():
            runs = [
                shares(proposals(strategy, options, given.proposals, seed, folder), problem, given.invariance)
                for seed in range(given.seeds)
            ]
            results[kind] = runs
            cells = [f"{100 * min(r[k] for r in runs):.0f}-{100 * max(r[k] for r in runs):.0f} %" for k in
                     ("form", "values", "affine", "ranks")]  # fmt: skip
            valid = np.mean([r["valid"] / r["proposals"] for r in runs])
            lines.append([kind, f"{100 * valid:.0f} %", *cells])
            print(table(["search", "valid", "form", "values", "affine", "ranks"], lines), flush=True)
    path = write(
        given.output,
        {
            **environment(("numpy",)),
            "settings": {k: str(v) if isinstance(v, Path) else v for k, v in vars(given).items()},
            "results": results,
        },
    )
    print(f"written to {path}")


if __name__ == "__main__":
    main()
