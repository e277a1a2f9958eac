"""A whole refinement, on little work: its result, its resumption, its evidence and its figures."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
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
from search_spaces.lion.refine.assess import Losses
from search_spaces.lion.refine.figures import figures
from search_spaces.lion.refine.funnel import ADAMW, Contender
from search_spaces.lion.refine.options import from_settings
from search_spaces.lion.refine.pipeline import Refiner, refine
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
    assert [line["name"] for line in lines[:2]] == [ADAMW, "Lion, tuned"]
    assert len(lines) == 5
    assert lines[0]["score"] == 0.0
    assert sum(line["final"] is not None for line in lines) in (3, 4)  # baselines, and the one or two that went on
    compared = evidence["comparison"]["lines"]
    assert compared[0]["against_adamw"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert compared[-1]["name"] == "refined"
    assert refined.steps[-1].startswith("on digits_mlp and fresh seeds the result is")
    names = [row[0] for row in evidence["table"]["rows"]]
    assert f"#{refined.candidate} as found" in names
    assert "#0 as found" in " ".join(names)


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


def test_an_overfitted_tuning_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from search_spaces.lion.refine.rate import rescaled

    monkeypatch.setattr(pipeline, "tuned", lambda programs, *_, **__: [rescaled(p, 1e-4) for p in programs])
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
        f"Refined, from candidate #{refined.candidate}", "The funnel", "Meta-overfitting",
    ]  # fmt: skip
    assert "&lt;&amp;&gt;" in drawn[0].html
    assert "diverged" in drawn[1].html or "candidate 0" in drawn[1].html
    assert drawn[2].caption == refined.evidence["curve"]["sentence"]
    assert "meta-validation on unseen tasks" in drawn[2].html


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
