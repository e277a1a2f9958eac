"""The loop as a whole: budgets, determinism, resume, hits, rungs, failures."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from evo.errors import (
    ConfigError,
    DamagedRunError,
    ReplayMismatchError,
    RunExistsError,
    RunLockedError,
    RunNotFoundError,
    SchemaError,
    StorageFullError,
)
from evo.run.lock import RunLock
from evo.run.reader import RunReader
from evo.run.store import RunStore
from evo.search import Search, replay
from tests.evo.engine import ELITES, make, parts, query, run, stop_after

MANY_HITS = {"alphabet": 400, "functions": 90}
SETTINGS = {
    "plain": {},
    "hits": {"options": MANY_HITS},
    "hurdle": {"options": {"rungs": 3, "hurdle": 0.4, "hurdle_after": 20, "functions": 300}},
    "faults": {"options": {"faults": {"raises": 9, "nan": 11, "inf": 7, "invalid": 13}}},
    "forget": {"options": MANY_HITS, "identity": {"forget": 3}},
    "audit": {"options": MANY_HITS, "identity": {"audit": 0.3}},
    "elites": {
        "options": {"noise": 0.5, "behaviour": 2},
        "strategy": {"name": "truncation", "options": ELITES},
    },
    "elites salted": {
        "options": {"noise": 0.5, "functions": 500},
        "strategy": {"name": "truncation", "options": {**ELITES, "salt": "generation"}},
    },
    "pareto": {"options": {"objectives": 2, "cost": True}, "strategy": {"name": "nsga2", "options": {}}},
    "random": {"strategy": {"name": "random", "options": {}}},
    "restart": {
        "strategy": {
            "name": "regularized",
            "options": {"population": 20},
            "restart": {"to": "best", "after": 60, "limit": 3},
        }
    },
    "lag nought": {"loop": {"chunk": 5, "lag": 1, "block": 3, "span": 1, "snapshot_every": 50}},
}


@pytest.mark.parametrize("name", list(SETTINGS))
def test_the_same_seed_gives_the_same_journal(tmp_path: Path, name: str) -> None:
    first = run(tmp_path, "first", **SETTINGS[name])
    second = run(tmp_path, "second", **SETTINGS[name])
    assert parts(first) == parts(second)
    assert query(first, "SELECT count(*) FROM commits")[0][0] == 600
    other = run(tmp_path, "other", **{**SETTINGS[name], "seed": 8})
    assert parts(other)["proposals"] != parts(first)["proposals"]


@pytest.mark.parametrize("name", list(SETTINGS))
def test_a_stopped_run_resumes_to_the_same_journal(tmp_path: Path, name: str) -> None:
    whole = run(tmp_path, "whole", **SETTINGS[name])
    search = make(tmp_path, "cut", **SETTINGS[name])
    result = stop_after(search, 130)
    assert result.state == "stopped"
    assert "evo resume" in result.resume_command
    stored = query(result, "SELECT count(*) FROM observations")[0][0]
    for cut in (135, 333, 480):
        result = stop_after(Search.open(result.path), cut)
        assert query(result, "SELECT count(*) FROM observations")[0][0] >= stored
    result = Search.open(result.path).run()
    assert result.state == "finished"
    assert parts(result) == parts(whole)
    assert result.status["counts"]["committed"] == 600
    for key in ("structural", "functional", "twin", "invalid", "nan", "failed", "stopped", "evaluations"):
        assert result.status["counts"][key] == whole.status["counts"][key], (name, key)


@pytest.mark.parametrize("name", ["plain", "hits", "hurdle", "forget", "elites", "restart"])
@pytest.mark.parametrize("budget", ["proposals", "evaluations"])
def test_extending_a_finished_run_equals_a_longer_one(tmp_path: Path, name: str, budget: str) -> None:
    long, short = (600, 337) if budget == "proposals" else (80, 41)
    whole = run(tmp_path, "whole", **{**SETTINGS[name], "budget": {budget: long, "stall": 5000}})
    result = run(tmp_path, "short", **{**SETTINGS[name], "budget": {budget: short, "stall": 5000}})
    assert result.status["counts"][budget] == short
    result = Search.open(result.path, [f"budget.{budget}=+{long - short}"]).run()
    assert result.status["counts"][budget] == long
    assert parts(result) == parts(whole)


def test_block_size_and_executor_settings_change_no_value(tmp_path: Path) -> None:
    a = run(tmp_path, "a", **SETTINGS["hurdle"])
    b = run(tmp_path, "b", **{**SETTINGS["hurdle"], "loop": {"chunk": 16, "lag": 40, "block": 3, "snapshot_every": 64}})
    assert parts(a) == parts(b)


def test_lag_and_chunk_do_change_the_search(tmp_path: Path) -> None:
    a = run(tmp_path, "a")
    b = run(tmp_path, "b", loop={"chunk": 16, "lag": 80, "block": 8, "snapshot_every": 64})
    assert parts(a)["proposals"] != parts(b)["proposals"]


def test_each_function_is_evaluated_once(tmp_path: Path) -> None:
    result = run(tmp_path, "hits", options=MANY_HITS)
    counts = result.status["counts"]
    functions = query(result, "SELECT count(DISTINCT function) FROM identities")[0][0]
    assert functions <= 90
    assert query(result, "SELECT count(*) FROM observations")[0][0] == functions == counts["evaluations"]
    assert query(result, "SELECT count(*) FROM evaluations")[0][0] == functions
    assert counts["structural"] > 0
    assert counts["functional"] > 0
    assert functions + counts["structural"] + counts["functional"] + counts["twin"] == 600


def test_a_hit_gets_the_value_of_its_function(tmp_path: Path) -> None:
    result = run(tmp_path, "hits", options=MANY_HITS)
    rows = query(result, "SELECT i.function, c.vals FROM commits c JOIN identities i USING (id)")
    values: dict[int, bytes] = {}
    for function, value in rows:
        assert values.setdefault(function, value) == value


def test_with_identity_off_every_candidate_is_evaluated(tmp_path: Path) -> None:
    result = run(tmp_path, "off", options=MANY_HITS, identity={"structural": False, "functional": False})
    assert query(result, "SELECT count(*) FROM observations")[0][0] == 600


def test_twins_wait_for_the_first_of_their_kind(tmp_path: Path) -> None:
    result = run(tmp_path, "twins", options={"alphabet": 3}, loop={"chunk": 64, "lag": 200, "block": 64})
    assert result.status["counts"]["twin"] > 0
    assert query(result, "SELECT count(*) FROM observations")[0][0] == 3


def test_audited_hits_agree_and_are_not_told(tmp_path: Path) -> None:
    plain = run(tmp_path, "plain", options=MANY_HITS)
    audited = run(tmp_path, "audited", options=MANY_HITS, identity={"audit": 0.5})
    counts = audited.status["counts"]
    assert counts["audits"] > 50
    assert counts["audit_disagreements"] == 0
    assert parts(plain) == parts(audited)


def test_an_audit_finds_a_fingerprint_that_merges_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evo.testing.noop import NoOpSpace

    true = NoOpSpace.fingerprint
    monkeypatch.setattr(NoOpSpace, "fingerprint", lambda self, genomes: true(self, [g % 7 for g in genomes]))
    result = run(tmp_path, "wrong", options={"functions": 90}, identity={"audit": 0.5})
    assert result.status["counts"]["audit_disagreements"] > 20


def test_forgetting_evaluates_every_kth_repeat_afresh(tmp_path: Path) -> None:
    result = run(tmp_path, "forget", options={"alphabet": 4, "noise": 0.3}, identity={"forget": 10})
    rows = query(result, "SELECT function, count(*) FROM identities GROUP BY function")
    for function, times in rows:
        seeds = query(result, f"SELECT count(DISTINCT seed) FROM observations WHERE function = {function}")[0][0]
        assert seeds == 1 + (times - 1) // 10


def test_hurdles_stop_candidates_and_thresholds_are_frozen_when_asked(tmp_path: Path) -> None:
    result = run(tmp_path, "hurdle", **SETTINGS["hurdle"])
    counts = result.status["counts"]
    assert counts["stopped"] > 60
    rungs = dict(query(result, "SELECT rung, count(*) FROM observations GROUP BY rung"))
    assert rungs["rung0"] > rungs["rung1"] > rungs["rung2"] > 0
    for thresholds, rung, status, extra in query(
        result, "SELECT p.thresholds, c.rung, c.status, c.extra FROM commits c JOIN proposals p USING (id)"
    ):
        import json

        limits, values = json.loads(thresholds), json.loads(extra)["rungs"]
        for i, value in enumerate(values):
            if limits[i] is None:
                continue
            assert (value < limits[i]) == (i < rung or (status == "ok" and i == rung)), (limits, values, rung, status)


def test_budget_stall_ends_a_space_that_has_run_out(tmp_path: Path) -> None:
    result = run(tmp_path, "stall", options={"alphabet": 20}, budget={"stall": 300})
    assert result.reason == "budget.stall"
    assert result.status["counts"]["evaluations"] == 20


def test_budget_target_and_wall_end_a_run(tmp_path: Path) -> None:
    result = run(tmp_path, "target", budget={"target": 0.01})
    assert result.reason == "budget.target"
    assert result.best is not None
    assert result.best["values"][0] <= 0.01
    result = run(tmp_path, "wall", budget={"wall": 0.5})
    assert result.reason == "budget.wall"


def test_leaders_are_the_best_distinct_functions(tmp_path: Path) -> None:
    import struct

    result = run(tmp_path, "leaders", options=MANY_HITS)
    rows = query(result, "SELECT DISTINCT i.function, c.vals FROM commits c JOIN identities i USING (id)")
    best = sorted((struct.unpack("<d", v)[0], f) for f, v in rows)[:50]
    assert [(leader["values"][0], leader["function"]) for leader in result.leaders] == best


def test_failures_are_recorded_and_the_search_goes_on(tmp_path: Path) -> None:
    result = run(tmp_path, "faults", **SETTINGS["faults"])
    counts = result.status["counts"]
    assert min(counts["failed"], counts["nan"], counts["invalid"]) > 5
    files = list((result.path / "errors").glob("*.txt"))
    assert len(files) == counts["failed"] + counts["nan"]
    text = next(f.read_text() for f in files if "raises, as asked for" in f.read_text())
    assert "evo replay" in text
    assert "ArithmeticError" in text
    assert result.best is not None


def test_infinite_values_are_values(tmp_path: Path) -> None:
    result = run(tmp_path, "inf", options={"faults": {"inf": 3}})
    assert result.status["counts"]["nan"] == 0
    assert query(result, "SELECT count(*) FROM commits WHERE status = 'ok'")[0][0] == 600


def test_throughput_mode_journals_its_order_and_resumes(tmp_path: Path) -> None:
    loop = {"mode": "throughput", "chunk": 16, "lag": 40, "block": 8, "snapshot_every": 100}
    search = make(tmp_path, "fast", options=MANY_HITS, loop=loop)
    result = stop_after(search, 300)
    result = Search.open(result.path).run()
    told, distinct = query(result, "SELECT count(*), count(DISTINCT id) FROM tells")[0]
    assert told == distinct == result.status["counts"]["told"] > 560
    assert query(result, "SELECT count(*) FROM commits")[0][0] == 600
    assert query(result, "SELECT count(*) FROM observations")[0][0] == result.status["counts"]["evaluations"]


def test_the_shared_cache_changes_cost_only(tmp_path: Path) -> None:
    cache = {"cache": str(tmp_path / "cache.db")}
    cold = run(tmp_path, "cold", options=MANY_HITS, identity=cache)
    warm = run(tmp_path, "warm", options=MANY_HITS, identity=cache)
    assert warm.status["counts"]["imported"] == warm.status["counts"]["evaluations"]
    assert query(warm, "SELECT count(*) FROM evaluations")[0][0] == 0
    for table in ("chunks", "proposals", "observations", "commits"):
        assert parts(cold)[table] == parts(warm)[table], table
    other = run(tmp_path, "other", options={**MANY_HITS, "noise": 0.1}, identity=cache)
    assert other.status["counts"]["imported"] == 0


def test_a_resumed_run_sees_the_cache_as_it_stood_when_it_began(tmp_path: Path) -> None:
    cache = {"cache": str(tmp_path / "cache.db")}
    whole = run(tmp_path, "whole", options=MANY_HITS)
    cut = stop_after(make(tmp_path, "cut", options=MANY_HITS, identity=cache), 64)
    run(tmp_path, "between", options=MANY_HITS, identity=cache)
    cut = Search.open(cut.path).run()
    assert cut.status["counts"]["imported"] == 0
    assert parts(cut) == parts(whole)


def test_replay_evaluates_one_candidate_again(tmp_path: Path) -> None:
    result = run(tmp_path, "run", options=MANY_HITS)
    found = replay(result.path, 17)
    assert found["agrees"] is True
    assert found["stored"] == found["found"]


def test_a_journal_that_the_strategy_contradicts_is_refused(tmp_path: Path) -> None:
    result = stop_after(make(tmp_path, "run"), 200)
    with sqlite3.connect(result.path / "run.db") as db:
        db.execute("DELETE FROM snapshots")
        db.execute("UPDATE proposals SET genome = '5' WHERE id = 150")
    with pytest.raises(ReplayMismatchError, match="candidate 150"):
        Search.open(result.path).run()


def test_bad_requests_get_typed_errors(tmp_path: Path) -> None:
    result = stop_after(make(tmp_path, "run"), 100)
    with pytest.raises(RunExistsError):
        run(tmp_path, "run")
    with pytest.raises(RunNotFoundError):
        Search.open(tmp_path / "absent")
    with pytest.raises(ConfigError, match=r"loop\.lag"):
        Search.open(result.path, ["loop.lag=50"])
    assert Search.open(result.path, ["loop.lag=50"], force=True).config.loop.lag == 50
    with RunLock(result.path), pytest.raises(RunLockedError, match="held by process"):
        Search.open(result.path).run()
    with sqlite3.connect(result.path / "run.db") as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    with pytest.raises(SchemaError, match="99"):
        Search.open(result.path)
    (result.path / "run.db").write_bytes(b"no database" * 1000)
    with pytest.raises(DamagedRunError):
        Search.open(result.path)


def test_a_full_disk_loses_no_stored_observation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's page limit gives the same error as a full disk, on the same code path."""
    whole = run(tmp_path, "whole")
    opened = RunStore.__init__

    def small(self: RunStore, path: Path, create: bool = False) -> None:
        opened(self, path, create)
        self._db.execute("PRAGMA max_page_count=40")

    search = make(tmp_path, "full")
    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "__init__", small)
        with pytest.raises(StorageFullError, match="full"):
            search.run()
    stored = query(search.path, "SELECT count(*) FROM observations")[0][0]
    assert stored > 0
    result = Search.open(search.path).run()
    assert parts(result) == parts(whole)
    assert query(result, "SELECT count(*) FROM evaluations")[0][0] == 600


