"""The transformer: gradients are torch's, later characters change nothing before them, and networks stay apart."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.lion.evaluator import lowered, one_thread
from search_spaces.lion.programs import adamw
from search_spaces.lion.tasks import transformer
from search_spaces.lion.tasks.attention import Buffers, causal_mask
from search_spaces.lion.tasks.base import SPLITS
from search_spaces.lion.tasks.transformer import Transformer, Transformer10x, Transformer100x
from search_spaces.lion.training import Course, Programs, train

SEED = 5


class Deep(Transformer):
    """Odd sizes, several blocks: what a mistaken axis would not survive."""

    name = "deep"
    context = 6
    width = 12
    heads = 3
    hidden = 20
    blocks = 3


TASKS = (Transformer, Transformer10x, Transformer100x, Deep)


def spread(task: Transformer, n: int, dtype: type = np.float32) -> np.ndarray:
    """Weights (n, P) of networks that differ."""
    noise = np.random.default_rng(0).standard_normal((n, task.segments[-1])).astype(dtype)
    return task.initial(SEED).astype(dtype) + dtype(0.1) * noise


def torch_logits(task: Transformer, flat: torch.Tensor, symbols: np.ndarray) -> torch.Tensor:
    """Logits (M, 64) of one network with weights (P,), written with torch's own functions."""
    parts = [
        flat[start:end].view(*shape)
        for (start, end), shape in zip(itertools.pairwise(task.segments), task.shapes, strict=True)
    ]
    weights = iter(parts)
    table, places = next(weights), next(weights)

    def norm(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.rms_norm(x, (task.width,), next(weights)[:, 0], eps=1e-6)

    x = table[torch.from_numpy(symbols)].view(-1, task.context, task.width) + places
    for _ in range(task.blocks):
        given = norm(x) @ next(weights)
        split = given.view(*x.shape[:2], 3, task.heads, -1).permute(2, 0, 3, 1, 4)
        attended = torch.nn.functional.scaled_dot_product_attention(*split, is_causal=True)
        x = x + attended.transpose(1, 2).reshape(x.shape) @ next(weights)
        x = x + torch.relu(norm(x) @ next(weights)).square() @ next(weights)
    logits = norm(x) @ next(weights)
    assert next(weights, None) is None
    return logits.view(-1, 64)


def torch_loss(task: Transformer, flat: torch.Tensor, batch: transformer.Sequences) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(torch_logits(task, flat, batch.symbols), torch.from_numpy(batch.targets))


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 2e-4)])
def test_loss_and_gradient_are_those_of_autograd_in_double_precision(kind, dtype, tolerance) -> None:
    task = kind()
    weights, batch = spread(task, 3, dtype), task.batch(2, SEED, 4)
    gradient = np.full_like(weights, np.nan)
    losses = task.loss_and_gradient(weights, batch, gradient)
    assert losses.dtype == dtype
    for row in range(3):
        flat = torch.from_numpy(weights[row]).double().requires_grad_()
        loss = torch_loss(task, flat, batch)
        loss.backward()
        assert losses[row] == pytest.approx(loss.item(), rel=tolerance)
        expected = flat.grad.numpy()
        for start, end in itertools.pairwise(task.segments):
            largest = np.abs(expected[start:end]).max()
            assert largest > 0
            np.testing.assert_allclose(gradient[row, start:end], expected[start:end], rtol=0, atol=tolerance * largest)


def test_evaluation_is_the_loss_and_accuracy_of_the_judged_windows() -> None:
    task = Transformer()
    weights = spread(task, 3)
    found = task.evaluate(weights, "validation")
    given_windows = transformer.judged(task.text, task.context, "validation")
    targets = torch.from_numpy(given_windows.targets)
    for row in range(3):
        logits = torch_logits(task, torch.from_numpy(weights[row]).double(), given_windows.symbols)
        assert found["loss"][row] == pytest.approx(torch.nn.functional.cross_entropy(logits, targets).item(), rel=1e-6)
        right = (logits.argmax(1) == targets).double().mean().item()
        assert found["accuracy"][row] == pytest.approx(right, abs=2 / len(targets))
    assert found["loss"].dtype == found["accuracy"].dtype == np.float64


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_later_character_changes_no_earlier_logit(data: st.DataObject) -> None:
    task = data.draw(st.sampled_from([Transformer(), Deep()]))
    place = data.draw(st.integers(0, task.context - 1))
    symbols = np.array(data.draw(st.lists(st.integers(0, 63), min_size=2 * task.context, max_size=2 * task.context)))
    weights = spread(task, 2)
    before = task.logits(weights, symbols)
    changed = symbols.copy()
    changed[place] = (changed[place] + data.draw(st.integers(1, 63))) % 64
    after = task.logits(weights, changed)
    assert np.array_equal(before[:, :place], after[:, :place])
    assert np.array_equal(before[:, task.context :], after[:, task.context :])
    # from its own place on, all that the first sequence predicts hangs on it
    assert np.all(np.any(before[:, place : task.context] != after[:, place : task.context], axis=2))


