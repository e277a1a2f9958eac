"""Promise 3: a candidate that raises, hangs, leaves or leaks costs its own evaluation alone, with the whole engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evo.search import Search
from tests.evo.engine import query

SPACE = "evo.testing.misbehaving:MisbehavingSpace"
ACTS = ["ok"] * 25 + ["raise", "nan", "hang", "exit", "hog"]
STATUS = {"ok": "ok", "raise": "failed", "nan": "nan", "hang": "timeout", "exit": "quarantined", "hog": "failed"}


def test_each_kind_of_fault_is_found_recorded_and_survived(tmp_path: Path, ray_cluster: Any) -> None:
    result = Search(
        SPACE,
        name="bad",
        runs_dir=str(tmp_path),
        seed=71,
        options={"acts": ACTS, "hang_s": 120.0},
        strategy={"name": "random", "options": {}},
        budget={"proposals": 48, "stall": None},
        loop={"chunk": 16, "lag": 64, "block": 8},
        executor={"kind": "ray", "workers": 2, "address": ray_cluster.address, "timeout_s": 0.4, "memory_mb": 400},
        report={"candidates": 0},
    ).run()
    assert result.state == "finished"
    seen = set()
    for genome, status, values in query(
        result, "SELECT p.genome, c.status, length(c.vals) FROM proposals p JOIN commits c USING (id)"
    ):
        act = json.loads(genome)["act"]
        assert status == STATUS[act], (act, status)
        assert (values > 0) == (status == "ok")
        seen.add(act)
    assert seen == set(STATUS), "the seed must draw every kind of fault"
    for id, status in query(result, "SELECT id, status FROM commits WHERE status != 'ok'"):
        text = (result.path / "errors" / f"{id}.txt").read_text()
        assert text.startswith(f"candidate {id}: {status}")
        assert f"evo replay {result.path} {id}" in text
    stored = query(result, "SELECT request FROM observations WHERE status IN ('timeout', 'quarantined')")
    assert stored
    assert all(request > 0 for (request,) in stored), "a time-out is no fact about a function"
