"""Builds: broken anywhere they end as unbroken ones do; longer ones begin as shorter ones; what is written is read."""

from __future__ import annotations

import numpy as np
import pytest

from evo.errors import ConfigError
from search_spaces.building.errors import BenchmarkError
from search_spaces.robot.architectures.canonical import canonical_form
from search_spaces.robot.architectures.nb201 import CODE
from search_spaces.robot.benchmark.building import build
from search_spaces.robot.benchmark.cells import CLASSES, drawn
from search_spaces.robot.benchmark.names import NAME
from search_spaces.robot.benchmark.reading import read
from search_spaces.robot.benchmark.settings import Settings, build_settings
from search_spaces.robot.tables import load

SMALL = {
    "cells": 3, "long_cells": 2, "epochs": 1, "long_epochs": 2, "train": 128, "validation": 60, "test": 50,
    "source": "shipped",
}  # fmt: skip


def silent(done, total, what):
    pass


def contents(folder):
    """What does not depend on the clock: all files, without seconds."""
    benchmark = read(folder)
    return (
        benchmark.architectures,
        {name: np.nan_to_num(values, nan=-1).tolist() for name, values in benchmark.accuracies.items()},
        {name: np.nan_to_num(values, nan=-1).tolist() for name, values in benchmark.batches.items()},
        (folder / f"{NAME}_curves.csv.gz").read_bytes(),
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An unbroken build's folder."""
    folder = tmp_path_factory.mktemp("whole")
    build(SMALL, folder, silent)
    return folder


def test_a_search_can_load_what_was_built(whole):
    table = load(whole, NAME)
    assert len(table.architectures) == 3
    assert set(table.objectives) == {"val1_fashion", "val2_fashion"}
    assert set(table.reported) == {"test1_fashion", "test2_fashion"}
    assert np.isfinite(table.objectives["val1_fashion"]).all()
    assert np.isnan(table.objectives["val2_fashion"]).tolist() == [False, False, True]
    assert table.keys == tuple(str(CODE.to_number(CODE.from_string(cell))) for cell in table.architectures)


def test_means_and_seeds_agree(whole):
    table, benchmark = load(whole, NAME), read(whole)
    for name in ("val1", "val2", "test1", "test2"):
        column = {**table.objectives, **table.reported}[f"{name}_fashion"]
        np.testing.assert_allclose(benchmark.accuracies[name].mean(0), column, rtol=1e-6)
    for name, values in benchmark.batches.items():
        assert values.shape == (2, 3)
        np.testing.assert_allclose(values.mean(0), benchmark.metrics[name], rtol=1e-6)
    counts = benchmark.accuracies["val1"] * 60 / 100
    np.testing.assert_allclose(counts, counts.round(), atol=1e-4)
    assert (benchmark.metric_seconds["all"] > 0).all()


@pytest.mark.parametrize("share", [0.4, 0.8])
def test_a_build_whose_journals_were_cut_anywhere_ends_alike(whole, tmp_path, share):
    (tmp_path / "work").mkdir()
    for path in (whole / "work").iterdir():
        content = path.read_bytes()
        (tmp_path / "work" / path.name).write_bytes(content[: int(share * len(content))])
    build(SMALL, tmp_path, silent)
    assert contents(tmp_path) == contents(whole)


def test_a_longer_build_goes_on_from_a_shorter_one(whole, tmp_path):
    (tmp_path / "work").mkdir()
    for path in (whole / "work").iterdir():
        (tmp_path / "work" / path.name).write_bytes(path.read_bytes())
    todo = {}
    build({**SMALL, "cells": 4}, tmp_path, lambda done, total, what: todo.setdefault(what, (done, total)))
    assert todo == {"trainings": (10, 12), "metrics": (6, 8)}
    assert read(tmp_path).architectures[:3] == read(whole).architectures
    for name, values in read(whole).accuracies.items():
        np.testing.assert_array_equal(read(tmp_path).accuracies[name][:, :3], values)


def test_a_build_with_other_images_is_refused_in_the_same_folder(whole, tmp_path):
    (tmp_path / "work").mkdir()
    for path in (whole / "work").iterdir():
        (tmp_path / "work" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(BenchmarkError, match="other settings"):
        build({**SMALL, "train": 192}, tmp_path, silent)


def test_the_summary_names_schedules_and_metrics(whole):
    told = build(SMALL, whole, silent)
    assert "1 epochs" in told.text
    assert "synflow" in told.text
    assert set(told.data["schedules"]) == {"1 epochs", "2 epochs", "short to long"}
    assert set(told.data["metrics"]) == set(read(whole).metrics)


def test_cells_are_of_different_functions_and_simplest():
    cells = drawn(300, 0)
    forms = {canonical_form(CODE.operations(cell), "linear") for cell in cells}
    assert len(forms) == 300
    assert drawn(40, 0) == cells[:40]
    assert drawn(40, 1) != cells[:40]
    with pytest.raises(ConfigError, match=str(CLASSES)):
        drawn(CLASSES + 1, 0)


@pytest.mark.parametrize(
    "values", [{"cells": 1}, {"cells": 10, "long_cells": 11}, {"epochs": 6}, {"seeds": 0}, {"cell": 3}, {"train": "x"}]
)
def test_settings_that_do_not_fit_are_told(values):
    with pytest.raises(ConfigError):
        build_settings(values)


def test_the_default_build_is_large_enough():
    assert Settings().cells >= 400
    assert Settings().long_cells >= 150
    assert Settings().seeds >= 2
