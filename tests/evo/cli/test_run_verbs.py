"""`run`, `resume`, `replay` end to end on the toy space, in this process: output, exit codes, signals."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evo.cli import drive
from evo.cli.live import PlainView
from evo.errors import ConfigError, EvaluatorError, EvoError
from evo.run.reader import RunReader
from tests.evo.cli.fake_run import SPEC, Rules

Evo = Callable[..., Any]
SMALL = (
    "--executor",
    "inline",
    "--budget",
    "60proposals",
    "--set",
    "strategy.options.population=8",
    "--set",
    "loop.lag=32",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVO_RUNS_DIR", str(tmp_path))
    return tmp_path


def test_a_run_ends_with_everything_one_wants_to_know(folder: Path, evo: Evo) -> None:
    said = evo("run", SPEC, *SMALL, "--name", "first", "--seed", "5")
    assert said.code == 0, said.err
    for words in (
        "budget of proposals is used up", "structural", "leaderboard", "winner #", "def step", "held-out evaluation",
        "start", f"run          {folder / 'first'}", "exported     ", "evo show first best",
        f"evo resume {folder / 'first'} --set budget.proposals=+20000",
    ):  # fmt: skip
        assert words in said.out
    exported = Path(said.out.split("exported     ")[1].splitlines()[0])
    assert exported.parent == folder / "first" / "export"
    assert exported.is_file()
    with RunReader(folder / "first") as run:
        assert run.config()["seed"] == 5
        assert run.proposals() == 60
        assert f"space: {SPEC}" in str(run.meta()["config_given"])


def test_json_alone_is_on_stdout(folder: Path, evo: Evo) -> None:
    said = evo("run", SPEC, *SMALL, "--json")
    assert said.code == 0
    result = json.loads(said.out)
    assert result["state"] == "finished"
    assert Path(result["exported"]).is_file()


def test_quiet_prints_the_path_and_how_to_go_on(folder: Path, evo: Evo) -> None:
    said = evo("run", SPEC, *SMALL, "--name", "still", "--quiet")
    assert said.out == f"{folder / 'still'}\n"
    assert "evo resume" in said.err


def test_resume_extends_a_finished_run_and_replay_agrees(folder: Path, evo: Evo) -> None:
    evo("run", SPEC, *SMALL, "--name", "more", "-q")
    said = evo("resume", "more", "--set", "budget.proposals=+20", "-q")
    assert said.code == 0, said.err
    with RunReader(folder / "more") as run:
        assert run.proposals() == 80
        assert run.status()["session"] == 2
    said = evo("replay", "more", "best")
    assert (said.code, "they agree" in said.out) == (0, True)


def test_resume_refuses_to_change_the_search(folder: Path, evo: Evo) -> None:
    evo("run", SPEC, *SMALL, "--name", "fixed", "-q")
    said = evo("resume", "fixed", "--set", "seed=9")
    assert said.code == 2
    assert "seed" in said.err
    assert "--force" in said.err


def test_a_name_that_is_taken_is_refused(folder: Path, evo: Evo) -> None:
    evo("run", SPEC, *SMALL, "--name", "twice", "-q")
    said = evo("run", SPEC, *SMALL, "--name", "twice", "-q")
    assert said.code == 2
    assert "evo resume" in said.err


def test_print_config_and_dry_run_write_nothing(folder: Path, evo: Evo) -> None:
    said = evo("run", SPEC, "--budget", "2h", "--workers", "3", "--print-config")
    assert said.code == 0
    assert "wall: 7200.0" in said.out
    assert "workers: 3" in said.out
    said = evo("run", SPEC, "--dry-run")
    assert said.code == 0
    assert "nothing was written" in said.out
    assert "proposal    " in said.out
    assert list(folder.iterdir()) == []


def test_the_first_signal_stops_cleanly_and_says_how_to_go_on(
    folder: Path, evo: Evo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill_after_first_result(self: PlainView, status: Any, final: bool = False) -> None:
        if status.get("counts", {}).get("committed", 0) > 0 and not sent:
            sent.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    sent: list[int] = []
    monkeypatch.setattr(PlainView, "update", kill_after_first_result)
    before = signal.getsignal(signal.SIGINT)
    said = evo("run", SPEC, *SMALL, "--budget", "100000proposals", "--name", "cut")
    assert sent
    assert said.code == 130
    assert "stopping: waiting" in said.err
    assert f"evo resume {folder / 'cut'}" in said.out
    assert signal.getsignal(signal.SIGINT) is before
    with RunReader(folder / "cut") as run:
        assert run.status()["state"] == "stopped"


def test_the_second_signal_kills_at_once_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Left(BaseException):
        pass

    def leave(code: int) -> None:
        raise Left(code)

    events: list[str] = []
    search: Any = SimpleNamespace(
        path=tmp_path, resume_command=f"evo resume {tmp_path}", stop=lambda: events.append("stop")
    )
    view: Any = SimpleNamespace(notice=lambda text: events.append("notice"), close=lambda: events.append("close"))
    monkeypatch.setattr(os, "_exit", leave)
    with drive.stopping_on_signals(search, view):
        os.kill(os.getpid(), signal.SIGTERM)
        assert events == ["stop", "notice"]
        with pytest.raises(Left) as caught:
            signal.raise_signal(signal.SIGTERM)
    assert caught.value.args == (130,)
    assert events == ["stop", "notice", "close"]
    assert f"to go on: evo resume {tmp_path}" in capfd.readouterr().err


@pytest.mark.parametrize("verb", [("run", SPEC, "--dry-run"), ("validate", SPEC), ("run", SPEC, *SMALL)])
def test_what_values_depend_on_is_looked_up_before_anything_is_made(
    folder: Path, evo: Evo, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    """A task that does not load, a backend that is not there: a space's namespace finds out."""

    def namespace(space: Any) -> dict[str, str]:
        raise ConfigError("options.tasks: no such task", "name another")

    monkeypatch.setattr(Rules, "namespace", namespace, raising=False)
    said = evo(*verb)
    assert said.code == 2
    assert "no such task" in said.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("verb", [("run", SPEC, "--dry-run"), ("validate", SPEC), ("run", SPEC, *SMALL, "--json")])
