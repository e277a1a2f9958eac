"""What a resumed run must know of its earlier sessions, beside what the next proposals are."""

from __future__ import annotations

import json
import sqlite3
import struct
from pathlib import Path
from typing import Any

import pytest

from evo.errors import ConfigError
from evo.run.store import dump
from evo.search import Search
from evo.seeds import Streams
from evo.testing.noop import NoOpSpace
from tests.evo.engine import NOOP, make, parts, query, run, stop_after
from tests.evo.odd_spaces import HERE

MANY_HITS = {"alphabet": 400, "functions": 90}
LATE = {"space": "tests.evo.late_space:LateSpace", "options": {"functions": 60, "alphabet": 2000}}


def in_parts(folder: Path, name: str, *cuts: int, **settings: Any) -> Any:
    """A run that was stopped at each of `cuts` and resumed to its end."""
    result = stop_after(make(folder, name, **settings), cuts[0])
    for cut in cuts[1:]:
        result = stop_after(Search.open(result.path), cut)
    assert result.state == "stopped"
    return Search.open(result.path).run()


@pytest.mark.parametrize("late", [False, True])
def test_budget_stall_counts_over_sessions(tmp_path: Path, late: bool) -> None:
    settings = {**(LATE if late else {"options": {"alphabet": 60}}), "budget": {"stall": 200}}
    whole = run(tmp_path, "whole", **settings)
    ((functions, ends),) = query(
        whole,
        "SELECT count(*), max(i.id) FROM identities i LEFT JOIN late_identities l USING (id)"
        " WHERE coalesce(l.function, i.function) = i.id",
    )
    assert functions == 60
    total = whole.status["counts"]["proposals"]
    assert ends + 200 < total <= ends + 200 + (70 if late else 17)
    cut = in_parts(tmp_path, "cut", 100, ends + 40, ends + 120, ends + 180, **settings)
    assert cut.reason == whole.reason == "budget.stall"
    assert parts(cut) == parts(whole)


def test_the_count_of_new_functions_goes_on_where_it_was(tmp_path: Path) -> None:
    settings = {"options": MANY_HITS, "budget": {"evaluations": 85}}
    whole = run(tmp_path, "whole", **settings)
    cut = in_parts(tmp_path, "cut", 90, 170, **settings)
    assert parts(cut) == parts(whole)
    assert cut.status["counts"]["evaluations"] == 85


def test_a_target_reached_in_an_earlier_session_is_reached(tmp_path: Path) -> None:
    result = run(tmp_path, "run")
    ((told,),) = query(result, "SELECT max(told) FROM chunks")
    values = sorted(struct.unpack("<d", v)[0] for (v,) in query(result, f"SELECT vals FROM commits WHERE id < {told}"))
    again = Search.open(result.path, [f"budget.target={values[0]!r}", "budget.proposals=+400"]).run()
    assert again.reason == "budget.target"
    assert again.status["counts"]["proposals"] == 600


def test_a_target_ends_a_run_in_parts_where_it_ends_a_whole_one(tmp_path: Path) -> None:
    settings = {"budget": {"target": 0.004}}
    whole = run(tmp_path, "whole", **settings)
    total = whole.status["counts"]["proposals"]
    assert total > 100
    cut = in_parts(tmp_path, "cut", 33, total - 40, **settings)
    assert cut.reason == whole.reason == "budget.target"
    assert parts(cut) == parts(whole)


def test_seconds_of_earlier_sessions_count_towards_the_wall(tmp_path: Path) -> None:
    result = stop_after(make(tmp_path, "run"), 100)
    with sqlite3.connect(result.path / "run.db") as db:
        (status,) = db.execute("SELECT state FROM status").fetchone()
        db.execute("UPDATE status SET state = ?", (json.dumps({**json.loads(status), "elapsed_s": 5000.0}),))
    proposed = query(result, "SELECT count(*) FROM proposals")
    result = Search.open(result.path, ["budget.wall=4000"]).run()
    assert result.reason == "budget.wall"
    assert result.status["elapsed_s"] >= 5000.0
    assert query(result, "SELECT count(*) FROM proposals") == proposed


def test_a_resume_under_another_namespace_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(tmp_path, "whole")
    cut = stop_after(make(tmp_path, "cut"), 200)
    with monkeypatch.context() as patch:
        true = NoOpSpace.namespace
        patch.setattr(NoOpSpace, "namespace", lambda self: {**true(self), "probe": "2"})
        with pytest.raises(ConfigError, match="probe was '1', is '2'"):
            Search.open(cut.path).run()
    assert parts(Search.open(cut.path).run()) == parts(whole)


def test_each_due_audit_is_made_once_also_over_sessions(tmp_path: Path) -> None:
    settings = {
        "options": {**MANY_HITS, "noise": 0.3, "faults": {"nan": 9}},
        "identity": {"audit": 0.4},
        "strategy": {"name": "regularized", "options": {"population": 50}},
    }
    whole = run(tmp_path, "whole", **settings)
    cut = in_parts(tmp_path, "cut", 70, 75, 133, 301, 302, 500, **settings)
    audits = query(whole, "SELECT * FROM audits ORDER BY id")
    assert query(cut, "SELECT * FROM audits ORDER BY id") == audits
    hits = query(
        whole,
        "SELECT id FROM identities JOIN commits USING (id) WHERE status = 'ok'"
        " AND source IN ('structural', 'functional', 'twin') ORDER BY id",
    )
    streams = Streams(7)
    assert [row[0] for row in audits] == [id for (id,) in hits if streams(id, "audit").random() < 0.4]
    assert cut.status["counts"]["audits"] == whole.status["counts"]["audits"] == len(audits) > 100


