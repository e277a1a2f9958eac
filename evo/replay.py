"""One candidate of a run evaluated again, in this process, where a debugger can reach it."""

from __future__ import annotations

import time
import traceback
from pathlib import Path
from typing import Any

from evo.equivalence.audit import agrees
from evo.errors import CandidateNotFoundError
from evo.genomes import Genomes
from evo.origin import stored_config
from evo.registry import build_space
from evo.run.store import RunStore
from evo.seeds import replicate_seed
from evo.space import Observation, Preparation, Request, SearchSpace


def replay(path: Path | str, candidate: int) -> dict[str, Any]:
    """Evaluate one candidate again in this process, on the rung and seeds its run used, and compare.

    Returns:
        {"id", "rung", "seeds", "stored": [values a seed], "found": [values a seed], "agrees", "status", "seconds"}.
    """
    path = Path(path)
    store = RunStore(path / "run.db")
    try:
        config = stored_config(store)
        row = store.one(
            "SELECT p.genome, p.salt, i.function, c.rung, p.kind, c.status FROM proposals p"
            " JOIN identities i USING (id) LEFT JOIN commits c USING (id) WHERE id=?",
            (candidate,),
        )
        if row is None or row[4] == 1:
            raise CandidateNotFoundError(
                f"run {path.name} has no bred candidate {candidate}", f"`evo show {path}` lists the best ones"
            )
        space: SearchSpace[Any] = build_space(config.space, config.options)
        genome = Genomes(space, store).decode(candidate, row[0])
        reached = row[3] if row[3] is not None else 0
        if row[5] not in ("ok", "stopped", None):
            reached += 1  # a failed candidate keeps the rung before the one it failed at
        rung = space.rungs[min(max(0, reached), len(space.rungs) - 1)]
        seeds = tuple(replicate_seed(rung.name, k, row[1]) for k in range(rung.replicates))
        stored = store.observations(row[2], rung.name, seeds)
        if stored is None:
            stored = store.observations(row[2], rung.name, seeds, candidate or -1)
    finally:
        store.close()
    folder = path.parent / ".prepared" / space.name
    folder.mkdir(parents=True, exist_ok=True)
    prepared = space.prepare(Preparation(folder, lambda f, items: [f(i) for i in items], lambda *_: None))
    evaluator = space.evaluator(prepared)
    began = time.perf_counter()
    try:
        found = evaluator.evaluate([Request(candidate, genome, rung.name, seeds)])[0]
    except Exception as error:
        found = [Observation((), "failed", message=f"{type(error).__name__}: {error}")] * len(seeds)
        trace = traceback.format_exc()
    else:
        trace = ""
        found = [o._replace(status="nan") if o.status == "ok" and any(v != v for v in o.values) else o for o in found]
    seconds = time.perf_counter() - began
    same = stored is not None and all(
        a.status == b.status and (a.status != "ok" or agrees(a.values, b.values))
        for a, b in zip(stored, found, strict=True)
    )
    return {
        "id": candidate,
        "rung": rung.name,
        "seeds": list(seeds),
        "stored": None if stored is None else [list(o.values) for o in stored],
        "found": [list(o.values) for o in found],
        "status": found[0].status,
        "agrees": same if stored is not None else None,
        "seconds": seconds,
        "traceback": trace,
    }