def test_what_a_space_has_to_say_of_its_options_is_said_on_stderr(
    folder: Path, evo: Evo, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    monkeypatch.setattr(Rules, "notes", lambda space: ["seeds are odd"], raising=False)
    said = evo(*verb)
    assert said.code == 0
    assert said.err.count("note: seeds are odd") == 1
    assert "note" not in said.out


def test_an_export_and_show_have_the_value_of_the_board_not_the_lucky_one(
    folder: Path, evo: Evo, monkeypatch: pytest.MonkeyPatch
) -> None:
    origins: list[Any] = []
    monkeypatch.setattr(Rules, "export", lambda space, genome, path, origin: origins.append(origin) or path)
    confirm = ("--set", "report.confirm=2", "--set", "report.confirm_seeds=3")
    assert evo("run", SPEC, *SMALL, *confirm, "--name", "sure").code == 0
    with RunReader(folder / "sure") as run:
        (leader,) = run.leaders(1)
        found = run.candidate(leader["id"])["values"]
    assert (leader["replicates"], leader["confirmed"]) == (5, True)
    assert leader["values"] != list(found)
    said = evo("show", "sure", leader["id"])
    assert "evaluated again since: loss" in said.out
    assert "mean over 5 seeds" in said.out
    assert evo("export", "sure", leader["id"]).code == 0
    assert origins[-1]["values"] == {"loss": leader["values"][0]}
    assert origins[-1]["mean over seeds"] == 5
    assert origins[-1]["standard error"] == leader["errors"][0]
    assert "the first 2 lines" in evo("show", "sure").out


@pytest.mark.parametrize(
    ("reason", "budget", "extension"),
    [
        ("budget.evaluations", {"evaluations": 20}, " --set budget.evaluations=+20"),
        ("budget.evaluations", {"evaluations": 80_000}, " --set budget.evaluations=+5000"),
        ("budget.wall", {"evaluations": 20, "wall": 60.0}, " --set budget.wall=+10m"),
        ("strategy has nothing more to propose", {"evaluations": 20}, ""),
    ],
)
def test_going_on_means_no_more_than_as_much_again(reason, budget, extension):
    assert drive._extension(reason, budget) == extension


@pytest.mark.parametrize(("error", "resumes"), [(ConfigError, False), (EvaluatorError, True)])
def test_what_a_wrong_setting_ended_before_its_first_candidate_is_not_to_be_resumed(
    folder: Path, evo: Evo, monkeypatch: pytest.MonkeyPatch, error: type[EvoError], resumes: bool
) -> None:
    def prepare(space: Any, preparation: Any) -> None:
        raise error("no such class", "name another")

    monkeypatch.setattr(Rules, "prepare", prepare, raising=False)
    said = evo("run", SPEC, *SMALL)
    assert said.code != 0
    assert "no such class" in said.err
    assert ("to go on: evo resume" in said.err) == resumes
