"""The store of training runs: each a file named after all that its result depends on, written when it ends."""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from evo.errors import ConfigError
from search_spaces.lion.judge.boxes import ModuleError
from search_spaces.lion.judge.faults import place_in, told
from search_spaces.lion.judge.subjects import Subject, build_of
from search_spaces.lion.judge.tasks import task_digest, task_named
from search_spaces.lion.judge.training import Run, machine, train
from search_spaces.lion.judge.tuning import Setting

VERSION = 2
"""Of the files' format."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One training run that is wanted; what workers are sent.

    Attributes:
        subject: the optimizer.
        task: name of the task, or `module:attr` of the user's own.
        setting: peak learning rate and weight decay.
        seed: number of the seed.
        steps: the horizon.
    """

    subject: Subject
    task: str
    setting: Setting
    seed: int
    steps: int

    @property
    def key(self) -> str:
        """Hexadecimal digest of subject, task, setting, seed, horizon, torch's version and this machine's processor:
        CPU seconds of two processors are not compared."""
        parts = [
            VERSION, self.subject.digest, task_digest(self.task, self.steps), self.setting.lr.hex(),
            self.setting.weight_decay.hex(), self.seed, torch.__version__, machine(),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def run_unit(work: tuple[Unit, str, str]) -> tuple[str, str]:
    """Train, and keep the run's file; the worker's function.

    Args:
        work: the unit, its key (the driver's: a worker may sit on another machine), and the store's folder.

    Returns:
        The unit's key and the file's content, for a driver that does not share the worker's disk.

    Raises:
        ModuleError: the judged module raised. ConfigError: the user's own task did.
    """
    unit, key, folder = work
    task, (lr, weight_decay) = task_named(unit.task), unit.setting
    try:
        run = train(task, build_of(unit.subject), lr, weight_decay, unit.seed, unit.steps)
    except Exception as error:
        at = f"lr {lr:.3g}, weight_decay {weight_decay:.3g}, seed {unit.seed}"
        if unit.subject.is_module and (where := place_in(error, [unit.subject.path])):
            raise ModuleError(f"{unit.subject.name} failed on {unit.task} ({at}): {told(error)}", where) from error
        if where := place_in(error, task.files):
            what = f"the task {unit.task} failed under {unit.subject.name} ({at})"
            raise ConfigError(f"{what}: {told(error)}", where) from error
        raise
    content = {
        "subject": unit.subject.name, "task": unit.task, "lr": lr, "weight_decay": weight_decay, "seed": unit.seed,
        "torch": torch.__version__, **asdict(run),
        # strict JSON has no infinities
        "losses": [loss if math.isfinite(loss) else None for loss in run.losses],
    }  # fmt: skip
    text = json.dumps(content, allow_nan=False) + "\n"
    write_whole(Path(folder) / f"{key}.json", text)
    return key, text


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, whoever else writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


class Runs:
    """Training runs by unit, read from a folder and kept there.

    Args:
        folder: made when the first run is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, Run] = {}

    def __contains__(self, unit: Unit) -> bool:
        return unit.key in self._read or self._path(unit.key).is_file()

    def __getitem__(self, unit: Unit) -> Run:
        """Raises KeyError: the run has not been done."""
        key = unit.key
        if key not in self._read:
            try:
                text = self._path(key).read_text(encoding="utf-8")
            except FileNotFoundError:
                raise KeyError(unit) from None
            self._read[key] = _decoded(text)
        return self._read[key]

    def keep(self, key: str, text: str) -> None:
        """Take what `run_unit` gave, and write it where the worker could not."""
        self._read[key] = _decoded(text)
        if not self._path(key).is_file():
            write_whole(self._path(key), text)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def _decoded(text: str) -> Run:
    value = json.loads(text)
    losses = tuple(math.inf if loss is None else float(loss) for loss in value["losses"])
    return Run(tuple(value["steps"]), losses, tuple(value["seconds"]), value["diverged"], value["machine"])
