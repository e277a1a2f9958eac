"""Fashion-MNIST's tasks: gradients are gradients, no network notices the others, AdamW learns."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import torch

from search_spaces.data import fashion_mnist
from search_spaces.lion.evaluator import course, lowered, one_thread
from search_spaces.lion.options import LionOptions
from search_spaces.lion.programs import adamw
from search_spaces.lion.tasks import TASKS, fashion, layers, load
from search_spaces.lion.tasks.base import SPLITS, Task
from search_spaces.lion.tasks.convolution import ConvNet
from search_spaces.lion.training import Programs, train

NAMES = sorted(name for name in TASKS if name.startswith("fashion_"))
SEED = 5


@pytest.fixture(autouse=True)
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The subset, whatever this machine has installed."""
    monkeypatch.setenv(fashion_mnist.VARIABLE, "shipped")


@pytest.fixture(params=NAMES)
def task(request: pytest.FixtureRequest) -> Task:
    return load(request.param)


def spread(task: Task, n: int) -> np.ndarray:
    """Weights (n, P) of networks that differ."""
    noise = np.random.default_rng(0).standard_normal((n, task.segments[-1])).astype(np.float32)
    return task.initial(SEED) + 0.05 * noise


def torch_logits(task: Task, flat: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Outputs of one network, written with torch's own layers."""
    parts = [flat[start:end] for start, end in itertools.pairwise(task.segments)]
    if hasattr(task, "sizes"):
        values = images
        for (inputs, outputs), matrix, bias in zip(
            itertools.pairwise(task.sizes), parts[::2], parts[1::2], strict=True
        ):
            values = values @ matrix.view(inputs, outputs) + bias
            values = torch.relu(values) if outputs != 10 else values
        return values
    values = images.view(len(images), 1, task.size, task.size)
    for layer, matrix, bias in zip(task.network.convolutions, parts[::2], parts[1::2], strict=False):
        kernel = matrix.view(layer.channels * 9, layer.filters).T.reshape(layer.filters, layer.channels, 3, 3)
        values = torch.relu(torch.nn.functional.conv2d(values, kernel, bias, stride=2, padding=1))
    return values.flatten(1) @ parts[-2].view(-1, 10) + parts[-1]


def test_loss_and_gradient_are_torchs(task: Task) -> None:
    weights = spread(task, 3)
    gradient = np.full_like(weights, np.nan)
    batch = task.batch(2, SEED, 16)
    losses = task.loss_and_gradient(weights, batch, gradient)
    for row in range(3):
        flat = torch.from_numpy(weights[row]).double().requires_grad_()
        logits = torch_logits(task, flat, torch.from_numpy(batch.images).double())
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(batch.labels))
        loss.backward()
        assert losses[row] == pytest.approx(loss.item(), rel=1e-5)
        assert np.allclose(gradient[row], flat.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_evaluation_is_torchs(task: Task) -> None:
    weights = spread(task, 2)
    images, labels = task._data.splits["test"]
    judged = task.evaluate(weights, "test")
    for row in range(2):
        logits = torch_logits(task, torch.from_numpy(weights[row]).double(), torch.from_numpy(images).double())
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
        assert judged["loss"][row] == pytest.approx(loss.item(), rel=1e-5)
        assert judged["accuracy"][row] == pytest.approx((logits.argmax(1).numpy() == labels).mean(), abs=2e-3)


def test_no_network_notices_the_others(task: Task) -> None:
    """To the bit: alone, at other places, and in other blocks."""
    n = 37
    weights = spread(task, n)
    batch = task.batch(0, SEED, 32)
    gradient = np.empty_like(weights)
    with one_thread():
        losses = task.loss_and_gradient(weights, batch, gradient)
        judged = task.evaluate(weights[:9], "test")
        for rows in ([0], [36], [5, 3, 20], list(range(30, 3, -1))):
            some = np.empty_like(weights[rows])
            assert np.array_equal(task.loss_and_gradient(weights[rows], batch, some), losses[rows])
            assert np.array_equal(some, gradient[rows])
        for rows in ([0], [8, 2]):
            for figure, values in task.evaluate(weights[rows], "test").items():
                assert np.array_equal(values, judged[figure][rows])


def test_a_diverged_network_leaves_its_neighbours_alone(task: Task) -> None:
    weights = spread(task, 3)
    batch = task.batch(0, SEED, 32)
    gradient, expected = np.empty_like(weights), np.empty_like(weights)
    task.loss_and_gradient(weights, batch, expected)
    weights[1] = np.nan
    with np.errstate(all="ignore"):
        losses = task.loss_and_gradient(weights, batch, gradient)
        judged = task.evaluate(weights, "test")
    assert np.isnan(losses[1])
    assert np.isnan(judged["loss"][1])
    assert np.array_equal(gradient[[0, 2]], expected[[0, 2]])
    assert np.isfinite(judged["loss"][[0, 2]]).all()


def test_shapes_fit_the_segments(task: Task) -> None:
    sizes = np.diff(task.segments).tolist()
    assert [rows * columns for rows, columns in task.shapes] == sizes
    assert len(task.initial(0)) == task.segments[-1]


def test_initial_weights_have_hes_variance_and_zero_biases(task: Task) -> None:
    flat = task.initial(SEED)
    tensors = [flat[start:end] for start, end in itertools.pairwise(task.segments)]
    assert not np.array_equal(flat, task.initial(SEED + 1))
    assert all(np.array_equal(bias, np.zeros_like(bias)) for bias in tensors[1::2])
    for (rows, _), tensor in list(zip(task.shapes, tensors, strict=True))[:-2:2]:
        assert tensor.std() == pytest.approx(np.sqrt(2 / rows), rel=0.2)


def test_the_weight_times_steps_are_what_the_names_say() -> None:
    effort = {name: load(name).segments[-1] * load(name).pace for name in NAMES}
    assert effort["fashion_mlp_10x"] / effort["fashion_mlp"] == pytest.approx(10, rel=0.05)
    assert effort["fashion_mlp_100x"] / effort["fashion_mlp"] == pytest.approx(100, rel=0.05)
    assert effort["fashion_conv_10x"] / effort["fashion_conv"] == pytest.approx(10, rel=0.05)
    assert effort["fashion_conv_100x"] / effort["fashion_conv"] == pytest.approx(100, rel=0.05)


def test_search_reads_the_shipped_images_and_selection_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fashion_mnist.VARIABLE, "/nowhere")
    assert load("fashion_mlp").digest()
    with pytest.raises(fashion_mnist.DataError, match="/nowhere"):
        load("fashion_mlp_10x")
    seen = {image.tobytes() for split in SPLITS for image in fashion.prepared("search", "shipped", 14).splits[split][0]}
    unseen = fashion.prepared("selection", "shipped", 14).splits
    assert not seen & {image.tobytes() for split in SPLITS for image in unseen[split].images}


