"""The space `robot` on a table: the contract, identity by architecture, mutation, report; and a run of the engine."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import yaml

import search_spaces.robot
from benchmarks.robot_trials import search
from evo.errors import ConfigError, InvalidGenomeError
from evo.seeds import Streams
from evo.space import Axis, BoxSpace
from evo.testing.spaces import SpaceContract
from search_spaces.robot import Robot, RobotOptions
from search_spaces.robot.neighbours import Neighbours
from search_spaces.robot.report import random_search
from search_spaces.robot.space import short
from search_spaces.robot.tables import TableError
from tests.evo.engine import query, run
from tests.search_spaces.robot.tiny import columns, folder_of, strings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("tiny"))


def make(folder, **options):
    return Robot(RobotOptions(tables=str(folder), benchmark="tiny", dataset="c10", **options))


class TestRobotArchitectures(SpaceContract):
    exports = False

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls, tmp_path_factory):
        return make(folder_of(tmp_path_factory.mktemp("tiny")))


class TestRobotWeights(SpaceContract):
    exports = False

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls, tmp_path_factory):
        return make(folder_of(tmp_path_factory.mktemp("tiny")), sample="weights", scaling="rank", log="good,wrong")


def test_weights_and_the_architecture_they_rank_first_are_the_same(folder):
    space = make(folder)
    weights = (1.0, 0.1, 0.0)
    first = next(space.greedy(weights))
    assert space.canonical(weights) == space.canonical(first) == first.encode()
    assert space.features(weights) == space.features(first)
    assert space.canonical("|nor_conv_9x9~0|") is None
    assert space.canonical((1.0, 0.0)) is None


def test_it_has_what_the_bayesian_strategy_asks(folder):
    space = make(folder)
    assert isinstance(space, BoxSpace)
    assert list(space.box()) == [Axis(name, -1.0, 1.0) for name in ("good", "noisy", "wrong")]
    assert make(folder, weights="positive").box()[0].low == 0.0
    assert space.to_vector(space.from_vector([1, 0, 0])) == (1.0, 0.0, 0.0)
    assert space.to_vector(strings()[0]) is None
    assert list(space.greedy(strings()[0])) == []


def test_greedy_walks_the_whole_pool_by_score(folder):
    space = make(folder)
    weights = (0.5, 0.0, -0.5)
    walked = list(space.greedy(weights))
    scores = [np.dot(weights, space.features(text)) for text in walked]
    assert len(set(walked)) == len(walked) == 27
    assert scores == sorted(scores, reverse=True)


def test_an_observation_is_the_tables_accuracy_and_names_the_architecture(folder):
    space = make(folder, objective="val12_b")
    result = run_requests(space, [strings()[4], (1.0, 0.0, 0.0)])
    assert result[0].values == (columns()["val12_b"][4],)
    assert result[0].extra == {"architecture": strings()[4], "seconds": columns()["cost12_s"][4]}
    assert result[1].extra["architecture"] == next(space.greedy((1.0, 0.0, 0.0)))


def run_requests(space, genomes):
    from evo.space import Request

    requests = [Request(i, genome, "search", (1,)) for i, genome in enumerate(genomes)]
    return [answer[0] for answer in space.evaluator(None).evaluate(requests)]


def test_a_search_may_not_maximise_test_accuracy(folder):
    with pytest.raises(TableError, match="test accuracy"):
        make(folder, objective="test_a").canonical(strings()[0])


def test_mutation_changes_one_operation_to_another_of_the_table(folder):
    neighbours = Neighbours(strings())
    for number in range(50):
        before = strings()[number % 27]
        after = neighbours.mutate(before, Streams(1)(number, "mutate"))
        ops = [text.replace("+", "").strip("|").split("|") for text in (before, after)]
        assert after in strings()
        assert sum(a != b for a, b in zip(*ops, strict=True)) == 1


def test_every_neighbour_is_reached():
    neighbours = Neighbours(strings())
    found = {neighbours.mutate(strings()[0], Streams(2)(i, "mutate")) for i in range(200)}
    assert len(found) == 6


def test_tuples_are_mutated_too():
    cells = [f"({a}, {b})" for a in range(3) for b in range(2)]
    assert Neighbours(cells).mutate("(0, 0)", Streams(0)(0, "mutate")) in {"(1, 0)", "(2, 0)", "(0, 1)"}


def test_architectures_that_cannot_be_compared_are_not_mutated():
    with pytest.raises(ConfigError, match="same number"):
        Neighbours(["a,b", "a"])
    with pytest.raises(ConfigError, match="differ"):
        Neighbours(["a,b"])
    with pytest.raises(ConfigError, match="one operation"):
        Neighbours(["a,b", "c,d"]).mutate("a,b", Streams(0)(0, "mutate"))


def test_what_is_no_genome_is_refused(folder):
    for value in (3, [], ["a"], {"weights": [1]}, None):
        with pytest.raises(InvalidGenomeError):
            make(folder).decode(value)


@pytest.mark.parametrize(
    "options", [{"scaling": "log"}, {"identity": "hash"}, {"metrics": ("good", "good")}, {"metrics": "good"}]
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match="options"):
        RobotOptions(tables="x", **options)


def test_the_report_shows_test_accuracy_beside_random_search_and_the_pools_best(folder):
    space = make(folder)
    rows = space.report([strings()[3], (1.0, 0.0, 0.0)], (1,), None)
    best = max(columns()["test_a"])
    assert [(row["name"], row["genome_index"]) for row in rows] == [
        ("random search", None), ("best of the pool", None), ("median of the pool", None), ("finalist 1", 0),
        ("finalist 2", 1),
    ]  # fmt: skip
    assert rows[1]["values"] == [best]
    assert rows[3]["values"] == [columns()["test_a"][3]]


def test_random_search_takes_what_its_objective_says():
    objective, reported = np.array([0.3, np.nan, 0.9, 0.1]), np.array([1.0, 9.0, 2.0, 3.0])
    assert random_search(objective, reported, queries=4) == (2.0, 2.0, 2.0)
    mean, low, high = random_search(objective, reported, queries=1, searches=4000)
    assert mean == pytest.approx(reported.mean(), abs=0.2)
    assert (low, high) == (1.0, 9.0)
    pairs = [
        max(pair, key=lambda i: (objective[i] == objective[i], objective[i])) for pair in combinations(range(4), 2)
    ]
    mean, _, _ = random_search(objective, reported, queries=2, searches=4000)
    assert mean == pytest.approx(reported[pairs].mean(), abs=0.2)


def test_cells_are_short_on_leaderboards_and_other_architectures_as_they_are():
    cell = "|none~0|+|nor_conv_3x3~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"
    assert short(cell) == "0 | 3x3 skip | pool 1x1 0"
    for other in ("8-16-32@4", "64-41414-1_02_333", "|none~0|+|none~0|none~1|"):
        assert short(other) == other


def test_a_run_queries_what_the_light_loop_of_the_benchmarks_queries(folder, tmp_path):
    """Same architectures in the same order, and as many as the budget says; repeats cost nothing."""
    options = {"tables": str(folder), "benchmark": "tiny", "dataset": "c10"}
    strategy = {"name": "bayesian", "options": {"explore": 6, "sampler": "random"}}
    finished = run(
        tmp_path, "tiny", space="robot", options=options, strategy=strategy, budget={"evaluations": 9, "stall": 200},
        loop={"chunk": 8, "lag": 8, "block": 1, "span": 8}, report={"candidates": 1, "seeds": 1},
    )  # fmt: skip
    rows = query(finished, "SELECT extra FROM commits WHERE id IN (SELECT function FROM identities) ORDER BY id")
    space = make(folder)
    trial = search(space, "bayesian", strategy["options"], 9, 7)
    assert [json.loads(extra)["architecture"] for (extra,) in rows] == [
        space.problem.pool.architectures[row] for row in trial.rows
    ]
    assert query(finished, "SELECT count(*) FROM reports") != [(0,)]


def test_evolution_and_random_search_run_on_architectures(folder):
    space = make(folder)
    for name, options in (("random", {}), ("regularized", {"population": 5, "tournament": 2, "initial": "sample"})):
        trial = search(space, name, options, 10, 3)
        assert len(set(trial.rows.tolist())) == 10
        assert trial.values.max() == space.problem.accuracy[trial.best]


def test_the_shipped_configuration_is_valid_and_is_the_default():
    from evo.config.models import Config

    given = yaml.safe_load(Path(search_spaces.robot.__file__).with_name("default.yaml").read_text())
    assert Config.model_validate(given).space == "robot"
    assert RobotOptions(**given["options"]) == RobotOptions()
    for section, values in Robot.defaults.items():
        for key in set(values) & set(given.get(section, {})):
            assert given[section][key] == values[key] or key == "options", f"{section}.{key}"
    chosen = given["strategy"]["options"]
    assert {key: chosen[key] for key in Robot.defaults["strategy"]["options"]} == Robot.defaults["strategy"]["options"]


def test_a_good_metric_is_exploited(folder):
    """The search finds the best of 27 cells in nine queries by the one metric that tells them."""
    space = make(folder)
    assert search(space, "bayesian", {"explore": 5}, 9, 1).values.max() == np.max(space.problem.accuracy)


def test_a_trial_of_more_queries_than_there_are_cells_ends(folder):
    trial = search(make(folder), "bayesian", {"explore": 0}, queries=1000, seed=0)
    assert len(trial.rows) == len(make(folder).problem.pool.architectures)
