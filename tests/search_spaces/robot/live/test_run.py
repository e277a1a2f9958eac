"""A live run by the engine: a user's own space end to end, the same twice, shown, drawn and exported afterwards."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from evo.cli.exporting import export_candidate
from evo.cli.spaces_of import space_of
from evo.config import load_config
from evo.run import journal_digest
from evo.run.reader import RunReader
from evo.space import Request
from search_spaces.robot import Robot
from tests.evo.engine import query, run
from tests.search_spaces.robot.live.tiny import HERE, METRICS, prepared

OPTIONS = {
    "architectures": f"{HERE}:Widths", "pool": 6, "images": f"{HERE}:stripes", "metric_batch": 8,
    "schedule": {"epochs": 2, "batch": 32, "watched": 20}, "metrics": list(METRICS),
}  # fmt: skip
SETTINGS = {
    "strategy": {"name": "bayesian", "options": {"explore": 4}}, "budget": {"evaluations": 5, "stall": 60},
    "loop": {"chunk": 8, "lag": 8, "block": 1, "span": 8}, "report": {"candidates": 1, "seeds": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs"), "own", space="robot", options=OPTIONS, **SETTINGS).path


@pytest.fixture
def reader(finished):
    with RunReader(finished) as found:
        yield found


def test_queries_are_distinct_and_each_has_its_curve(finished):
    rows = [json.loads(extra) for (extra,) in query(finished, "SELECT extra FROM observations ORDER BY function")]
    assert len({row["architecture"].partition(" @")[0] for row in rows}) == len(rows) == 5
    assert all(len(row["curve"]) == 2 and "test" not in row for row in rows)


def test_the_report_trains_the_finalist_again_and_judges_it_on_test_images(reader):
    baseline, finalist = reader.reports()
    assert (baseline["name"], finalist["name"]) == ("random of the pool", "finalist 1")
    assert finalist["task"].endswith("30 test images")
    assert len(finalist["values"]) == 2
    assert all(0.0 <= value <= 100.0 for value in finalist["values"])


def test_a_second_run_is_the_same(finished):
    again = run(finished.parent, "again", space="robot", options=OPTIONS, **SETTINGS).path
    assert journal_digest(again) == journal_digest(finished)


def test_a_stored_run_is_described_without_numpy(finished, reader):
    vectors = [row.id for row in reader.commits() if row.operator == "warm start"]
    code = (
        "import json, sys; from pathlib import Path; from evo.cli.spaces_of import space_of\n"
        "config, run, genome = json.loads(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])\n"
        "space = space_of(config, run); print(space.describe(space.decode(genome)))\n"
        "print(sorted({'torch', 'numpy', 'ray'} & set(sys.modules)))"
    )
    genome = json.dumps(reader.genome(vectors[0]))
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(reader.config()), str(finished), genome], capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert lines[-1] == "[]", done.stderr
    assert lines[0] == reader.candidate(vectors[0])["extra"]["architecture"]


def test_the_page_shows_architecture_queries_weights_metrics_and_curves(finished, reader):
    space = space_of(reader.config(), finished)
    titles = [figure.title for figure in space.figures(reader)]
    assert titles[:2] == ["Found architecture", "Accuracy against queries"]
    assert titles[2].startswith("Weights of #")
    assert titles[3:] == ["Metrics against accuracy", "Training curves"]


def test_weights_export_the_users_architecture_and_the_metric(finished, reader, tmp_path):
    space = space_of(reader.config(), finished)
    vector = next(row.id for row in reader.commits() if row.operator == "warm start")
    path = export_candidate(reader, space, vector, tmp_path / "found.py")
    found, metric = (_loaded(tmp_path / name) for name in ("found.py", "found_metric.py"))
    assert path == tmp_path / "found.py"
    assert sum(p.numel() for p in found.build().parameters()) > 0
    assert "epoch   loss" in found.__doc__
    pictures = space.recipe.pictures()
    assert isinstance(metric.score(found.build(), (pictures.train[:8], pictures.train_labels[:8])), float)


def test_the_same_genome_is_trained_alike_by_a_space_that_was_prepared_elsewhere(tmp_path):
    one, two = prepared(tmp_path / "a"), prepared(tmp_path / "b")
    weights = (1.0, -0.5, 0.25, 0.0)
    found = [s.evaluator(s.prepare(_work(tmp_path / "c"))).evaluate([Request(0, weights, "search", (5,))])
             for s in (one, two)]  # fmt: skip
    assert found[0] == found[1]
    assert one.canonical(weights) == two.canonical(weights)


def test_defaults_are_those_of_the_mode():
    live, table = load_config("robot"), load_config("robot", ["options.tables=shipped"])
    assert (live.executor.kind, table.executor.kind) == ("ray", "inline")
    assert live.strategy.options["batch"] == 2
    assert table.strategy.options["batch"] == 1
    assert Robot.defaults_for({"tables": None}) == Robot.defaults


def _work(folder):
    from tests.search_spaces.robot.live.tiny import Counted

    return Counted(folder).work


def _loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
