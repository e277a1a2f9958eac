"""`evo judge`: what it asks for, writes and refuses; a space of the test's own, and lion on a few steps."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evo.errors import ConfigError
from evo.space import BaseSpace, Figure, Judgement, Preparation

Evo = Callable[..., Any]
SPEC = "tests.evo.cli.test_judge:Judged"


class Judged(BaseSpace[int]):
    """Judges by echoing what it was asked."""

    name = "judged"

    def sample(self, rng: Any) -> int:
        return 0

    def mutate(self, genome: int, rng: Any) -> Any:
        raise NotImplementedError

    def canonical(self, genome: int) -> bytes:
        return b""

    def evaluator(self, prepared: Any) -> Any:
        raise NotImplementedError

    def judge(self, modules: Sequence[Path], settings: Mapping[str, Any], work: Preparation) -> Judgement:
        if "steps" in settings:
            raise ConfigError("no setting 'steps'")
        if settings.get("seeds") == 130:
            raise KeyboardInterrupt
        work.progress(1, 2, "tuning")
        squares = work.map(_square, [1, 2, 3])
        data = {
            "modules": [m.name for m in modules],
            "settings": dict(settings),
            "squares": squares,
            "cost": float("inf"),
        }
        return Judgement("a <table>", data, (Figure("Curves", "<div>figure</div>", "look"),))


class Unjudged(Judged):
    """A space without the method."""

    judge = BaseSpace.judge  # type: ignore[assignment]


def _square(x: int) -> int:
    return x * x


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "found.py"
    path.write_text("x = 1\n")
    return path


def test_settings_reach_the_space_and_results_are_written(evo: Evo, tmp_path: Path, module: Path) -> None:
    out = tmp_path / "out"
    said = evo("judge", SPEC, module, "--trials", 3, "--tasks", "a, b", "--out", out, "--workers", 1)
    assert said.code == 0, said.err
    assert "a <table>" in said.out
    assert "tuning: 1 of 2" in said.err
    (made,) = (out / "judged").iterdir()
    assert re.fullmatch("found-[0-9a-f]{8}", made.name)
    data = json.loads((made / "found.json").read_text())
    assert data == {
        "modules": ["found.py"], "settings": {"trials": 3, "tasks": ["a", "b"]}, "squares": [1, 4, 9], "cost": "inf",
    }  # fmt: skip
    page = (made / "found.html").read_text()
    assert "a &lt;table&gt;" in page
    assert "<div>figure</div>" in page
    assert "Plotly" in page


def test_other_settings_do_not_overwrite_earlier_results_and_equal_ones_do(
    evo: Evo, tmp_path: Path, module: Path
) -> None:
    for trials in (3, 4, 3):
        assert evo("judge", SPEC, module, "--trials", trials, "--out", tmp_path / "o", "--workers", 1).code == 0
    found = sorted(json.loads(path.read_text())["settings"]["trials"] for path in tmp_path.glob("o/judged/*/*.json"))
    assert found == [3, 4]


def test_tasks_of_ones_own_reach_the_space(evo: Evo, tmp_path: Path, module: Path) -> None:
    said = evo("judge", SPEC, module, "--task", "a:B", "--task", "c:D", "--out", tmp_path, "--workers", 1, "--json")
    assert json.loads(said.out)["data"]["settings"] == {"own": ["a:B", "c:D"]}


def test_help_names_the_tasks_that_ship(evo: Evo) -> None:
    said = evo("judge", "--help")
    assert "Tasks of lion" in said.out
    for name in ("vit", "characters", "autoencoder", "photographs", "tumours"):
        assert name in said.out


def test_json_is_strict_and_alone_on_stdout(evo: Evo, tmp_path: Path) -> None:
    said = evo("judge", SPEC, "--baselines-only", "--out", tmp_path / "o", "--workers", 1, "--json")
    value = json.loads(said.out)
    assert value["data"]["modules"] == []
    assert value["files"]["json"].endswith("baselines.json")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([SPEC], "no module to judge"),
        ([SPEC, "MODULE", "--baselines-only"], "takes no module"),
        ([SPEC, "missing.py"], "there is no module missing.py"),
        ([SPEC, "MODULE", "--steps", "5"], "no setting 'steps'"),
        (["tests.evo.cli.test_judge:Unjudged", "MODULE"], "judges nothing"),
        (["no-such-space", "MODULE"], "no search space"),
        ([SPEC, "MODULE", "--trials", "0"], "--trials"),
        (["lion", "MODULE"], "must define one subclass"),
        (["lion", "--baselines-only", "--tasks", "vitt"], "no held-out task 'vitt'"),
        (["lion", "--baselines-only", "--task", "no_such_module_here:Task"], "no_such_module_here"),
    ],
)
def test_wrong_requests_are_refused(evo: Evo, tmp_path: Path, module: Path, arguments: list[str], words: str) -> None:
    given = [str(module) if word == "MODULE" else word for word in arguments]
    said = evo("judge", *given, "--out", tmp_path / "o", "--workers", 1)
    assert said.code == 2
    assert words in said.err


def test_an_interrupt_says_how_to_go_on(evo: Evo, tmp_path: Path, module: Path) -> None:
    said = evo("judge", SPEC, module, "--seeds", 130, "--out", tmp_path / "o", "--workers", 1)
    assert said.code == 130
    assert "the same command goes on" in said.err


def test_lion_judges_in_a_process_of_its_own(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "evo.cli", "judge", "lion", "--baselines-only", "--trials", "1", "--seeds", "1",
        "--tasks", "photographs", "--steps", "3", "--out", str(tmp_path), "--workers", "1",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "AdamW" in done.stdout
    assert len(list((tmp_path / "lion").glob("baselines-*/baselines.html"))) == 1
    assert len(list((tmp_path / "lion" / "runs").iterdir())) == 5 * 3
