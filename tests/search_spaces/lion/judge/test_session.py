"""A judgement from end to end on a few steps: what is run, kept, reused, resumed; targets and ratios of known runs."""

import json
import math
from dataclasses import replace

import pytest

from evo.errors import ConfigError, UsageError
from evo.space import Preparation
from search_spaces.lion import Lion
from search_spaces.lion.judge import results as made
from search_spaces.lion.judge import runs as runs_module
from search_spaces.lion.judge import tuning
from search_spaces.lion.judge.boxes import ModuleError
from search_spaces.lion.judge.figures import figures
from search_spaces.lion.judge.names import HELD_OUT
from search_spaces.lion.judge.runs import Runs, Unit, run_unit
from search_spaces.lion.judge.session import Settings, Tuned, outcomes
from search_spaces.lion.judge.subjects import Subject, baselines, module_subject
from search_spaces.lion.judge.text import text, verdict
from search_spaces.lion.judge.training import Run
from search_spaces.lion.judge.tuning import Setting

INF = math.inf
GIVEN = {"trials": 2, "seeds": 2, "tasks": ["photographs"], "steps": 4}
RUNS = 2 + 2 + 2
"""Of one subject on one task: trials, the same again under the second seed, fresh seeds."""

MODULE = """
import torch


class Found(torch.optim.Optimizer):
    def __init__(self, params, lr=0.01):
        super().__init__(params, dict(lr=lr))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.grad.sign())
"""


class Counted:
    """A `map` in this process that counts, and may stop after so many."""

    def __init__(self, limit=None):
        self.done, self.limit = 0, limit

    def __call__(self, function, items):
        found = []
        for item in items:
            if self.limit is not None and self.done >= self.limit:
                raise KeyboardInterrupt
            found.append(function(item))
            self.done += 1
        return found


def judge(folder, modules=(), given=GIVEN, limit=None):
    mapped, seen = Counted(limit), []
    work = Preparation(folder, mapped, lambda done, total, what: seen.append((done, total, what)))
    return Lion().judge(modules, given, work), mapped, seen


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "found.py"
    path.write_text(MODULE)
    return path


def test_a_module_reuses_the_runs_of_the_baselines(tmp_path, module):
    first, mapped, seen = judge(tmp_path / "out")
    assert mapped.done == RUNS * len(baselines())
    assert seen[-1][:2] == (mapped.done, mapped.done)
    again, mapped, _ = judge(tmp_path / "out", [module])
    assert mapped.done == RUNS
    names = [row["name"] for row in again.data["tasks"][0]["rows"]]
    assert names == [row["name"] for row in first.data["tasks"][0]["rows"]] + ["found"]
    assert again.data["tasks"][0]["targets"] == first.data["tasks"][0]["targets"], "a module moves no target"
    same, mapped, _ = judge(tmp_path / "out", [module])
    assert mapped.done == 0
    assert same.data == again.data
    assert "found" in again.text
    assert len(again.figures) == 2


def test_fresh_seeds_are_none_that_tuned_and_are_spent_on_the_setting_that_was_chosen(tmp_path):
    units = []

    def invented(function, items):
        """Runs whose final loss is least for the third trial, by both tuning seeds."""
        for unit, _, _ in items:
            units.append(unit)
        return [(key, json.dumps(content(unit))) for unit, key, _ in items]

    def content(unit):
        distance = abs(math.log(unit.setting.lr / wanted[unit.subject.name].lr))
        return {"steps": [0, 4], "losses": [9.0, distance], "seconds": [0.0, 1.0], "diverged": None, "machine": "m"}

    given = Settings.of({"tasks": ["photographs"], "trials": 6, "seeds": 5})
    wanted = {subject.name: tuning.settings(subject, 6)[2] for subject in baselines()}
    found = outcomes(given, baselines(), Preparation(tmp_path, invented, lambda done, total, what: None))
    assert {tuned.place for tuned in found.values()} == {2}
    tuned_on = {unit.seed for unit in units[: 6 * 5 + 3 * 5]}
    fresh = units[6 * 5 + 3 * 5 :]
    assert tuned_on == {0, 1}
    assert sorted(unit.seed for unit in fresh) == sorted([100, 101, 102, 103, 104] * 5)
    assert all(unit.setting == wanted[unit.subject.name] for unit in fresh)


