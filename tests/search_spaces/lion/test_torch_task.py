"""A user's own torch module as a task: right numbers, independent candidates, clear refusals."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from evo.errors import ConfigError
from evo.space import Request
from search_spaces.lion.evaluator import LionEvaluator, references
from search_spaces.lion.options import LionOptions
from search_spaces.lion.programs import adamw, momentum
from search_spaces.lion.tasks import digits, load
from search_spaces.lion.tasks.base import Task
from search_spaces.lion.tasks.torch_task import TorchTask

HERE = "tests.search_spaces.lion.test_torch_task"


class Digits(TorchTask):
    """A convolutional network on scikit-learn's digits, as a user would write it."""

    pace = 0.5
    chance = math.log(10)
    metric = "accuracy"

    def module(self) -> nn.Module:
        return nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 5, 3, 2, 1), nn.GELU(), nn.Flatten(), nn.LayerNorm(80),
            nn.Linear(80, 10),
        )  # fmt: skip

    def data(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = digits.splits()[split]
        return torch.from_numpy(images), torch.from_numpy(labels)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, targets)

    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs.argmax(1) == targets).float().mean()


class Regression(TorchTask):
    """No more than what must be written; one parameter is shared, one does not matter, one has no dimension."""

    def module(self) -> nn.Module:
        network = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
        network[2].weight = network[0].weight
        network.scale = nn.Parameter(torch.tensor(2.0))
        network.unused = nn.Parameter(torch.ones(3))
        network.register_forward_hook(lambda module, _, outputs: outputs * module.scale)
        return network

    def data(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.from_numpy(digits.splits()[split].images)
        return images[:, :8], images[:, 8:16]

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(outputs, targets)


@pytest.fixture(params=[Digits, Regression])
def task(request: pytest.FixtureRequest) -> TorchTask:
    return request.param()


def spread(task: Task, n: int) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((n, task.segments[-1])).astype(np.float32)
    return task.initial(1) + 0.1 * noise


def test_loss_and_gradient_are_those_of_the_module(task: TorchTask) -> None:
    weights = spread(task, 3)
    gradient = np.full_like(weights, np.nan)
    batch = task.batch(0, 1, 16)
    losses = task.loss_and_gradient(weights, batch, gradient)
    for row in range(3):
        module = task.module().double()
        nn.utils.vector_to_parameters(torch.from_numpy(weights[row]).double(), module.parameters())
        loss = task.loss(module(batch.inputs.double()), batch.targets)
        loss.backward()
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in module.parameters()])
        assert losses[row] == pytest.approx(loss.item(), rel=1e-5)
        assert np.allclose(gradient[row], flat.numpy(), rtol=1e-4, atol=1e-6)


