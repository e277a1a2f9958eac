"""The final comparison: baselines that deserve the name, and which data decides what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from search_spaces.lion import report
from search_spaces.lion.evaluator import courses, one_thread, references
from search_spaces.lion.options import LionOptions
from search_spaces.lion.programs import adamw
from search_spaces.lion.report import compared_with, rows
from search_spaces.lion.tasks import load
from search_spaces.lion.training import train

OPTIONS = LionOptions(
    tasks=("digits_mlp",), steps=8, batch=16, probe_steps=4, replicates=2, operators="matrix", seeds=("adamw", "muon")
)


@pytest.fixture(scope="module")
def reference() -> dict[str, float]:
    return references(OPTIONS)["search"]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str, int]]:
    """(seed, split, networks) of everything that is trained."""
    seen: list[tuple[int, str, int]] = []

    def watched(task: Any, optimizers: Any, seed: int, course: Any, split: str = "validation", points: Any = ()) -> Any:
        seen.append((seed, split, len(optimizers)))
        return train(task, optimizers, seed, course, split, points)

    monkeypatch.setattr(report, "train", watched)
    return seen


def test_every_seed_program_is_a_tuned_baseline(reference: dict[str, float]) -> None:
    with one_thread():
        found = {line.name: line for line in compared_with(OPTIONS, courses(OPTIONS)["search"], reference)}
    assert list(found) == [
        "AdamW, tuned", "AdamW, seed program", "Lion, tuned", "SGD momentum, tuned", "Muon, tuned",
    ]  # fmt: skip
    assert all("lr " in line.setting for name, line in found.items() if name.endswith("tuned"))
    assert found["AdamW, seed program"].setting == "as it is"
    assert max(report.RATES) > 1.0 > min(report.RATES)


@pytest.mark.parametrize("worst", ["corrected", "all"])
def test_tuned_adamw_never_loses_to_the_seed_program_where_it_is_picked(
    reference: dict[str, float], monkeypatch: pytest.MonkeyPatch, worst: str
) -> None:
    """Even where all that the grids found is worse than the program that the search began with."""
    original = report.tuned

    def spoiled(families: Any, score: Any) -> Any:
        spoil = report.AdamWSetting(1e-9, 0.0)
        return [
            one if number > 1 or (worst == "corrected" and number) else one.__class__(one.family, spoil, one.record)
            for number, one in enumerate(original(families, score))
        ]

    monkeypatch.setattr(report, "tuned", spoiled)
    with one_thread():
        found = compared_with(OPTIONS, courses(OPTIONS)["search"], reference)
    task, course = load("digits_mlp"), courses(OPTIONS)["search"]["digits_mlp"]
    first = [report.replicate_seed("search", k) for k in range(OPTIONS.replicates)]
    seeds = first + [report.replicate_seed("baselines", k) for k in range(report.FURTHER)]
    tuned, plain = (np.mean([train(task, line.optimizer, s, course).loss[0] for s in seeds]) for line in found[:2])
    assert tuned <= plain
    assert found[0].setting == "the seed program as it is" or worst == "corrected"


def test_baselines_are_picked_on_validation_data_and_more_seeds_and_judged_on_test_data(
    reference: dict[str, float], trained: list[tuple[int, str, int]]
) -> None:
    found = rows(OPTIONS, [adamw()], [5, 6], reference)
    picked = {seed for seed, split, _ in trained if split == "validation"}
    assert len(picked) == OPTIONS.replicates + report.FURTHER
    assert {seed for seed, split, _ in trained if split == "test"} == {5, 6}
    assert not picked & {5, 6}
    assert all(networks == 1 for _, split, networks in trained if split == "test")
    losses = [row for row in found if row["metric"] == "test loss"]
    assert losses[-1]["setting"] == "as found, nothing tuned"
    by_hand = [train(load("digits_mlp"), report._one(adamw(), None), seed, courses(OPTIONS)["search"]["digits_mlp"],
                     "test").loss[0] for seed in (5, 6)]  # fmt: skip
    assert losses[-1]["values"] == by_hand
    assert losses[-1]["values"] != [
        train(load("digits_mlp"), report._one(adamw(), None), seed, courses(OPTIONS)["search"]["digits_mlp"]).loss[0]
        for seed in (5, 6)
    ]
