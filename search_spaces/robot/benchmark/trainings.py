"""The trainings of a build: which, in which order, each kept in a journal as soon as it is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from evo.codebase import numeric_backend
from search_spaces.building.journal import LineJournal
from search_spaces.building.workers import finished
from search_spaces.robot.architectures.cells import Cell
from search_spaces.robot.architectures.nb201 import CODE
from search_spaces.robot.architectures.networks import REDUCED, network
from search_spaces.robot.benchmark.images import Images, images
from search_spaces.robot.benchmark.settings import Settings
from search_spaces.robot.benchmark.training import Epoch, Schedule, Trained, train

VERSION = 1
"""Of what is trained; another one makes what earlier builds kept unusable."""
RECIPE = Schedule()
"""All of a training but its epochs."""
Progress = Callable[[int, int, str], None]


class Training(NamedTuple):
    """One training: the string of the cell, the seed (of weights, order and distortions), and the epochs."""

    cell: str
    seed: int
    epochs: int


@dataclass(frozen=True, slots=True)
class Data:
    """Where images come from, for `images`."""

    source: str | None
    train: int
    validation: int
    test: int

    def load(self) -> Images:
        return images(self.source, side=SIDE, train=self.train, validation=self.validation, test=self.test)


SIDE = 14
"""Of an image, in pixels."""


def planned(cells: Iterable[Cell], settings: Settings) -> list[Training]:
    """All trainings of a build, most important first: the short schedule on every seed, then the long one."""
    names = [CODE.to_string(cell) for cell in cells]
    short = [Training(name, seed, settings.epochs) for seed in range(settings.seeds) for name in names]
    some = names[: settings.long_cells]
    return short + [Training(name, seed, settings.long_epochs) for seed in range(settings.seeds) for name in some]


def trained(plan: list[Training], data: Data, path: Path, workers: int, progress: Progress) -> dict[Training, Trained]:
    """Do the trainings that the journal at `path` does not have.

    Returns:
        All of the plan.

    Raises:
        BenchmarkError: the journal belongs to another recipe, data set or version.
        DamagedBenchmarkError: it is damaged.
        ExecutorError: a worker process died.
    """
    with LineJournal(path, identity(data.load())) as journal:
        done = {_training(entry): _result(entry) for entry in journal.entries if "cell" in entry}
        todo = [training for training in plan if training not in done]
        count = len(plan) - len(todo)
        progress(count, len(plan), "trainings")
        if todo:
            journal.add({"backend": dict(numeric_backend())})
        for training, result in finished(_trainer, data, todo, workers):
            entry = _entry(training, result)
            journal.add(entry)
            done[training] = _result(entry)  # as a resumed build reads it, rounded
            count += 1
            progress(count, len(plan), "trainings")
    return {training: done[training] for training in plan}


def identity(pictures: Images) -> str:
    """Digest of what every training depends on besides cell, seed, epochs and numeric backend."""
    what = {
        "version": VERSION, "skeleton": asdict(REDUCED), "recipe": {**asdict(RECIPE), "epochs": None},
        "source": pictures.source, "data": pictures.digest,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def backends(path: Path, pictures: Images) -> list[dict[str, str]]:
    """The numeric backends that a journal's trainings ran on."""
    with LineJournal(path, identity(pictures)) as journal:
        return [entry["backend"] for entry in journal.entries if "backend" in entry]


def _trainer(data: Data) -> Callable[[Training], Trained]:
    pictures = data.load()

    def do(training: Training) -> Trained:
        model = network(CODE.operations(CODE.from_string(training.cell)), REDUCED, seed=training.seed)
        return train(model, pictures, Schedule(epochs=training.epochs), training.seed)

    return do


def _entry(training: Training, result: Trained) -> dict[str, Any]:
    curve = [[round(epoch.loss, 5), round(epoch.train, 5), epoch.validation] for epoch in result.curve]
    return {
        **training._asdict(), "validation": result.validation, "test": result.test,
        "seconds": round(result.seconds, 3), "curve": curve,
    }  # fmt: skip


def _training(entry: dict[str, Any]) -> Training:
    return Training(entry["cell"], entry["seed"], entry["epochs"])


def _result(entry: dict[str, Any]) -> Trained:
    curve = tuple(Epoch(*values) for values in entry["curve"])
    return Trained(entry["validation"], entry["test"], curve, entry["seconds"])
