"""Bad requests: each gives its message, a hint where one helps, and its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from evo.cli import main as entry
from evo.errors import EvoError
from tests.evo.cli.fake_run import SPEC, write_run

Evo = Callable[..., Any]


@pytest.mark.parametrize(
    ("arguments", "code", "words", "hint"),
    [
        (["lits"], 2, "there is no verb 'lits'", "did you mean `evo list`?"),
        (["show", "nope"], 2, "no run called 'nope'", "evo list"),
        (["show", "rules"], 2, "fits 2 runs", "more of the name"),
        (["show", "rules-a", "99999"], 2, "holds no candidate 99999", "0 to 399"),
        (["show", "rules-a", "first"], 2, "names no candidate", "best"),
        (["show", "rules-a", "--source"], 2, "--source needs a CANDIDATE", ""),
        (["show"], 2, "Missing argument 'RUN'", ""),
        (["watch", "nope"], 2, "no run called", ""),
        (["report", "nope"], 2, "no run called", ""),
        (["export", "nope"], 2, "no run called", ""),
        (["replay", "rules-a", "99999"], 2, "holds no candidate", ""),
        (["resume", "nope"], 2, "no run called", ""),
        (["run", "no-such-space"], 2, "no search space is called", ""),
        (["run", "missing.yaml"], 2, "no configuration file missing.yaml", ""),
        (["run", SPEC, "--set", "budgt.wall=3"], 2, "budgt: unknown key", "did you mean budget?"),
        (["run", SPEC, "--set", "seed"], 2, "expected key=value", "budget.evaluations=5000"),
        (["run", SPEC, "--budget", "5000"], 2, "has no unit", "5000evals"),
        (["run", SPEC, "--workers", "lots"], 2, "executor.workers: must be a whole number or 'auto'", ""),
        (["run", SPEC, "--executor", "cloud"], 2, "'cloud' is not one of", ""),
        (["list", "--sort", "size"], 2, "'size' is not one of", ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_requests(runs: Path, evo: Evo, arguments: list[str], code: int, words: str, hint: str) -> None:
    said = evo(*arguments)
    assert said.code == code
    assert words in said.err
    assert hint in said.err
    assert said.out == ""
    assert "Traceback" not in said.err


@pytest.mark.parametrize("verb", ["show", "report", "export", "resume", "replay", "watch"])
def test_a_damaged_run_is_an_error_of_its_own(tmp_path: Path, evo: Evo, verb: str) -> None:
    (tmp_path / "run.db").write_bytes(b"garbage " * 1000)
    said = evo(verb, tmp_path)
    assert said.code == 1
    assert "error: " in said.err
    assert "hint: restore it from a copy" in said.err


def test_an_unexpected_exception_is_one_line_and_a_file(runs: Path, evo: Evo, monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(*_: Any) -> None:
        raise ZeroDivisionError("at the wrong moment\nsecond line")

    monkeypatch.setattr("evo.run.folder.list_runs", burst)
    said = evo("list")
    assert said.code == 1
    assert "error: unexpected ZeroDivisionError: at the wrong moment\n" in said.err
    trace = Path(said.err.split("the traceback is in ")[1].split(";")[0])
    assert "ZeroDivisionError" in trace.read_text()
    trace.unlink()
    monkeypatch.setenv("EVO_DEBUG", "1")
    assert "Traceback" in evo("list").err


def test_exit_codes_of_errors_and_interrupts(evo: Evo, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(error: BaseException) -> Callable[[click.Context], None]:
        def invoke(context: click.Context) -> None:
            raise error

        return invoke

    for error, code in (
        (EvoError("it failed", "try"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (BrokenPipeError(), 0),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", sys.stdout)
            patch.setattr(entry.cli, "invoke", raising(error))
            assert entry.invoke(["list"]) == code


def test_a_closed_pipe_is_no_error(runs: Path) -> None:
    code = "import sys; from evo.cli.main import main; sys.argv[1:] = ['show', 'rules-a', 'best', '--json']; main()"
    root = Path(__file__).resolve().parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0


def test_a_report_that_cannot_be_written_says_so(runs: Path, tmp_path: Path, evo: Evo) -> None:
    (tmp_path / "file").touch()
    said = evo("report", "rules-a", "-o", tmp_path / "file" / "report.html")
    assert said.code == 1
    assert "cannot write" in said.err


def test_an_export_without_a_best_candidate_says_so(tmp_path: Path, evo: Evo) -> None:
    run = write_run(tmp_path / "empty", n=0)
    said = evo("export", run)
    assert said.code == 2
    assert "no best candidate yet" in said.err
    assert evo("show", run).code == 0


def test_help_names_every_verb(evo: Evo) -> None:
    said = evo("--help")
    assert said.code == 0
    for verb in entry.VERBS:
        assert f"  {verb} " in said.out
        assert evo(verb, "--help").code == 0
