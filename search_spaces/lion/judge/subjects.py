"""Who is judged: the baselines with the boxes they are tuned in, and exported modules."""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from evo.errors import UsageError
from search_spaces.lion.judge import optimizers
from search_spaces.lion.judge.code import code_digest, source_digest
from search_spaces.lion.judge.optimizers import Build

REACH = 16.0
"""Every subject's learning rate is tuned within this factor to each side of its box's centre, and so is its decay."""
DECAY_CENTRE = 0.064
"""Centre of the decay's box where a module's own default is zero: AdamW's."""


class ModuleError(UsageError):
    """A file that cannot be judged: it does not import, or does not hold one optimizer."""


@dataclass(frozen=True, slots=True)
class Subject:
    """An optimizer to be tuned and judged; a plain value that workers can be sent.

    Attributes:
        name: for tables; unique in a judgement.
        digest: hexadecimal digest of the code that defines it.
        lr: centre of the learning rate's box; from lr / 16 to 16 lr.
        weight_decay: centre of the decay's box, or None where it has no decay to tune.
        source: the exported module's text; empty for a baseline.
    """

    name: str
    digest: str
    lr: float
    weight_decay: float | None
    source: str = ""

    @property
    def is_module(self) -> bool:
        return bool(self.source)


class Baseline(NamedTuple):
    """How to build a baseline, and the centres of its boxes."""

    build: Build
    lr: float
    weight_decay: float


BASELINES: Mapping[str, Baseline] = {
    "AdamW": Baseline(optimizers.adamw, 3.2e-3, 0.064),
    "NAdam": Baseline(optimizers.nadam, 3.2e-3, 0.064),
    "SGD": Baseline(optimizers.sgd, 0.16, 1.6e-4),
    "Lion": Baseline(optimizers.lion, 8e-4, 0.32),
    "Muon": Baseline(optimizers.muon, 6.4e-3, 0.064),
}
"""The table of search boxes. Each spans a factor of 256 in both dimensions, as every module's does. Lion's rate is a
quarter of AdamW's and its decay five times as large (Chen et al. 2023, section 5: 3 to 10 times); SGD's decay
multiplies the gradient's scale and is small."""
REFERENCE = "AdamW"
"""The baseline that ratios are taken to."""


def baselines() -> list[Subject]:
    """All of them, the reference first."""
    code = code_digest(optimizers)
    return [
        Subject(name, hashlib.sha256(f"{name}/{code}".encode()).hexdigest(), lr, decay)
        for name, (_, lr, decay) in BASELINES.items()
    ]


def module_subject(path: Path, taken: set[str]) -> Subject:
    """The subject of an exported module, tried on a small network first.

    Args:
        path: the file.
        taken: names that are in use.

    Raises:
        ModuleError: the file is not there, does not import, holds no `torch.optim.Optimizer` subclass or several, its
            constructor has no `lr` with a positive default, or it cannot do a step.
    """
    try:
        source = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModuleError(f"cannot read module {path}: {error}", "give the file that `evo export` wrote") from error
    name = Path(path).stem
    if name in taken:
        raise ModuleError(f"two subjects are called {name}", "rename the file: a module is named after it")
    optimizer = optimizer_class(source, str(path))
    lr, decay = centres(optimizer, str(path))
    subject = Subject(name, source_digest(source), lr, decay, source)
    _try(subject, path)
    return subject


def build_of(subject: Subject) -> Build:
    """How the subject makes its optimizers for a network."""
    if not subject.is_module:
        return BASELINES[subject.name].build
    optimizer = optimizer_class(subject.source, subject.name)

    def build(network: nn.Module, lr: float, weight_decay: float) -> list[Optimizer]:
        decay = {} if subject.weight_decay is None else {"weight_decay": weight_decay}
        return [optimizer(network.parameters(), lr=lr, **decay)]

    return build


@functools.cache
def optimizer_class(source: str, where: str) -> type[Optimizer]:
    """The one optimizer that a module defines; the source is run as a module of its own.

    Raises:
        ModuleError: it does not import, or defines none or several.
    """
    module = ModuleType("judged_" + hashlib.sha256(source.encode()).hexdigest()[:16])
    sys.modules[module.__name__] = module  # where dataclasses and pickle look for it
    try:
        exec(compile(source, where, "exec"), module.__dict__)
    except Exception as error:
        sys.modules.pop(module.__name__, None)
        raise ModuleError(
            f"importing {where} failed: {type(error).__name__}: {error}", f"try `python {where}`"
        ) from error
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Optimizer) and value.__module__ == module.__name__
    ]
    found = list(dict.fromkeys(found))
    if len(found) != 1:
        names = ", ".join(value.__name__ for value in found) or "none"
        raise ModuleError(
            f"{where} must define one subclass of torch.optim.Optimizer; it defines {names}",
            "a module as `evo export` writes it defines one",
        )
    return found[0]


def centres(optimizer: type[Optimizer], where: str) -> tuple[float, float | None]:
    """Centres of the boxes: the constructor's own defaults of `lr` and, where it has one, `weight_decay`.

    Raises:
        ModuleError: there is no `lr`, or its default is not a positive number.
    """
    parameters = inspect.signature(optimizer.__init__).parameters
    lr = parameters["lr"].default if "lr" in parameters else None
    if isinstance(lr, bool) or not isinstance(lr, int | float) or not math.isfinite(lr) or lr <= 0:
        raise ModuleError(
            f"{where}: {optimizer.__name__} has no `lr` with a positive default", "it is tuned around that default"
        )
    if "weight_decay" not in parameters:
        return float(lr), None
    decay = parameters["weight_decay"].default
    if isinstance(decay, bool) or not isinstance(decay, int | float) or not math.isfinite(decay):
        raise ModuleError(f"{where}: the default of `weight_decay` is no number", "give it one, 0 for none")
    return float(lr), float(decay) or DECAY_CENTRE


def _try(subject: Subject, path: Path) -> None:
    """Two steps on a small network, with decay and without."""
    for decay in (subject.weight_decay or 0.0, 0.0):
        network = nn.utils.skip_init(nn.Linear, 3, 2)
        with torch.no_grad():
            for number, parameter in enumerate(network.parameters(), 1):
                parameter.fill_(0.1 * number)
        try:
            (optimizer,) = build_of(subject)(network, subject.lr, decay)
            for _ in range(2):
                optimizer.zero_grad()
                network(torch.ones(4, 3)).square().mean().backward()
                optimizer.step()
        except Exception as error:
            raise ModuleError(
                f"{path} cannot train: {type(error).__name__}: {error}",
                traceback.format_exc(limit=-1).strip().splitlines()[0] if error.__traceback__ else "",
            ) from error
