"""What each layer of identity adds on a real search of 50,000 `lion` proposals, and the share that needs no evaluation.

    python -m benchmarks.lion_layers
    python -m benchmarks.lion_layers --proposals 10000 --seeds 0

One search is run with all layers on; then its proposals, in order, are given to one layer after another. A layer's
share is that of proposals whose identity under it was there before: what a search with this layer alone would not
have had to evaluate, on the very same proposals. From the coarsest reading to the finest:

- text: the program as it is written (what a lookup by genome finds);
- dataflow: the hash of the paper (section 2.2 of the lion notes; released as hero's): inputs by position, literals by
  value, calls by their arguments' hashes. Blind to names, order of statements, duplicates and statements that no output
  of this step needs; it keeps state that the next step never reads;
- liveness: the same without statements and slots that no update ever depends on, at any later step;
- canonical, exact: also blind to the order of commutative arguments, constants that fold, the language's exact
  identities, and which slot holds what. This is the engine's structural identity;
- canonical, real: also identities of real arithmetic. Not used by the search: it may change rounding;
- function: structural identity, then the behavioural fingerprint;
- function and admission: the function ids of the search itself. Programs that diverge within twenty steps of training
  are one function, whose value, +inf, is known (`search_spaces.lion.admission`).

Mutation is that of the released code: insert, delete and modify a statement, equally likely; of losses that hardly
differ the shorter program wins. Copies of the warm start do not count, neither as proposals nor as hits. The paper's
figure (89.1 %, five searches of 300,000 proposals) is printed for orientation; it is not ours.
"""

from __future__ import annotations

import argparse
import json
import math
import sqlite3
import struct
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import xxhash

from benchmarks.common import environment, table, write
from benchmarks.engine_runs import scratch
from evo.program import Program, canonical
from evo.program.liveness import live
from search_spaces.lion.language import LION

PAPER = 0.891
WINDOWS = 5
WHOLE = "function and admission"
OPTIONS = '{"tasks":["digits_mlp"],"steps":60,"replicates":1,"probe_task":null,"screen_hurdle":null}'
_digest = xxhash.xxh3_128_digest


def dataflow(program: Program) -> bytes:
    """The paper's hash: data flow as it is written, every output of the step included."""
    values: dict[str, bytes] = {
        name: b"input" + struct.pack("<q", number) for number, (name, _) in enumerate(LION.signature.inputs)
    }
    for target, operator, arguments in program.instructions:
        parts = [values[a] if isinstance(a, str) else b"literal" + struct.pack("<d", a) for a in arguments]
        values[target] = _digest(operator.encode() + b"".join(parts))
    return _digest(b"".join(values[name] for name, _ in LION.signature.outputs))


LAYERS: dict[str, Callable[[Program], Hashable]] = {
    "text": lambda program: program.instructions,
    "dataflow (the paper's)": dataflow,
    "liveness across steps": lambda program: dataflow(live(LION, program)),
    "canonical, exact": lambda program: canonical(LION, program),
    "canonical, real": lambda program: canonical(LION, program, "real"),
}


def searched(given: argparse.Namespace, seed: int, folder: Path) -> Path:
    """Run the search and return its database."""
    from evo import Search

    mutation = {
        "insert": given.insert, "delete": 1.0, "modify": 1.0,
        "modify_argument": 0.0, "modify_constant": 0.0, "replace_operator": 0.0,
        "constant_probability": 0.05, "max_length": given.max_length,
    }  # fmt: skip
    options = {"mutation": mutation, "length_objective": given.tie > 0, **json.loads(given.options)}
    result = Search(
        "lion",
        options=options,
        seed=seed,
        strategy={
            "name": "regularized",
            "options": {
                "population": given.population,
                "tournament": given.tournament,
                "initial": "seed",
                "tie": given.tie,
            },
        },
        budget={"proposals": given.proposals},
        executor={"kind": "ray", "workers": given.workers} if given.workers else {"kind": "inline"},
        report={"candidates": 0, "confirm": 0},
        runs_dir=str(folder),
        name=f"layers{seed}",
    ).run()
    return Path(result.path) / "run.db"


