"""Reading a run: what it tells, beside a live writer, and what is broken."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.errors import CandidateNotFoundError, DamagedRunError, RunLockedError, RunNotFoundError, SchemaError
from evo.run.folder import last_written, list_runs, new_run_name, resolve_run
from evo.run.reader import RunReader, floats
from tests.evo.cli.fake_run import Rules, write_run

N = 500


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "rules-a", n=N)


def copy_of(run: Path, folder: Path) -> Path:
    target = folder / "copy"
    target.mkdir()
    (target / "run.db").write_bytes((run / "run.db").read_bytes())
    return target


@given(st.lists(st.floats(allow_nan=False), max_size=9))
def test_stored_vectors_read_back_to_the_bit(values: list[float]) -> None:
    assert list(floats(struct.pack(f"<{len(values)}d", *values))) == values


def test_a_candidate_is_told_whole(run: Path) -> None:
    with RunReader(run) as reader:
        best = reader.resolve("best")
        found = reader.candidate(best)
    assert found["status"] == "ok"
    assert found["genome"]
    assert found["function"] <= best
    assert {o["rung"] for o in found["observations"]} == {"short", "long"}
    assert found["leader"]["id"] == best
    assert found["reevaluates"] is None


def test_a_hit_shows_the_observations_of_its_function(run: Path) -> None:
    with RunReader(run) as reader:
        hit = next(row for row in reader.commits() if row.source == "structural" and row.status == "ok")
        found = reader.candidate(hit.id)
        assert found["function"] < hit.id
        assert found["observations"] == reader.candidate(found["function"])["observations"]
        assert found["evaluations"] == []


def test_commits_stream_in_id_order_and_in_pieces(run: Path) -> None:
    with RunReader(run) as reader:
        ids = [row.id for row in reader.commits()]
        assert ids == list(range(N))
        assert [row.id for row in reader.commits(after=99, limit=5)] == [100, 101, 102, 103, 104]
        assert reader.proposals() == N


def test_lineage_runs_from_the_seed_and_children_point_back(run: Path) -> None:
    with RunReader(run) as reader:
        best = reader.resolve("best")
        line = reader.lineage(best)
        assert line[0].parents == ()
        assert line[-1].id == best
        for row in line[1:]:
            assert row.id in reader.children(row.parents[0])
            assert row.id in reader.children(row.parents[0], within=row.id - row.parents[0])
        assert [row.id for row in reader.lineage(best, limit=3)] == [row.id for row in line[-3:]]


def test_children_are_found_among_several_parents_and_not_by_a_part_of_an_id(run: Path, tmp_path: Path) -> None:
    copy = copy_of(run, tmp_path)
    with sqlite3.connect(copy / "run.db") as db:
        for offset, parents in enumerate(("[7]", "[7,12]", "[12,7]", "[1,7,12]", "[77]", "[17,70]", "[]")):
            row = (N + offset, json.dumps([]), parents)
            db.execute("INSERT INTO proposals VALUES (?, 0, ?, ?, 'x', 0, NULL)", row)
    with RunReader(copy) as reader:
        assert [child for child in reader.children(7) if child >= N] == [N, N + 1, N + 2, N + 3]


def test_leaders_beyond_those_stored_are_ranked_from_commits(run: Path) -> None:
    with RunReader(run) as reader:
        stored = reader.status()["leaders"]
        leaders = reader.leaders(200)
        assert leaders[: len(stored)] == stored
        functions = [leader["function"] for leader in leaders]
        assert len(set(functions)) == len(functions) > 50
        assert reader.leaders(3) == stored[:3]


def test_leaders_are_found_without_a_status_row(run: Path, tmp_path: Path) -> None:
    copy = copy_of(run, tmp_path)
    with RunReader(run) as reader:
        expected = [leader["values"] for leader in reader.leaders(5)]
    with sqlite3.connect(copy / "run.db") as db:
        db.execute("DELETE FROM status")
    with RunReader(copy) as reader:
        assert reader.status() == {}
        assert [leader["values"] for leader in reader.leaders(5)] == expected


def test_reevaluations_show_the_genome_they_evaluate(run: Path, tmp_path: Path) -> None:
    copy = copy_of(run, tmp_path)
    with sqlite3.connect(copy / "run.db") as db:
        body = json.dumps({"rung": "long", "replicates": [5]})
        db.execute("INSERT INTO proposals VALUES (?, 1, ?, '[3]', 'reevaluate', 0, NULL)", (N, body))
        db.execute("INSERT INTO identities VALUES (?, 0, 'reevaluated', NULL, NULL, NULL, 0)", (N,))
        db.execute(
            "INSERT INTO observations VALUES (0, 'long', 99, ?, 'ok', ?, NULL, NULL, NULL, NULL)",
            (N, struct.pack("<d", 0.5)),
        )
    with RunReader(copy) as reader:
        found = reader.candidate(N)
        assert found["reevaluates"] == 3
        assert found["genome"] == reader.genome(3)
        assert [o["seed"] for o in found["observations"] if o["request"] == N] == [99]
        assert N not in [o["request"] for o in reader.candidate(0)["observations"]]


def test_sources_errors_and_failures_add_up(run: Path) -> None:
    with RunReader(run) as reader:
        bins = reader.sources(bins=20)
        assert sum(sum(counts.values()) for _, counts in bins) == N
        assert len(bins) <= 20
        assert sum(reader.failures().values()) > 0
        assert {error["status"] for error in reader.errors()} <= {"nan", "failed", "timeout"}
        assert reader.audits() == {"audits": 5, "disagreements": 0}
        assert [event["kind"] for event in reader.events(1)] == ["executor"]


@pytest.mark.parametrize("name", ["99999", "-1", "first", "", "1.5", str(10**30)])
def test_candidates_that_are_not_there(run: Path, name: str) -> None:
    with RunReader(run) as reader, pytest.raises(CandidateNotFoundError) as caught:
        reader.resolve(name)
    assert caught.value.hint


# ------------------------------------------------------------------ beside a writer


def test_reading_a_finished_run_leaves_no_file_behind(run: Path) -> None:
    before = sorted(os.listdir(run))
    with RunReader(run) as reader:
        reader.candidate(0)
    assert sorted(os.listdir(run)) == before == ["run.db"]


def test_a_reader_sees_what_a_writer_commits_after_it_was_opened(run: Path, tmp_path: Path) -> None:
    copy = copy_of(run, tmp_path)
    with RunReader(copy) as reader:
        assert reader.status()["state"] == "finished"
        writer = sqlite3.connect(copy / "run.db", isolation_level=None)
        writer.execute("PRAGMA journal_mode=WAL")
        for state in ("running", "stopped"):
            writer.execute("UPDATE status SET state = ?", (json.dumps({"state": state}),))
            assert reader.status()["state"] == state
        writer.execute("BEGIN")
        writer.execute("UPDATE status SET state = ?", (json.dumps({"state": "unseen"}),))
        assert reader.status()["state"] == "stopped"
        writer.execute("ROLLBACK")
        writer.close()
        assert reader.status()["state"] == "stopped"


def test_a_reader_sees_a_session_that_came_and_went(run: Path, tmp_path: Path) -> None:
    copy = copy_of(run, tmp_path)
    with RunReader(copy) as reader:
        assert reader.status()["state"] == "finished"
        with sqlite3.connect(copy / "run.db") as writer:
            writer.execute("UPDATE status SET state = ?", (json.dumps({"state": "running", "pad": "x" * 9999}),))
        writer.close()
        assert reader.status()["state"] == "running"


def test_a_run_that_lets_nobody_in_is_read_from_its_status_file(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evo.run.database.BUSY_S", 0.01)
    copy = copy_of(run, tmp_path)
    writer = sqlite3.connect(copy / "run.db", isolation_level=None)
    writer.execute("PRAGMA locking_mode=EXCLUSIVE")
    writer.execute("PRAGMA journal_mode=TRUNCATE")
    writer.execute("BEGIN EXCLUSIVE")
    (copy / "run.db-wal").touch()  # the reader must not take the file for immutable
    with pytest.raises(RunLockedError):
        RunReader(copy)
    (copy / "status.json").write_text(json.dumps({"state": "running"}))
    with RunReader(copy) as reader:
        assert reader.status() == {"state": "running"}
    writer.close()


# ------------------------------------------------------------------ broken and foreign


def test_a_missing_database_is_told(tmp_path: Path) -> None:
    with pytest.raises(DamagedRunError, match="missing"):
        RunReader(tmp_path)


@pytest.mark.parametrize("content", [b"not a database at all" * 99, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_what_is_no_database_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.db").write_bytes(content)
    with pytest.raises(DamagedRunError) as caught:
        RunReader(tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"", None])
def test_a_foreign_database_is_told(tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        with sqlite3.connect(tmp_path / "run.db") as db:
            db.execute("CREATE TABLE other (a)")
    else:
        (tmp_path / "run.db").write_bytes(content)
    with pytest.raises(DamagedRunError, match="no run of evo"):
        RunReader(tmp_path)


def test_a_torn_database_is_told_when_the_torn_part_is_read(run: Path, tmp_path: Path) -> None:
    copy = copy_of(run, tmp_path)
    data = bytearray((copy / "run.db").read_bytes())
    data[8192:] = b"\x5a" * (len(data) - 8192)
    (copy / "run.db").write_bytes(data)
    with pytest.raises(DamagedRunError) as caught, RunReader(copy) as reader:
        list(reader.commits())
    assert "copy" in caught.value.hint


def test_another_schema_names_both_versions_and_who_wrote_it(run: Path, tmp_path: Path) -> None:
    copy = copy_of(run, tmp_path)
    with sqlite3.connect(copy / "run.db") as db:
        db.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    with pytest.raises(SchemaError, match=r"schema version 99 \(evo 0\.1\.0\)") as caught:
        RunReader(copy)
    assert "version of evo" in caught.value.hint


# ------------------------------------------------------------------ names


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("named")
    for index, name in enumerate(("alpha-1", "alpha-2", "beta-1")):
        write_run(folder / name, n=3)
        os.utime(folder / name / "run.db", (1000 + index, 1000 + index))
    (folder / "no-run").mkdir()
    return folder


def test_runs_are_named_by_path_name_prefix_and_latest(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_run(runs / "alpha-1") == runs / "alpha-1"
    assert resolve_run(runs / "alpha-1" / "run.db") == runs / "alpha-1"
    assert resolve_run("alpha-2", runs) == runs / "alpha-2"
    assert resolve_run("be", runs) == runs / "beta-1"
    assert resolve_run("latest", runs) == runs / "beta-1"
    monkeypatch.setenv("EVO_RUNS_DIR", str(runs))
    assert resolve_run("beta-1") == runs / "beta-1"
    assert [path.name for path in list_runs(runs)] == ["beta-1", "alpha-2", "alpha-1"]


def test_a_live_log_makes_a_run_the_latest(runs: Path) -> None:
    log = runs / "alpha-1" / "run.db-wal"
    log.touch()
    assert last_written(runs / "alpha-1") == 1000
    log.write_bytes(b"x")
    assert resolve_run("latest", runs) == runs / "alpha-1"
    log.unlink()


@pytest.mark.parametrize(
    ("name", "words", "hint"),
    [
        ("alpha", "fits 2 runs in .*: alpha-1, alpha-2", "more of the name"),
        ("alpah-1", "no run called 'alpah-1'", "did you mean alpha-1"),
        ("zzz", "no run called 'zzz'", "`evo list`"),
        ("", "no run called ''", ""),
    ],
)
def test_names_that_fit_no_run_or_several(runs: Path, name: str, words: str, hint: str) -> None:
    with pytest.raises(RunNotFoundError, match=words) as caught:
        resolve_run(name, runs)
    assert hint in caught.value.hint


def test_a_folder_that_is_no_run_and_a_folder_without_runs(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match=r"holds no run\.db"):
        resolve_run(runs / "no-run")
    with pytest.raises(RunNotFoundError, match="there is no run in"):
        resolve_run("latest", tmp_path)


def test_new_names_tell_the_space_and_differ() -> None:
    first, second = new_run_name("lion"), new_run_name("lion")
    assert first.startswith("lion-")
    assert first != second
    assert new_run_name("my.module:MySpace").startswith("myspace-")


def test_figures_of_a_space_can_be_drawn_from_the_reader(run: Path) -> None:
    with RunReader(run) as reader:
        assert "<table>" in next(iter(Rules().figures(reader))).html
