"""A whole refinement, on little work: its result, its resumption, its evidence and its figures."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evo.cli.options import plain_json
from evo.errors import ConfigError
from evo.program import Program
from evo.space import Refined
from search_spaces.lion.programs import adamw, lion
from search_spaces.lion.refine import pipeline
from search_spaces.lion.refine.assess import Assessor, Losses, Trial, seeds_for
from search_spaces.lion.refine.comparison import compared
from search_spaces.lion.refine.figures import figures
from search_spaces.lion.refine.funnel import ADAMW, Contender
from search_spaces.lion.refine.options import RefineOptions, from_settings
from search_spaces.lion.refine.pipeline import BAR, Refiner, refine
from search_spaces.lion.refine.subjects import AdamWSetting, Subject
from search_spaces.lion.refine.words import beaten_words, few_seeds, validation
from search_spaces.lion.space import Lion
from tests.search_spaces.lion.refine.worlds import OPTIONS, SMALL, candidates, refinement

ROOT = Path(__file__).parents[4]


def told(refined: Refined[Any]) -> str:
    """All of a result as text."""
    result = [str(refined.genome), refined.candidate, refined.steps, refined.evidence]
    return json.dumps(plain_json(result), sort_keys=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Refined[Any], Path]:
    folder = tmp_path_factory.mktemp("refined")
    return Lion(OPTIONS).refine(refinement(folder)), folder


def test_a_refinement_ends_with_a_leaders_program_and_its_evidence(whole: tuple[Refined[Any], Path]) -> None:
    refined, _ = whole
    evidence = refined.evidence
    assert refined.candidate in {c.id for c in candidates()}
    assert {"baselines", "elites", "funnel", "curve", "tuning", "simplification", "comparison", "table"} < set(evidence)
    assert len(evidence["elites"]) == 4
    lines = evidence["funnel"]["lines"]
    known = [ADAMW, "Lion (rate, decay tuned)", "AdamW seed program (rate, decay tuned)"]
    assert [line["name"] for line in lines[:3]] == [line["name"] for line in evidence["baselines"]] == known
    assert evidence["baselines"][0]["optimizer"].startswith("torch.optim.AdamW(")
    assert len(lines) == 6
    assert lines[0]["score"] == 0.0
    assert sum(line["final"] is not None for line in lines) in (4, 5)  # baselines, and the one or two that went on
    compared = evidence["comparison"]["lines"]
    assert compared[0]["against_bar"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "seeds": 2}
    assert compared[-1]["name"] == "refined"
    assert refined.steps[-1].startswith("on digits_mlp and 2 fresh seeds the result is")


def test_each_row_of_the_comparison_says_what_was_tuned(whole: tuple[Refined[Any], Path]) -> None:
    refined, _ = whole
    table = refined.evidence["table"]
    names = [row[0] for row in table["rows"]]
    assert len(set(names)) == len(names)
    assert f"#{refined.candidate}, as found (rate untuned)" in names
    assert any(name.startswith("#0") and name.endswith("as found (rate untuned)") for name in names)
    rated = {line["candidate"]: line["rate"] for line in refined.evidence["funnel"]["lines"]}
    if rated[refined.candidate] != 1.0:
        assert f"#{refined.candidate}, rate x {rated[refined.candidate]:g}" in names
    assert refined.evidence["comparison"]["bar"] == names[0]
    assert f"loss / that of {names[0]}," in table["title"]
    assert "t interval" in table["title"]
    assert all(name in (BAR, ADAMW) for name in names if name.startswith("AdamW (")), names


def losses_of(worth: dict[Any, float]) -> Any:
    """An assessor of fixed log losses with a spread over 3 seeds that all share."""
    noise = np.array([-0.1, 0.0, 0.1])

    class Fixed:
        @staticmethod
        def relative(subjects: Any, trials: Any, seeds: Any) -> np.ndarray:
            rows = np.array([worth[subject] for subject in subjects])
            return rows[:, None, None] + np.tile(noise, (len(trials), 1))

    return Fixed()


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (-0.3, "a: loss x 0.741 (0.741 to 0.741); it is better than the best baseline there, b: loss x 0.9"),
        (-0.1, "a: loss x 0.905 (0.905 to 0.905); it is worse than the best baseline there, b: loss x 1.1"),
        (-0.2, "it is not shown to differ from the best baseline there, b: loss x 1.000 (1.000 to 1.000)"),
    ],
)  # fmt: skip
def test_a_result_is_held_against_the_best_baseline_too(result: float, words: str) -> None:
    given = {AdamWSetting(0.1): 0.0, AdamWSetting(0.2): -0.2, AdamWSetting(0.3): 0.5, adamw(): 0.4, lion(): result}
    a, b, c, origin, end = given
    evidence, table, sentence = compared(
        losses_of(given), [("a", a), ("b", b), ("c", c)], [("found", origin), ("refined", end)], [Trial("t")], [1, 2, 3]
    )
    assert words in sentence
    assert evidence["best_baseline"] == "b"
    assert [row[0] for row in table["rows"]] == ["a", "b", "c", "found", "refined"]


def test_the_funnel_says_how_many_beat_the_best_baseline() -> None:
    def contender(name: str, loss: float, candidate: int | None = None) -> Contender:
        return Contender(name, candidate, adamw(), adamw(), selection=np.full((2, 2), loss))

    judged = [contender("AdamW", 0.0), contender("Muon", -0.2), contender("Lion", 0.1)]
    found = [contender(str(k), loss, k) for k, loss in enumerate((-0.3, -0.1, 0.2))]
    assert beaten_words([*judged, *found]) == "2 beat AdamW, 1 the best baseline, Muon (0.819)"
    assert beaten_words([judged[0], judged[2], *found]) == "2 beat AdamW"


def test_what_the_search_saw_is_called_no_meta_validation(whole: tuple[Refined[Any], Path]) -> None:
    refined, _ = whole  # its selection tasks are the search's own
    assert refined.evidence["seen"] == ("digits_mlp", "digits_conv")
    assert "rehearsal" in refined.steps[0]
    assert "digits_mlp, digits_conv among the tasks that judge are the search's own" in refined.steps[0]
    words = " ".join([*refined.steps[1:], refined.evidence["curve"]["sentence"]]).lower()
    assert "longer training on the search's own tasks" in words
    assert not any(word in words for word in ("meta-", "unseen"))


def test_few_seeds_are_said(whole: tuple[Refined[Any], Path]) -> None:
    refined, _ = whole
    assert (
        "fewer than 3 seeds (elite_seeds = 2, selection_seeds = 2, final_seeds = 2, curve_seeds = 1"
        in (refined.steps[1])
    )
    assert "; 2 seeds)" in refined.evidence["table"]["rows"][-1][2]
    assert not few_seeds(RefineOptions())


def test_the_choice_is_by_meta_validation(whole: tuple[Refined[Any], Path]) -> None:
    refined, _ = whole
    finished = [line for line in refined.evidence["funnel"]["lines"] if line["candidate"] is not None and line["final"]]
    assert refined.candidate == min(finished, key=lambda line: line["score"])["candidate"]


def test_again_it_trains_nothing_and_gives_the_same(whole: tuple[Refined[Any], Path]) -> None:
    refined, folder = whole

    def nothing(function: Any, items: Any) -> list[Any]:
        raise AssertionError(f"{len(items)} trainings repeated")

    assert told(refine(OPTIONS, refinement(folder, nothing))) == told(refined)


def test_stopped_anywhere_it_goes_on_and_gives_the_same(whole: tuple[Refined[Any], Path], tmp_path: Path) -> None:
    refined, _ = whole
    done: list[Any] = []
    sessions = 0
    while True:
        sessions += 1
        before = len(done)

        def some(function: Any, items: Any, before: int = before) -> list[Any]:
            if len(done) > before + 60:
                raise KeyboardInterrupt
            done.extend(items)
            return [function(item) for item in items]

        try:
            again = refine(OPTIONS, refinement(tmp_path, some))
            break
        except KeyboardInterrupt:
            assert len(done) > before
    assert sessions > 2
    assert told(again) == told(refined)
    trained = [(item.task, item.course, item.seed, program) for item in done for program in item.programs]
    assert len(set(trained)) == len(trained)


def test_kill_minus_nine_in_the_middle_changes_nothing(whole: tuple[Refined[Any], Path], tmp_path: Path) -> None:
    refined, _ = whole
    script = f"""
