"""How the networks are trained: SGD with momentum over a cosine schedule, flips and shifts; kept epoch by epoch.

A training that was killed goes on after its last whole epoch and ends with the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.building.pictures import distorted
from search_spaces.emq.benchmark.errors import BenchmarkFileError
from search_spaces.emq.benchmark.files import read_arrays, write_arrays

Progress = Callable[[int, int, str], None]
_MOMENTUM = "momentum/"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training.

    Attributes:
        epochs: passes over the training images.
        batch: images a step.
        rate: peak learning rate, reached after the first `warmup` share of the steps, then a half cosine to 0.
        momentum: of Nesterov's kind.
        decay: weight decay, of tensors with two dimensions or more.
        shift: largest shift of an image in pixels, each way.
        seed: of the weights, of the order and of the distortions.
    """

    epochs: int = 16
    batch: int = 128
    rate: float = 0.1
    warmup: float = 0.1
    momentum: float = 0.9
    decay: float = 5e-4
    shift: int = 1
    seed: int = 0


def train(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    checkpoint: Path,
    progress: Progress,
    identity: Mapping[str, str],
) -> nn.Module:
    """Train a network in place, or go on with a training.

    Weights of convolutions and linear layers end as float16 values, in which they are stored.

    Args:
        network: with its first weights.
        images: (n, 1, height, width) float32.
        labels: (n,) int64.
        recipe: how.
        checkpoint: the file to go on from, and to write after every epoch.
        progress: called with epochs done, all epochs, and words.
        identity: what else the result depends on; a checkpoint of another identity is not used.

    Returns:
        The network in evaluation mode.

    Raises:
        DamagedBenchmarkError: the checkpoint is damaged.
    """
    # plain values, so that the comparison below is that of JSON
    meta = {"recipe": asdict(recipe), **identity}
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        [
            {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": recipe.decay},
            {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=recipe.rate,
        momentum=recipe.momentum,
        nesterov=True,
    )
    done = _restore(network, optimizer, checkpoint, meta)
    steps = len(labels) // recipe.batch
    total = steps * recipe.epochs
    for epoch in range(done, recipe.epochs):
        progress(epoch, recipe.epochs, "training")
        # by epoch, so that a resumed training draws what an unbroken one does
        generator = torch.Generator().manual_seed(recipe.seed * 10_007 + epoch)
        order = torch.randperm(len(labels), generator=generator)
        for step in range(steps):
            rows = order[step * recipe.batch : (step + 1) * recipe.batch]
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate * schedule((epoch * steps + step) / total, recipe.warmup)
            batch = distorted(images[rows], recipe.shift, True, generator).contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(network(batch), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        _keep(network, optimizer, checkpoint, {**meta, "epochs": epoch + 1})
    progress(recipe.epochs, recipe.epochs, "training")
    return halved(network).eval()


def schedule(done: float, warmup: float) -> float:
    """Share of the peak learning rate after a share `done` of the steps."""
    if done < warmup:
        return done / warmup
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def halved(network: nn.Module) -> nn.Module:
    """The network with the weights of its convolutions and linear layers at float16 values, in place."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.copy_(parameter.half())
    return network


def state_arrays(network: nn.Module) -> dict[str, np.ndarray]:
    """The network's state for a file: tensors with two dimensions or more as float16, others as they are."""
    state = network.state_dict().items()
    return {name: (t.half() if t.ndim > 1 else t).detach().numpy().copy() for name, t in state}


def load_state(network: nn.Module, arrays: Mapping[str, np.ndarray]) -> nn.Module:
    """The network with a stored state, in evaluation mode.

    Raises:
        BenchmarkFileError: the state is another network's.
    """
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    try:
        network.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in state.items()})
    except RuntimeError as error:
        hint = "the network in this version of the package is another one: train it again"
        raise BenchmarkFileError(f"the weights are not those of {type(network).__name__}: {error}", hint) from error
    return network.eval()


def _keep(network: nn.Module, optimizer: torch.optim.SGD, path: Path, meta: Mapping[str, object]) -> None:
    arrays = {name: t.numpy() for name, t in network.state_dict().items()}
    for name, parameter in network.named_parameters():
        arrays[_MOMENTUM + name] = optimizer.state[parameter]["momentum_buffer"].numpy()
    write_arrays(path, arrays, meta)


def _restore(network: nn.Module, optimizer: torch.optim.SGD, path: Path, meta: Mapping[str, object]) -> int:
    """Put network and optimizer where the checkpoint left them; returns the epochs done."""
    if not path.is_file():
        return 0
    arrays, kept = read_arrays(path)
    del kept["checksum"]
    done = kept.pop("epochs")
    if kept != meta:
        return 0
    network.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items() if not k.startswith(_MOMENTUM)})
    for name, parameter in network.named_parameters():
        buffer = torch.from_numpy(arrays[_MOMENTUM + name])
        # in the parameter's own memory format, as SGD makes it
        optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(buffer).detach()
    return int(done)