def judged(database: Path) -> dict[str, Any]:
    """The layers' shares of the proposals, and how the search's own identity splits them."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        (best,) = min(struct.unpack_from("<d", vals) for (vals,) in connection.execute(
            "SELECT vals FROM commits WHERE length(vals) > 0"))  # fmt: skip
        rows = connection.execute(
            "SELECT id, genome, function, source FROM proposals JOIN identities USING (id)"
            " WHERE kind = 0 AND (operator != 'seed' OR id = function) ORDER BY id"
        ).fetchall()
        turned_away = {
            function for (function,) in connection.execute(
                "SELECT DISTINCT function FROM observations WHERE json_extract(extra, '$.turned_away')"
            )
        }  # fmt: skip
    programs = [Program.from_json(json.loads(text)) for _, text, _, _ in rows]
    windows = [range(len(rows) * k // WINDOWS, len(rows) * (k + 1) // WINDOWS) for k in range(WINDOWS)]

    def shares(identities: list[Hashable]) -> dict[str, Any]:
        seen: set[Hashable] = set()
        known = [identity in seen or seen.add(identity) is not None for identity in identities]
        return {"share": sum(known) / len(known), "by_fifth": [sum(known[i] for i in w) / len(w) for w in windows]}

    layers = {}
    for name, key in LAYERS.items():
        start = time.process_time()
        layers[name] = shares([key(program) for program in programs])
        layers[name]["microseconds"] = (time.process_time() - start) / len(programs) * 1e6
    layers["function (canonical, then behaviour)"] = shares(
        [
            canonical(LION, program) if function in turned_away else function
            for program, (_, _, function, _) in zip(programs, rows, strict=True)
        ]
    )
    layers[WHOLE] = shares([function for _, _, function, _ in rows])
    sources: dict[str, int] = {}
    for _, _, _, source in rows:
        sources[source] = sources.get(source, 0) + 1
    last = programs[-1000:]
    return {
        "proposals": len(rows),
        "layers": layers,
        "sources": sources,
        "statements": math.fsum(len(p) for p in last) / len(last),
        "best": best,
        "turned_away": sum(function in turned_away for _, _, function, _ in rows),
        "live_statements": math.fsum(len(live(LION, p)) for p in last) / len(last),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--proposals", type=int, default=50_000)
    parser.add_argument("--population", type=int, default=300, help="the paper's was 1,000, for 300,000 proposals")
    parser.add_argument("--tournament", type=int, default=2, help="as in the paper")
    parser.add_argument(
        "--tie",
        type=float,
        default=0.2,
        help="losses within some 20 % tie, and the shorter program wins; 0: no",
    )
    parser.add_argument(
        "--insert", type=float, default=1.0, help="weight of insertion; deletion and modification have 1"
    )
    parser.add_argument("--max-length", type=int, default=300, help="statements; the paper has no limit")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="one search each")
    parser.add_argument("--workers", type=int, default=0, help="Ray workers; 0: inline")
    parser.add_argument("--options", default=OPTIONS, help="options of the space, as JSON")
    parser.add_argument("--output", default="lion_layers", help="name of the file in benchmarks/results")
    given = parser.parse_args()
    searches = []
    with scratch() as folder:
        for seed in given.seeds:
            searches.append(judged(searched(given, seed, folder)))
            whole = searches[-1]["layers"][WHOLE]["share"]
            print(f"seed {seed}: {whole:.1%}; best {searches[-1]['best']:.4f}", flush=True)
    rows = []
    for name in searches[0]["layers"]:
        found = [search["layers"][name] for search in searches]
        mean, half = interval([row["share"] for row in found])
        fifths = [math.fsum(row["by_fifth"][k] for row in found) / len(found) for k in range(WINDOWS)]
        cost = [row["microseconds"] for row in found if "microseconds" in row]
        rows.append(
            (name, f"{mean:.1%}" + (f" +- {half:.1%}" if half is not None else ""),
             " ".join(f"{part:.0%}" for part in fifths), f"{math.fsum(cost) / len(cost):.0f}" if cost else "")
        )  # fmt: skip
    print()
    print(table(("layer", "needs no evaluation", "by fifth of the search", "us"), rows), end="\n\n")
    for what in ("statements", "live_statements", "turned_away", "best"):
        print(f"{what.replace('_', ' ')}: " + ", ".join(f"{search[what]:.4g}" for search in searches))
    print(f"+-: half a 95 % t interval over seeds; the paper: {PAPER:.1%} over 300,000 proposals of its own search")
    write(given.output, {**environment(("evo-search", "numpy")), "settings": vars(given), "searches": searches})


def interval(values: list[float]) -> tuple[float, float | None]:
    """Mean and half of its 95 % interval (Student's t); no interval for a single value."""
    from scipy.stats import t

    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, None
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return mean, float(t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))


if __name__ == "__main__":
    main()
