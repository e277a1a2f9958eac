"""One training run: schedule, common random numbers, divergence, what is counted."""

import math

import pytest
import torch

from search_spaces.lion.judge import optimizers, training
from search_spaces.lion.judge.networks import Perceptron
from search_spaces.lion.judge.sources import Data
from search_spaces.lion.judge.tasks import TASKS, Task
from search_spaces.lion.judge.training import evaluation_steps, schedule, train

TASK = TASKS["photographs"]
STEPS = 100


def test_the_schedule_warms_up_and_ends_at_zero():
    factors = [schedule(step, STEPS) for step in range(STEPS + 1)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert max(factors) == 1.0
    assert factors[5:] == sorted(factors[5:], reverse=True)
    assert factors[STEPS] == pytest.approx(0.0)
    assert schedule(52, STEPS) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("steps", [2, 10, 49, 50, 500, 800])
def test_validations_are_every_fiftieth_of_the_horizon_from_start_to_end(steps):
    points = evaluation_steps(steps)
    assert points[0] == 0
    assert points[-1] == steps
    assert len(points) == min(51, steps + 1)
    assert list(points) == sorted(set(points))


def test_a_run_repeats_to_the_bit():
    one, same = (train(TASK, optimizers.adamw, 3e-3, 0.0, 7, STEPS) for _ in range(2))
    assert one.losses == same.losses
    assert one.diverged is None
    assert one.final < 0.8 * one.losses[0]


def test_optimizers_share_initial_weights_and_data_under_a_seed():
    seen = {}

    def spy(name, build):
        def made(network, lr, decay):
            seen[name] = [p.detach().clone() for p in network.parameters()]
            return build(network, lr, decay)

        return made

    adamw = train(TASK, spy("adamw", optimizers.adamw), 0.0, 0.0, 3, 10)
    sgd = train(TASK, spy("sgd", optimizers.sgd), 0.0, 0.0, 3, 10)
    other = train(TASK, spy("other", optimizers.sgd), 0.0, 0.0, 4, 10)
    assert adamw.losses == sgd.losses  # nothing was learned at rate zero
    assert adamw.losses[0] != other.losses[0]
    assert all(torch.equal(a, b) for a, b in zip(seen["adamw"], seen["sgd"], strict=True))


def test_the_schedule_reaches_every_optimizer():
    rates = []

    class Watched(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    def build(network, lr, decay):
        return [Watched(network.parameters(), lr=lr), Watched([torch.zeros(1, requires_grad=True)], lr=lr)]

    train(TASK, build, 0.5, 0.0, 0, 20)
    expected = [0.5 * schedule(step, 20) for step in range(20) for _ in range(2)]
    assert rates == pytest.approx(expected)


def test_a_diverging_run_stops_and_is_infinite_from_there():
    run = train(TASK, optimizers.sgd, 1e6, 0.0, 0, STEPS)
    assert run.diverged is not None
    assert run.diverged < 20
    assert math.isinf(run.final)
    assert len(run.losses) == len(run.steps) == len(run.seconds)
    finite = [math.isfinite(loss) for loss in run.losses]
    assert finite == sorted(finite, reverse=True)
    assert finite[0]


def test_seconds_are_of_training_alone(monkeypatch):
    """A clock that moves only while the network is in its training pass."""
    now = [0.0]
    monkeypatch.setattr(training.time, "process_time", lambda: now[0])

    def build(network, lr, decay):
        def tick(module, inputs, output):
            now[0] += 1.0 if torch.is_grad_enabled() else 100.0

        network.register_forward_hook(tick)
        return optimizers.sgd(network, lr, decay)

    run = train(TASK, build, 1e-3, 0.0, 0, 10)
    assert run.seconds == tuple(float(step) for step in range(11))


def test_threads_are_given_back():
    before = torch.get_num_threads()
    train(TASK, optimizers.adamw, 1e-3, 0.0, 0, 2)
    assert torch.get_num_threads() == before


# Tasks made for a test: what is read, what is pooled.


def made_task(*folds, build=None, loss=torch.nn.functional.mse_loss, name="made", **given):
    build = build or (lambda: Perceptron((1, 1, 1)))
    return Task(name, name, "loss", STEPS, 4, build, lambda: folds, loss, **given)


def fold(training, validation, count=4):
    """Inputs are all one; targets differ between what trains and what validates."""
    return Data(
        torch.ones(8, 1), torch.full((8, 1), training), torch.ones(count, 1), torch.full((count, 1), validation)
    )


def test_training_examples_train_and_validation_examples_validate():
    run = train(made_task(fold(0.0, 3.0)), optimizers.adamw, 0.1, 0.0, 0, STEPS)
    assert run.final == pytest.approx(9.0, abs=0.1), "it learned to answer 0, and is asked for 3"
    other = train(made_task(fold(3.0, 0.0)), optimizers.adamw, 0.1, 0.0, 0, STEPS)
    assert other.final == pytest.approx(9.0, abs=0.1)
    assert train(made_task(fold(3.0, 3.0)), optimizers.adamw, 0.1, 0.0, 0, STEPS).final < 0.01


def test_folds_are_trained_apart_and_pooled_by_their_size():
    parts = fold(0.0, 1.0, count=3), fold(2.0, 0.0, count=1)
    both = train(made_task(*parts), optimizers.adamw, 0.05, 0.0, 5, 20)
    first = train(made_task(parts[0]), optimizers.adamw, 0.05, 0.0, 5, 20)
    assert both.steps == first.steps
    alone = [4.0 * pooled - 3.0 * one for pooled, one in zip(both.losses, first.losses, strict=True)]
    assert alone == pytest.approx(train_second(parts, 20), rel=1e-4)
    assert both.seconds[-1] > 0.0


def train_second(parts, steps):
    """Losses of the second fold's network, which starts from weights of its own: the first fold validates on itself."""
    empty = parts[0]._replace(validation_inputs=torch.ones(0, 1), validation_targets=torch.ones(0, 1))

    def loss(outputs, targets):
        return torch.nn.functional.mse_loss(outputs, targets) if len(targets) else torch.zeros(())

    return train(made_task(empty, parts[1], loss=loss), optimizers.adamw, 0.05, 0.0, 5, steps).losses


def test_a_fold_that_diverges_makes_the_run_diverge_and_stops_those_after_it():
    asked = []

    def loss(outputs, targets):
        if not torch.is_grad_enabled():
            asked.append(float(targets[0]))
        return torch.nn.functional.mse_loss(outputs, targets)

    bad = fold(0.0, 1.0)._replace(inputs=torch.full((8, 1), math.inf))
    run = train(made_task(fold(0.0, 5.0), bad, fold(0.0, 7.0), loss=loss), optimizers.adamw, 0.1, 0.0, 0, 50)
    assert run.diverged == 0
    assert math.isfinite(run.losses[0])
    assert all(math.isinf(value) for value in run.losses[1:])
    assert (asked.count(5.0), asked.count(1.0), asked.count(7.0)) == (51, 1, 1)


def test_folds_start_from_weights_of_their_own():
    seen = []

    def build(network, lr, decay):
        seen.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
        return optimizers.sgd(network, lr, decay)

    train(made_task(fold(0.0, 1.0), fold(0.0, 1.0)), build, 0.1, 0.0, 0, 2)
    assert not torch.equal(*seen)


def test_a_users_network_draws_its_own_weights_and_noise_by_the_seed_alone():
    def build():
        return torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))

    task = made_task(fold(0.0, 1.0), build=build, draws=True)
    before = torch.get_rng_state()
    one = train(task, optimizers.adamw, 0.05, 0.0, 3, 20)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(5)
    same, other = (train(task, optimizers.adamw, 0.05, 0.0, seed, 20) for seed in (3, 4))
    assert one.losses == same.losses
    assert one.losses[0] != other.losses[0]


def test_a_network_validates_in_evaluation_mode():
    modes = []

    class Watching(torch.nn.Linear):
        def forward(self, x):
            modes.append((self.training, torch.is_grad_enabled()))
            return super().forward(x)

    train(made_task(fold(0.0, 1.0), build=lambda: Watching(1, 1), draws=True), optimizers.sgd, 0.1, 0.0, 0, 5)
    assert set(modes) == {(True, True), (False, False)}


def test_a_run_says_which_machine_did_it():
    run = train(made_task(fold(0.0, 1.0)), optimizers.sgd, 0.1, 0.0, 0, 2)
    assert run.machine == training.machine() != ""
