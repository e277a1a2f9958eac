"""Re-evaluations and salts: fresh seeds, no cache, and the mean over replicates."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from evo.pipeline import fold
from evo.seeds import replicate_seed
from evo.space import Observation
from evo.testing.noop import NoOpEvaluator, NoOpOptions
from tests.evo.engine import ELITES, query, run

NOISY = {"noise": 0.5, "functions": 500}
SALTED = {"name": "truncation", "options": {**ELITES, "salt": "generation"}}


def observed(genome: int, rung: str, replicate: int, salt: int) -> float:
    """What one replicate of the noisy no-op space gives, apart from the engine."""
    return NoOpEvaluator(NoOpOptions(**NOISY)).observe(genome, replicate_seed(rung, replicate, salt)).values[0]


@pytest.mark.parametrize("salt", ["none", "generation"])
def test_elites_are_evaluated_again_on_the_replicates_and_salt_asked_for(tmp_path: Path, salt: str) -> None:
    strategy = {"name": "truncation", "options": {**ELITES, "salt": salt}}
    result = run(tmp_path, "elites", options=NOISY, strategy=strategy)
    rows = query(
        result,
        "SELECT p.id, p.genome, p.parents, p.salt, c.vals, i.function, i.source FROM proposals p"
        " JOIN commits c USING (id) JOIN identities i USING (id) WHERE p.kind = 1 ORDER BY p.id",
    )
    assert len(rows) == result.status["counts"]["reevaluated"] > 30
    assert len({row[1] for row in rows}) > 8, "each generation's elites get replicates of their own"
    assert len({row[3] for row in rows}) == (1 if salt == "none" else len({row[1] for row in rows}))
    for id, body, parents, used_salt, values, function, source in rows:
        (parent,) = json.loads(parents)
        ((genome, parents_function),) = query(
            result, f"SELECT p.genome, i.function FROM proposals p JOIN identities i USING (id) WHERE id = {parent}"
        )
        assert (function, source) == (parents_function, "reevaluated")
        replicates = json.loads(body)["replicates"]
        assert len(replicates) == 3
        assert 0 not in replicates
        expected = [observed(int(genome), "search", k, used_salt) for k in replicates]
        assert struct.unpack("<d", values)[0] == sum(expected) / 3
        assert len(set(expected)) == 3, "replicates differ, or the mean would show nothing"
        stored = query(
            result, f"SELECT seed, vals FROM observations WHERE function = {function} AND request = {id} ORDER BY seed"
        )
        seeds = [replicate_seed("search", k, used_salt) for k in replicates]
        assert dict(stored) == dict(zip(seeds, (struct.pack("<d", v) for v in expected), strict=True))


def test_a_rungs_value_is_the_mean_of_its_replicates(tmp_path: Path) -> None:
    options = {**NOISY, "replicates": 4, "behaviour": 2}
    result = run(tmp_path, "mean", options=options, budget={"proposals": 100})
    for genome, values in query(result, "SELECT p.genome, c.vals FROM proposals p JOIN commits c USING (id)"):
        expected = [observed(int(genome), "search", k, 0) for k in range(4)]
        assert struct.unpack("<d", values)[0] == sum(expected) / 4
    ((least, most),) = query(
        result, "SELECT min(n), max(n) FROM (SELECT count(*) n FROM observations GROUP BY function)"
    )
    assert (least, most) == (4, 4)


def test_candidates_under_a_salt_are_evaluated_under_its_seeds(tmp_path: Path) -> None:
    result = run(tmp_path, "salted", options=NOISY, strategy=SALTED)
    rows = query(result, "SELECT p.genome, p.salt, c.vals FROM proposals p JOIN commits c USING (id) WHERE kind = 0")
    assert len({salt for _, salt, _ in rows}) > 8
    for genome, salt, values in rows:
        assert struct.unpack("<d", values)[0] == observed(int(genome), "search", 0, salt)


def test_a_repeat_under_another_salt_is_a_miss_and_is_evaluated(tmp_path: Path) -> None:
    result = run(tmp_path, "salted", options={"noise": 0.5, "alphabet": 30}, strategy=SALTED)
    seen = set()
    for function, salt, miss, source in query(
        result,
        "SELECT i.function, p.salt, i.miss, i.source FROM identities i JOIN proposals p USING (id)"
        " WHERE p.kind = 0 ORDER BY p.id",
    ):
        first = (function, salt) not in seen
        seen.add((function, salt))
        assert bool(miss) == first
        assert (source == "evaluated") == first
    assert query(result, "SELECT count(*) FROM observations WHERE request = 0") == [(len(seen),)]
    assert len(seen) > 150


def test_replicates_are_folded_to_means_and_a_failure_stands_for_all() -> None:
    one = Observation((1.0, float("inf")), "ok", (0.0, 4.0))
    two = Observation((4.0, 2.0), "ok", (1.0, 8.0))
    found = fold([one, two])
    assert (found.status, found.values, found.behaviour) == ("ok", (2.5, float("inf")), (0.5, 6.0))
    assert fold([one, Observation((), "failed", message="x"), two])[:3] == ("failed", (), None)
    assert fold([one, two._replace(values=(4.0, float("-inf")))])[:3] == ("nan", (), None)
    assert fold([one, two._replace(behaviour=(1.0,))]).status == "nan"
