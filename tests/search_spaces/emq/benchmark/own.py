"""A model and data of a user's own, small enough for tests; and many that do not fit."""

from __future__ import annotations

import os
import time

import torch
from torch import Tensor, nn

IDLE = "OWN_MODEL_IDLES"
"""Environment variable: seconds that a forward pass takes longer."""


class Net(nn.Module):
    """Registers its layers in another order than it runs them."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)
        self.conv = nn.Conv2d(1, 6, 3)
        self.norm = nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        made = Net()
        made.norm.running_mean.normal_()
        return made


def deep() -> nn.Module:
    """Enough layers for hundreds of configurations."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        return nn.Sequential(nn.Flatten(), *[nn.Linear(36, 36) for _ in range(5)], nn.ReLU(), nn.Linear(36, 3))


class Idle(nn.Flatten):
    """Flattens, and takes its time where the environment says so."""

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(float(os.environ.get(IDLE, "0")))
        return super().forward(x)


def idling() -> nn.Module:
    """`deep`, only slower: the state and the results are the same."""
    return nn.Sequential(Idle(), *list(deep())[1:])


def samples() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(360, 1, 6, 6, generator=generator)
    labels = torch.randint(3, (360,), generator=generator)
    # what the model sees is what tells the classes apart
    images += labels[:, None, None, None].float()
    return (images[:60], labels[:60]), (images[60:], labels[60:])


def restless() -> nn.Module:
    """Another model at each call."""
    return nn.Sequential(nn.Flatten(), *[nn.Linear(36, 36) for _ in range(5)], nn.Linear(36, 3))


def infinitesimal() -> nn.Module:
    """`deep`, one weight of which is a little larger."""
    made = deep()
    with torch.no_grad():
        made[1].weight[0, 0] += 1e-6
    return made


def with_an_idle_layer() -> nn.Module:
    made = net()
    made.spare = nn.Linear(2, 2)
    return made


def without_layers() -> nn.Module:
    return nn.Flatten()


def raising() -> nn.Module:
    raise RuntimeError("no weights here")


def no_model() -> int:
    return 3


def narrow() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 2))


def mute() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(35, 3))


def infinite() -> nn.Module:
    made = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    made[1].bias.data.fill_(float("inf"))
    return made


def one_pair() -> tuple[Tensor, Tensor]:
    return samples()[0]


def float_labels() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    train, (test, labels) = samples()
    return train, (test, labels.float())


def fewer_labels() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    train, (test, labels) = samples()
    return train, (test, labels[1:])


def by_name() -> dict[str, tuple[Tensor, Tensor]]:
    """Two parts by name, as arrays."""
    (train, train_labels), (test, test_labels) = samples()
    return {"calibration": (train.numpy(), train_labels.numpy()), "test": (test.numpy(), test_labels.numpy())}


no_function = 4
made = deep()
given = samples()