LATE = {"space": "tests.evo.late_space:LateSpace", "options": {"functions": 60, "alphabet": 2000}}


def test_identity_found_by_the_evaluation_counts_functions_and_marks_hits(tmp_path: Path) -> None:
    result = run(tmp_path, "late", **LATE)
    assert result.status["counts"]["functional"] > 100
    rows = query(
        result,
        "SELECT p.genome, coalesce(l.function, i.function), p.id FROM proposals p JOIN identities i USING (id)"
        " LEFT JOIN late_identities l USING (id) ORDER BY p.id",
    )
    first: dict[int, int] = {}
    for genome, function, id in rows:
        assert first.setdefault(int(genome) % 60, id) == function
    assert len({leader["function"] for leader in result.leaders}) == len(result.leaders) == 50
    with RunReader(result.path) as reader:
        shown = Counter[str]()
        for _, sources in reader.sources():
            shown.update(sources)
    assert shown["functional"] == result.status["counts"]["functional"]
    assert shown["evaluated"] == 60


def test_failures_are_counted_as_they_are_committed(tmp_path: Path) -> None:
    result = run(tmp_path, "faults", **SETTINGS["faults"])
    with RunReader(result.path) as reader:
        failures = reader.failures()
    assert failures["invalid"] > 5
    assert failures == {kind: result.status["counts"][kind] for kind in failures}


