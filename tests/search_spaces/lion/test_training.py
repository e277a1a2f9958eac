"""Training together: nobody notices the others, and what diverges leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evo.errors import ConfigError
from evo.program import Program
from evo.space import Request
from search_spaces.lion import LionOptions, training
from search_spaces.lion.baselines import AdamW
from search_spaces.lion.evaluator import LionEvaluator, lowered, one_thread, references
from search_spaces.lion.programs import adamw, lion, momentum, muon
from search_spaces.lion.tasks import TASKS, load
from search_spaces.lion.tasks.base import shapes_of
from search_spaces.lion.training import CHECK_EVERY, Course, Programs, Trained, train

COURSE = Course(25, 16)
DIVERGING = Program.parse("update = negative(w)\nupdate = mul(update, 3.0)")
BREAKING = Program.parse("update = exp(w)\nupdate = exp(update)\nupdate = exp(update)\nupdate = exp(update)")


def trained(*programs: Program, course: Course = COURSE, **options: Any) -> Trained:
    with one_thread():
        return train(load("digits_mlp"), Programs([lowered(p) for p in programs]), 3, course, **options)


def test_what_diverges_leaves_and_the_others_do_not_notice() -> None:
    good = (adamw(0.01), lion(0.01), momentum(0.1))
    alone = trained(*good)
    mixed = trained(good[0], BREAKING, good[1], DIVERGING, good[2])
    assert np.array_equal(mixed.loss[[0, 2, 4]], alone.loss)
    assert mixed.loss[[1, 3]].tolist() == [np.inf, np.inf]
    assert mixed.metric[[1, 3]].tolist() == [0.0, 0.0]
    assert mixed.diverged_at[[0, 2, 4]].tolist() == [-1, -1, -1]
    assert 0 <= mixed.diverged_at[1] < CHECK_EVERY, "weights that are not finite are seen at once"
    assert mixed.diverged_at[3] % CHECK_EVERY == CHECK_EVERY - 1, "a loss above the limit is seen at a check"


def test_when_all_diverge_training_ends() -> None:
    found = trained(BREAKING, DIVERGING)
    assert np.isinf(found.loss).all()
    assert (found.diverged_at >= 0).all()


def test_divergence_in_the_last_steps_is_seen() -> None:
    late = trained(BREAKING, course=Course(3, 16))
    assert late.loss.tolist() == [np.inf]


def test_the_curve_ends_at_the_final_loss() -> None:
    found = trained(adamw(0.01), BREAKING, curve_steps=(1, 10, 25))
    assert found.curve.shape == (3, 2)
    assert found.curve[-1, 0] == found.loss[0]
    assert found.curve[0, 0] > found.curve[1, 0] > found.curve[2, 0]
    assert np.isnan(found.curve[1:, 1]).all()


@pytest.mark.parametrize(("schedule", "expected"), [("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)])
def test_schedules(schedule: str, expected: float) -> None:
    course = Course(10, 16, schedule)
    assert course.fraction(0) == 1.0
    assert course.fraction(5) == pytest.approx(expected)
    assert all(0.0 < course.fraction(step) <= 1.0 for step in range(10))


def test_the_baseline_is_torchs_adamw() -> None:
    """The same 30 steps on the digits, within the rounding of float32."""
    import torch

    task, rates, decays = load("digits_mlp"), np.array([0.003, 0.02]), np.array([0.01, 1.0])
    weights = np.repeat(task.initial(1)[None], 2, axis=0)
    slots, gradient, ours = (
        [np.zeros_like(weights), np.zeros_like(weights)],
        np.empty_like(weights),
        AdamW(rates, decays),
    )
    parameters = [torch.nn.Parameter(torch.from_numpy(row.copy())) for row in weights]
    theirs = [
        torch.optim.AdamW([p], lr=float(r), weight_decay=float(d))
        for p, r, d in zip(parameters, rates, decays, strict=True)
    ]
    for step in range(30):
        task.loss_and_gradient(weights, task.batch(step, 1, 32), gradient)
        for parameter, row, optimizer in zip(parameters, gradient, theirs, strict=True):
            parameter.grad = torch.from_numpy(row.copy())
            optimizer.step()
        assert ours.step(step, weights, gradient, slots, 1.0, None).all()
    for parameter, row in zip(parameters, weights, strict=True):
        np.testing.assert_allclose(row, parameter.detach().numpy(), rtol=1e-3, atol=1e-5)


OPTIONS = LionOptions(tasks=("digits_mlp", "characters"), steps=12, batch=16, probe_steps=6)


def test_values_are_relative_to_the_seed_program() -> None:
    """In the mean over the reference's own seeds it is 1 to rounding."""
    from search_spaces.lion.evaluator import REFERENCE_SEEDS

    reference = references(OPTIONS)
    assert set(reference) == {"search", "screen", "probe"}
    answers = LionEvaluator(OPTIONS, reference).evaluate([Request(0, adamw(), "search", REFERENCE_SEEDS)])
    assert np.mean([o.values[0] for o in answers[0]]) == pytest.approx(1.0)


