"""Bring your own network: a torch module, its data and its loss, as a training task.

    class Moons(TorchTask):
        chance = math.log(2)
        metric = "accuracy"

        def module(self):
            return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))

        def data(self, split):
            return inputs, targets                     # tensors, one row an example

        def loss(self, outputs, targets):
            return nn.functional.cross_entropy(outputs, targets)

        def score(self, outputs, targets):
            return (outputs.argmax(1) == targets).float().mean()

and `tasks: [my_package.my_module:Moons]` in the options. That is all; it takes whatever torch can differentiate.

The price: candidates are trained one at a time, at torch's price of some hundred microseconds a step. A task that a
search trains millions of steps on is worth a batched form, as the tasks beside this file have it.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
import xxhash

from evo.errors import ConfigError
from search_spaces.lion.tasks.base import SPLITS, Shuffle

JUDGED_TOGETHER = 1000
"""Examples of a forward pass in `evaluate`."""


class Rows(NamedTuple):
    """Examples of one split: inputs and targets, tensors with one row an example."""

    inputs: torch.Tensor
    targets: torch.Tensor


_DATA: dict[tuple[type, str], Rows] = {}
"""What `data` gave, by class and split: a task is made anew again and again."""


class TorchTask(ABC):
    """A task (see `tasks.base.Task`) made of a torch module; write `module`, `data` and `loss`.

    Flat weights hold the module's parameters in the order of `module.parameters()`, each as torch stores it (a linear
    layer's matrix outputs x inputs). A parameter of two or more dimensions counts as a matrix of its first dimension
    by the rest.

    The class takes no arguments, and all that it makes must be the same whenever it is made: `module` may draw initial
    weights from torch's global generator, which is seeded before and restored after. Layers that draw random numbers
    or change buffers in training (dropout, batch normalisation) are refused: with them, what a candidate gets would
    depend on those trained before it. Each candidate goes through the module on its own, on one thread and in the
    same memory, so that its numbers are the same to the bit whatever shares the call.

    Attributes:
        name: in reports; the class's name if not set.
        version: of the task; raise it when results change by something other than its data, its parameters or the
            source files of its classes, which are part of the digest as they are (a module imported from elsewhere,
            say).
        pace: steps it is trained for each step asked for.
        chance: the loss of a network that knows nothing; if not set, that of the initial network of seed 0 on
            "validation".
        metric: the name of what `score` gives.

    Raises:
        ConfigError: at construction, where module, data and loss do not fit together.
    """

    name: str = ""
    version: int = 1
    pace: float = 1.0
    metric: str = "score"

    @abstractmethod
    def module(self) -> torch.nn.Module:
        """The network, float32, with initial weights."""

    @abstractmethod
    def data(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of "train", "validation" or "test", one row an example; called once a process."""

    @abstractmethod
    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean loss over the examples, a scalar; lower is better."""

    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor | float:
        """The mean over the examples of the figure called `metric`; higher is better. Minus the loss if not written."""
        return -self.loss(outputs, targets)

    def __init__(self) -> None:
        self.name = self.name or type(self).__name__
        self._module = self._new_module(seed=0)
        self._parameters = list(self._module.parameters())
        self._check_parameters()
        sizes = [parameter.numel() for parameter in self._parameters]
        self.segments = tuple(np.concatenate([[0], np.cumsum(sizes)]).tolist())
        self.shapes = tuple(
            (len(each), each.numel() // len(each)) if each.dim() > 1 else (each.numel(), 1) for each in self._parameters
        )
        self._shuffle = Shuffle(len(self._rows("train").targets))
        self._check_training()

    @cached_property
    def chance(self) -> float:
        return float(self.evaluate(self.initial(0)[None], "validation")["loss"][0])

    def digest(self) -> str:
        """Digest of the data, the parameters' names and shapes, the source files of the task's classes, and torch."""
        shapes = [(name, tuple(parameter.shape)) for name, parameter in self._module.named_parameters()]
        state = xxhash.xxh3_128(f"{self.name}/{self.version}/{shapes}/torch {torch.__version__}".encode())
        for source in self._sources():
            state.update(source.encode())
        for split in SPLITS:
            for tensor in self._rows(split):
                state.update(f"{split}/{tensor.dtype}/{tuple(tensor.shape)}".encode())
                state.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
        return state.hexdigest()

    def initial(self, seed: int) -> np.ndarray:
        module = self._new_module(seed)
        return torch.cat([parameter.detach().reshape(-1) for parameter in module.parameters()]).numpy()

    def batch(self, step: int, seed: int, size: int) -> Rows:
        rows = torch.from_numpy(self._shuffle(step, seed, size))
        inputs, targets = self._rows("train")
        return Rows(inputs[rows], targets[rows])

    def loss_and_gradient(self, weights: np.ndarray, batch: Rows, gradient: np.ndarray) -> np.ndarray:
        losses = np.empty(len(weights), np.float32)
        # a loop, because torch's batched operations round by an element's place
        with _one_thread(), torch.enable_grad():
            for row, flat in enumerate(weights):
                self._load(flat)
                loss = self.loss(self._module(batch.inputs), batch.targets)
                slopes = torch.autograd.grad(loss, self._parameters, allow_unused=True)
                losses[row] = loss.item()
                for start, end, slope in zip(self.segments[:-1], self.segments[1:], slopes, strict=True):
                    gradient[row, start:end] = 0.0 if slope is None else slope.reshape(-1).numpy()
        return losses

    def evaluate(self, weights: np.ndarray, split: str) -> dict[str, np.ndarray]:
        inputs, targets = self._rows(split)
        pieces = list(zip(inputs.split(JUDGED_TOGETHER), targets.split(JUDGED_TOGETHER), strict=True))
        found = np.empty((2, len(weights)))
        with _one_thread(), torch.no_grad():
            for row, flat in enumerate(weights):
                self._load(flat)
                sums = []
                for some, wanted in pieces:
                    outputs = self._module(some)
                    figures = self.loss(outputs, wanted), self.score(outputs, wanted)
                    sums.append([len(wanted) * float(figure) for figure in figures])
                found[:, row] = [sum(column) / len(targets) for column in zip(*sums, strict=True)]
        return {"loss": found[0], self.metric: found[1]}

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()

    def _load(self, flat: np.ndarray) -> None:
        """Copy a candidate's weights into the module's own parameters: memory whose alignment never changes, on which
        the order of summation inside torch's products may depend."""
        with torch.no_grad():
            values = torch.from_numpy(flat)
            for start, end, parameter in zip(self.segments[:-1], self.segments[1:], self._parameters, strict=True):
                parameter.copy_(values[start:end].view(parameter.shape))

    def _new_module(self, seed: int) -> torch.nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.module()

    def _rows(self, split: str) -> Rows:
        key = type(self), split
        if key not in _DATA:
            try:
                inputs, targets = self.data(split)
                fits = len(inputs) == len(targets) > 0
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{self._who}.data({split!r}) failed: {error}", _CONTRACT) from error
            if not (fits and isinstance(inputs, torch.Tensor) and isinstance(targets, torch.Tensor)):
                raise ConfigError(f"{self._who}.data({split!r}) gives no two tensors of equal length", _CONTRACT)
            _DATA[key] = Rows(inputs.detach(), targets.detach())
        return _DATA[key]

    @property
    def _who(self) -> str:
        return f"{type(self).__module__}:{type(self).__qualname__}"

    def _check_parameters(self) -> None:
        if not self._parameters:
            raise ConfigError(f"the module of {self._who} has no parameters", _CONTRACT)
        for name, each in self._module.named_parameters():
            if each.dtype != torch.float32 or each.device.type != "cpu" or not each.requires_grad or not each.numel():
                what = f"{each.dtype} of {each.numel()} values on {each.device}, requires_grad={each.requires_grad}"
                raise ConfigError(
                    f"the parameter {name} of {self._who} is {what}", "only float32 on the CPU is trained"
                )

    def _check_training(self) -> None:
        """Run one step, and refuse a loss that is no scalar, random numbers and buffers that change."""
        inputs, targets = self._rows("train")
        buffers = {name: buffer.clone() for name, buffer in self._module.named_buffers()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            before = torch.random.get_rng_state()
            try:
                loss = self.loss(self._module(inputs[:2]), targets[:2])
            except (RuntimeError, ValueError) as error:
                raise ConfigError(
                    f"module, data and loss of {self._who} do not fit together: {error}", _CONTRACT
                ) from error
            drawn = not torch.equal(before, torch.random.get_rng_state())
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.requires_grad:
            raise ConfigError(f"{self._who}.loss gives no scalar that depends on the module's parameters", _CONTRACT)
        if drawn:
            raise ConfigError(f"the module of {self._who} draws random numbers in training", "leave dropout out")
        for name, buffer in self._module.named_buffers():
            if not torch.equal(buffer, buffers[name]):
                hint = "use a normalisation without running statistics: LayerNorm, GroupNorm"
                raise ConfigError(f"the module of {self._who} changes its buffer {name} in training", hint)

    def _sources(self) -> list[str]:
        """The texts of the files that the task's classes, below this one, are written in."""
        found = {}
        for each in type(self).__mro__[: type(self).__mro__.index(TorchTask)]:
            try:
                found[each.__module__] = inspect.getsource(sys.modules[each.__module__])
            except (OSError, TypeError, KeyError) as error:
                hint = "write the class into a file, so that its results can be told from another's"
                raise ConfigError(f"the source of {self._who} cannot be read: {error}", hint) from error
        return [text for _, text in sorted(found.items())]


_CONTRACT = "what to write stands in search_spaces/lion/tasks/torch_task.py"


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """torch on one thread: small products are slower on more, and their rounding must not depend on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
