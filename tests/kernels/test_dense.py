"""Batched dense networks: right gradients, and numbers that do not depend on the company."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernels import backends, dense
from kernels.errors import KernelError
from kernels.programs import optimizer_step, pack
from tests.kernels import cases

SIZES = [(64, 32, 10), (7, 5, 3, 2), (3, 4), (5, 1, 1, 3), (9, 17, 33)]


def problem(sizes, candidates, batch=17, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    parameters = int(dense.mlp_segments(sizes)[-1])
    weights = (0.3 * rng.standard_normal((candidates, parameters))).astype(dtype)
    x = rng.standard_normal((batch, sizes[0])).astype(dtype)
    return weights, x, rng.integers(0, sizes[-1], batch)


def autograd(weights, x, y, sizes):
    """Loss and gradient by torch.autograd, one plain network at a time."""
    losses, gradients = [], []
    offsets = dense.mlp_segments(sizes)
    for row in torch.from_numpy(weights):
        row = row.clone().requires_grad_()
        h = torch.from_numpy(x)
        for layer in range(len(sizes) - 1):
            start, middle, end = offsets[2 * layer : 2 * layer + 3]
            h = h @ row[start:middle].view(sizes[layer], sizes[layer + 1]) + row[middle:end]
            h = h.relu() if layer < len(sizes) - 2 else h
        loss = torch.nn.functional.cross_entropy(h, torch.from_numpy(y))
        gradients.append(torch.autograd.grad(loss, row)[0].numpy())
        losses.append(loss.item())
    return np.array(losses), np.stack(gradients)


def torch_path(weights, x, y, sizes, gradient):
    arrays = [torch.from_numpy(array) for array in (weights, x, y)]
    return dense._torch_loss_and_gradient(*arrays, sizes, torch.from_numpy(gradient)).numpy()


def path_of(backend):
    return lambda *arguments: dense.mlp_loss_and_gradient(*arguments, backend=backend)


COMPILED = pytest.mark.skipif(not backends()["c"]["available"], reason="no C compiler")
CPU = [pytest.param("c", marks=COMPILED), "numpy"]
PATHS = {"c": path_of("c"), "numpy": path_of("numpy"), "torch": torch_path}


@pytest.mark.parametrize("path", [*CPU, "torch"])
@pytest.mark.parametrize("sizes", SIZES)
def test_losses_and_gradients_agree_with_autograd(path, sizes):
    weights, x, y = problem(sizes, 4)
    gradient = np.full_like(weights, np.nan)
    losses = PATHS[path](weights, x, y, sizes, gradient)
    expected_losses, expected = autograd(weights, x, y, sizes)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-12)
    np.testing.assert_allclose(gradient, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("backend", CPU)
def test_a_networks_numbers_do_not_depend_on_what_shares_the_batch(sizes, dtype, backend):
    weights, x, y = problem(sizes, 256, batch=64, dtype=dtype)
    whole = np.empty_like(weights)
    losses = dense.mlp_loss_and_gradient(weights, x, y, sizes, whole, backend)
    evaluated = dense.mlp_evaluate(weights, x, y, sizes, backend)
    rng = np.random.default_rng(1)
    for count in (1, 2, 7, 16, 64, 256):
        rows = rng.permutation(256)[:count]
        part = np.empty_like(weights[rows])
        part_losses = dense.mlp_loss_and_gradient(weights[rows].copy(), x, y, sizes, part, backend)
        np.testing.assert_array_equal(part, whole[rows])
        np.testing.assert_array_equal(part_losses, losses[rows])
        for found, expected in zip(
            dense.mlp_evaluate(weights[rows].copy(), x, y, sizes, backend), evaluated, strict=True
        ):
            np.testing.assert_array_equal(found, expected[rows])


@pytest.mark.parametrize("backend", CPU)
def test_a_diverged_network_leaves_its_neighbours_alone(backend):
    weights, x, y = problem((7, 5, 3), 6, dtype=np.float32)
    clean = np.empty_like(weights)
    clean_losses = dense.mlp_loss_and_gradient(weights, x, y, (7, 5, 3), clean, backend)
    weights[2] = np.nan
    weights[4] = 1e30
    gradient = np.empty_like(weights)
    losses = dense.mlp_loss_and_gradient(weights, x, y, (7, 5, 3), gradient, backend)
    others = [0, 1, 3, 5]
    np.testing.assert_array_equal(gradient[others], clean[others])
    np.testing.assert_array_equal(losses[others], clean_losses[others])
    assert np.isnan(losses[2])
    assert dense.mlp_evaluate(weights, x, y, (7, 5, 3), backend)[1][2] == 0


@pytest.mark.parametrize("backend", CPU)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_logits_and_not_a_number_keep_their_meaning(backend, dtype):
    """One layer, no bias: the logits are the weights times one input."""
    logits = np.array([[300.0, 0, -300], [0, 300, 0], [np.nan, 0, 0], [0, np.nan, 0], [np.inf, 0, 0], [1, -np.inf, 0]])
    weights = np.concatenate([logits, np.zeros((len(logits), 3))], axis=1).astype(dtype)
    gradient = np.empty_like(weights)
    x, y = np.ones((1, 1), dtype), np.array([0])
    losses = dense.mlp_loss_and_gradient(weights, x, y, (1, 3), gradient, backend)
    np.testing.assert_allclose(losses[[0, 1, 5]], [0, 300, np.log1p(np.exp(-1.0))], rtol=1e-6, atol=1e-30)
    assert not np.isfinite(losses[2:5]).any()
    np.testing.assert_allclose(gradient[1, :3], [-1, 1, 0], atol=1e-6)


def test_torch_tensors_are_worked_on_in_place_and_return_torch_tensors():
    weights, x, y = problem((7, 5, 3), 3, dtype=np.float32)
    expected = np.empty_like(weights)
    losses = dense.mlp_loss_and_gradient(weights, x, y, (7, 5, 3), expected)
    gradient = torch.empty(weights.shape)
    found = dense.mlp_loss_and_gradient(*(torch.from_numpy(a) for a in (weights, x, y)), (7, 5, 3), gradient)
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found.numpy(), losses)
    np.testing.assert_array_equal(gradient.numpy(), expected)
    assert isinstance(dense.mlp_evaluate(*(torch.from_numpy(a) for a in (weights, x, y)), (7, 5, 3))[0], torch.Tensor)


def test_accuracy_and_loss_of_a_network_that_knows_the_answer():
    x = np.eye(3)
    weights = np.concatenate([50 * np.eye(3).ravel(), np.zeros(3)])[None]
    losses, accuracies = dense.mlp_evaluate(np.concatenate([weights, -weights]), x, np.arange(3), (3, 3))
    np.testing.assert_allclose(losses, [0, 50 + np.log(2)], atol=1e-12)
    np.testing.assert_array_equal(accuracies, [1, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros((2, 5))}, "weights must be"),
        ({"x": np.zeros((4, 2))}, "x must be"),
        ({"x": np.zeros((4, 3), np.float32)}, "x must be"),
        ({"y": np.zeros(3, np.int64)}, "y must be"),
        ({"y": np.array([0, 1, 2, 9])}, "labels must lie"),
        ({"gradient_out": np.zeros((1, 12))}, "gradient_out"),
        ({"gradient_out": np.zeros((12, 2)).T}, "C-contiguous"),
        ({"sizes": (3,)}, "sizes"),
    ],
)
def test_arguments_that_do_not_fit_are_named(change, message):
    arguments = {
        "weights": np.zeros((2, 12)),
        "x": np.zeros((4, 3)),
        "y": np.zeros(4, np.int64),
        "sizes": (3, 3),
        "gradient_out": np.zeros((2, 12)),
    }
    with pytest.raises(KernelError, match=message):
        dense.mlp_loss_and_gradient(**(arguments | change))


def training(sizes, candidates, steps, dtype=np.float32, batch=17):
    """Programs, weights, slots, batches and a schedule."""
    rng = np.random.default_rng(3)
    programs = [cases.random_program(rng, int(rng.integers(1, 16))) for _ in range(candidates - 1)]
    packed = pack([*programs, cases.assemble(cases.ADAMW)])
    weights, x, _ = problem(sizes, candidates, batch * steps, dtype)
    y = rng.integers(0, sizes[-1], (steps, batch))
    slots = [np.zeros_like(weights) for _ in range(packed.n_slots)]
    return packed, weights, slots, x.reshape(steps, batch, -1), y, rng.uniform(0.1, 1, steps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("backend", CPU)
def test_steps_in_one_call_are_steps_in_many(sizes, dtype, backend):
    packed, weights, slots, x, y, schedule = training(sizes, 12, 7, dtype)
    expected, state = weights.copy(), [slot.copy() for slot in slots]
    gradient, alive = np.empty_like(weights), []
    segments = dense.mlp_segments(sizes)
    with np.errstate(all="ignore"):
        for step in range(7):
            losses = dense.mlp_loss_and_gradient(expected, x[step], y[step], sizes, gradient)
            alive.append(optimizer_step(packed, expected, gradient, state, schedule[step], segments, backend=backend))
        found, finite = dense.mlp_train(packed, weights, slots, x, y, sizes, schedule, backend=backend)
    np.testing.assert_array_equal(found, losses)
    np.testing.assert_array_equal(finite, np.stack(alive, 1))
    for array, wanted in zip((weights, *slots), (expected, *state), strict=True):
        np.testing.assert_array_equal(array, wanted)
    assert not np.array_equal(weights[-1], problem(sizes, 12, 17 * 7, dtype)[0][-1]), "AdamW moves"


@COMPILED
def test_in_a_long_span_prepared_batches_are_replaced():
    """More batches than the compiled path prepares at a time."""
    sizes, steps = (300, 3, 2), 9
    packed, weights, slots, x, y, schedule = training(sizes, 2, steps, batch=200)
    one, state = weights.copy(), [slot.copy() for slot in slots]
    with np.errstate(all="ignore"):
        losses, finite = dense.mlp_train(packed, weights, slots, x, y, sizes, schedule, backend="c")
        for step in range(steps):
            part = slice(step, step + 1)
            found = dense.mlp_train(packed, one, state, x[part], y[part], sizes, schedule[part], backend="c")
            np.testing.assert_array_equal(found[1][:, 0], finite[:, step])
    np.testing.assert_array_equal(found[0], losses)
    np.testing.assert_array_equal(one, weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": np.ones(2)}, "one a step"),
        ({"y": np.zeros((2, 17), np.int64)}, "one a step"),
        ({"y": np.full((3, 17), 3)}, "labels must lie"),
        ({"x": np.zeros((3, 17, 6), np.float32)}, "x must be"),
        ({"slots": []}, "slots"),
    ],
)
def test_training_names_what_does_not_fit(change, message):
    packed, weights, slots, x, y, schedule = training((7, 5, 3), 2, 3)
    given = {"slots": slots, "x": x, "y": y, "schedule": schedule} | change
    with pytest.raises(KernelError, match=message):
        dense.mlp_train(packed, weights, given["slots"], given["x"], given["y"], (7, 5, 3), given["schedule"])