import os, pathlib, signal
from search_spaces.lion.refine.pipeline import refine
from tests.search_spaces.lion.refine.worlds import OPTIONS, refinement
done = 0
def dying(function, items):
    global done
    found = [function(item) for item in items]
    done += len(items)
    if done > 80:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
refine(OPTIONS, refinement(pathlib.Path({str(tmp_path)!r}), dying))
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, timeout=120)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert told(refine(OPTIONS, refinement(tmp_path))) == told(refined)


def test_seeds_of_one_purpose_serve_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []
    original = pipeline.seeds_for

    def listening(run_seed: int, purpose: str, n: int) -> list[int]:
        asked.append((purpose, n))
        return original(run_seed, purpose, n)

    monkeypatch.setattr(pipeline, "seeds_for", listening)
    refine(OPTIONS, refinement(tmp_path, simplify=False, generations=1))
    purposes = [purpose for purpose, _ in asked]
    assert len(set(purposes)) == len(purposes)


def test_each_step_is_judged_by_its_own_tasks_and_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, tuple[Trial, ...], tuple[int, ...]]] = []
    original = Assessor.logs

    def listening(self: Assessor, programs: Any, trials: Any, seeds: Any) -> np.ndarray:
        asked.append((self.stage.partition(":")[2].strip() or self.stage, tuple(trials), tuple(seeds)))
        return original(self, programs, trials, seeds)

    monkeypatch.setattr(Assessor, "logs", listening)
    given = {"selection": ("digits_conv",), "final": ("digits_mlp",), "entrants": 2, "curve_points": 2}
    refine(OPTIONS, refinement(tmp_path, simplify=False, generations=1, **given))
    search = tuple(Trial(task) for task in OPTIONS.tasks)
    selection, final = (Trial("digits_conv", 1.5),), (Trial("digits_mlp", 2.0),)
    tuning = (*(Trial(task, 4.0) for task in OPTIONS.tasks), *selection)
    wanted = {
        "4 leaders again, on fresh seeds": (search, "elites", 2),
        "rates of 2 programs": (selection, "rate", 1),
        "2 programs on the selection tasks": (selection, "selection", 2),
        " programs on the final tasks": (final, "final", 2),
        "generation 1 of 1": (tuning, "tuning 0", 1),
        "paired tests on fresh seeds": (tuning, "tuning test", 4),
        "the finalists on selection and final tasks, fresh seeds": ((*selection, *final), "choice", 2),
        "final comparison on fresh seeds": (final, "comparison", 2),
    }
    for stage, (trials, purpose, n) in wanted.items():
        found = {entry[1:] for entry in asked if entry[0].endswith(stage)}
        assert found == {(trials, tuple(seeds_for(7, purpose, n)))}, stage


