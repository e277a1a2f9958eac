"""Runs of the engine on a tiny network: journals repeat, go on after a stop; masks open by stages; the report."""

from __future__ import annotations

import json

import pytest

from evo.errors import ConfigError
from evo.run.reader import RunReader
from evo.search import Search
from evo.testing.noop import NoOpSpace
from search_spaces.autodiffusion.genome import Schedule
from search_spaces.autodiffusion.two_stage import TwoStage, TwoStageOptions
from tests.evo.engine import make, parts, query, run, stop_after

pytest.importorskip("diffusers")
OPTIONS = {
    "model": "tests.search_spaces.autodiffusion.tiny:tiny_problem", "samples": 6, "rows": 6, "held_out": 8, "random": 6,
    "steps": 3, "masks": "all", "budget": "macs",
}  # fmt: skip
SETTINGS = {
    "strategy": {
        "name": "search_spaces.autodiffusion.two_stage:TwoStage",
        "options": {"first": 16, "open_after": 20, "open_over": 12, "population": 5},
    },
    "budget": {"proposals": 64, "stall": None},
    "loop": {"chunk": 4, "lag": 8, "block": 4, "span": 4, "snapshot_every": 16},
    "report": {"candidates": 1, "seeds": 2, "confirm": 2, "confirm_seeds": 2},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs"), "whole", space="autodiffusion", options=OPTIONS, **SETTINGS).path


def genomes(path):
    rows = query(path, "SELECT genome FROM proposals WHERE kind = 0 ORDER BY id")
    return [Schedule.from_json(json.loads(value)) for (value,) in rows]


def test_a_run_that_was_stopped_and_goes_on_has_the_same_journal(finished):
    halted = make(finished.parent, "halted", space="autodiffusion", options=OPTIONS, **SETTINGS)
    stopped = stop_after(halted, 30)
    assert parts(stopped) != parts(finished)
    assert parts(Search.open(stopped.path).run()) == parts(finished)


def test_masks_open_after_the_timesteps_were_searched(finished):
    drawn = genomes(finished)
    assert not any(genome.masks for genome in drawn[:20])
    assert any(genome.masks for genome in drawn[30:])
    assert any(genome.steps > 3 for genome in drawn[30:])
    share = [max(map(len, genome.masks)) / 12 for genome in drawn if genome.masks]
    assert max(share) <= 0.5


def test_the_report_puts_closed_forms_and_random_search_beside_the_found_schedule(finished):
    with RunReader(finished) as reader:
        rows = reader.reports()
    names = [row["name"] for row in rows]
    assert names[0] == "DDIM, uniform leading"
    assert {"DDIM, log-SNR", "DDIM, quadratic", "DDIM, beta", "best of 6 random schedules"} <= set(names)
    assert sum(row["candidate"] is not None for row in rows) == 1
    assert all(len(row["values"]) == 2 for row in rows)


def test_two_objectives_for_nsga2(tmp_path):
    settings = {**SETTINGS, "strategy": {"name": "nsga2", "options": {"population": 12, "crossover": 0.5}}}
    settings |= {"budget": {"proposals": 30, "stall": None}, "report": {"candidates": 0}}
    path = run(tmp_path, "two", space="autodiffusion", options={**OPTIONS, "cost": "macs"}, **settings).path
    with RunReader(path) as reader:
        values = [leader["values"] for leader in reader.status()["leaders"]]
    assert values
    assert all(len(pair) == 2 and 0 < pair[1] <= 3 + 1e-6 for pair in values)


def test_the_strategy_needs_a_space_that_opens_masks():
    with pytest.raises(ConfigError, match="topk"):
        TwoStage(NoOpSpace(), TwoStageOptions())