def test_pixels_are_standardised() -> None:
    for size in (14, 28):
        train = fashion.prepared("search", "shipped", size).splits["train"].images
        assert train.shape == (2400, size * size)
        assert train.mean(dtype=np.float64) == pytest.approx(0, abs=1e-4)
        assert train.std(dtype=np.float64) == pytest.approx(1, rel=1e-4)


def test_small_pixels_are_means_of_two_by_two() -> None:
    images = fashion_mnist.part("search", "shipped").train.images.astype(np.float64)
    means = images.reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(-1, 196)
    expected = (means - means.mean()) / means.std()
    assert np.allclose(fashion.prepared("search", "shipped", 14).splits["train"].images, expected, atol=1e-5)


def test_a_digest_tells_tasks_and_data_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({load(name).digest() for name in NAMES}) == len(NAMES)
    before = load("fashion_mlp").digest()
    assert load("fashion_mlp").digest() == before
    monkeypatch.setattr(fashion.FashionMLP, "part", "held_out")
    assert load("fashion_mlp").digest() != before


def test_a_task_pickles(task: Task) -> None:
    copy = pickle.loads(pickle.dumps(task))
    weights = spread(task, 2)
    assert np.array_equal(copy.evaluate(weights, "test")["loss"], task.evaluate(weights, "test")["loss"])


@pytest.mark.parametrize("name", ["fashion_mlp", "fashion_conv"])
def test_adamw_learns_in_the_course(name: str) -> None:
    task = load(name)
    with one_thread():
        trained = train(task, Programs([lowered(adamw())]), SEED, course(LionOptions(), name, 100))
    assert trained.loss[0] < 0.6 * task.chance
    assert trained.metric[0] > 0.5


@pytest.mark.parametrize(("size", "filters"), [(5, (3,)), (6, (2, 3)), (9, (4, 3, 2))])
def test_convolutions_of_any_size_have_torchs_gradient(size: int, filters: tuple[int, ...]) -> None:
    network = ConvNet(size, filters, 4)
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((2, network.segments[-1])).astype(np.float32)
    images, labels = rng.standard_normal((7, size * size)).astype(np.float32), rng.integers(0, 4, 7)
    gradient = np.empty_like(weights)
    losses = network.loss_and_gradient(weights, images, labels, gradient, layers.Scratch())
    for row in range(2):
        flat = torch.from_numpy(weights[row]).double().requires_grad_()
        parts = [flat[start:end] for start, end in itertools.pairwise(network.segments)]
        values = torch.from_numpy(images).double().view(7, 1, size, size)
        for layer, matrix, bias in zip(network.convolutions, parts[::2], parts[1::2], strict=False):
            kernel = matrix.view(-1, layer.filters).T.reshape(layer.filters, layer.channels, 3, 3)
            values = torch.relu(torch.nn.functional.conv2d(values, kernel, bias, stride=2, padding=1))
        logits = values.flatten(1) @ parts[-2].view(-1, 4) + parts[-1]
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
        loss.backward()
        assert losses[row] == pytest.approx(loss.item(), rel=1e-4)
        assert np.allclose(gradient[row], flat.grad.numpy(), rtol=1e-3, atol=1e-4)