@pytest.mark.parametrize("kind", [Transformer, Deep])
@pytest.mark.parametrize("size", [1, 3, 16, 32])
def test_a_network_gets_the_same_bits_in_any_company(kind, size: int) -> None:
    """Alone, permuted, in part, in memory of another alignment, beside networks that are NaN or infinite."""
    task = kind()
    weights, batch = spread(task, 37), task.batch(0, SEED, size)

    def both(rows: np.ndarray) -> tuple[np.ndarray, ...]:
        memory = np.empty(rows.size + 16, np.float32)
        shift = len(rows) % 16
        chosen = memory[shift : shift + rows.size].reshape(rows.shape)
        chosen[:] = rows
        gradient = np.empty_like(chosen)
        with np.errstate(all="ignore"):
            loss = task.loss_and_gradient(chosen, batch, gradient)
            judged = task.evaluate(chosen[:5], "validation") if size == 3 else {"loss": loss, "accuracy": loss}
        return loss.copy(), gradient, judged["loss"].copy(), judged["accuracy"].copy()

    with one_thread():
        whole = both(weights)
        order = np.random.default_rng(1).permutation(37)
        for rows in (order, [0], [36], [3, 4], list(range(20)), list(range(36, -1, -1))):
            got = both(weights[rows])
            assert np.array_equal(got[0], whole[0][rows])
            assert np.array_equal(got[1], whole[1][rows])
        if size == 3:
            for row in range(5):
                got = both(weights[row : row + 1])
                assert got[2][0] == whole[2][row]
                assert got[3][0] == whole[3][row]
        spoiled = np.concatenate([weights[:2], np.full_like(weights[:1], np.nan), 1e30 * weights[:1], weights[2:]])
        got = both(spoiled)
        for place in (0, 1):
            assert np.array_equal(np.delete(got[place], [2, 3], axis=0), whole[place])


def test_equal_networks_get_equal_bits_at_every_place() -> None:
    task = Transformer()
    weights = np.repeat(spread(task, 1), 23, axis=0)
    gradient = np.empty_like(weights)
    with one_thread():
        losses = task.loss_and_gradient(weights, task.batch(0, SEED, 8), gradient)
        judged = task.evaluate(weights, "test")
    for values in (losses, gradient, judged["loss"], judged["accuracy"]):
        assert np.array_equal(values, np.repeat(values[:1], 23, axis=0))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(0, 15), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_elementwise_functions_of_numpy_do_not_depend_on_the_place(size, shift, stride, seed) -> None:
    """What the layers trust numpy for: an element alone has the bits that it has within any array."""
    values = np.random.default_rng(seed).standard_normal(size * stride + shift).astype(np.float32) * 5
    part = values[shift::stride]
    for function in (np.exp, lambda x: np.log(np.abs(x)), lambda x: np.reciprocal(np.sqrt(np.abs(x)))):
        together = function(part)
        assert all(np.array_equal(function(part[i : i + 1].copy()), together[i : i + 1]) for i in range(len(part)))


@pytest.mark.parametrize("kind", TASKS)
def test_tensors_have_the_shapes_that_the_task_states(kind) -> None:
    task = kind()
    assert task.segments == (0, *np.cumsum([rows * columns for rows, columns in task.shapes]))
    assert task.initial(1).shape == (task.segments[-1],)
    assert task.initial(1).dtype == np.float32
    gains = [index for index, (_, columns) in enumerate(task.shapes) if columns == 1]
    assert len(gains) == 2 * task.blocks + 1
    for index in gains:
        assert np.all(task.initial(1)[task.segments[index] : task.segments[index + 1]] == 1.0)


