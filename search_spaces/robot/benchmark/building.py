"""The whole build of a benchmark: draw cells, train, measure, write; killed and started again, it goes on.

Into the folder: the files of `files.py`, and under work/ the journals of what was done so far. Accuracies depend on
settings, data and numeric backend alone: not on kills, nor on the number of workers. Seconds are this machine's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evo.space import Judgement
from search_spaces.building.session import locked, one_thread
from search_spaces.robot.architectures.nb201 import CODE
from search_spaces.robot.architectures.networks import REDUCED
from search_spaces.robot.benchmark.cells import drawn
from search_spaces.robot.benchmark.files import write
from search_spaces.robot.benchmark.measuring import BATCH, identity, measured
from search_spaces.robot.benchmark.names import NAME
from search_spaces.robot.benchmark.settings import build_settings
from search_spaces.robot.benchmark.summary import summarised
from search_spaces.robot.benchmark.trainings import RECIPE, SIDE, VERSION, Data, backends, planned, trained

Progress = Callable[[int, int, str], None]


def build(settings: Mapping[str, Any], folder: Path, progress: Progress) -> Judgement:
    """Build the table that the settings ask for, or go on with a build.

    Args:
        settings: see `Settings`.
        folder: where everything goes.
        progress: called with steps done, all steps, and words.

    Returns:
        What was built, as text and JSON.

    Raises:
        ConfigError: a setting does not fit.
        DataError: the images cannot be read.
        BenchmarkError: the folder belongs to a build with other data, another recipe or version.
        DamagedBenchmarkError: a file in the folder is damaged.
        RunLockedError: another process builds in this folder.
        ExecutorError: a worker process died.
    """
    chosen = build_settings(settings)
    data = Data(chosen.source, chosen.train, chosen.validation, chosen.test)
    pictures = data.load()  # tells now of images that are not there
    cells = drawn(chosen.cells, chosen.draw)
    names = [CODE.to_string(cell) for cell in cells]
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder), one_thread():
        journal = folder / "work" / "trainings.jsonl"
        trainings = trained(planned(cells, chosen), data, journal, chosen.workers, progress)
        measurements = measured(names, chosen.batches, data, folder / "work", chosen.workers, progress)
        told = {name: value for name, value in asdict(chosen).items() if name != "workers"}
        recipe = {**asdict(RECIPE), "epochs": [chosen.epochs, chosen.long_epochs]}
        origin = {
            "benchmark": NAME, "version": VERSION, "settings": told, "source": pictures.source, "data": pictures.digest,
            "skeleton": asdict(REDUCED), "side": SIDE, "recipe": recipe, "metrics_batch": BATCH,
            "metrics_code": identity(pictures), "backends": backends(journal, pictures),
        }  # fmt: skip
        write(folder, names, chosen, trainings, measurements, origin)
    return summarised(folder)
