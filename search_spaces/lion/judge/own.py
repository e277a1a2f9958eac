"""Bring your own work to the judgement: a torch module, its data and its loss.

    # my_task.py
    class Wine(OwnTask):
        steps = 300

        def module(self):
            return nn.Sequential(nn.Linear(13, 32), nn.Tanh(), nn.Linear(32, 3))

        def data(self, split):
            return inputs, targets                     # tensors, one row an example

        def loss(self, outputs, targets):
            return nn.functional.cross_entropy(outputs, targets)

and `evo judge lion MODULE... --task my_task:Wine`. A task of the search's (`tasks.torch_task.TorchTask`) will do as it
is, with the figures that stand below: of other classes nothing but `module`, `data` and `loss` is asked for.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from evo.errors import ConfigError
from search_spaces.lion.judge.code import source_digest
from search_spaces.lion.judge.faults import place_in, told
from search_spaces.lion.judge.sources import Data
from search_spaces.lion.judge.tasks import Task

STEPS = 500
BATCH = 32
_CONTRACT = "what to write stands in search_spaces/lion/judge/own.py"


class OwnTask(ABC):
    """A task of the judgement; write `module`, `data` and `loss`. The class takes no arguments.

    Initial weights, and whatever a layer draws in training (dropout), come from torch's global generator, which is
    seeded for each run: the same for every optimizer. The network validates in evaluation mode.

    Attributes:
        name: in tables; the class's name if not set.
        metric: what the loss is.
        steps: the horizon of a training run, at whose end the learning rate is at zero.
        batch: examples a step, drawn with replacement.
    """

    name: str = ""
    metric: str = "loss"
    steps: int = STEPS
    batch: int = BATCH

    @abstractmethod
    def module(self) -> nn.Module:
        """The network, on the CPU, with initial weights."""

    @abstractmethod
    def data(self, split: str) -> tuple[Tensor, Tensor]:
        """Inputs and targets of "train" or "validation", one row an example; called once a process each."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss over the examples, a scalar; lower is better. Trained on and judged by."""


@functools.cache
def own_task(spec: str) -> Task:
    """The task that a class makes.

    Args:
        spec: `module:attr`.

    Raises:
        ConfigError: it cannot be imported or made, or what it gives does not fit together.
    """
    module_name, _, attribute = spec.partition(":")
    try:
        module = importlib.import_module(module_name)
        made = getattr(module, attribute)()
    except ConfigError:
        raise
    except Exception as error:
        sought = "modules are looked for on PYTHONPATH and in the folder one is in; "
        hint = (sought if isinstance(error, ImportError) else "") + _CONTRACT
        hint = place_in(error, _files(module_name)) or hint
        raise ConfigError(f"the task {spec} cannot be made: {told(error)}", hint) from error
    lacking = [member for member in ("module", "data", "loss") if not callable(getattr(made, member, None))]
    if lacking:
        raise ConfigError(f"the task {spec} lacks {', '.join(lacking)}", _CONTRACT)
    figures = {}
    for key, usual in (("steps", STEPS), ("batch", BATCH)):
        value = getattr(made, key, usual) if isinstance(made, OwnTask) else usual
        if isinstance(value, bool) or not isinstance(value, int) or value < 2:
            raise ConfigError(f"the task {spec}: {key} must be an integer of at least 2, not {value!r}", _CONTRACT)
        figures[key] = value
    files, source = _sources(type(made), spec)

    def attempt(what: str, *call: Any) -> Any:
        function, *arguments = call
        try:
            return function(*arguments)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"the task {spec}: {what} failed: {told(error)}", place_in(error, files) or _CONTRACT
            ) from error

    data = Data(
        *(
            tensor
            for split in ("train", "validation")
            for tensor in _rows(attempt(f"data({split!r})", made.data, split), f"{spec}: data({split!r})")
        )
    )
    with torch.random.fork_rng(devices=[]):
        network = attempt("module()", made.module)
        outputs = attempt("the network", network, data.inputs[:2])
        loss = attempt("loss", made.loss, outputs, data.targets[:2])
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
        raise ConfigError(f"the task {spec}: its loss is no scalar that depends on the parameters", _CONTRACT)
    title = str(getattr(made, "name", "") or type(made).__name__)
    metric = str(getattr(made, "metric", "loss")) if isinstance(made, OwnTask) else "loss"
    return Task(
        spec, title, metric, figures["steps"], figures["batch"], made.module, lambda: (data,), made.loss, True, source,
        tuple(files),
    )  # fmt: skip


def _files(module_name: str) -> list[str]:
    """The file that a module's name stands for, whether it can be imported or not."""
    try:
        found = importlib.util.find_spec(module_name)
    except (ImportError, ValueError):
        return []
    return [found.origin] if found is not None and found.origin else []


def _rows(pair: Any, what: str) -> tuple[Tensor, Tensor]:
    fits = isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(part, Tensor) for part in pair)
    if not fits or not len(pair[0]) == len(pair[1]) > 0:
        raise ConfigError(f"the task {what} gives no two tensors of equal length", _CONTRACT)
    return pair[0].detach(), pair[1].detach()


def _sources(found: type, spec: str) -> tuple[list[str], str]:
    """Files that the class and its bases are written in, and the digest of their code; the package's own left out."""
    texts, files = {}, []
    for each in found.__mro__:
        if each.__module__.split(".")[0] in ("builtins", "abc", "torch", "search_spaces"):
            continue
        try:
            texts[each.__module__] = inspect.getsource(sys.modules[each.__module__])
            files.append(inspect.getfile(each))
        except (OSError, TypeError, KeyError) as error:
            hint = "write the class into a file, so that its runs can be told from another's"
            raise ConfigError(f"the source of the task {spec} cannot be read: {error}", hint) from error
    return files, "+".join(source_digest(text) for _, text in sorted(texts.items()))
