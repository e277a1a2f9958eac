"""Verbs that read: what they print, their JSON, and that they stay light."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evo.cli.spaces import installed_spaces
from tests.evo.cli.fake_run import SPEC

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("ray", "torch", "numpy", "pydantic", "plotly", "jinja2", "scipy", "orjson")
Evo = Callable[..., Any]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"], ["list"], ["list", "--json"], ["show", "rules-a"], ["show", "rules-a", "best"], ["spaces"],
        ["watch", "rules-a", "--once"], ["compare", "rules-a", "rules-b"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_read_verbs_import_nothing_heavy(runs: Path, arguments: list[str]) -> None:
    code = (
        "import sys; from evo.cli.main import invoke; code = invoke(sys.argv[1:]);"
        f"sys.exit(code or ' '.join(sorted(set(sys.modules) & set({HEAVY!r}))) or None)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_list_shows_runs_and_what_became_of_them(runs: Path, evo: Evo) -> None:
    said = evo("list")
    assert said.code == 0
    rows = {line.split()[0]: line for line in said.out.splitlines()[1:]}
    assert "finished" in rows["rules-a"]
    assert "killed" in rows["rules-b"], "it claims to run, but its process is gone"
    assert "stopped" in rows["other"]


def test_list_filters_sorts_and_prints_json(runs: Path, evo: Evo) -> None:
    def names(*options: str) -> list[str]:
        return [row["name"] for row in json.loads(evo("list", "--json", *options).out)]

    assert names("--status", "finished") == ["rules-a"]
    assert names("--sort", "name") == ["other", "rules-a", "rules-b"]
    assert names("--sort", "evaluations")[0] == "rules-a"
    assert names("--space", "lion") == []
    best = [row["best"] for row in json.loads(evo("list", "--json", "--sort", "best").out)]
    assert best == sorted(best)


def test_list_survives_a_broken_run(tmp_path: Path, evo: Evo) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.db").write_bytes(b"nonsense" * 500)
    said = evo("list", "--runs-dir", tmp_path)
    assert said.code == 0
    assert "unreadable" in said.out


def test_list_of_nothing_says_where_it_looked(tmp_path: Path, evo: Evo) -> None:
    said = evo("list", "--runs-dir", tmp_path / "none")
    assert said.code == 0
    assert str(tmp_path / "none") in said.out


def test_show_run_tells_results_hits_failures_and_held_out(runs: Path, evo: Evo) -> None:
    said = evo("show", "rules-a")
    assert said.code == 0
    for words in (
        "budget of evaluations is used up",
        "structural",
        "leaderboard",
        "failures by message",
        "AdamW",
        "evo export",
    ):
        assert words in said.out
    assert "evo resume other" in evo("show", "other").out


def test_show_candidate_tells_source_observations_lineage(runs: Path, evo: Evo) -> None:
    said = evo("show", "rules-a", "best")
    assert said.code == 0
    for words in ("def step(w, g, m, v, lr):", "observations", "lineage", "evo replay rules-a"):
        assert words in said.out
    source = evo("show", "rules-a", "best", "--source").out
    assert source.startswith("def step")
    assert source.rstrip().endswith("return update, m, v")


def test_show_json_is_strict_and_complete(runs: Path, evo: Evo) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    run = json.loads(evo("show", "rules-a", "--json", "-n", "3").out, parse_constant=refuse)
    assert len(run["leaders"]) == 3
    assert run["state"] == "finished"
    best = run["leaders"][0]["id"]
    candidate = json.loads(evo("show", "rules-a", f"#{best}", "--json").out, parse_constant=refuse)
    assert candidate["id"] == best
    assert candidate["lineage"][-1]["id"] == best
    assert candidate["source_text"].startswith("def step")


def test_infinities_are_text_in_json(runs: Path) -> None:
    from evo.cli.options import plain_json

    assert plain_json({"a": (float("inf"), float("nan"), -float("inf"), 1.5)}) == {"a": ["inf", "nan", "-inf", 1.5]}


def test_a_space_that_is_gone_leaves_the_stored_genome(tmp_path: Path, evo: Evo) -> None:
    import sqlite3

    from tests.evo.cli.fake_run import write_run

    run = write_run(tmp_path / "gone", n=20)
    with sqlite3.connect(run / "run.db") as db:
        config = json.loads(db.execute("SELECT value FROM meta WHERE key = 'config'").fetchone()[0])
        db.execute("UPDATE meta SET value = ? WHERE key = 'config'", (json.dumps({**config, "space": "gone"}),))
    said = evo("show", run, "best")
    assert said.code == 0
    assert "genome as stored (no search space is called 'gone')" in said.out


def test_watch_ends_with_the_run(runs: Path, evo: Evo) -> None:
    said = evo("watch", "rules-a")
    assert said.code == 0
    assert "finished" in said.out
    assert "best loss" in said.out
    assert "killed" in evo("watch", "rules-b").out


def test_compare_tells_results_and_differing_keys(runs: Path, evo: Evo) -> None:
    said = evo("compare", "rules-a", "rules-b")
    assert said.code == 0
    assert "config seed" in said.out
    found = json.loads(evo("compare", "rules-a", "rules-b", "--json").out)
    assert found["differing"] == {"seed": [0, 3]}
    assert evo("compare", "rules-a").code == 2


def test_spaces_say_what_they_are_or_why_they_do_not_load(monkeypatch: pytest.MonkeyPatch, evo: Evo) -> None:
    from importlib.metadata import EntryPoint, EntryPoints

    points = EntryPoints(
        [EntryPoint("rules", SPEC, "evo.spaces"), EntryPoint("broken", "no_such_module:Space", "evo.spaces")]
    )
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **selection: points.select(**selection))
    rows = {row["name"]: row for row in installed_spaces()}
    assert rows["rules"]["description"].startswith("Toy update rules")
    assert "no_such_module" in rows["broken"]["problem"]
    said = evo("spaces")
    assert said.code == 0
    assert "does not load" in said.out


def test_export_writes_a_module_and_tries_it(runs: Path, tmp_path: Path, evo: Evo) -> None:
    target = tmp_path / "deep" / "rule.py"
    said = evo("export", "rules-a", "-o", target, "--test")
    assert (said.code, target.is_file()) == (0, True)
    assert "imported alone" in said.out
    assert f"created the folder {tmp_path / 'deep'}" in said.out
    assert "STATEMENTS" in target.read_text()
    again = evo("export", "rules-a", "0", "-o", tmp_path)
    assert (again.code, "created" in again.out) == (0, False)
    assert json.loads(evo("export", "rules-a", "-o", target, "--json").out)["created"] is None
    assert (tmp_path / "rules_0.py").is_file()


def test_a_module_that_needs_this_project_does_not_stand_alone(tmp_path: Path) -> None:
    from evo.cli.exporting import try_module
    from evo.errors import EvoError

    module = tmp_path / "needy.py"
    module.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\nimport evo.errors\n")
    with pytest.raises(EvoError, match="imports this project: evo"):
        try_module(module)
    module.write_text("def self_test():\n    raise ValueError('wrong sum')\n")
    with pytest.raises(EvoError, match="fails its self-test: ValueError: wrong sum"):
        try_module(module)
    module.write_text("def self_test():\n    pass\n")
    assert try_module(module) == "imported alone; its self-test passed"


def test_doctor_examines_and_says_who_else_owns_our_names(monkeypatch: pytest.MonkeyPatch, evo: Evo) -> None:
    from evo.cli import doctor

    monkeypatch.setattr(doctor, "_gpu", list)
    monkeypatch.setattr(doctor, "_kernels", list)
    findings = json.loads(evo("doctor", "--json").out)
    assert {"python", "numpy", "C compiler", "CPUs", "disk here"} <= {finding["what"] for finding in findings}
    monkeypatch.setattr("importlib.metadata.packages_distributions", lambda: {"evo": ["evo-search", "evo-other"]})
    said = evo("doctor")
    assert said.code == 1
    assert "evo-other" in said.out


def test_doctor_tells_each_kernel_backend_and_why_one_is_missing() -> None:
    from evo.cli.doctor import backend_findings

    backends = {
        "c": {"available": True, "why": "compiled by gcc"},
        "triton": {"available": False, "why": "no CUDA device", "hint": "TRITON_INTERPRET=1"},
        "default": {"cpu": "c"},
        "digest": "f5",
    }
    found = [(f.what, f.verdict, f.words) for f in backend_findings(backends)]
    assert found == [
        ("kernels: c", "ok", "compiled by gcc"), ("kernels: triton", "note", "no CUDA device"),
        ("kernels used", "ok", "cpu: c"),
    ]  # fmt: skip


def test_validate_and_its_schema(evo: Evo) -> None:
    assert evo("validate", SPEC).code == 0
    schema = json.loads(evo("validate", "--schema").out)
    assert "budget" in schema["properties"]
    assert evo("validate").code == 2
    assert evo("validate", SPEC, "--set", "seed=x").code == 2
