"""The held-out tasks: networks, data, initial weights, digests."""

from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer

from evo.errors import UsageError
from search_spaces.data import fashion_mnist, texts
from search_spaces.lion.judge import networks, sources, tasks, tumours
from search_spaces.lion.judge.code import source_digest
from search_spaces.lion.judge.names import HELD_OUT
from search_spaces.lion.judge.networks import materialise
from search_spaces.lion.judge.tasks import TASKS


@pytest.fixture(autouse=True)
def shipped(monkeypatch):
    """The same data on every machine."""
    monkeypatch.setenv("EVO_FASHION_MNIST", "shipped")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_initial_networks_start_near_the_loss_of_guessing(task):
    data, network = task.load()[0], materialise(task.build, generator())
    with torch.no_grad():
        loss = float(task.loss(network(data.validation_inputs), data.validation_targets))
    guess = {"vit": np.log(10), "characters": np.log(64)}.get(task.name, 1.0)
    assert 0.8 * guess < loss < 1.6 * guess


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_initial_weights_depend_on_the_seed_alone(task):
    before = torch.get_rng_state()
    one, same, other = (materialise(task.build, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    pairs = list(zip(one.parameters(), same.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)
    assert all(torch.isfinite(p).all() for p in one.parameters())


def test_images_are_of_the_held_out_part_and_those_of_its_test_split_are_never_read():
    part = fashion_mnist.part("held_out")
    data = sources.clothes.__wrapped__()  # what other tests of this process loaded may be the whole set
    limit = sources.VALIDATION_IMAGES
    assert np.array_equal(data.inputs.mul(255).round().byte().numpy(), part.train.images)
    assert np.array_equal(data.targets.numpy(), part.train.labels)
    assert np.array_equal(data.validation_inputs.mul(255).round().byte().numpy(), part.validation.images[:limit])
    assert np.array_equal(data.validation_targets.numpy(), part.validation.labels[:limit])


@pytest.fixture
def fresh_clothes(monkeypatch):
    """The shipped images, whatever this process loaded before."""
    for name in ("clothes", "standardised_clothes"):
        monkeypatch.setattr(sources, name, getattr(sources, name).__wrapped__)


def test_the_image_tasks_train_on_the_training_split_and_validate_on_the_other(fresh_clothes):
    part = fashion_mnist.part("held_out")
    pixels = part.train.images.astype(np.float32) / 255
    expected = [
        ((images.astype(np.float32) / 255) - pixels.mean()) / pixels.std(ddof=1)
        for images in (part.train.images, part.validation.images[: sources.VALIDATION_IMAGES])
    ]
    (images,) = sources.standardised_clothes()
    assert np.allclose(images.inputs.numpy(), expected[0], atol=1e-4)
    assert np.allclose(images.validation_inputs.numpy(), expected[1], atol=1e-4)
    assert np.array_equal(images.targets.numpy(), part.train.labels)
    assert TASKS["vit"].load.__wrapped__ is sources.standardised_clothes
    assert TASKS["autoencoder"].load is sources.flat_clothes
    (flat,) = sources.flat_clothes.__wrapped__()
    assert flat.inputs is flat.targets
    assert flat.validation_inputs is flat.validation_targets
    assert torch.equal(flat.inputs.view_as(images.inputs), images.inputs)
    assert torch.equal(flat.validation_inputs.view_as(images.validation_inputs), images.validation_inputs)


def decoded(rows, text):
    """Characters that windows stand for, those without a symbol of their own as one mark."""
    counted = sorted(Counter(text).items(), key=lambda item: (-item[1], item[0]))
    letters = [letter for letter, _ in counted[: sources.SYMBOLS - 1]] + ["\0"]
    return ["".join(letters[symbol] for symbol in row) for row in rows.tolist()]


def test_the_character_task_reads_the_jargon_text_in_its_order():
    text = texts.text("jargon")
    known = {letter for letter, _ in sorted(Counter(text).items(), key=lambda i: (-i[1], i[0]))[: sources.SYMBOLS - 1]}
    told = "".join(letter if letter in known else "\0" for letter in text)
    (data,) = TASKS["characters"].load()
    assert len(data.inputs) == len(text) * 9 // 10 - sources.CONTEXT
    for place in (0, 1000, len(data.inputs) - 1):
        (window,) = decoded(data.inputs[place : place + 1], text)
        assert window == told[place : place + sources.CONTEXT]
    validation = decoded(data.validation_inputs, text)
    rest = told[len(text) * 9 // 10 :]
    assert len(validation) == sources.VALIDATION_WINDOWS
    assert all(window in rest for window in validation)
    assert validation[0] == rest[: sources.CONTEXT]
    assert validation[-1] == rest[-sources.CONTEXT - 1 : -1]


def test_the_jargon_text_is_no_text_of_the_search_or_the_selection():
    windows = set(decoded(TASKS["characters"].load()[0].validation_inputs, texts.text("jargon")))
    assert set(texts.TEXTS) == {"python_tutorial", "python_library", "jargon"}
    for other in ("python_tutorial", "python_library"):
        assert not any(window in texts.text(other) for window in windows)


def test_a_character_is_predicted_from_those_before_it():
    data = TASKS["characters"].load()[0]
    assert torch.equal(data.inputs[:, 1:][:1000], data.targets[:, :-1][:1000])
    network = materialise(TASKS["characters"].build, generator())
    rows = data.inputs[:2].clone()
    with torch.no_grad():
        before = network(rows)
        rows[:, 20] = (rows[:, 20] + 1) % sources.SYMBOLS
        after = network(rows)
    assert torch.allclose(before[:, :20], after[:, :20], atol=1e-6)
    assert not torch.allclose(before[:, 20:], after[:, 20:], atol=1e-6)


def test_training_and_validation_text_do_not_overlap():
    data = TASKS["characters"].load()[0]
    last = len(data.inputs) + sources.CONTEXT  # characters that training sees
    text = sources.texts.text("jargon")
    assert last <= len(text) * 9 // 10


def test_the_patches_of_an_image_are_its_squares():
    network = materialise(TASKS["vit"].build, generator())
    seen = []
    network.patches.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    image = torch.arange(784.0).view(1, 28, 28)
    network(image)
    assert torch.equal(seen[0][0, 5].view(7, 7), image[0, 7:14, 7:14])


def test_pixels_that_validate_do_not_train():
    data = TASKS["photographs"].load()[0]
    assert len(data.inputs) + len(data.validation_inputs) == 2 * 106 * 160
    both = torch.cat([data.inputs, data.validation_inputs])
    assert len(torch.unique(both, dim=0)) == len(both)


# Tumours.


def test_a_neighbourhood_holds_the_tumour_and_the_eight_most_like_it():
    around, targets = tumours.nodes()
    assert (around.shape, targets.shape) == ((569, 9, 20), (569, 20))
    own = around[:, 0, :10]
    table = load_breast_cancer().data
    standard = (table - table.mean(0)) / table.std(0)
    assert np.allclose(own, standard[:, :10], atol=1e-5)
    assert np.allclose(targets, standard[:, 10:], atol=1e-5)
    distances = np.linalg.norm(own[7] - own, axis=1)
    nearest = np.sort(distances)[1:9]  # itself is at 0
    assert np.allclose(np.linalg.norm(own[7] - around[7, 1:, :10], axis=1), nearest, atol=1e-4)
    assert np.allclose(around[7, 0, 10:], around[7, 1:, :10].mean(axis=0), atol=1e-5)


def test_each_tumour_validates_once_by_a_network_that_was_not_trained_on_it():
    folds = tumours.folds()
    assert len(folds) == 5
    assert sorted(np.concatenate([validates for _, validates in folds])) == list(range(569))
    for trains, validates in folds:
        assert sorted([*trains, *validates]) == list(range(569))
    inputs, targets = tumours.nodes()
    for (trains, validates), data in zip(folds, TASKS["tumours"].load(), strict=True):
        expected = inputs[trains], targets[trains], inputs[validates], targets[validates]
        assert all(np.array_equal(a, b.numpy()) for a, b in zip(expected, data, strict=True))


def test_a_graph_convolution_sees_itself_and_the_mean_of_its_neighbours():
    network = networks.GraphConvolution(2, width=3, outputs=1)
    x = torch.rand(4, 6, 4, generator=generator())
    with torch.no_grad():
        told = network(x)
        assert torch.allclose(network(x[:, [0, 3, 1, 5, 2, 4]]), told, atol=1e-6), "neighbours have no order"
        assert not torch.allclose(network(x[:, [1, 0, 2, 3, 4, 5]]), told, atol=1e-4), (
            "but the node itself is told apart"
        )
        hidden = torch.nn.functional.gelu(network.first(x))
        joined = torch.cat([hidden[:, 0], hidden[:, 1:].mean(1)], 1)
        assert torch.allclose(network.head(torch.nn.functional.gelu(network.second(joined))), told, atol=1e-6)


def test_titles_are_those_that_the_help_lists():
    assert {task.name: task.title for task in TASKS.values()} == dict(HELD_OUT)


def test_an_unknown_task_is_named():
    with pytest.raises(UsageError, match="no held-out task 'vitt'") as caught:
        tasks.task_named("vitt")
    assert "'vit'" in caught.value.hint


def test_the_digest_tells_tasks_and_horizons_apart():
    found = {tasks.task_digest(name, steps) for name in ("photographs", "autoencoder") for steps in (10, 20)}
    assert len(found) == 4


def test_a_source_digest_ignores_words_and_layout():
    one = source_digest('"""Doc."""\ndef f(x):\n    """Doc."""\n    return x + 1\n')
    assert one == source_digest('"""Other."""\n# why\ndef f( x ):\n    "More."\n    return (x + 1)\n')
    assert one != source_digest('"""Doc."""\ndef f(x):\n    """Doc."""\n    return x + 2\n')
