"""Training: it learns, it repeats itself to the bit, and it touches nothing else."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from search_spaces.building.session import one_thread
from search_spaces.robot.architectures.networks import REDUCED, network
from search_spaces.robot.benchmark.images import images
from search_spaces.robot.benchmark.training import Schedule, accuracy, train

CELL = ("nor_conv_1x1", "none", "none", "skip_connect", "skip_connect", "none")
SCHEDULE = Schedule(epochs=3, batch=32, watched=50)


@pytest.fixture(scope="module")
def pictures():
    return images("shipped", train=320, validation=200, test=100)


@pytest.fixture(scope="module")
def trained(pictures):
    model = network(CELL, REDUCED, seed=1)
    with one_thread():
        return model, train(model, pictures, SCHEDULE, 1)


def without_seconds(result):
    return dataclasses.replace(result, seconds=0.0)


def test_it_learns(trained, pictures):
    _, result = trained
    assert result.validation > 0.3
    assert result.curve[-1].loss < result.curve[0].loss
    assert result.seconds > 0


def test_accuracies_are_those_of_the_network_that_is_left(trained, pictures):
    model, result = trained
    assert not model.training
    assert accuracy(model, pictures.validation, pictures.validation_labels) == result.validation
    assert accuracy(model, pictures.test, pictures.test_labels) == result.test
    assert result.curve[-1].validation == result.validation
    outputs = model(pictures.test.contiguous(memory_format=torch.channels_last)).argmax(1)
    assert float((outputs == pictures.test_labels).double().mean()) == pytest.approx(result.test)


def test_the_same_training_gives_the_same_to_the_bit(trained, pictures):
    _, result = trained
    with one_thread():
        again = train(network(CELL, REDUCED, seed=1), pictures, SCHEDULE, 1)
        other = train(network(CELL, REDUCED, seed=1), pictures, SCHEDULE, 2)
    assert without_seconds(again) == without_seconds(result)
    assert without_seconds(other) != without_seconds(result)


def test_the_curve_has_a_point_an_epoch_and_progress_tells_of_each(pictures):
    told = []
    result = train(network(CELL, REDUCED), pictures, SCHEDULE, 0, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert len(result.curve) == 3
    assert all((point.validation * 50) == pytest.approx(round(point.validation * 50)) for point in result.curve[:-1])
    assert all(0 <= point.train <= 1 for point in result.curve)


def test_the_global_random_state_is_left(pictures):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train(network(CELL, REDUCED), pictures, Schedule(epochs=1, shift=1), 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_rate_falls_along_a_half_cosine_to_nothing(pictures, monkeypatch):
    rates = []
    step = torch.optim.SGD.step

    def recording(self, *arguments):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", recording)
    train(network(CELL, REDUCED), pictures, dataclasses.replace(SCHEDULE, epochs=2), 0)
    assert len(rates) == 20
    assert rates[0] == 0.1
    assert rates[10] == pytest.approx(0.05)
    assert rates[-1] < 0.001
    assert rates == sorted(rates, reverse=True)


def test_any_classifier_can_be_trained(pictures):
    model = nn.Sequential(nn.Flatten(), nn.Linear(196, 10))
    assert train(model, pictures, dataclasses.replace(SCHEDULE, rate=0.01), 0).validation > 0.3


def test_a_training_that_diverges_gives_guesses(pictures):
    class Diverging(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1)) * float("inf")

    result = train(Diverging(196, 10), pictures, dataclasses.replace(SCHEDULE, epochs=1), 0)
    assert result.validation < 0.2
