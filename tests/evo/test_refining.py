"""`evo refine` as the engine does it: what a space is given, what is kept, what is said when it cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evo.cli.main import invoke
from evo.errors import ConfigError, DamagedRunError, RunLockedError, UsageError
from evo.refining import RESULT, history_of, read_result, refine_run, refined_name
from evo.run.lock import RunLock
from evo.run.reader import Committed, RunReader
from evo.space import BaseSpace, Preparation, Refined, Refinement
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
    stem = f"refiningspace_first_{refined.refined.candidate}_refined"
    assert refined.path == runs.first / "refined" / f"{stem}.json"
    assert json.loads((runs.first / "refined" / RESULT).read_text()) == result
    assert result["genome"] == refined.refined.genome
    assert (result["run"], result["seed"], result["proposals"]) == ("first", 7, 200)
    assert (result["steps"], result["evidence"]["worst"]) == (["counted", "halved"], "inf")
    assert refined.module == runs.first / "refined" / f"{stem}.py"
    assert result["module"] == refined.module.name
    text = refined.module.read_text()
    assert f"GENOME = {refined.refined.genome}" in text
    assert "'refinement 2': 'halved'" in text
    before = {path: path.read_bytes() for path in (runs.first / "refined").iterdir()}
    again = refine_run(runs.first, {})
    assert (again.path, again.earlier) == (refined.path, ())
    assert {path: path.read_bytes() for path in (runs.first / "refined").iterdir()} == before


def test_a_refinement_with_other_settings_leaves_the_first_alone(runs: Runs) -> None:
    first = refine_run(runs.first, {})
    assert first.module is not None
    kept = {path: path.read_bytes() for path in (first.path, first.module)}
    quick = refine_run(runs.first, {"quick": True})
    other = refine_run(runs.first, {"quick": True, "stop": False})
    assert {path: path.read_bytes() for path in kept} == kept
    assert quick.module is not None
    assert quick.module.stem == f"{first.module.stem}_quick"
    assert len({refined.module for refined in (first, quick, other)}) == 3
    assert quick.earlier == (first.path,)
    assert set(other.earlier) == {first.path, quick.path}
    latest = read_result(runs.first)
    assert latest is not None
    assert other.module is not None
    assert latest["module"] == other.module.name


def test_a_refinement_of_a_run_that_went_on_leaves_the_first_alone(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    first = refine_run(runs.first, {})
    before = first.path.read_bytes()
    original = RefiningSpace.refine

    def otherwise(self: RefiningSpace, work: Refinement[int]) -> Refined[int]:
        return replace(original(self, work), steps=("counted more",))

    monkeypatch.setattr(RefiningSpace, "refine", otherwise)
    second = refine_run(runs.first, {})
    assert first.path.read_bytes() == before
    assert second.path == first.path.with_name(f"{first.path.stem}_2.json")
    assert second.earlier == (first.path,)
    assert refine_run(runs.first, {}).path == second.path


@pytest.mark.parametrize(
    ("space", "run", "settings", "name"),
    [
        ("lion", "lion-20261123-2145-3509", {}, "lion_20261123_2145_3509_7_refined"),
        ("lion", "mine", {"quick": True}, "lion_mine_7_refined_quick"),
        ("my.pack:Space", "r 1", {"quick": False}, "space_r_1_7_refined"),
    ],
)
def test_what_is_refined_is_named_after_run_candidate_and_settings(
    space: str, run: str, settings: dict[str, Any], name: str
) -> None:
    def named(given: dict[str, Any]) -> str:
        return refined_name({"space": space, "run": run, "candidate": 7, "settings": given})

    assert named(settings) == name
    others = {named({**settings, "final_seeds": n}) for n in (1, 2)}
    assert len(others) == 2
    assert all(other.startswith(f"{name}_") for other in others)


def test_the_run_itself_is_not_touched(runs: Runs) -> None:
    before = (runs.first / "run.db").read_bytes()
    with RunLock(runs.first):  # a search may still be at work
        refine_run(runs.first, {})
    assert (runs.first / "run.db").read_bytes() == before


def test_two_refinements_of_a_run_exclude_each_other(runs: Runs) -> None:
    (runs.first / "refined").mkdir()
    with RunLock(runs.first / "refined"), pytest.raises(RunLockedError):
        refine_run(runs.first, {})


@dataclass
class Told:
    """A run as `history_of` reads it: rungs of 2 replicates, one observed objective, and a cost behind it."""

    rows: list[Committed]
    again: dict[int, list[float]]
    direction: str = "minimise"

    def objectives(self) -> list[dict[str, Any]]:
        return [
            {"name": "loss", "direction": self.direction, "cost": False},
            {"name": "length", "direction": "minimise", "cost": True},
        ]

    def rungs(self) -> list[dict[str, Any]]:
        return [{"name": "only", "replicates": 2, "hurdle": None}]

    def commits(self) -> list[Committed]:
        return self.rows

    def observations(self, candidate: int, function: int | None) -> list[dict[str, Any]]:
        of_function = [{"seed": 1, "request": 0, "status": "ok", "values": [99.0]}]
        own = [
            {"seed": 100 * candidate + k, "request": candidate, "status": "ok", "values": [value]}
            for k, value in enumerate(self.again[candidate])
        ]
        return of_function + own

    def genome(self, candidate: int) -> int:
        return candidate


def committed(
    id: int, value: float, *, function: int | None = None, again: int | None = None, status: str = "ok"
) -> Any:
    values = (value, float(id)) if status == "ok" else ()
    return Committed(
        id, status, 0 if values else -1, values, None, None, "", () if again is None else (again,),
        (id if again is None else again) if function is None else function, None, True, 0 if again is None else 1,
    )  # fmt: skip


def history(told: Told) -> list[tuple[int, tuple[float, ...]]]:
    return [(c.id, c.values) for c in history_of(told, NoOpSpace())]  # type: ignore[arg-type]


def test_the_course_of_the_search_goes_by_means_over_all_observations() -> None:
    rows = [
        committed(0, 1.0), committed(1, 0.5), committed(2, 0.75), committed(3, 0.625),
        committed(4, 0.0, again=1), committed(5, 0.0, again=2), committed(6, 0.5, function=3), committed(7, 0.1),
        committed(8, 0.0, again=3),
    ]  # fmt: skip
    # 1 was lucky: 2 x 0.5 and two at 1.5 make 1.0; 2 stays at 0.75; 3 comes to 0.6875; 7 leads, but by its first score
    told = Told(rows, {4: [1.5, 1.5], 5: [0.75], 8: [0.75, 0.75]})
    assert history(told) == [(0, (1.0, 0.0)), (2, (0.75, 2.0)), (3, (0.6875, 3.0))]


def test_without_re_evaluations_first_scores_are_all_there_is() -> None:
    rows = [committed(0, 1.0), committed(1, 0.5), committed(2, 0.8), committed(3, 0.4)]
    assert [id for id, _ in history(Told(rows, {}))] == [0, 1, 3]
    assert [id for id, _ in history(Told(rows, {}, "maximise"))] == [0]


def test_a_function_that_failed_when_evaluated_again_is_no_record() -> None:
    rows = [
        committed(0, 1.0), committed(1, 0.5), committed(2, 0.75), committed(3, 0.0, again=1, status="failed"),
        committed(4, 0.75, again=2),
    ]  # fmt: skip
    assert history(Told(rows, {3: [], 4: [0.75]})) == [(0, (1.0, 0.0)), (2, (0.75, 2.0))]


def test_the_history_ends_at_the_leader_of_a_run_that_evaluated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RefiningSpace, "given", [])
    strategy = {
        "name": "regularized", "options": {"population": 20, "tournament": 3, "reevaluate_every": 20,
                                           "reevaluate_top": 3, "reevaluate_replicates": 2},
    }  # fmt: skip
    budget = {"proposals": 200, "stall": None}
    refine_run(make(tmp_path, "again", SPEC, strategy=strategy, budget=budget, options={"noise": 0.2}).run().path, {})
    (work,) = RefiningSpace.given
    assert (work.history[-1].id, work.history[-1].values) == (work.leaders[0].id, work.leaders[0].values)


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


def test_a_space_without_refinement_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path, "plain", NOOP, budget={"proposals": 30, "stall": None}).run().path
    monkeypatch.setattr(NoOpSpace, "export", BaseSpace.export)
    with pytest.raises(UsageError, match="refines nothing") as told:
        refine_run(path, {})
    assert "evo export" not in told.value.hint  # it exports nothing either
    assert "evo show plain best --source" in told.value.hint
    assert not (path / "refined").exists()


def test_a_space_that_exports_but_does_not_refine_is_told_to_export(tmp_path: Path) -> None:
    path = make(tmp_path, "plain", NOOP, budget={"proposals": 30, "stall": None}).run().path
    with pytest.raises(UsageError) as told:
        refine_run(path, {})
    assert "evo export plain best" in told.value.hint


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
    module = next((runs.first / "refined").glob("refiningspace_first_*_refined.py"))
    for words in ("1. counted", "2. halved", "bits", "refined, from candidate #", f"module       {module}",
                  "evo report first", "bits: counting 0/2", "evo export first --refined"):  # fmt: skip
        assert words in said.out
    assert "evo judge" not in said.out
    assert evo("refine", "first", "-q").out == f"{module}\n"
    found = json.loads(evo("refine", "first", "--json", "--quick").out)
    assert (found["settings"], found["module"]) == ({"quick": True}, str(module.with_stem(f"{module.stem}_quick")))


def test_an_earlier_refinement_is_named(runs: Runs, evo: Callable[..., Said]) -> None:
    assert "also kept" not in evo("refine", "first").out
    said = evo("refine", "first", "--quick").out
    (first,) = [path for path in (runs.first / "refined").glob("*.json") if path.stem.endswith("_refined")]
    assert f"also kept    {first} (an earlier refinement)" in said


@dataclass(frozen=True)
class Settings:
    """What a refinement takes.

    Attributes:
        bits: how many
            are counted.
    """

    bits: int = 3


def test_settings_are_listed_for_a_run_and_for_a_space(
    runs: Runs, evo: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = evo("refine", "first", "--settings")
    assert said.code == 2
    assert "lists no settings" in said.err
    monkeypatch.setattr(RefiningSpace, "refine_settings", lambda self: Settings)
    for target in ("first", SPEC):
        said = evo("refine", target, "--settings")
        assert (said.code, said.out) == (0, "bits = 3  (int)\n    how many are counted.\n")
    rows = json.loads(evo("refine", "first", "--settings", "--json").out)
    assert rows == [{"key": "bits", "type": "int", "default": 3, "meaning": "how many are counted."}]
    said = evo("refine", "nothing", "--settings")
    assert said.code == 2
    assert "no run called 'nothing'" in said.err


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
    evo("export", "first", "--refined")
    assert (runs.first / "export" / result["module"]).is_file()
    assert evo("export", "first", "3", "--refined").code == 2
    assert "exported #3" in evo("export", "first", "3").out