def test_a_judgement_that_was_stopped_goes_on_where_it_was(tmp_path, module):
    with pytest.raises(KeyboardInterrupt):
        judge(tmp_path / "out", [module], limit=7)
    stopped, mapped, _ = judge(tmp_path / "out", [module])
    assert mapped.done == RUNS * (len(baselines()) + 1) - 7
    whole, _, _ = judge(tmp_path / "other", [module])
    for a, b in zip(stopped.data["tasks"][0]["rows"], whole.data["tasks"][0]["rows"], strict=True):
        assert (a["lr"], a["final"], a["curve"]) == (b["lr"], b["final"], b["curve"])


def test_runs_that_came_from_another_disk_are_kept_here(tmp_path):
    unit = Unit(baselines()[0], "photographs", Setting(1e-3, 0.0), 0, 2)
    key, text = run_unit((unit, unit.key, str(tmp_path / "there")))
    here = Runs(tmp_path / "here")
    assert unit not in here
    with pytest.raises(KeyError):
        here[unit]
    here.keep(key, text)
    assert Runs(tmp_path / "here")[unit] == Runs(tmp_path / "there")[unit]
    assert [path.name for path in (tmp_path / "here").iterdir()] == [f"{key}.json"]


def test_a_divergence_survives_the_file(tmp_path):
    sgd = next(subject for subject in baselines() if subject.name == "SGD")
    unit = Unit(sgd, "photographs", Setting(1e6, 0.0), 0, 40)
    run_unit((unit, unit.key, str(tmp_path)))
    assert math.isinf(Runs(tmp_path)[unit].final)
    json.loads(next(tmp_path.iterdir()).read_text(), parse_constant=pytest.fail)  # strict


def test_every_part_of_a_run_is_in_its_name():
    base = Unit(Subject("a", "d", 1.0, 1.0), "photographs", Setting(1e-3, 0.0), 0, 4)
    others = [
        Unit(Subject("a", "e", 1.0, 1.0), "photographs", Setting(1e-3, 0.0), 0, 4),
        Unit(Subject("a", "d", 1.0, 1.0), "autoencoder", Setting(1e-3, 0.0), 0, 4),
        Unit(Subject("a", "d", 1.0, 1.0), "photographs", Setting(2e-3, 0.0), 0, 4),
        Unit(Subject("a", "d", 1.0, 1.0), "photographs", Setting(1e-3, 0.1), 0, 4),
        Unit(Subject("a", "d", 1.0, 1.0), "photographs", Setting(1e-3, 0.0), 1, 4),
        Unit(Subject("a", "d", 1.0, 1.0), "photographs", Setting(1e-3, 0.0), 0, 5),
    ]
    assert len({unit.key for unit in [base, *others]}) == 7
    assert Unit(Subject("renamed", "d", 1.0, 1.0), *list_of(base)[1:]).key == base.key


def list_of(unit):
    return [unit.subject, unit.task, unit.setting, unit.seed, unit.steps]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"trails": 3}, ConfigError, "no setting 'trails'"),
        ({"trials": 0}, ConfigError, "at least 1"),
        ({"seeds": 1.5}, ConfigError, "integer"),
        ({"tasks": ["vitt"]}, UsageError, "no held-out task"),
        ({"own": ["vit"]}, ConfigError, "module:attr"),
        ({"own": ["no_such_module_here:Task"]}, ConfigError, "cannot be made: ModuleNotFoundError"),
    ],
)
def test_bad_settings_are_named(given, error, message):
    with pytest.raises(error, match=message):
        Settings.of(given)


