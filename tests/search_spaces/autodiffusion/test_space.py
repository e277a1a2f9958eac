"""The space `autodiffusion` on a tiny network with random weights: the contract, limits of every draw, runs."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evo.errors import ConfigError, InvalidGenomeError
from evo.seeds import Streams
from evo.space import Preparation, Request
from evo.testing.spaces import SpaceContract
from search_spaces.autodiffusion import AutoDiffusion, AutoDiffusionOptions
from search_spaces.autodiffusion.evaluator import Judge
from search_spaces.autodiffusion.genome import Schedule
from tests.search_spaces.autodiffusion.tiny import tiny_problem

pytest.importorskip("diffusers")
TINY = "tests.search_spaces.autodiffusion.tiny:tiny_problem"


def make(**options):
    return AutoDiffusion(AutoDiffusionOptions(**{"model": TINY, "samples": 6, "rows": 4, "held_out": 8, **options}))


def prepare(space, folder):
    return space.prepare(Preparation(Path(folder), lambda f, items: [f(i) for i in items], lambda *given: None))


class TestTimesteps(SpaceContract):
    exports = False

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls):
        return make(solvers=("ddim", "dpmpp_2m"), screen=4, samples=6)


class TestMasksForMacs(SpaceContract):
    exports = False
    n_genomes = 40

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls):
        return make(masks="all", budget="macs", cost="macs", solvers=("unipc", "euler"), steps=3)

    def check_member(self, space, genome):
        super().check_member(space, genome)
        limits(space, genome)


def limits(space, genome):
    """What every drawn schedule keeps."""
    given, problem = space.options, space.problem
    gaps = [a - b for a, b in zip(genome.timesteps, genome.timesteps[1:], strict=False)]
    assert genome.timesteps[0] < problem.model.schedule.steps
    assert all(gap >= given.gap for gap in gaps)
    assert genome.steps <= given.most_steps
    assert all(len(mask) <= space.share * len(problem.blocks) for mask in genome.masks)
    if given.budget == "steps":
        assert genome.steps == given.steps
    else:
        assert space.profile.cost(genome, given.budget) <= given.steps + 1e-6
    if given.masks not in ("none", "all"):
        assert {space.profile.kinds[b] for mask in genome.masks for b in mask} <= {given.masks}


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 1},
        {"steps": 10, "gap": 90},
        {"masks": "attention", "max_skip": 0.2},
        {"masks": "all", "budget": "time", "max_steps": 5},
        {"masks": "resnet", "budget": "macs", "solvers": ("dpmpp_2m", "unipc")},
    ],
    ids=str,
)
def test_every_draw_keeps_the_limits(options, tmp_path):
    space = make(**options)
    prepare(space, tmp_path)
    streams, before = Streams(3), list(space.seeds())
    operators = set()
    for i in range(150):
        a, b = before[i % len(before)], before[(7 * i) % len(before)]
        drawn = space.sample(streams(i, "a"))
        mutant, crossed = space.mutate(a, streams(i, "b")), space.crossover(a, b, streams(i, "c"))
        for genome in (drawn, mutant.genome, crossed.genome):
            limits(space, genome)
        if i < 20 or i % 3 == 0:
            before += [drawn, mutant.genome]
        operators.add(mutant.operator)
        assert mutant.genome != a or options.get("gap") == 90
    assert {"shift", "redraw", "warp"} <= operators
    assert ("mask" in operators) == ("masks" in options)


def test_masks_open_by_share(tmp_path):
    space = make(masks="all", budget="macs")
    prepare(space, tmp_path)
    streams = Streams(0)
    closed, opened = ([space.at(share).sample(streams(i, "s")) for i in range(30)] for share in (0.0, 0.5))
    assert not any(genome.masks for genome in closed)
    assert any(genome.masks for genome in opened)
    assert any(genome.steps > 4 for genome in opened)
    masked = next(genome for genome in opened if genome.masks)
    assert space.at(0.0).mutate(masked, streams(0, "m"))[0].masks == ()


def test_crossing_takes_calls_of_both_parents():
    space = make()
    a, b = Schedule((900, 700, 500, 300)), Schedule((800, 600, 400, 200))
    children = [space.crossover(a, b, Streams(1)(i, "c")).genome for i in range(40)]
    both = {*a.timesteps, *b.timesteps}
    assert all(set(child.timesteps) <= both for child in children)
    assert any(
        set(child.timesteps) & set(a.timesteps) and set(child.timesteps) & set(b.timesteps) for child in children
    )


def test_identity_is_the_schedule():
    space = make()
    one = Schedule((5, 1), masks=((), ()))
    assert one == Schedule((5, 1))
    assert space.canonical(one) != space.canonical(Schedule((5, 1), "unipc"))
    assert space.canonical(Schedule((5,), "unipc")) == space.canonical(Schedule((5,)))
    assert space.canonical(Schedule((5,), "euler")) != space.canonical(Schedule((5,)))
    ddim = {"solver": "ddim"}
    for wrong in ({"timesteps": [3, 3], **ddim}, {"timesteps": [3, 1.5], **ddim}, ddim, [3],
                  {"timesteps": [3], "solver": "heun"}, {"timesteps": [3], **ddim, "more": 1}):  # fmt: skip
        with pytest.raises(InvalidGenomeError):
            space.decode(wrong)


def test_a_value_is_the_distance_of_the_schedules_own_images():
    problem = tiny_problem()
    judge = Judge(problem, AutoDiffusionOptions(model=TINY, rows=4))
    schedules = [Schedule((900, 400)), Schedule((700, 20), "unipc", ((1,), ()))]
    found = judge.distances(schedules, 3, 10)
    for schedule, value in zip(schedules, found, strict=True):
        images = judge.sampler.images([schedule], 3, 10)[0]
        assert value == pytest.approx(problem.score.of(images), rel=1e-9)
    decoded = Judge(replace(problem, decode=lambda x: x / 2), AutoDiffusionOptions(model=TINY, rows=4))
    assert decoded.distances(schedules[:1], 3, 10)[0] != found[0]


def test_images_that_are_not_finite_fail():
    problem = tiny_problem()
    with torch.no_grad():
        next(iter(problem.model.unet.parameters())).fill_(float("inf"))
    space = AutoDiffusion(AutoDiffusionOptions(model=TINY, samples=4, rows=4), problem)
    [[observation]] = space.evaluator(None).evaluate([Request(0, Schedule((9, 1)), "search", (1,))])
    assert observation.status == "failed"
    assert "finite" in observation.message


def test_schedules_of_another_model_are_invalid():
    space = make()
    given = (Schedule((1000, 3)), Schedule((9, 3), masks=((12,), ())), Schedule((9, 3)))
    answers = space.evaluator(None).evaluate([Request(i, g, "search", (1,)) for i, g in enumerate(given)])
    assert [answer[0].status for answer in answers] == ["invalid", "invalid", "ok"]


def test_measured_times_are_kept(tmp_path):
    space = make(masks="attention", budget="time")
    with pytest.raises(Exception, match="prepare"):
        space.sample(np.random.default_rng(0))
    first = prepare(space, tmp_path).profile
    again = make(masks="attention", budget="time")
    assert prepare(again, tmp_path).profile == first
    shown = make(masks="attention", budget="time")
    shown.locate(tmp_path)
    assert shown.profile == first
    genome = Schedule((900, 100), masks=((1,), ()))
    assert "down_blocks.1.attentions.0" in shown.describe(genome)
    assert 1 < shown.costs(genome)["macs"] < 2


def test_options_that_do_not_fit_are_refused(tmp_path):
    for wrong in ({"solvers": ()}, {"solvers": ("heun",)}, {"budget": "macs"}, {"samples": 1},
                  {"screen": 9, "samples": 9}, {"tile": 3, "rows": 8}, {"max_steps": 2}, {"max_skip": 0}):  # fmt: skip
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            AutoDiffusionOptions(**wrong)
    with pytest.raises(ConfigError, match="gap"):
        prepare(make(gap=400), tmp_path)
    with pytest.raises(ConfigError, match="nowhere"):
        _ = AutoDiffusion(AutoDiffusionOptions(model="nowhere")).problem


def test_the_file_of_defaults_holds_the_defaults():
    import yaml

    import search_spaces.autodiffusion as package
    from search_spaces.autodiffusion.two_stage import TwoStageOptions

    text = Path(package.__file__).with_name("default.yaml").read_text()
    found = yaml.safe_load(text)
    assert AutoDiffusionOptions(**found["options"]) == AutoDiffusionOptions()
    assert set(found["options"]) == set(asdict(AutoDiffusionOptions()))
    defaults = AutoDiffusion.defaults
    assert TwoStageOptions(**found["strategy"]["options"]) == TwoStageOptions()
    assert found["strategy"]["name"] == defaults["strategy"]["name"]
    assert found["loop"] == defaults["loop"]
    assert found["report"] == defaults["report"]
    assert found["budget"]["evaluations"] == defaults["budget"]["evaluations"]
