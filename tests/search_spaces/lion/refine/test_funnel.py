"""Assessment, rates, funnel and the meta-overfitting curve."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.errors import ConfigError, DamagedRunError, EvaluatorError
from evo.program import Program, canonical, lower, simplify
from evo.seeds import replicate_seed
from evo.space import Candidate
from kernels.programs import OPCODES, reference_step
from search_spaces.lion.evaluator import course, lowered
from search_spaces.lion.language import LION
from search_spaces.lion.programs import adamw, lion, momentum, muon
from search_spaces.lion.refine import assess, funnel
from search_spaces.lion.refine.assess import Assessor, Losses, Trial, seeds_for
from search_spaces.lion.refine.curve import meta_overfitting, thinned
from search_spaces.lion.refine.funnel import ADAMW, Contender
from search_spaces.lion.refine.options import RefineOptions, from_settings
from search_spaces.lion.refine.rate import rescaled
from search_spaces.lion.refine.subjects import AdamWSetting
from search_spaces.lion.tasks import load
from search_spaces.lion.training import Programs, train
from tests.search_spaces.lion.helpers import random_program
from tests.search_spaces.lion.refine.worlds import OPTIONS, Oracle

TRIALS = (Trial("digits_mlp"), Trial("digits_conv", 1.5))
PROGRAMS = [adamw(0.01), lion(0.002), momentum(0.1), adamw(0.02)]


def assessor(losses: Losses, map: Any = None) -> Assessor:
    found = Assessor(OPTIONS, losses, map or (lambda f, items: [f(i) for i in items]), lambda *_: None)
    found.reference = adamw()
    return found


# Assessment.


def test_a_loss_is_that_of_the_training_it_names() -> None:
    logs = assessor(Losses(None)).logs(PROGRAMS, TRIALS, (5, 6))
    given = course(OPTIONS, "digits_conv", OPTIONS.steps * 1.5)
    alone = train(load("digits_conv"), Programs([lowered(PROGRAMS[1])]), 6, given).loss[0]
    assert logs.shape == (4, 2, 2)
    assert logs[1, 1, 1] == math.log(alone)


def test_relative_losses_are_to_the_reference_under_the_same_seed() -> None:
    made = assessor(Losses(None))
    logs = made.logs([adamw(), PROGRAMS[0]], TRIALS, (5, 6))
    found = made.relative([adamw(), PROGRAMS[0]], TRIALS, (5, 6))
    assert not found[0].any()
    np.testing.assert_array_equal(found[1], logs[1] - logs[0])


def test_nothing_is_trained_twice_not_even_after_a_restart(tmp_path: Path) -> None:
    first = assessor(Losses(tmp_path / "losses.sqlite"))
    before = first.relative(PROGRAMS, TRIALS, (1, 2))
    assert first.trained == 5 * 2 * 2
    again = assessor(Losses(tmp_path / "losses.sqlite"))
    renamed = Program.parse(str(PROGRAMS[0]).replace("g2", "square_of_g"))
    after = again.relative([renamed, *PROGRAMS[1:]], TRIALS, (1, 2))
    assert again.trained == 0
    np.testing.assert_array_equal(before, after)
    again.relative(PROGRAMS, TRIALS, (1, 3))
    assert again.trained == 5 * 2


def test_how_programs_are_put_together_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    programs: list[Any] = [adamw(0.001 * (k + 1)) for k in range(6)]
    programs += [AdamWSetting(0.002 * (k + 1), beta1=0.9 - 0.1 * k) for k in range(3)]
    together = assessor(Losses(None)).relative(programs, TRIALS, (1, 2))
    monkeypatch.setattr(assess, "BLOCK", 2)
    apart = assessor(Losses(None), lambda f, items: [f(i) for i in reversed(items)][::-1])
    np.testing.assert_array_equal(together, apart.relative(programs[::-1], TRIALS, (2, 1))[::-1, :, ::-1])


def test_what_is_done_is_kept_when_the_rest_fails(tmp_path: Path) -> None:
    calls = []

    def failing(function: Any, items: Any) -> list[Any]:
        calls.append(len(items))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return [function(item) for item in items]

    losses = Losses(tmp_path / "losses.sqlite")
    with pytest.raises(KeyboardInterrupt):
        assessor(losses, failing).logs(PROGRAMS, TRIALS, range(4))
    assert len(Losses(tmp_path / "losses.sqlite")) == len(losses) == 4 * 4
    rest = assessor(losses)
    rest.logs(PROGRAMS, TRIALS, range(4))
    assert rest.trained == 4 * 4


def test_what_losses_depend_on_has_one_identity() -> None:
    made = assessor(Losses(None))
    same = made.identity(TRIALS)
    assert assessor(Losses(None)).identity(TRIALS) == same
    others = [made.identity(TRIALS[:1]), made.identity((TRIALS[0], Trial("digits_conv", 2.0)))]
    for options in (replace(OPTIONS, steps=9), replace(OPTIONS, batch=16), replace(OPTIONS, backend="reference")):
        others.append(Assessor(options, Losses(None), made._map, lambda *_: None).identity(TRIALS))
    assert len({same, *others}) == 6


def test_the_data_of_a_task_are_part_of_its_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    made = assessor(Losses(None))
    before = made.identity(TRIALS)
    monkeypatch.setattr(assess, "_digest", lambda task: "other data")
    assert made.identity(TRIALS) != before


def test_divergence_is_infinite(tmp_path: Path) -> None:
    path = tmp_path / "losses.sqlite"
    for _ in range(2):
        found = assessor(Losses(path)).relative([momentum(1e6)], TRIALS, (1,))
        assert np.isinf(found).all()
        assert (found > 0).all()


def test_a_reference_that_diverges_or_is_missing_is_said() -> None:
    made = assessor(Losses(None))
    made.reference = momentum(1e6)
    with pytest.raises(EvaluatorError, match="digits_mlp"):
        made.relative(PROGRAMS, TRIALS, (1,))
    made.reference = None
    with pytest.raises(EvaluatorError, match="no reference"):
        made.relative(PROGRAMS, TRIALS, (1,))


def test_a_broken_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "losses.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(DamagedRunError, match="delete it"):
        Losses(tmp_path / "losses.sqlite")


def test_purposes_and_runs_share_no_seed() -> None:
    purposes = ("rate", "selection", "final", "tuning 0", "tuning 1", "choice")
    found = [seed for run in (1, 2) for purpose in purposes for seed in seeds_for(run, purpose, 50)]
    found += [replicate_seed("search", k) for k in range(50)]
    assert len(set(found)) == len(found)
    assert seeds_for(1, "rate", 50)[:3] == seeds_for(1, "rate", 3)
    assert all(0 <= seed < 2**63 for seed in found)


# Rates.


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.sampled_from((0.25, 0.5, 2.0)))
def test_rescaling_multiplies_the_update_and_leaves_the_state(seed: int, factor: float) -> None:
    program = random_program(seed)
    rng = np.random.Generator(np.random.Philox(seed))
    weights, gradient, *slots = (torch.from_numpy(rng.normal(size=5)) for _ in range(4))

    def step(given: Program) -> Any:
        return reference_step(lower(LION, simplify(LION, given), OPCODES), weights, gradient, slots, 0.7, (0, 3, 5))

    before, after = step(program), step(rescaled(program, factor))
    np.testing.assert_allclose(after.update, before.update * factor, rtol=1e-12, atol=0, equal_nan=True)
    found = {tuple(np.nan_to_num(slot.numpy(), nan=9.5)) for slot in after.slots}
    assert found == {tuple(np.nan_to_num(slot.numpy(), nan=9.5)) for slot in before.slots}


def test_a_rate_goes_into_the_literal_that_is_one() -> None:
    assert canonical(LION, rescaled(adamw(0.001), 2.0)) == canonical(LION, adamw(0.002))
    assert canonical(LION, rescaled(lion(0.001), 0.5)) == canonical(LION, lion(0.0005))
    assert len(rescaled(adamw(), 4.0)) == len(adamw())


def test_a_literal_that_the_state_depends_on_is_left_alone() -> None:
    program = Program.parse("update = mul(g, 0.1); update = sub(update, v1); v1 = mul(update, 0.5)")
    assert str(rescaled(program, 2.0)).count("mul") == 3


def test_each_program_gets_the_rate_that_suits_it() -> None:
    best = {adamw(0.001): 0.0, lion(0.001): -0.5}
    oracle = rate_oracle(best)
    found = funnel.with_rates(
        oracle, [Candidate(1, adamw(0.001), (1.0,)), Candidate(2, lion(0.001), (1.0,))], TRIALS, RefineOptions(), [1]
    )
    assert [contender.scale for contender in found] == [0.0, -0.5]
    assert len(oracle.seeds) == 1
    assert canonical(LION, found[1].program) == canonical(LION, lion(0.0005))
    assert found[1].found == lion(0.001)


def rate_oracle(best: dict[Program, float]) -> Any:
    """Losses that are least at the exponents k given, of programs times 4^k."""
    ks = np.arange(-6, 7) / 2
    forms = {canonical(LION, rescaled(p, 4.0**k)): abs(k - best[p]) for p in best for k in ks}
    return Oracle(lambda program: forms[canonical(LION, program)])


@pytest.mark.parametrize(("wanted", "found"), [(2.0, 2.0), (-2.5, -2.5), (9.0, 3.0), (-9.0, -3.0)])
def test_where_the_best_rate_lies_at_an_end_more_are_tried(wanted: float, found: float) -> None:
    oracle = rate_oracle({adamw(0.001): wanted})
    (rated,) = funnel.with_rates(oracle, [Candidate(1, adamw(0.001), (1.0,))], TRIALS, RefineOptions(), [1])
    assert rated.scale == found


def test_who_diverges_at_high_rates_gets_a_lower_one() -> None:
    low = canonical(LION, rescaled(adamw(), 4.0**-2.0))
    oracle: Any = Oracle(lambda program: 0.0 if canonical(LION, program) == low else math.inf)
    (rated,) = funnel.with_rates(oracle, [Candidate(1, adamw(), (1.0,))], TRIALS, RefineOptions(), [1])
    assert rated.scale == -2.0


def test_who_diverges_at_every_rate_stays_as_it_was_found() -> None:
    oracle: Any = Oracle(lambda program: math.inf)
    found = funnel.with_rates(oracle, [Candidate(1, adamw(), (1.0,))], TRIALS, RefineOptions(), [1])
    assert found[0].scale == 0.0


def test_adamw_with_bias_correction_is_the_unit_and_each_seed_program_has_a_row() -> None:
    made = assessor(Losses(None))
    found, records = funnel.baselines(made, TRIALS, (1,), (2,), ("muon", "adamw", "lion"))
    assert [item.name.partition(" (")[0] for item in found] == [
        "AdamW", "Lion", "Muon seed program", "AdamW seed program"
    ]  # fmt: skip
    assert found[0].name == ADAMW
    assert isinstance(found[0].program, AdamWSetting)
    assert made.reference == found[0].program
    assert found[2].program == muon(records[2]["rate"], records[2]["decay"])
    assert made.relative([found[0].program], TRIALS, (1, 2)).max() == 0.0
    assert not any(record["at_edge"] for record in records)
    json.dumps(records, allow_nan=False)


def test_a_task_without_finite_losses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    made = assessor(Losses(None))
    logs = made.logs

    def spoilt(programs: Any, trials: Any, seeds: Any) -> np.ndarray:
        found = logs(programs, trials, seeds)
        found[:, 1] = np.inf
        return found

    monkeypatch.setattr(made, "logs", spoilt)
    with pytest.raises(EvaluatorError, match="AdamW has no finite loss on digits_conv, whatever its rate"):
        funnel.baselines(made, TRIALS, (1,), (2,), ())


# The funnel.


def contender(name: str, *losses: list[float], candidate: int | None = 1) -> Contender:
    parts = [np.array(loss)[:, None] for loss in losses]
    return Contender(name, candidate, adamw(), adamw(), 0.0, 1.0, *parts)


def test_elites_are_ranked_by_fresh_values_not_by_the_search() -> None:
    worth = {adamw(0.001): 0.3, adamw(0.002): 0.1, adamw(0.003): 0.2}
    oracle: Any = Oracle(lambda program: worth[program])
    leaders = [Candidate(k, program, (0.1 * k,)) for k, program in enumerate(worth)]
    best, record = funnel.elites(oracle, leaders, TRIALS, [1, 2], 2)
    assert [c.id for c in best] == [1, 2]
    assert [line["place_in_search"] for line in record] == [2, 3, 1]


def test_only_those_that_beat_adamw_go_on_the_best_first() -> None:
    judged = [
        contender(ADAMW, [0.0, 0.0], candidate=None), contender("a", [-0.1, 0.2], candidate=1),
        contender("b", [-0.1, -0.2], candidate=2), contender("c", [-0.1, 0.0], candidate=3),
        contender("d", [-1.0, math.inf], candidate=4),
    ]  # fmt: skip
    through, better = funnel.survivors(judged, 6)
    assert ([c.name for c in through], better) == (["b", "c"], True)
    assert [c.name for c in funnel.survivors(judged, 1)[0]] == ["b"]


def test_where_none_beats_adamw_the_best_goes_on_and_that_is_said() -> None:
    judged = [contender(ADAMW, [0.0], candidate=None), contender("a", [0.2]), contender("b", [0.1], candidate=2)]
    through, better = funnel.survivors(judged, 6)
    assert ([c.name for c in through], better) == (["b"], False)


def test_meta_validation_gives_each_task_an_equal_say() -> None:
    assert contender("a", [0.3, 0.0, 0.0], [-0.6]).score == pytest.approx(-0.075)


# The curve.


def history(n: int) -> list[Candidate[Program]]:
    return [Candidate(100 * k, adamw(1e-3 * (k + 1)), (1.0 - 0.01 * k,)) for k in range(n)]


def seeds(purpose: str, n: int) -> list[int]:
    return seeds_for(3, purpose, n)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(2, 20))
def test_a_thinned_history_keeps_its_ends_and_its_order(length: int, n: int) -> None:
    points = history(length)
    found = thinned(points, n)
    assert len(found) == min(length, n)
    assert [c.id for c in found] == sorted({c.id for c in found})
    if length:
        assert (found[0], found[-1]) == (points[0], points[-1])


def test_points_of_one_function_are_one() -> None:
    twice = [Candidate(1, adamw(), (1.0,)), Candidate(2, Program.parse(str(adamw()).replace("g2", "x")), (0.9,))]
    assert [c.id for c in thinned(twice, 5)] == [1]


def curve(worth: Any, noise: float = 0.0) -> dict[str, Any]:
    points = history(30)
    rank = {canonical(LION, c.genome): k for k, c in enumerate(points)}
    oracle: Any = Oracle(lambda program: worth(rank[canonical(LION, program)]), noise)
    found = meta_overfitting(oracle, points, TRIALS, RefineOptions(scales=(0.0,), curve_points=10), seeds)
    assert found is not None
    used = [seed for call in oracle.seeds for seed in call]
    assert len(set(used)) == len(used)
    return found


def test_overfitting_is_found_and_where_it_begins() -> None:
    found = curve(lambda k: abs(k - 13) / 10, 0.01)
    assert found["overfits"]
    assert found["points"][found["best"]]["candidate"] == 1300
    assert found["sentence"].startswith("Meta-overfitting from candidate 1300 on")
    assert found["change"]["mean"] == pytest.approx(1.6, abs=0.1)


def test_a_search_that_generalises_to_its_end_is_said_to() -> None:
    found = curve(lambda k: -k / 10, 0.01)
    assert not found["overfits"]
    assert "last improvement" in found["sentence"]


def test_a_lucky_point_is_no_overfitting() -> None:
    found = curve(lambda k: 0.0, 0.2)
    assert found["best"] < 9
    assert not found["overfits"]
    assert "noise" in found["sentence"]


def test_a_history_of_one_gives_no_curve() -> None:
    oracle: Any = Oracle(lambda program: 0.0)
    assert meta_overfitting(oracle, history(1), TRIALS, RefineOptions(), seeds) is None


# Options.


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"final_seed": 3}, "no setting is called 'final_seed'"),
        ({"final_seeds": 0}, "at least 1"), ({"final_seeds": "3"}, "not int"),
        ({"selection": []}, "at least one"), ({"final": ["digits_mlp", "digits_mlp"]}, "none twice"),
        ({"scales": [1.0]}, "among them"), ({"population": 2}, "at least 3"), ({"quick": 3}, "true or false"),
        ({"test_seeds": 2}, "at least 4"), ({"spread": 0.0}, "above 0"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_said(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        from_settings(settings, OPTIONS)


def test_quick_fills_in_what_is_not_set() -> None:
    found = from_settings({"quick": True, "final_seeds": 5}, OPTIONS)
    assert (found.selection, found.final_seeds) == (OPTIONS.tasks, 5)
    assert from_settings({}, OPTIONS) == RefineOptions()
