"""Promise 2: equal journals inline, with 1 and 2 Ray workers, and with a node killed on the way."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.evo.engine import make, parts, query, run

SETTINGS: dict[str, dict[str, Any]] = {
    "hurdle": {
        "options": {"rungs": 2, "hurdle": 0.3, "hurdle_after": 20, "functions": 200, "sleep_s": 0.002},
        "identity": {"audit": 0.1},
        "budget": {"proposals": 400},
    },
    "elites": {
        "options": {"noise": 0.5, "behaviour": 2, "functions": 300, "sleep_s": 0.002},
        "strategy": {
            "name": "truncation",
            "options": {"population": 50, "parents": 5, "elites": 4, "replicates": 3, "salt": "generation"},
        },
        "budget": {"proposals": 400},
    },
}


@pytest.fixture(scope="module", params=list(SETTINGS))
def inline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    folder = tmp_path_factory.mktemp(request.param)
    result = run(folder, "inline", **SETTINGS[request.param])
    if request.param == "elites":
        ((again, salts),) = query(result, "SELECT sum(kind), count(DISTINCT salt) FROM proposals")
        assert again > 20
        assert salts > 5
    else:
        assert query(result, "SELECT count(*) FROM commits WHERE status = 'stopped'")[0][0] > 30
    return request.param, parts(result)


def on_ray(cluster: Any, workers: int) -> dict[str, Any]:
    return {"kind": "ray", "workers": workers, "address": cluster.address, "timeout_s": 30.0, "memory_mb": None}


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_journal(
    tmp_path: Path, ray_cluster: Any, inline: tuple[str, dict[str, str]], workers: int
) -> None:
    setting, expected = inline
    result = run(tmp_path, "ray", **SETTINGS[setting], executor=on_ray(ray_cluster, workers))
    assert parts(result) == expected
    assert result.status["executor"]["kind"] == "ray"
    names = {row[0] for row in query(result, "SELECT DISTINCT worker FROM evaluations")}
    assert len(names) == workers


def test_a_node_killed_on_the_way_does_not_change_the_journal(
    tmp_path: Path, ray_cluster: Any, inline: tuple[str, dict[str, str]]
) -> None:
    setting, expected = inline
    settings = {**SETTINGS[setting], "options": {**SETTINGS[setting]["options"], "sleep_s": 0.025}}
    node = ray_cluster.add_node(2)
    search = make(tmp_path, "killed", **settings, executor=on_ray(ray_cluster, 4))
    killed = threading.Event()

    def kill(status: dict[str, Any]) -> None:
        busy = status.get("executor", {}).get("busy", 0)
        if not killed.is_set() and busy >= 3 and status["counts"]["committed"] > 30:
            killed.set()
            ray_cluster.kill_node(node)

    began = time.monotonic()
    try:
        result = search.run(kill)
    finally:
        ray_cluster.kill_node(node)
    assert killed.is_set(), "the run ended before the node was killed"
    assert parts(result) == expected
    assert result.status["executor"]["incidents"], "nobody noticed the loss of a node"
    assert time.monotonic() - began < 120