def test_the_simplification_of_other_data_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def journals() -> set[str]:
        refine(OPTIONS, refinement(tmp_path, generations=0, curve_points=0))
        return {path.name for path in tmp_path.glob("simplification-*")}

    first = journals()
    assert journals() == first
    monkeypatch.setattr(Assessor, "identity", lambda self, trials: "other data")
    assert len(journals()) == 2


def test_a_simplification_that_ran_out_of_tests_says_so(whole: tuple[Refined[Any], Path]) -> None:
    refined, _ = whole
    early = refined.evidence["simplification"]["ended_early"]
    (step,) = [step for step in refined.steps if step.startswith("simplified from")]
    assert ("all 2 tests that simplify_tests allows were made" in step) == early
    assert early


@pytest.mark.parametrize(
    ("seen", "words"),
    [((), "meta-validation"), (("a", "b"), "longer training on the search's own tasks"), (("a",), "some of which")],
)
def test_a_judgement_is_called_what_it_is(seen: tuple[str, ...], words: str) -> None:
    assert words in validation(seen, ("a", "b"))


def test_an_overfitted_tuning_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from search_spaces.lion.refine.rate import rescaled

    def slower(subject: Subject) -> Subject:
        return replace(subject, lr=1e-4 * subject.lr) if isinstance(subject, AdamWSetting) else rescaled(subject, 1e-4)

    monkeypatch.setattr(pipeline, "tuned", lambda programs, *_, **__: list(map(slower, programs)))
    found = refine(OPTIONS, refinement(tmp_path, simplify=False))
    assert [line["accepted"] for line in found.evidence["tuning"]] == [False, False]
    assert found.evidence["tuning"][0]["change"]["low"] > 0