def test_tasks_keep_their_order_and_default_to_all():
    assert Settings.of({"tasks": ["photographs", "vit"]}).tasks == ("vit", "photographs")
    assert Settings.of({}).tasks == tuple(HELD_OUT)
    assert len(HELD_OUT) == 5
    assert (Settings.of({}).trials, Settings.of({}).seeds) == (24, 5)


def test_tasks_of_ones_own_come_after_those_that_ship():
    own = "tests.search_spaces.lion.judge.test_own:Wine"
    assert Settings.of({"own": [own]}).tasks == (*HELD_OUT, own)
    assert Settings.of({"own": [own], "tasks": ["tumours", "vit", own]}).tasks == ("vit", "tumours", own)
    assert Settings.of({"tasks": [own]}).tasks == (own,)


def test_a_task_of_ones_own_is_judged_like_the_others(tmp_path, module):
    own = "tests.search_spaces.lion.judge.test_own:Wine"
    judgement, mapped, _ = judge(tmp_path, [module], {**GIVEN, "own": [own]})
    assert mapped.done == 2 * RUNS * (len(baselines()) + 1)
    assert [task["name"] for task in judgement.data["tasks"]] == ["photographs", own]
    assert "Wine" in judgement.text
    assert judge(tmp_path, [module], {**GIVEN, "own": [own]})[1].done == 0


# Known runs: losses at steps 0, 100, 200, 300, 400 of 400; seconds are a hundredth of the steps.


def run(*losses):
    steps = (0, 100, 200, 300, 400)
    return Run(steps, losses, tuple(step / 100 for step in steps), None, "cpu")


def tuned(*runs):
    return Tuned([Setting(1e-3, 0.0)], [1.0], {0: 1.0}, 0, runs)


def known(found, adamw=None, seeds=3):
    """A judgement of two baselines and a module, on one task; of the baselines three runs, over and over."""
    subjects = [
        Subject("AdamW", "a", 1e-3, 0.1),
        Subject("Muon", "m", 1e-3, 0.1),
        Subject("found", "f", 1e-3, None, "source"),
    ]
    runs = {
        "AdamW": tuned(*(adamw or [run(9, 6, 4, 3, 2.0), run(9, 6, 4, 3, 2.2), run(9, 6, 4, 3, 2.1)])),
        "Muon": tuned(run(9, 5, 3, 2, 1.0), run(9, 5, 3, 2, 1.2), run(9, 5, 3, 1.2, 1.1)),
        "found": tuned(*found),
    }
    runs = {name: replace(value, runs=(value.runs * 2)[:seeds]) for name, value in runs.items()}
    settings = Settings.of({"tasks": ["photographs"], "seeds": seeds, "steps": 400})
    return made.results(settings, subjects, {("photographs", name): value for name, value in runs.items()})


def test_targets_are_worst_seeds_of_baselines():
    (task,) = known([run(9, 1, 0.1, 0.1, 0.1)] * 3)["tasks"]
    assert task["targets"] == {
        "best": {"loss": 1.2, "of": "Muon", "decided": True},
        "reference": {"loss": 2.2, "of": "AdamW", "decided": True},
        "common": {"loss": 2.2, "of": "AdamW", "decided": True},
    }


def test_costs_and_ratios_of_known_runs():
    data = known([run(9, 3, 2.2, 1.2, 1.0), run(9, 3, 2.2, 1.3, 1.0), run(9, 3, 2.2, 1.2, 1.0)])
    adamw, muon, found = data["tasks"][0]["rows"]
    assert muon["to"]["best"]["steps"]["values"] == [400.0, 400.0, 300.0]
    assert found["to"]["best"]["steps"]["values"] == [300.0, 400.0, 300.0]
    assert found["to"]["best"]["seconds"]["value"] == 3.0
    assert adamw["to"]["best"]["steps"]["value"] == INF
    summary = {row["name"]: row for row in data["summary"]["best"]}
    assert summary["found"]["steps"]["value"] == 0.75, "a reference that failed counts as its whole run"
    assert summary["AdamW"]["steps"]["value"] == INF
    assert summary["AdamW"]["missed"] == 1
    reference = {row["name"]: row for row in data["summary"]["reference"]}
    assert (reference["found"]["steps"]["value"], reference["AdamW"]["steps"]["value"]) == (0.5, 1.0)
    scores = {row["name"]: row["score"] for row in data["profile"]["steps"]}
    assert scores == pytest.approx({"AdamW": 0.0, "Muon": (4.0 - 4.0 / 3.0) / 3.0, "found": 1.0})