def test_what_the_cache_gave_stays_given_over_sessions(tmp_path: Path) -> None:
    """Stops leave imported candidates behind an open block, with rungs above that only the cache can give."""
    settings: dict[str, Any] = {
        "options": {"rungs": 3, "hurdle": 0.2, "hurdle_after": 10, "functions": 300, "alphabet": 9000},
        "identity": {"cache": str(tmp_path / "cache.db")},
        "loop": {"chunk": 5, "lag": 40, "block": 16, "span": 40, "snapshot_every": 100},
        "budget": {"proposals": 350},
    }
    run(tmp_path, "warms", **{**settings, "seed": 3, "budget": {"proposals": 90}})
    cut = make(tmp_path, "cut", **settings)
    stop_after(cut, 5)
    whole = run(tmp_path, "whole", **settings)  # publishes, but after the other run noted how far the cache reached
    waiting = 0
    for stop in (12, 20, 55, 65, 90, 95, 102, 130, 142, 200):
        result = stop_after(cut, stop)
        waiting += query(
            result,
            "SELECT count(*) FROM identities i LEFT JOIN commits c USING (id) WHERE c.id IS NULL AND source ="
            " 'imported' AND NOT EXISTS (SELECT 1 FROM observations o WHERE function = i.id AND o.rung = 'rung1')",
        )[0][0]
        cut = Search.open(result.path)
    result = cut.run()
    assert waiting > 5
    calls = "SELECT id, rung FROM evaluations ORDER BY id, rung"
    assert query(result, calls) == query(whole, calls)
    assert parts(result) == parts(whole)
    assert result.status["counts"]["imported"] == whole.status["counts"]["imported"] > 40


def test_a_repeat_evaluated_afresh_keeps_its_own_seeds_over_sessions(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "options": {**MANY_HITS, "noise": 0.3},
        "identity": {"forget": 2},
        "loop": {"chunk": 5, "lag": 40, "block": 16, "span": 40, "snapshot_every": 100},
        "budget": {"proposals": 300},
    }
    whole = run(tmp_path, "whole", **settings)
    cut = make(tmp_path, "cut", **settings)
    waiting = 0
    for stop in (97, 105, 122, 146, 163, 190, 205, 230):
        result = stop_after(cut, stop)
        waiting += query(
            result,
            "SELECT count(*) FROM identities i LEFT JOIN commits c USING (id)"
            " WHERE c.id IS NULL AND i.miss AND i.function != i.id",
        )[0][0]
        cut = Search.open(result.path)
    assert waiting > 5
    assert parts(cut.run()) == parts(whole)


def test_infinities_in_genomes_and_extras_survive(tmp_path: Path) -> None:
    settings = {"space": f"{HERE}:Unbounded"}
    whole = run(tmp_path, "whole", **settings)
    cut = in_parts(tmp_path, "cut", 90, 300, **settings)
    assert parts(cut) == parts(whole)
    genomes = [json.loads(g) for (g,) in query(cut, "SELECT genome FROM proposals")]
    extras = [json.loads(e) for (e,) in query(cut, "SELECT extra FROM commits ORDER BY id")]
    assert {g[1] for g in genomes} >= {float("inf"), float("-inf")}
    assert [e["spread"] for e in extras] == [g[1] for g in genomes]
    assert all(e["none"] is None for e in extras)
    assert dump([1.5, None]) == "[1.5,null]"


def test_run_goes_on_when_called_again_after_a_stop(tmp_path: Path) -> None:
    whole = run(tmp_path, "whole")
    search = make(tmp_path, "run")
    assert stop_after(search, 100).state == "stopped"
    assert stop_after(search, 300).state == "stopped"
    result = search.run()
    assert query(result, "SELECT count(*) FROM events WHERE kind = 'session'") == [(3,)]
    assert result.state == "finished"
    assert parts(result) == parts(whole)
    assert search.run().status["counts"]["proposals"] == 600


def test_a_run_made_with_relative_paths_resumes_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    settings = {"options": MANY_HITS, "identity": {"cache": "cache.db"}}
    monkeypatch.chdir(here)
    warm = run(Path("runs"), "warm", **settings)
    cut = stop_after(make(Path("runs"), "cut", **settings), 100)
    path = (here / "runs" / "cut").resolve()
    assert cut.path.resolve() == path
    monkeypatch.chdir(there)
    cut = stop_after(Search.open(path), 200)
    cut = Search.open("../here/runs/cut").run()
    assert list(there.iterdir()) == []
    assert parts(cut)["commits"] == parts(here / "runs" / "warm")["commits"]
    assert cut.status["counts"]["imported"] == warm.status["counts"]["evaluations"] == 90


def test_reports_and_space_are_those_of_the_run(tmp_path: Path) -> None:
    result = run(tmp_path, "run", options=MANY_HITS, report={"candidates": 3, "seeds": 2})
    rows = [json.loads(row) for (row,) in query(result, "SELECT row FROM reports")]
    assert [row["candidate"] for row in rows] == [leader["id"] for leader in result.leaders[:3]]
    assert all(len(row["values"]) == 2 for row in rows)
    again = Search.open(result.path, ["budget.proposals=+50"]).run()
    assert len(query(again, "SELECT row FROM reports")) == 3
    assert again.status["space"] == NOOP