def test_constants_that_meta_validation_rejects_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def contender(program: Program, name: str, candidate: int | None) -> Contender:
        return Contender(name, candidate, program, program)

    found = {adamw(0.01): adamw(0.04), lion(0.001): lion(0.004), adamw(0.002): adamw(0.008)}
    worth = {adamw(0.04): (-0.5, 0.3), lion(0.004): (-0.5, -0.3), adamw(0.008): (0.5, -0.9)}
    monkeypatch.setattr(pipeline, "tuned", lambda programs, *_, **__: [found[p] for p in programs])
    refiner = Refiner(OPTIONS, from_settings(SMALL, OPTIONS), refinement(tmp_path), Losses(None))

    def relative(programs: Any, trials: Any, seeds: Any) -> np.ndarray:
        unseen = len(trials) == len(SMALL["selection"]) + len(SMALL["final"])
        worths = [worth.get(program, (0.0, 0.0))[unseen] for program in programs]
        return np.array(worths)[:, None, None] + np.zeros((1, len(trials), len(seeds)))

    monkeypatch.setattr(refiner.assessor, "relative", relative)
    before = [contender(adamw(0.01), "a", 1), contender(lion(0.001), "b", 2), contender(adamw(0.002), ADAMW, None)]
    best, bar = refiner._tuning(before[:2], before[2])
    lines = refiner.evidence["tuning"]
    assert [(line["accepted"], line["kept"]) for line in lines] == [(True, False), (True, True), (False, False)]
    assert (best.candidate, best.program, bar.program) == (2, lion(0.004), adamw(0.002))
    assert "rejected by the paired test" in refiner.steps[-2]


def test_figures_show_the_course_the_funnel_and_the_result(whole: tuple[Refined[Any], Path]) -> None:
    refined, _ = whole
    result = plain_json(
        {
            "candidate": refined.candidate, "steps": list(refined.steps), "evidence": refined.evidence,
            "proposals": 60, "source": Lion(OPTIONS).describe(refined.genome) + " <&>",
        }
    )  # fmt: skip
    drawn = list(figures(json.loads(json.dumps(result))))
    assert [figure.title for figure in drawn] == [
        f"Refined, from candidate #{refined.candidate}", "The funnel", "The course of the search, trained longer",
    ]  # fmt: skip
    assert "&lt;&amp;&gt;" in drawn[0].html
    assert "diverged" in drawn[1].html or "candidate 0" in drawn[1].html
    assert ADAMW in drawn[1].caption
    assert "A rehearsal: digits_mlp, digits_conv are the search's own tasks" in drawn[1].caption
    assert drawn[2].caption == refined.evidence["curve"]["sentence"]  # of one seed: no bars to explain
    assert not any(word in "".join(f.html + f.caption for f in drawn).lower() for word in ("unseen", "meta-over"))


def test_figures_of_unseen_tasks_say_so(whole: tuple[Refined[Any], Path]) -> None:
    refined, _ = whole
    evidence = json.loads(json.dumps(plain_json(refined.evidence))) | {"seen": []}
    curve = evidence["curve"]
    curve |= {"judged": "meta-validation", "sentence": "No meta-overfitting."}
    for point in curve["points"]:
        point |= {"low": point["mean"] - 0.1, "high": point["mean"] + 0.1}
    result = {"candidate": 0, "steps": [], "evidence": evidence, "proposals": 60, "source": ""}
    _, funnel, drawn = figures(result)
    assert "rehearsal" not in funnel.caption
    assert (drawn.title, drawn.caption) == (
        "Meta-overfitting", "No meta-overfitting. Bars are 95 % t intervals over seeds.",
    )  # fmt: skip
    assert "meta-validation on unseen tasks (right)" in drawn.html
    assert ADAMW in drawn.html


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"selection": ("no_such_task",)}, "no_such_task"), ({"nonsense": 1}, "nonsense"),
        ({"simplify_tasks": ("characters",)}, "characters"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said_before_anything_is_trained(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    def nothing(function: Any, items: Any) -> list[Any]:
        raise AssertionError

    with pytest.raises(ConfigError, match=words):
        refine(OPTIONS, refinement(tmp_path, nothing, **settings))
