"""One training run: schedule, common random numbers, divergence, what is counted."""

import math

import pytest
import torch

from search_spaces.lion.judge import optimizers, training
from search_spaces.lion.judge.tasks import TASKS
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