def test_divergence_is_an_infinite_value_that_says_where() -> None:
    requests = [Request(0, adamw(), "search", (1,)), Request(1, BREAKING, "search", (1,))]
    options = replace(OPTIONS, admission_steps=0)
    good, gone = (answer[0] for answer in LionEvaluator(options, references(options)).evaluate(requests))
    assert good.status == gone.status == "ok"
    assert gone.values == (np.inf,)
    assert gone.extra["diverged_on"] == "digits_mlp"
    assert gone.extra["diverged_at"] >= 0
    assert set(good.extra["losses"]) == {"digits_mlp", "characters"}
    assert "diverged_at" not in good.extra


class Shapeless:
    """The digits network as a user's task without `shapes`."""

    def __init__(self, shapes: Any = None) -> None:
        self._task = load("digits_mlp")
        if shapes is not None:
            self.shapes = shapes

    def __getattr__(self, name: str) -> Any:
        if name == "shapes" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._task, name)


def test_programs_see_the_matrices_that_a_task_states() -> None:
    optimizers = Programs([lowered(muon(0.01)), lowered(adamw(0.01))])
    with one_thread():
        stated, flat, column = (
            train(task, optimizers, 3, COURSE).loss
            for task in (load("digits_mlp"), Shapeless(), Shapeless([(2048, 1), (32, 1), (320, 1), (10, 1)]))
        )
    assert stated[0] != flat[0], "with matrices it orthogonalises, without them it normalises"
    assert stated[1] == flat[1] == column[1]
    assert flat[0] == column[0]


def test_shapes_that_do_not_fit_are_refused() -> None:
    task = Shapeless([(64, 32), (32, 1), (10, 31), (10, 1)])
    with pytest.raises(ConfigError, match="'digits_mlp' states shapes"):
        train(task, Programs([lowered(adamw())]), 3, COURSE)


@pytest.mark.parametrize("name", TASKS)
def test_shapes_of_shipped_tasks_fit_their_tensors(name: str) -> None:
    task = load(name)
    shapes = shapes_of(task)
    assert shapes is not None
    assert np.array_equal(shapes.prod(axis=1), np.diff(task.segments))
    assert (shapes.min(axis=1) > 1).any()


def test_muon_trains_and_does_not_notice_the_others() -> None:
    alone = trained(muon(0.01))
    mixed = trained(adamw(0.01), BREAKING, muon(0.01), DIVERGING)
    assert mixed.loss[2] == alone.loss[0]
    assert alone.loss[0] < 1.0 < load("digits_mlp").chance


def test_a_tasks_shapes_are_part_of_the_course() -> None:
    """Programs that orthogonalise depend on them, so values of a task whose shapes change are not shared."""
    from search_spaces.lion.evaluator import course_digest

    spec = f"{__name__}:Shapeless"
    assert course_digest(LionOptions(tasks=(spec,))) != course_digest(LionOptions(tasks=("digits_mlp",)))
    plain = course_digest(LionOptions(tasks=(f"{__name__}:Flat",)))
    assert plain != course_digest(LionOptions(tasks=(f"{__name__}:Square",)))


class Flat(Shapeless):
    def __init__(self) -> None:
        super().__init__(((2048, 1), (32, 1), (320, 1), (10, 1)))


class Square(Shapeless):
    def __init__(self) -> None:
        super().__init__(((64, 32), (32, 1), (32, 10), (10, 1)))


def test_groups_that_follow_one_another_change_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizers = [adamw(10.0 ** (k - 5)) for k in range(7)]
    whole = trained(*optimizers, curve_steps=(2, 6))
    monkeypatch.setattr(training, "GROUP_BYTES", 3 * 16 * load("digits_mlp").segments[-1])
    for found, expected in zip(trained(*optimizers, curve_steps=(2, 6)), whole, strict=True):
        np.testing.assert_array_equal(found, expected)


class StepByStep:
    """A task that does not say that it is a dense network."""

    def __init__(self, task: Any) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        if name == "dense_sizes":
            raise AttributeError(name)
        return getattr(self._task, name)


@pytest.mark.parametrize("backend", [None, "numpy"])
@pytest.mark.parametrize("name", ["digits_mlp", "fashion_mlp"])
def test_dense_networks_take_many_steps_in_a_call_and_get_the_same(name: str, backend: str | None) -> None:
    """Divergence and curves between the checks included."""
    programs = [lowered(p) for p in (adamw(0.01), BREAKING, muon(0.01), DIVERGING, lion(0.003))]
    task = load(name)
    with one_thread():
        at_once, stepwise = (
            train(each, Programs(programs, backend), 5, Course(33, 16), curve_steps=(1, 7, 10, 28, 33))
            for each in (task, StepByStep(task))
        )
    for found, expected in zip(at_once[:4], stepwise[:4], strict=True):
        np.testing.assert_array_equal(found, expected)
    assert getattr(task, "dense_sizes", None) == task.sizes, "the fast path was taken"
    assert (at_once.diverged_at >= 0).tolist() == [False, True, False, True, False]
