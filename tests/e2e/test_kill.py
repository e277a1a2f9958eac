"""`kill -9` of the driver at any instant: nothing stored is lost or done again, and the journal ends the same."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evo.run.journal import journal_parts
from tests.evo.engine import query

ROOT = Path(__file__).resolve().parents[2]


def drive(folder: Path, name: str, setting: str, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.drive", str(folder), name, setting, *more],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process: subprocess.Popen[bytes]) -> int:
    _, errors = process.communicate(timeout=120)
    assert process.returncode in (0, -9), errors.decode()
    return process.returncode


def stored(path: Path) -> set[tuple[object, ...]]:
    if not (path / "run.db").exists():
        return set()
    return set(query(path, "SELECT function, rung, seed, request, vals FROM observations"))


def check(path: Path, whole: Path, setting: str) -> None:
    evaluations = query(path, "SELECT id, rung, count(*) FROM evaluations GROUP BY id, rung HAVING count(*) > 1")
    audited = {row[0] for row in query(path, "SELECT id FROM audits")}
    assert [row for row in evaluations if row[0] not in audited] == []
    if setting == "throughput":
        assert query(path, "SELECT count(*) FROM commits") == [(600,)]
    else:
        assert journal_parts(path) == journal_parts(whole)
    audits = "SELECT id, agrees FROM audits ORDER BY id"
    if setting == "hurdle":
        assert query(path, audits) == query(whole, audits)


@pytest.fixture(scope="module")
def whole_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    found = {}
    for setting in ("hurdle", "elites"):
        assert finish(drive(folder, setting, setting)) == 0
        found[setting] = folder / setting
    ((again, salts),) = query(found["elites"], "SELECT sum(kind), count(DISTINCT salt) FROM proposals")
    assert again > 20
    assert salts > 5
    assert query(found["hurdle"], "SELECT count(*) FROM commits WHERE status = 'stopped'")[0][0] > 30
    assert query(found["hurdle"], "SELECT count(*) FROM audits")[0][0] > 5
    found["throughput"] = found["hurdle"]
    return found


@pytest.mark.parametrize("setting", ["hurdle", "elites", "throughput"])
def test_killed_before_chosen_writes(tmp_path: Path, whole_runs: dict[str, Path], setting: str) -> None:
    """The run is killed again and again, each session a little further on, until it gets through."""
    writes, before, kills = 9, set(), 0
    while True:
        code = finish(drive(tmp_path, "run", setting, str(writes)))
        now = stored(tmp_path / "run")
        assert before <= now
        if code == 0:
            break
        before, kills = now, kills + 1
        writes = writes * 2 + 7
    assert kills >= 4
    check(tmp_path / "run", whole_runs[setting], setting)


def kill_at_random(folder: Path, whole: Path, setting: str, seed: int) -> int:
    moments = random.Random(seed)
    before: set[tuple[object, ...]] = set()
    kills = 0
    for _ in range(3):
        process = drive(folder, "run", setting)
        time.sleep(moments.uniform(0.4, 2.2))
        process.kill()
        if finish(process) == 0:
            break
        kills += 1
        now = stored(folder / "run")
        assert before <= now
        before = now
    assert finish(drive(folder, "run", setting)) == 0
    assert before <= stored(folder / "run")
    check(folder / "run", whole, setting)
    return kills


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_a_random_moment(tmp_path: Path, whole_runs: dict[str, Path], seed: int) -> None:
    kill_at_random(tmp_path, whole_runs["elites"], "elites", seed)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_twenty_five_times_at_random_moments(tmp_path: Path, whole_runs: dict[str, Path]) -> None:
    kills, seed = 0, 100
    while kills < 25:
        setting = ("hurdle", "elites")[seed % 2]
        folder = tmp_path / str(seed)
        folder.mkdir()
        kills += kill_at_random(folder, whole_runs[setting], setting, seed)
        seed += 1