def test_evaluation_is_that_of_the_whole_split_in_one_piece(task: TorchTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search_spaces.lion.tasks.torch_task.JUDGED_TOGETHER", 150)
    weights = spread(task, 2)
    judged = task.evaluate(weights, "validation")
    inputs, targets = task.data("validation")
    for row in range(2):
        module = task.module()
        nn.utils.vector_to_parameters(torch.from_numpy(weights[row]), module.parameters())
        with torch.no_grad():
            outputs = module(inputs)
        assert judged["loss"][row] == pytest.approx(task.loss(outputs, targets).item(), rel=1e-5)
        assert judged[task.metric][row] == pytest.approx(float(task.score(outputs, targets)), rel=1e-5)


def test_no_candidate_notices_the_others(task: TorchTask) -> None:
    weights = spread(task, 7)
    batch = task.batch(0, 1, 32)
    gradient = np.empty_like(weights)
    losses = task.loss_and_gradient(weights, batch, gradient)
    judged = task.evaluate(weights, "test")
    for rows in ([6], [4, 0, 3], [5, 5]):
        some = np.empty_like(weights[rows])
        assert np.array_equal(task.loss_and_gradient(weights[rows], batch, some), losses[rows])
        assert np.array_equal(some, gradient[rows])
        for name, values in task.evaluate(weights[rows], "test").items():
            assert np.array_equal(values, judged[name][rows])


def test_tensors_and_their_shapes(task: TorchTask) -> None:
    assert [rows * columns for rows, columns in task.shapes] == np.diff(task.segments).tolist()
    if isinstance(task, Digits):
        assert task.shapes == ((5, 9), (5, 1), (80, 1), (80, 1), (10, 80), (10, 1))
    else:
        assert sorted(task.shapes) == [(1, 1), (3, 1), (8, 1), (8, 1), (8, 8)]


def test_initial_weights_come_from_the_seed_alone_and_leave_the_generator_as_it_was(task: TorchTask) -> None:
    torch.manual_seed(77)
    before = torch.random.get_rng_state()
    first = task.initial(3)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(78)
    assert np.array_equal(task.initial(3), first)
    assert not np.array_equal(task.initial(4), first)
    assert first.dtype == np.float32


def test_training_leaves_the_number_of_threads_and_the_data_alone(task: TorchTask) -> None:
    threads = torch.get_num_threads()
    data = task.data("train")[0].clone()
    weights = spread(task, 1)
    task.loss_and_gradient(weights, task.batch(0, 1, 8), np.empty_like(weights))
    assert torch.get_num_threads() == threads
    assert torch.equal(task.data("train")[0], data)


def test_what_is_not_written_has_a_default() -> None:
    task = Regression()
    assert (task.name, task.pace, task.metric) == ("Regression", 1.0, "score")
    judged = task.evaluate(task.initial(0)[None], "validation")
    assert task.chance == judged["loss"][0] == -judged["score"][0] > 0


def test_a_task_pickles_and_its_digest_tells_data_parameters_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Digits()
    copy = pickle.loads(pickle.dumps(task))
    weights = spread(task, 1)
    assert copy.evaluate(weights, "test")["loss"] == task.evaluate(weights, "test")["loss"]
    digests = {task.digest(), copy.digest()}
    assert len(digests) == 1
    monkeypatch.setattr(Digits, "version", 2)
    digests.add(Digits().digest())
    monkeypatch.setattr(Digits, "module", lambda self: nn.Linear(64, 10))
    digests.add(Digits().digest())

    class Other(Digits):
        def data(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
            inputs, targets = super().data(split)
            return inputs + (split == "test"), targets

    other = Other()
    other.name = task.name
    digests.add(other.digest())
    assert len(digests) == 4


def test_the_evaluator_trains_and_ranks_with_it() -> None:
    """As a user's configuration names it."""
    options = LionOptions(tasks=(f"{HERE}:Digits",), steps=60, replicates=2, probe_task=None, screen_hurdle=None)
    evaluator = LionEvaluator(options, references(options))
    requests = [Request(0, adamw(), "search", (7, 8)), Request(1, momentum(), "search", (7, 8))]
    together = evaluator.evaluate(requests)
    assert all(observation.status == "ok" for answer in together for observation in answer)
    seeds = [observation.extra["losses"][f"{HERE}:Digits"] for observation in together[0]]
    assert len(set(seeds)) == 2
    assert max(seeds) < 0.7 * Digits.chance
    assert [observation.values for observation in together[0]] == [
        observation.values for observation in evaluator.evaluate(requests[:1])[0]
    ]


def broken(**members: object) -> type[TorchTask]:
    return type("Broken", (Digits,), members)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"module": lambda self: nn.Sequential(nn.Linear(64, 10), nn.Dropout())}, "random numbers"),
        ({"module": lambda self: nn.Sequential(nn.BatchNorm1d(64), nn.Linear(64, 10))}, "running_mean"),
        ({"module": lambda self: nn.Linear(64, 10).double()}, "float64"),
        ({"module": lambda self: nn.Flatten()}, "no parameters"),
        ({"module": lambda self: nn.Linear(64, 10).requires_grad_(False)}, "requires_grad=False"),
        ({"module": lambda self: nn.Linear(63, 10)}, "do not fit together"),
        ({"loss": lambda self, outputs, targets: outputs.sum(1)}, "no scalar"),
        ({"loss": lambda self, outputs, targets: outputs.detach().sum()}, "no scalar"),
        ({"loss": lambda self, outputs, targets: 0.5}, "no scalar"),
        ({"data": lambda self, split: (torch.zeros(5, 64), torch.zeros(4))}, "equal length"),
        ({"data": lambda self, split: (np.zeros((5, 64)), np.zeros(5))}, "equal length"),
        ({"data": lambda self, split: torch.zeros(5, 64)}, "failed"),
        ({"data": lambda self, split: (torch.zeros(0, 64), torch.zeros(0))}, "equal length"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_once(members: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        broken(**members)()
    assert caught.value.hint


class Unfinished(TorchTask):
    """Without a loss."""

    module = Digits.module
    data = Digits.data


def test_a_class_that_lacks_a_part_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="loss"):
        load(f"{HERE}:Unfinished")


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Digits().batch(0, 0, 1001)
