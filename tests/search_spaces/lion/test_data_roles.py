"""Which data a task and a role may touch: the search's parts and texts, selection's, and validation before the end."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evo.space import Preparation, Request
from search_spaces.data import fashion_mnist, texts
from search_spaces.lion import Lion, evaluator
from search_spaces.lion.evaluator import courses, lowered
from search_spaces.lion.options import LionOptions
from search_spaces.lion.programs import adamw
from search_spaces.lion.tasks import TASKS, characters, fashion, load, transformer
from search_spaces.lion.training import Programs, train

SEARCH = ("digits_mlp", "digits_conv", "characters", "fashion_mlp", "fashion_conv", "transformer")
SELECTION = tuple(name for name in TASKS if name not in SEARCH)
CACHES = (characters.windows, characters.judged, transformer.corpus, transformer.judged, fashion.prepared)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a task reads of `search_spaces.data`, from scratch: ("text", name) and ("part", name, source)."""
    seen: set[tuple[Any, ...]] = set()
    text, part = texts.text, fashion_mnist.part

    def watched_text(name: str) -> str:
        seen.add(("text", name))
        return text(name)

    def watched_part(name: str, source: Any = None) -> Any:
        seen.add(("part", name, source))
        return part(name, "shipped")  # the whole set may not be there, and the parts' names are what counts

    monkeypatch.setattr(texts, "text", watched_text)
    monkeypatch.setattr(transformer, "text", watched_text)
    monkeypatch.setattr(fashion_mnist, "part", watched_part)
    for cached in CACHES:
        getattr(cached, "cache_clear", lambda: None)()
    yield lambda name: (_use(name), seen)[1]
    for cached in CACHES:
        getattr(cached, "cache_clear", lambda: None)()


def _use(name: str) -> None:
    task = load(name)
    weights = task.initial(0)[None].astype(np.float32)
    task.batch(0, 0, 2)
    if name not in SELECTION:
        task.evaluate(weights, "validation")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits_mlp", set()),
        ("digits_conv", set()),
        ("characters", {("text", "python_tutorial")}),
        ("transformer", {("text", "python_tutorial")}),
        ("fashion_mlp", {("part", "search", "shipped")}),
        ("fashion_conv", {("part", "search", "shipped")}),
    ],
)
def test_a_search_task_reads_the_searchs_data_and_no_other(
    read: Any, name: str, expected: set[tuple[Any, ...]]
) -> None:
    assert read(name) == expected


@pytest.mark.parametrize("name", SELECTION)
def test_a_selection_task_reads_selections_data_and_no_other(read: Any, name: str) -> None:
    kinds = {("text", "python_library")} if "transformer" in name else {("part", "selection", None)}
    assert read(name) == kinds


def test_every_task_has_a_role_here() -> None:
    assert set(SEARCH) < set(TASKS)
    assert all(name.endswith(("_10x", "_100x")) for name in SELECTION)


def test_the_texts_of_the_roles_share_no_passage() -> None:
    """Passages of 200 characters, one in every 2,000 of a text, are in no other."""
    names = ("python_tutorial", "python_library", "jargon")
    whole = {name: texts.text(name) for name in names}
    for name in names:
        passages = [whole[name][start : start + 200] for start in range(0, len(whole[name]) - 200, 2000)]
        others = [whole[other] for other in names if other != name]
        assert not any(passage in other for passage in passages for other in others), name


OPTIONS = LionOptions(
    tasks=("digits_mlp", "characters"), steps=4, batch=8, probe_steps=2, replicates=2, screen_tasks=("digits_mlp",)
)


def test_fitness_is_the_loss_on_validation_data_at_every_rung(tmp_path: Path) -> None:
    """Not on test data, which the report judges on, and not on what networks are trained with."""
    space = Lion(OPTIONS)
    prepared = space.prepare(Preparation(tmp_path, lambda f, items: [f(i) for i in items], lambda *said: None))
    for rung, by_task in courses(OPTIONS).items():
        (found,) = space.evaluator(prepared).evaluate([Request(0, adamw(0.01), rung, (7,))])
        by_split = {}
        for split in ("train", "validation", "test"):
            losses = [
                train(load(name), Programs([lowered(adamw(0.01))]), 7, course, split).loss[0] / prepared[rung][name]
                for name, course in by_task.items()
            ]
            by_split[split] = sum(losses) / len(losses)
        assert len(set(by_split.values())) == 3
        assert found[0].values == (pytest.approx(by_split["validation"], rel=1e-12),)


def test_nothing_before_the_report_judges_on_test_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reference losses, evaluations of all rungs: the splits that tasks are asked for."""
    seen: set[str] = set()
    original = evaluator.load

    def watched(name: str) -> Any:
        task = original(name)
        judge = task.evaluate
        task.evaluate = lambda weights, split: (seen.add(split), judge(weights, split))[1]  # type: ignore[method-assign]
        return task

    monkeypatch.setattr(evaluator, "load", watched)
    space = Lion(OPTIONS)
    prepared = space.prepare(Preparation(tmp_path, lambda f, items: [f(i) for i in items], lambda *said: None))
    requests = [Request(0, adamw(), rung.name, (1, 2)) for rung in space.rungs]
    for request in requests:
        space.evaluator(prepared).evaluate([request])
    assert seen == {"validation"}


@pytest.mark.parametrize("name", ["digits", "characters", "fashion", "transformer"])
def test_the_module_of_a_search_task_names_no_held_out_data(name: str) -> None:
    module = importlib.import_module(f"search_spaces.lion.tasks.{name}")
    source = Path(str(module.__file__)).read_text()
    assert "jargon" not in source
    assert '"held_out"' not in source
