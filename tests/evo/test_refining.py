"""`evo refine` as the engine does it: what a space is given, what is kept, what is said when it cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evo.cli.main import invoke
from evo.errors import ConfigError, DamagedRunError, RunLockedError, UsageError
from evo.refining import RESULT, read_result, refine_run
from evo.run.lock import RunLock
from evo.run.reader import RunReader
from evo.space import Preparation, Refined, Refinement
from evo.testing.noop import NoOpOptions, NoOpSpace
from tests.evo.engine import NOOP, make

SPEC = "tests.evo.test_refining:RefiningSpace"


def double(number: int) -> int:
    return 2 * number


class RefiningSpace(NoOpSpace):
    """Integers that can be refined: the one among the leaders with the most bits, halved."""

    name = "refining"
    Options = NoOpOptions
    given: list[Refinement[int]] = []

    def prepare(self, preparation: Preparation) -> str:
        return "prepared"

    def refine(self, work: Refinement[int]) -> Refined[int]:
        self.given.append(work)
        if set(work.settings) - {"quick", "stop"}:
            raise ConfigError(f"refine: unknown setting {sorted(work.settings)[0]!r}")
        work.progress(0, 2, "bits: counting")
        bits = work.map(double, [candidate.genome.bit_count() for candidate in work.leaders])
        (work.folder / "bits.json").write_text(json.dumps(bits))
        if work.settings.get("stop"):
            raise KeyboardInterrupt
        work.progress(2, 2, "bits: counting")
        best = work.leaders[bits.index(max(bits))]
        table = {"title": "bits", "headers": ["", "bits"], "rows": [[f"#{best.id}", max(bits) // 2]]}
        return Refined(
            best.genome // 2, best.id, ("counted", "halved"), {"bits": bits, "worst": float("inf"), "table": table}
        )

    def export(self, genome: int, path: Path, origin: Mapping[str, Any]) -> Path:
        path.write_text(f'"""{dict(origin)}"""\n\nGENOME = {genome}\n')
        return path


@dataclass(frozen=True)
class Runs:
    """A folder with a finished run, "first", of the space."""

    folder: Path

    @property
    def first(self) -> Path:
        return self.folder / "first"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.setenv("EVO_RUNS_DIR", str(tmp_path))
    monkeypatch.setattr(RefiningSpace, "given", [])
    options = {"rungs": 2, "hurdle": 0.3, "hurdle_after": 10, "functions": 200}
    make(tmp_path, "first", SPEC, options=options, budget={"proposals": 200, "stall": None}).run()
    return Runs(tmp_path)


def test_a_space_is_given_the_leaders_and_the_course_of_the_search(runs: Runs) -> None:
    said: list[tuple[int, int, str]] = []
    refine_run(runs.first, {"quick": True}, progress=lambda *what: said.append(what))
    (work,) = RefiningSpace.given
    with RunReader(runs.first) as run:
        rows = [row for row in run.commits() if row.kind == 0 and row.status == "ok" and row.rung == 1]
        assert [c.id for c in work.leaders][:20] == [row["id"] for row in run.leaders(20)]
        assert work.seed == run.config()["seed"]
    values = [c.values[0] for c in work.leaders]
    assert values == sorted(values)
    assert len({c.id for c in work.leaders}) == len(values) > 20
    records = [row for k, row in enumerate(rows) if row.values[0] < min((r.values[0] for r in rows[:k]), default=9.0)]
    assert [(c.id, c.values) for c in work.history] == [(row.id, row.values) for row in records]
    assert all(isinstance(c.genome, int) for c in (*work.leaders, *work.history))
    assert (work.prepared, work.settings, work.folder) == ("prepared", {"quick": True}, runs.first / "refined")
    assert said[0] == (0, 2, "bits: counting")


def test_the_result_and_its_module_are_kept(runs: Runs) -> None:
    refined = refine_run(runs.first, {})
    result = read_result(runs.first)
    assert result is not None
    assert refined.path == runs.first / "refined" / RESULT
    assert result["genome"] == refined.refined.genome
    assert (result["run"], result["seed"], result["proposals"]) == ("first", 7, 200)
    assert (result["steps"], result["evidence"]["worst"]) == (["counted", "halved"], "inf")
    assert refined.module == runs.first / "refined" / "refiningspace_refined.py"
    text = refined.module.read_text()
    assert f"GENOME = {refined.refined.genome}" in text
    assert "'refinement 2': 'halved'" in text
    before = refined.path.read_bytes()
    refine_run(runs.first, {})
    assert refined.path.read_bytes() == before


def test_the_run_itself_is_not_touched(runs: Runs) -> None:
    before = (runs.first / "run.db").read_bytes()
    with RunLock(runs.first):  # a search may still be at work
        refine_run(runs.first, {})
    assert (runs.first / "run.db").read_bytes() == before


def test_two_refinements_of_a_run_exclude_each_other(runs: Runs) -> None:
    (runs.first / "refined").mkdir()
    with RunLock(runs.first / "refined"), pytest.raises(RunLockedError):
        refine_run(runs.first, {})


def test_maximised_objectives_rise_along_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evo.space import Objective

    monkeypatch.setattr(RefiningSpace, "given", [])
    original = NoOpSpace.__init__

    def maximising(self: Any, options: Any = None) -> None:
        original(self, options)
        self.objectives = (Objective("score", "maximise"),)

    monkeypatch.setattr(NoOpSpace, "__init__", maximising)
    refine_run(make(tmp_path, "up", SPEC, budget={"proposals": 80, "stall": None}).run().path, {})
    (work,) = RefiningSpace.given
    course = [c.values[0] for c in work.history]
    assert course == sorted(course)
    assert len(course) > 1
    assert work.leaders[0].values[0] == course[-1]


def test_a_space_without_refinement_says_so(tmp_path: Path) -> None:
    path = make(tmp_path, "plain", NOOP, budget={"proposals": 30, "stall": None}).run().path
    with pytest.raises(UsageError, match="refines nothing"):
        refine_run(path, {})
    assert not (path / "refined").exists()


def test_a_run_without_values_says_so(tmp_path: Path) -> None:
    path = make(tmp_path, "sad", SPEC, options={"faults": {"raises": 1}}, budget={"proposals": 30, "stall": None}).run()
    with pytest.raises(UsageError, match="no candidate with a value"):
        refine_run(path.path, {})


def test_a_broken_result_says_so(runs: Runs) -> None:
    (runs.first / "refined").mkdir()
    (runs.first / "refined" / RESULT).write_text("{")
    with pytest.raises(DamagedRunError, match="evo refine first"):
        read_result(runs.first)


# The command line.


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def evo(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def call(*arguments: str) -> Said:
        capsys.readouterr()
        code = invoke([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return call


def test_refine_prints_steps_table_source_module_and_what_comes_next(runs: Runs, evo: Callable[..., Said]) -> None:
    said = evo("refine", "first")
    assert said.code == 0, said.err
    module = next((runs.first / "refined").glob("*_refined.py"))
    for words in ("1. counted", "2. halved", "bits", "refined, from candidate #", f"module       {module}",
                  "evo report first", "bits: counting 0/2", "evo export first --refined"):  # fmt: skip
        assert words in said.out
    assert "evo judge" not in said.out
    assert evo("refine", "first", "-q").out == f"{module}\n"
    found = json.loads(evo("refine", "first", "--json", "--quick").out)
    assert (found["settings"], found["module"]) == ({"quick": True}, str(module))


def test_ctrl_c_says_how_to_go_on(runs: Runs, evo: Callable[..., Said]) -> None:
    said = evo("refine", "first", "--set", "stop=true", "--quick")
    assert said.code == 130
    assert "To go on: evo refine first --set 'stop=true' --quick" in said.err
    assert not (runs.first / "refined" / RESULT).exists()
    assert evo("refine", "first").code == 0  # the lock is free again


def test_wrong_requests_are_told(runs: Runs, evo: Callable[..., Said]) -> None:
    for arguments, words in (
        (("--set", "nonsense=1"), "nonsense"), (("--set", "nonsense"), "KEY=VALUE"),
        (("--set", "quick=[1"), "not valid YAML"), (("--workers", "none"), "not a number of workers"),
    ):  # fmt: skip
        said = evo("refine", "first", *arguments)
        assert said.code == 2
        assert words in said.err
    assert evo("refine", "nothing").code == 2


def test_what_was_refined_can_be_exported(runs: Runs, evo: Callable[..., Said], tmp_path: Path) -> None:
    said = evo("export", "first", "--refined")
    assert said.code == 2
    assert "evo refine first" in said.err
    evo("refine", "first", "-q")
    said = evo("export", "first", "--refined", "-o", tmp_path / "mine.py", "--test")
    assert said.code == 0, said.err
    result = read_result(runs.first)
    assert result is not None
    assert f"GENOME = {result['genome']}" in (tmp_path / "mine.py").read_text()
    assert f"what was refined from #{result['candidate']}" in said.out
    assert evo("export", "first", "3", "--refined").code == 2
    assert "exported #3" in evo("export", "first", "3").out