def test_a_run_with_late_identity_resumes_and_extends_to_the_same_journal(tmp_path: Path) -> None:
    whole = run(tmp_path, "whole", **LATE)
    cut = stop_after(make(tmp_path, "cut", **LATE), 250)
    cut = Search.open(cut.path).run()
    assert parts(cut) == parts(whole)
    assert cut.status["counts"] == {**whole.status["counts"], "calls": cut.status["counts"]["calls"]}
    long = run(tmp_path, "long", **{**LATE, "budget": {"evaluations": 55, "stall": 3000}})
    short = run(tmp_path, "short", **{**LATE, "budget": {"evaluations": 40, "stall": 3000}})
    short = Search.open(short.path, ["budget.evaluations=55"]).run()
    assert parts(short) == parts(long)


CHAINS = {"space": "tests.evo.chain_space:ChainSpace", "options": {}}


@pytest.mark.parametrize("strategy", ["regularized", "truncation"])
def test_genomes_stored_as_links_resume_to_the_same_journal(tmp_path: Path, strategy: str) -> None:
    options = {"population": 30} if strategy == "regularized" else {"population": 60, "parents": 5, "elites": 4}
    settings = {**CHAINS, "strategy": {"name": strategy, "options": options}}
    whole = run(tmp_path, "whole", **settings)
    cut = stop_after(make(tmp_path, "cut", **settings), 250)
    cut = stop_after(Search.open(cut.path), 421)
    cut = Search.open(cut.path).run()
    assert parts(cut) == parts(whole)
    assert cut.leaders == whole.leaders
    longest = max(len(row[0]) for row in query(whole, "SELECT genome FROM proposals WHERE kind = 0"))
    assert longest < 60, "a child stores its parent's id and one link, not the whole chain"
    best = cut.leaders[0]["id"]
    assert replay(cut.path, best)["agrees"] is True
