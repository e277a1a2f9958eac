"""A folder with three written runs, and a way to call the command line in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from evo.cli.main import invoke
from tests.evo.cli.fake_run import write_run


class Said(NamedTuple):
    """What a command line gave."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def written_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "rules-a", n=400)
    write_run(folder / "rules-b", n=200, seed=3, state="running")
    write_run(folder / "other", n=100, seed=4, state="stopped", reason="interrupted", session=2)
    return folder


@pytest.fixture
def runs(written_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVO_RUNS_DIR", str(written_runs))
    return written_runs


@pytest.fixture
def evo(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def call(*arguments: str) -> Said:
        capsys.readouterr()
        code = invoke([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return call
