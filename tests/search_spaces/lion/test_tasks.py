"""Tasks: gradients are gradients, splits are apart, and no network notices the others."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import torch

from evo.errors import ConfigError
from search_spaces.data import texts
from search_spaces.lion.evaluator import one_thread
from search_spaces.lion.tasks import TASKS, characters, digits, load
from search_spaces.lion.tasks.base import SPLITS, Shuffle, Task

SEED = 5


def spread(task: Task, n: int) -> np.ndarray:
    """Weights (n, P) of networks that differ."""
    noise = np.random.default_rng(0).standard_normal((n, task.segments[-1])).astype(np.float32)
    return task.initial(SEED) + 0.05 * noise


def torch_loss(task: Task, flat: torch.Tensor, step: int, size: int) -> torch.Tensor:
    """The loss of one network, written with torch's own layers."""
    batch = task.batch(step, SEED, size)
    offsets = task.segments
    parts = [flat[start:end] for start, end in itertools.pairwise(offsets)]
    if task.name == "characters":
        table, hidden, bias, output, last = parts
        inputs = table.view(64, 8)[torch.from_numpy(batch.contexts)].view(size, 32)
        logits = torch.relu(inputs @ hidden.view(32, 32) + bias) @ output.view(32, 64) + last
        return torch.nn.functional.cross_entropy(logits, torch.from_numpy(batch.targets))
    images = torch.from_numpy(batch.images).double()
    if task.name == "digits_mlp":
        hidden, bias, output, last = parts
        logits = torch.relu(images @ hidden.view(64, 32) + bias) @ output.view(32, 10) + last
    else:
        first, bias1, second, bias2, output, last = parts
        grid = images.view(size, 1, 8, 8)
        kernel = first.view(3, 3, 1, 4).permute(3, 2, 0, 1)
        grid = torch.relu(torch.nn.functional.conv2d(grid, kernel, bias1, stride=2, padding=1))
        kernel = second.view(2, 2, 4, 16).permute(3, 2, 0, 1)
        grid = torch.relu(torch.nn.functional.conv2d(grid, kernel, bias2, stride=2))
        logits = grid.permute(0, 2, 3, 1).reshape(size, 64) @ output.view(64, 10) + last
    return torch.nn.functional.cross_entropy(logits, torch.from_numpy(batch.labels))


@pytest.fixture(params=["characters", "digits_conv", "digits_mlp"])
def task(request: pytest.FixtureRequest) -> Task:
    return load(request.param)


def test_loss_and_gradient_are_torchs(task: Task) -> None:
    weights = spread(task, 3)
    gradient = np.full_like(weights, np.nan)
    losses = task.loss_and_gradient(weights, task.batch(2, SEED, 16), gradient)
    for row in range(3):
        flat = torch.from_numpy(weights[row]).double().requires_grad_()
        loss = torch_loss(task, flat, 2, 16)
        loss.backward()
        assert losses[row] == pytest.approx(loss.item(), rel=1e-5)
        np.testing.assert_allclose(gradient[row], flat.grad.numpy(), rtol=2e-4, atol=2e-6)


def test_a_network_gets_the_same_bits_in_any_company(task: Task) -> None:
    """Alone, permuted, in part, and beside networks that have become NaN or infinite."""
    weights = spread(task, 9)
    batch = task.batch(0, SEED, 24)

    def both(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        chosen = np.ascontiguousarray(rows)
        gradient = np.empty_like(chosen)
        with np.errstate(all="ignore"):
            loss = task.loss_and_gradient(chosen, batch, gradient)
            judged = task.evaluate(chosen, "validation")
        return np.array(loss), gradient, judged["loss"].copy()

    with one_thread():
        whole = both(weights)
        order = np.random.default_rng(1).permutation(9)
        for got, expected in zip(both(weights[order]), whole, strict=True):
            assert np.array_equal(got, expected[order])
        for rows in ([0], [8], [3, 4], list(range(7))):
            for got, expected in zip(both(weights[rows]), whole, strict=True):
                assert np.array_equal(got, expected[rows])
        spoiled = np.concatenate([weights[:2], np.full_like(weights[:1], np.nan), 1e30 * weights[:1], weights[2:]])
        for got, expected in zip(both(spoiled), whole, strict=True):
            assert np.array_equal(np.delete(got, [2, 3], axis=0), expected)


def test_start_and_batches_depend_on_the_seed_alone(task: Task) -> None:
    other = load(next(name for name in TASKS if load(name).name == task.name))
    other.batch(7, SEED + 1, 16)
    for a, b in zip(task.batch(3, SEED, 16), other.batch(3, SEED, 16), strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(task.initial(SEED), other.initial(SEED))
    assert not np.array_equal(task.initial(SEED), task.initial(SEED + 1))
    first = [task.batch(0, SEED + shift, 16)[0] for shift in (0, 1)]
    assert not np.array_equal(*first)


def test_judgement_of_ignorance_is_the_chance_level(task: Task) -> None:
    nothing = np.zeros((2, task.segments[-1]), np.float32)
    for split in SPLITS[1:]:
        judged = task.evaluate(nothing, split)
        assert judged["loss"] == pytest.approx([task.chance] * 2, rel=1e-6)
        assert np.all((judged[task.metric] >= 0) & (judged[task.metric] < 0.5))


def test_a_task_is_digested_and_pickles(task: Task) -> None:
    assert task.digest() == load(task.name).digest()
    names = ("characters", "digits_conv", "digits_mlp")
    assert len({load(name).digest() for name in names}) == len(names)
    copy = pickle.loads(pickle.dumps(task))
    weights = spread(task, 2)
    assert np.array_equal(copy.evaluate(weights, "test")["loss"], task.evaluate(weights, "test")["loss"])


def test_the_splits_of_the_digits_are_apart() -> None:
    rows = [tuple(image) for split in SPLITS for image in digits.splits()[split].images.tolist()]
    assert len(rows) == len(set(rows)) == 1797


def test_the_splits_of_the_text_are_apart_and_cover_it() -> None:
    length = len(texts.text(characters.TEXT))
    windows = characters.windows()
    counts = {split: len(windows[split]) for split in SPLITS}
    assert sum(counts.values()) == pytest.approx(length, rel=0.01)
    assert counts["train"] == pytest.approx(0.8 * length, rel=0.02)
    assert max(rows.max() for rows in windows.values()) == characters.SYMBOLS - 1


def test_an_epoch_shows_each_example_once() -> None:
    shuffle = Shuffle(20)
    epoch = np.concatenate([shuffle(step, 1, 5) for step in range(4)])
    assert sorted(epoch.tolist()) == list(range(20))
    assert not np.array_equal(epoch[:5], shuffle(4, 1, 5))
    with pytest.raises(ValueError, match="does not fit"):
        shuffle(0, 1, 21)


@pytest.mark.parametrize(
    "name", ["digits_mpl", "search_spaces.lion.tasks.digits:Nothing", "no.such.module:Task", "json:loads"]
)
def test_an_unknown_task_is_refused_with_a_hint(name: str) -> None:
    with pytest.raises(ConfigError, match="digits_conv"):
        load(name)