def test_a_module_that_fails_is_reported_as_infinite_and_has_missed():
    data = known([run(9, 5, 4, 3, 2.15), run(9, INF, INF, INF, INF), run(9, 5, 4, 3, 2.15)])
    found = data["tasks"][0]["rows"][2]
    assert found["final"]["value"] == INF
    assert found["to"]["reference"]["steps"]["value"] == 400.0
    assert {row["name"]: row["missed"] for row in data["summary"]["best"]} == {"AdamW": 1, "Muon": 0, "found": 1}
    assert "not shown: an interval needs at least 5 seeds" in text(data)


def test_a_baseline_that_diverged_sets_no_target():
    assert made._targets({"AdamW": 2.0, "SGD": INF, "Muon": 1.0}) == {
        "best": {"loss": 1.0, "of": "Muon", "decided": True},
        "reference": {"loss": 2.0, "of": "AdamW", "decided": True},
        "common": {"loss": 2.0, "of": "AdamW", "decided": True},
    }


def test_a_reference_that_diverged_leaves_its_target_undecided_and_out_of_the_means():
    adamw = [run(9, 6, 4, 3, 2.0), run(9, 6, 4, INF, INF), run(9, 6, 4, 3, 2.1)]
    data = known([run(9, 3, 2.2, 1.2, 1.0)] * 3, adamw)
    (task,) = data["tasks"]
    assert {name: at["decided"] for name, at in task["targets"].items()} == {
        "best": True, "reference": False, "common": True,
    }  # fmt: skip
    assert all(row["to"]["reference"] is None for row in task["rows"])
    for row in data["summary"]["reference"]:
        assert (row["steps"]["tasks"], row["steps"]["value"], row["steps"]["standing"]) == ([None], None, "undecided")
        assert row["missed"] == 0
    said = text(data)
    assert "the reference target is undecided here and left out of the means: AdamW diverged" in said
    assert "to the reference target -; undecided" in said


def test_a_task_that_is_undecided_leaves_the_mean_to_the_others():
    subjects = [Subject("AdamW", "a", 1e-3, 0.1), Subject("found", "f", 1e-3, None, "source")]
    fine, failed = run(9, 6, 4, 3, 2.0), run(9, 6, 4, INF, INF)
    settings = Settings.of({"tasks": ["photographs", "tumours"], "seeds": 1, "steps": 400})
    runs = {
        ("photographs", "AdamW"): tuned(fine), ("photographs", "found"): tuned(run(9, 3, 2, 2, 2)),
        ("tumours", "AdamW"): tuned(failed), ("tumours", "found"): tuned(run(9, 9, 9, 9, 9)),
    }  # fmt: skip
    data = made.results(settings, subjects, runs)
    for target in ("best", "reference", "common"):
        found = data["summary"][target][1]
        assert (found["steps"]["tasks"], found["steps"]["value"], found["missed"]) == ([0.5, None], 0.5, 0)
    assert [row["ratios"] for row in data["profile"]["steps"]] == [[2.0], [1.0]]


def test_where_all_baselines_diverged_nothing_is_decided_and_all_is_still_told():
    subjects = [Subject("AdamW", "a", 1e-3, 0.1), Subject("found", "f", 1e-3, None, "source")]
    failed = run(9, INF, INF, INF, INF)
    settings = Settings.of({"tasks": ["photographs"], "seeds": 1, "steps": 400})
    data = made.results(
        settings, subjects, {("photographs", "AdamW"): tuned(failed), ("photographs", "found"): tuned(failed)}
    )
    assert data["profile"] == {"steps": [], "seconds": []}
    assert "undecided on all tasks" in text(data)
    assert len(list(figures(data))) == 2


