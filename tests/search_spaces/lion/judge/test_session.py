"""A judgement from end to end on a few steps: what is run, kept, reused, resumed; targets and ratios of known runs."""

import json
import math

import pytest

from evo.errors import ConfigError, UsageError
from evo.space import Preparation
from search_spaces.lion import Lion
from search_spaces.lion.judge import results as made
from search_spaces.lion.judge.boxes import ModuleError
from search_spaces.lion.judge.names import HELD_OUT
from search_spaces.lion.judge.runs import Runs, Unit, run_unit
from search_spaces.lion.judge.session import Settings, Tuned
from search_spaces.lion.judge.subjects import Subject, baselines
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
    ],
)
def test_bad_settings_are_named(given, error, message):
    with pytest.raises(error, match=message):
        Settings.of(given)


def test_tasks_keep_their_order_and_default_to_all():
    assert Settings.of({"tasks": ["photographs", "vit"]}).tasks == ("vit", "photographs")
    assert Settings.of({}).tasks == tuple(HELD_OUT)
    assert len(HELD_OUT) == 5


# Known runs: losses at steps 0, 100, 200, 300, 400 of 400; seconds are a hundredth of the steps.


def run(*losses):
    steps = (0, 100, 200, 300, 400)
    return Run(steps, losses, tuple(step / 100 for step in steps), None, "cpu")


def tuned(*runs):
    return Tuned([Setting(1e-3, 0.0)], [1.0], {0: 1.0}, 0, runs)


def known(found):
    """A judgement of two baselines and a module, on one task, three seeds."""
    subjects = [
        Subject("AdamW", "a", 1e-3, 0.1),
        Subject("Muon", "m", 1e-3, 0.1),
        Subject("found", "f", 1e-3, None, "source"),
    ]
    runs = {
        "AdamW": tuned(run(9, 6, 4, 3, 2.0), run(9, 6, 4, 3, 2.2), run(9, 6, 4, 3, 2.1)),
        "Muon": tuned(run(9, 5, 3, 2, 1.0), run(9, 5, 3, 2, 1.2), run(9, 5, 3, 1.2, 1.1)),
        "found": tuned(*found),
    }
    settings = Settings.of({"tasks": ["photographs"], "seeds": 3, "steps": 400})
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
    assert "missed" in session_text(data)


def session_text(data):
    from search_spaces.lion.judge.text import text

    return text(data)


def test_a_baseline_that_diverged_sets_no_target():
    assert made._targets({"AdamW": 2.0, "SGD": INF, "Muon": 1.0}) == {
        "best": {"loss": 1.0, "of": "Muon", "decided": True},
        "reference": {"loss": 2.0, "of": "AdamW", "decided": True},
        "common": {"loss": 2.0, "of": "AdamW", "decided": True},
    }


def test_the_module_is_checked_before_anything_is_trained(tmp_path):
    (tmp_path / "bad.py").write_text("x = 1\n")
    with pytest.raises(ModuleError):
        judge(tmp_path / "out", [tmp_path / "bad.py"])
    assert not (tmp_path / "out").exists()