def test_the_larger_ones_are_ten_and_a_hundred_times_as_much_work() -> None:
    small, *larger = (task.segments[-1] * task.pace for task in (Transformer(), Transformer10x(), Transformer100x()))
    assert larger[0] / small == pytest.approx(10, rel=0.25)
    assert larger[1] / small == pytest.approx(100, rel=0.25)


def test_adamw_learns_more_than_how_frequent_characters_are() -> None:
    task = Transformer()
    with one_thread():
        trained = train(task, Programs([lowered(adamw())]), SEED, Course(round(100 * task.pace), 32))
    train_symbols = transformer.corpus(task.text, task.context)
    counts = np.bincount(train_symbols.symbols, minlength=64) / len(train_symbols.symbols)
    entropy = -float(np.sum(counts * np.log(np.where(counts > 0, counts, 1.0))))
    assert trained.loss[0] < entropy - 0.4
    assert trained.metric[0] > 0.25


def test_ignorance_is_the_chance_level() -> None:
    task = Transformer()
    nothing = np.zeros((2, task.segments[-1]), np.float32)
    for split in SPLITS[1:]:
        found = task.evaluate(nothing, split)
        assert found["loss"] == pytest.approx([task.chance] * 2, rel=1e-6)
        assert np.all((found["accuracy"] >= 0) & (found["accuracy"] < 0.5))


def test_windows_of_different_splits_share_no_character() -> None:
    data = transformer.corpus("python_tutorial", 16)
    covered = {}
    for split in SPLITS:
        inside = np.zeros(len(data.symbols), bool)
        for shift in range(17):
            inside[data.starts[split] + shift] = True
        covered[split] = inside
    assert not np.any(covered["train"] & covered["validation"])
    assert not np.any(covered["train"] & covered["test"])
    assert not np.any(covered["validation"] & covered["test"])
    assert sum(inside.sum() for inside in covered.values()) > 0.99 * len(data.symbols)
    assert covered["train"].mean() == pytest.approx(0.8, abs=0.02)


def test_targets_are_the_characters_that_follow() -> None:
    task = Transformer()
    batch = task.batch(3, SEED, 8)
    symbols, targets = batch.symbols.reshape(4, 16), batch.targets.reshape(4, 16)
    assert np.array_equal(symbols[:, 1:], targets[:, :-1])
    assert np.array_equal(batch.one_hot.argmax(1), batch.symbols)
    assert np.all(batch.one_hot.sum(1) == 1)
    assert not np.array_equal(task.batch(4, SEED, 8).symbols, batch.symbols)
    assert np.array_equal(Transformer().batch(3, SEED, 8).symbols, batch.symbols)


def test_the_digest_changes_with_the_data_and_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [kind().digest() for kind in TASKS]
    assert len(set(digests)) == len(TASKS)
    assert Transformer().digest() == digests[0]
    original = transformer.text
    monkeypatch.setattr(transformer, "text", lambda name: original(name).replace("Python", "Cobra"))
    transformer.corpus.cache_clear()
    try:
        assert Transformer().digest() != digests[0]
    finally:
        transformer.corpus.cache_clear()


def test_a_task_pickles() -> None:
    task = Transformer()
    weights = spread(task, 2)
    expected = task.evaluate(weights, "test")["loss"]
    copy = pickle.loads(pickle.dumps(task))
    assert np.array_equal(copy.evaluate(weights, "test")["loss"], expected)
    assert len(pickle.dumps(task)) < 10_000


def test_buffers_keep_their_memory_and_their_type() -> None:
    buffers = Buffers(np.float64)
    first = buffers("a", 2, 3)
    assert first.dtype == np.float64
    assert np.shares_memory(first, buffers("a", 3, 2))
    assert not np.shares_memory(first, buffers("b", 2, 3))
    assert pickle.loads(pickle.dumps(buffers))("a", 2).dtype == np.float64


def test_the_mask_hides_keys_behind_the_query() -> None:
    mask = causal_mask(3, 6, np.dtype(np.float32))
    hidden = [[False, False, False], [True, False, False], [True, True, False]]
    assert np.array_equal(mask == -np.inf, np.tile(hidden, (1, 2)))
    assert np.all(mask[mask != -np.inf] == 0)