FAST, SLOW, LATE = (run(9, 5, 3, 1.2, 1.0), run(9, 5, 3, 2, 1.2), run(9, 5, 3, 2, 1.3))


def test_the_verdict_goes_by_the_upper_bound_and_explains_the_goal():
    shown = verdict(known([FAST] * 5, seeds=5))
    assert "to the best target 0.75 [0.75, 0.75]; shown: the whole interval is at or below the goal" in shown
    assert "the goal is 0.8: a geometric mean of steps to the best target of at most 0.8 times tuned AdamW's" in shown
    # three of five seeds in time: the median is, the interval is not
    assert "0.75 [0.75, inf]; not shown" in verdict(known([FAST] * 3 + [LATE] * 2, seeds=5))
    assert "inf [0.75, inf]; not shown" in verdict(known([FAST] * 2 + [LATE] * 3, seeds=5))
    assert "1 [0.75, 1]; not shown" in verdict(known([FAST] * 2 + [SLOW] * 3, seeds=5))


def test_fewer_seeds_than_an_interval_needs_are_warned_of():
    said = verdict(known([FAST] * 3, seeds=3))
    assert "not shown: an interval needs at least 5 seeds" in said
    assert "warning: 3 fresh seeds are too few for an interval" in said
    assert "too few" not in verdict(known([FAST] * 5, seeds=5))


def test_cpu_times_of_several_processors_are_warned_of():
    alike, other = known([FAST] * 3), known([FAST, FAST, replace(FAST, machine="another cpu")])
    assert alike["protocol"]["machines"] == ["cpu"]
    assert "do not compare" not in text(alike)
    assert "CPU times of several processors do not compare: another cpu; cpu" in text(other)


def test_baselines_at_an_edge_are_warned_of():
    subjects = [Subject("AdamW", "a", 1e-3, 0.1), Subject("found", "f", 1e-3, 0.1, "source")]
    edge = Tuned([Setting(1e-3, 3.0)], [1.0], {0: 1.0}, 0, (SLOW,))
    settings = Settings.of({"tasks": ["photographs"], "seeds": 1, "steps": 400})
    pairs = {("photographs", name): edge for name in ("AdamW", "found")}
    said = text(made.results(settings, subjects, pairs))
    assert "3*" in said
    assert (
        "warning: baselines tuned to an edge of their box may do better beyond it: AdamW on photographs (decay)" in said
    )
    assert "found on photographs (decay)" not in said


def test_a_module_that_raises_in_training_is_a_typed_error_with_its_line(tmp_path):
    path = tmp_path / "found.py"
    raising = 'if group["lr"] > 0.1:\n                    raise ValueError("too fast")\n                p.sub_('
    path.write_text(MODULE.replace("p.sub_(", raising))
    unit = Unit(module_subject(path, "found"), "photographs", Setting(0.2, 0.0), 0, 4)
    with pytest.raises(ModuleError, match=r"found failed on photographs \(lr 0.2.*ValueError: too fast") as caught:
        run_unit((unit, unit.key, str(tmp_path)))
    assert caught.value.hint == f'{path}, line 14, in step: raise ValueError("too fast")'


def test_a_second_machine_redoes_the_runs_that_it_would_compare(tmp_path, monkeypatch):
    unit = Unit(baselines()[0], "photographs", Setting(1e-3, 0.0), 0, 2)
    run_unit((unit, unit.key, str(tmp_path)))
    assert unit in Runs(tmp_path)
    monkeypatch.setattr(runs_module, "machine", lambda: "another cpu")
    assert unit not in Runs(tmp_path)


def test_the_module_is_checked_before_anything_is_trained(tmp_path):
    (tmp_path / "bad.py").write_text("x = 1\n")
    with pytest.raises(ModuleError):
        judge(tmp_path / "out", [tmp_path / "bad.py"])
    assert not (tmp_path / "out").exists()
