"""The pool of a live run: drawn alike everywhere, scored once, kept; what cannot be computed is said."""

from __future__ import annotations

import numpy as np
import pytest

from evo.errors import ConfigError
from evo.options import from_json
from proxies.network import METRICS as ALL
from proxies.network import score
from search_spaces.robot import Robot, RobotOptions
from search_spaces.robot.benchmark.training import Schedule
from search_spaces.robot.live.drawing import drawn
from search_spaces.robot.live.names import METRICS as NAMES
from search_spaces.robot.live.problem import PoolWarning
from search_spaces.robot.live.recipe import recipe_of
from search_spaces.robot.live.scoring import metric_batch
from search_spaces.robot.options import ScheduleOptions
from tests.search_spaces.robot.live.tiny import HERE, METRICS, Counted, options, prepared


def test_the_names_are_those_of_the_metrics():
    assert set(NAMES) | {"az_complexity"} == set(ALL)


def test_the_schedule_has_the_fields_of_trainings():
    ours, theirs = ScheduleOptions(epochs=2), Schedule()
    assert {name: getattr(ours, name) for name in Schedule.__slots__} == {
        name: getattr(theirs, name) for name in Schedule.__slots__
    }


def test_a_pool_holds_distinct_functions_and_a_smaller_one_is_its_beginning():
    recipe = recipe_of(options())
    cells = drawn(recipe, 40, 3)
    assert len({recipe.canonical(cell) for cell in cells}) == 40
    assert drawn(recipe, 7, 3) == cells[:7]
    assert drawn(recipe, 40, 4) != cells


def test_a_space_that_runs_out_gives_what_it_has(tmp_path):
    with pytest.warns(PoolWarning, match="has 9 distinct architectures, not 30"):
        space = prepared(tmp_path, architectures=f"{HERE}:Widths", pool=30, metrics=("params",))
    assert len(space.stored.architectures) == 9


def test_values_are_those_of_the_metrics_package(tmp_path):
    space = prepared(tmp_path)
    recipe = space.recipe
    text = space.stored.architectures[3]
    model = recipe.space().build(recipe.space().decode(text), seed=0)
    found = score(model, metric_batch(recipe.pictures(), 8, 0), METRICS, seed=0)
    raw = {name: scale for name, scale in zip(space.stored.metrics, space.stored.scales, strict=True)}
    for name, column in zip(space.stored.metrics, space.stored.columns, strict=True):
        expected = (found[name] - raw[name].low) / (raw[name].high - raw[name].low)
        assert raw[name].log is not None or column[3] == pytest.approx(expected, abs=1e-12)


def test_what_was_scored_is_not_scored_again(tmp_path):
    first, second, third = (Counted(tmp_path) for _ in range(3))
    Robot(options(pool=4)).prepare(first.work)
    Robot(options(pool=6)).prepare(second.work)
    Robot(options(pool=6, scaling="rank", weights="positive")).prepare(third.work)
    assert (first.items, second.items, third.items) == (4, 2, 0)
    assert second.said[-1][:2] == (6, 6)


def test_a_pool_that_was_cut_short_goes_on(tmp_path):
    class Killed(RuntimeError):
        pass

    work = Counted(tmp_path)
    given = work.work.map

    def until(function, items):
        if work.items:
            raise Killed
        return given(function, items)

    object.__setattr__(work.work, "map", until)
    with pytest.raises(Killed):
        Robot(options()).prepare(work.work)
    again = Counted(tmp_path)
    whole = Robot(options())
    whole.prepare(again.work)
    assert again.items == 5, "the first is known"
    fresh = prepared(tmp_path / "fresh")
    assert [list(c) for c in whole.stored.columns] == [list(c) for c in fresh.stored.columns]


def test_metrics_that_a_users_space_does_not_allow_are_left_out_and_said(tmp_path):
    with pytest.warns(PoolWarning, match=r"naswot is left out: no value for 100% of the networks: .* no ReLU"):
        space = prepared(tmp_path, architectures=f"{HERE}:Smooth", pool=3, metrics=())
    assert {"naswot", "swap"} <= set(space.stored.dropped)
    assert {"snip", "jacov", "zico"} <= set(space.metrics)
    assert len(space.box()) == len(space.metrics)


def test_a_metric_that_was_asked_for_and_cannot_be_computed_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"naswot cannot be computed for .*:Smooth.* no ReLU"):
        prepared(tmp_path, architectures=f"{HERE}:Smooth", pool=3)


def test_networks_that_do_not_run_are_an_error_that_says_what_they_must_do(tmp_path):
    with pytest.raises(ConfigError, match=r"Broken: .* cannot be scored") as raised:
        prepared(tmp_path, architectures=f"{HERE}:Broken", pool=3)
    assert "logits" in raised.value.hint


def test_networks_whose_logits_are_not_finite_are_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"Exploded: .* logits are not finite"):
        prepared(tmp_path, architectures=f"{HERE}:Exploded", pool=3)


def test_networks_of_too_few_classes_are_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"Short: .* it gives 2 logits, and a label is 2"):
        prepared(tmp_path, architectures=f"{HERE}:Short", pool=3)


def test_a_users_class_that_raises_is_an_error_that_says_where(tmp_path):
    with pytest.raises(ConfigError, match="cannot be sampled: ZeroDivisionError: no widths") as raised:
        prepared(tmp_path, architectures=f"{HERE}:Raising")
    assert "tiny.py:" in raised.value.hint


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"metrics": ["snap"]}, "no metric is called 'snap'"),
        ({"benchmark": "nb201"}, "is of a table, and this run has none"),
        ({"tables": "shipped", "pool": 10}, "is of a live run"),
        ({"pool": 1}, "give 2 or more"),
        ({"schedule": {"epochs": 0}}, "schedule.epochs is 0"),
        ({"schedule": {"epoch": 3}}, "unknown key"),
        ({"architectures": "nb301"}, "no architecture space is called"),
        ({"images": f"{HERE}:METRICS"}, "lacks train"),
        ({"images": f"{HERE}:nothing"}, "cannot be loaded"),
        ({"train": 1000}, "has 96"),
        ({"metric_batch": 97}, "metric_batch is 97, of 96 training images"),
        ({"images": f"{HERE}:no_data"}, "raised OSError: the disk is gone"),
        ({"images": f"{HERE}:with_nan"}, "validation images that are not finite"),
        ({"images": f"{HERE}:with_negative_label"}, "a label -1 in test_labels"),
    ],
)
def test_options_that_do_not_fit_are_errors_before_anything_is_scored(given, said):
    small = {"images": f"{HERE}:stripes", **given} if "tables" not in given else given

    def begin():
        space = Robot(from_json(RobotOptions, small, "options"))
        space.box()
        space.namespace()
        space.sample(np.random.Generator(np.random.Philox(key=1)))

    with pytest.raises(ConfigError) as raised:
        begin()
    assert said in f"{raised.value.message} {raised.value.hint}"


def test_a_class_that_is_not_there_is_found_before_a_run_is_made():
    with pytest.raises(ConfigError, match="has no attribute 'Wider'"):
        Robot(options(architectures=f"{HERE}:Wider")).namespace()
