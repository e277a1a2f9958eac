"""The held-out tasks: networks, data, initial weights, digests."""

import numpy as np
import pytest
import torch

from evo.errors import UsageError
from search_spaces.data import fashion_mnist
from search_spaces.lion.judge import sources, tasks
from search_spaces.lion.judge.code import source_digest
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


def test_images_are_of_the_held_out_part():
    part = fashion_mnist.part("held_out")
    data = sources.clothes.__wrapped__()  # what other tests of this process loaded may be the whole set
    assert np.array_equal(data.inputs[:5].mul(255).round().byte().numpy(), part.train.images[:5])
    assert np.array_equal(data.validation_targets.numpy(), part.validation.labels[: sources.VALIDATION_IMAGES])


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
