"""Who is judged: the baselines with the boxes they are tuned in, and exported modules."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from search_spaces.lion.judge import optimizers
from search_spaces.lion.judge.boxes import ModuleError, centres
from search_spaces.lion.judge.code import code_digest, source_digest
from search_spaces.lion.judge.faults import place_in, told
from search_spaces.lion.judge.optimizers import Build


@dataclass(frozen=True, slots=True)
class Subject:
    """An optimizer to be tuned and judged; a plain value that workers can be sent.

    Attributes:
        name: for tables; unique in a judgement.
        digest: hexadecimal digest of the code that defines it.
        lr: centre of the learning rate's box; from lr / REACH to lr * REACH.
        weight_decay: centre of the decay's box, or None where it has no decay to tune.
        source: the exported module's text; empty for a baseline.
        path: the exported module's file, for messages; empty for a baseline.
    """

    name: str
    digest: str
    lr: float
    weight_decay: float | None
    source: str = ""
    path: str = ""

    @property
    def is_module(self) -> bool:
        return bool(self.source)


class Baseline(NamedTuple):
    """How to build a baseline, and the centres of its boxes."""

    build: Build
    lr: float
    weight_decay: float


BASELINES: Mapping[str, Baseline] = {
    "AdamW": Baseline(optimizers.adamw, 3.2e-3, 0.128),
    "NAdam": Baseline(optimizers.nadam, 3.2e-3, 0.128),
    "SGD": Baseline(optimizers.sgd, 0.16, 3.2e-4),
    "Lion": Baseline(optimizers.lion, 8e-4, 0.64),
    "Muon": Baseline(optimizers.muon, 6.4e-3, 0.128),
}
"""The table of search boxes' centres. Each box spans a factor of 1,024 in both dimensions, as every module's does.
Lion's rate is a quarter of AdamW's and its decay five times as large (Chen et al. 2023, section 5: 3 to 10 times);
SGD's decay multiplies the gradient's scale and is small."""
REFERENCE = "AdamW"
"""The baseline that ratios are taken to."""


def baselines() -> list[Subject]:
    """All of them, the reference first."""
    code = code_digest(optimizers)
    return [
        Subject(name, hashlib.sha256(f"{name}/{code}".encode()).hexdigest(), lr, decay)
        for name, (_, lr, decay) in BASELINES.items()
    ]


def names(paths: Sequence[Path], taken: Sequence[str]) -> list[str]:
    """What modules are called in tables: the file's name, with as much of its folder as tells it from the others.

    Args:
        paths: of the modules.
        taken: names that are in use: the baselines'.

    Raises:
        ModuleError: a file is given twice.
    """
    whole = [Path(path).resolve().with_suffix("").parts for path in paths]
    for path, count in Counter(whole).items():
        if count > 1:
            raise ModuleError(f"the module {Path(*path)}.py is given twice", "give each file once")
    found = []
    for parts in whole:
        rivals = [*(other for other in whole if other is not parts), *((name,) for name in taken)]
        kept = 1
        while kept < len(parts) and any(other[-kept:] == parts[-kept:] for other in rivals):
            kept += 1
        found.append("/".join(parts[-kept:]))
    return found


def module_subject(path: Path, name: str) -> Subject:
    """The subject of an exported module, tried on a small network first.

    Args:
        path: the file.
        name: see `names`.

    Raises:
        ModuleError: the file is not there, does not import, holds no `torch.optim.Optimizer` subclass or several, its
            constructor has no `lr` with a positive default, or it cannot do a step.
    """
    try:
        source = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModuleError(f"cannot read module {path}: {error}", "give the file that `evo export` wrote") from error
    optimizer = optimizer_class(source, str(path))
    try:
        lr, decay = centres(optimizer, str(path))
        subject = Subject(name, source_digest(source), lr, decay, source, str(path))
        _try(subject)
    except ModuleError:
        raise
    except (Exception, SystemExit) as error:
        hint = place_in(error, [str(path)]) or "it is made with parameters, lr and, where it takes one, weight_decay"
        raise ModuleError(f"{path} cannot train: {told(error)}", hint) from error
    return subject


def build_of(subject: Subject) -> Build:
    """How the subject makes its optimizers for a network."""
    if not subject.is_module:
        return BASELINES[subject.name].build
    optimizer = optimizer_class(subject.source, subject.path)

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
    except (Exception, SystemExit) as error:
        sys.modules.pop(module.__name__, None)
        raise ModuleError(
            f"importing {where} failed: {told(error)}", place_in(error, [where]) or f"try `python {where}`"
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


def _try(subject: Subject) -> None:
    """Two steps on a small network, with decay and without."""
    for decay in (subject.weight_decay or 0.0, 0.0):
        network = nn.utils.skip_init(nn.Linear, 3, 2)
        with torch.no_grad():
            for number, parameter in enumerate(network.parameters(), 1):
                parameter.fill_(0.1 * number)
        (optimizer,) = build_of(subject)(network, subject.lr, decay)
        for _ in range(2):
            optimizer.zero_grad()
            network(torch.ones(4, 3)).square().mean().backward()
            optimizer.step()
