"""`evo bench build`: what it hands to a space, prints and refuses; emq on a few rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evo.errors import ConfigError
from evo.space import BaseSpace, Judgement

Evo = Callable[..., Any]
SPEC = "tests.evo.cli.test_bench:Benched"


@dataclass(frozen=True)
class Few:
    """Settings.

    Attributes:
        rows: how many.
    """

    rows: int = 7


class Benched(BaseSpace[int]):
    """Builds a file that holds its settings."""

    name = "benched"

    def sample(self, rng: Any) -> int:
        return 0

    def mutate(self, genome: int, rng: Any) -> Any:
        raise NotImplementedError

    def canonical(self, genome: int) -> bytes:
        return b""

    def evaluator(self, prepared: Any) -> Any:
        raise NotImplementedError

    def build_benchmark(
        self, settings: Mapping[str, Any], folder: Path, progress: Callable[[int, int, str], None]
    ) -> Judgement:
        if "rowz" in settings:
            raise ConfigError("no setting 'rowz'", "rows?")
        if settings.get("rows") == 130:
            raise KeyboardInterrupt
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "made.json").write_text(json.dumps(dict(settings)))
        progress(1, 2, "measuring")
        return Judgement("it is built", {"rows": float("nan")})

    def benchmark_settings(self) -> type:
        return Few


class Plain(Benched):
    """A space without a benchmark."""

    build_benchmark = BaseSpace.build_benchmark  # type: ignore[assignment]


def test_settings_reach_the_space_as_yaml_and_the_folder_is_its_own(evo: Evo, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    said = evo("bench", "build", SPEC, "--set", "rows=5", "--set", "choices=[2, 8]", "--set", "model=a:b", "-o", out)
    assert said.code == 0, said.err
    assert said.out == "it is built\n"
    assert "measuring: 1 of 2" in said.err
    assert json.loads((out / "made.json").read_text()) == {"rows": 5, "choices": [2, 8], "model": "a:b"}


def test_without_a_folder_it_is_named_after_the_space(evo: Evo, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert evo("bench", "build", SPEC).code == 0
    assert (tmp_path / "tables" / "benched" / "made.json").is_file()


def test_json_is_strict_and_alone_on_stdout(evo: Evo, tmp_path: Path) -> None:
    said = evo("bench", "build", SPEC, "-o", tmp_path / "o", "--json")
    assert json.loads(said.out) == {"data": {"rows": "nan"}, "folder": str(tmp_path / "o")}


def test_settings_are_listed_with_defaults_and_meanings(evo: Evo) -> None:
    said = evo("bench", "build", SPEC, "--settings")
    assert said.code == 0
    assert said.out == "rows = 7  (int)\n    how many.\n"
    assert json.loads(evo("bench", "build", SPEC, "--settings", "--json").out)[0]["key"] == "rows"


def test_an_interrupt_says_how_to_go_on(evo: Evo, tmp_path: Path) -> None:
    said = evo("bench", "build", SPEC, "--set", "rows=130", "-o", tmp_path)
    assert said.code == 130
    assert "the same command goes on" in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tests.evo.cli.test_bench:Plain"], "builds no benchmark"),
        (["no-such-space"], "no search space"),
        ([SPEC, "--set", "rowz=3"], "rowz"),
        ([SPEC, "--set", "rows"], "KEY=VALUE"),
        ([SPEC, "--set", "rows=[1"], "YAML"),
        ([], "SPACE"),
    ],
)
def test_wrong_requests_are_refused(evo: Evo, tmp_path: Path, arguments: list[str], words: str) -> None:
    said = evo("bench", "build", *arguments, "-o", tmp_path / "o")
    assert said.code == 2
    assert words in said.err


def test_a_folder_that_cannot_be_written_is_told(evo: Evo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = evo("bench", "build", SPEC, "-o", tmp_path / "file" / "below")
    assert said.code == 2
    assert "-o FOLDER" in said.err


def test_emq_builds_a_table_for_a_model_of_ones_own(evo: Evo, tmp_path: Path) -> None:
    own = "tests.search_spaces.emq.benchmark.own"
    settings = [f"model={own}:net", f"data={own}:samples", "rows=4", "adaround_rows=0", "seeds=2", "calibration=8"]
    given = [word for setting in settings for word in ("--set", setting)]
    said = evo("bench", "build", "search_spaces.emq:EMQ", *given, "-o", tmp_path)
    assert said.code == 0, said.err
    assert "own: 2 layers" in said.out
    assert "ceiling" in said.out
    assert (tmp_path / "own.npz").is_file()
    said = evo("bench", "build", "search_spaces.emq:EMQ", "--set", "rowz=4", "-o", tmp_path)
    assert said.code == 2
    assert "rows" in said.err


def test_emq_lists_its_settings(evo: Evo) -> None:
    said = evo("bench", "build", "search_spaces.emq:EMQ", "--settings")
    for word in ("calibration = 256", "model = null", "module:attr"):
        assert word in said.out
