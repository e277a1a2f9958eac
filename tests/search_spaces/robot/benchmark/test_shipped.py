"""The benchmark that ships: large enough, whole, and what its description says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from evo.codebase import numeric_backend
from proxies.network import METRICS
from search_spaces.building.session import one_thread
from search_spaces.data.fashion_mnist import INSTALLED
from search_spaces.robot.architectures.canonical import canonical_form
from search_spaces.robot.architectures.nb201 import CODE
from search_spaces.robot.architectures.networks import REDUCED, network
from search_spaces.robot.benchmark.cells import drawn
from search_spaces.robot.benchmark.correlation import ceiling
from search_spaces.robot.benchmark.names import DATA, NAME
from search_spaces.robot.benchmark.reading import read
from search_spaces.robot.benchmark.training import Schedule, train
from search_spaces.robot.benchmark.trainings import Data
from search_spaces.robot.tables import load
from search_spaces.robot.tables.columns import read_columns


@pytest.fixture(scope="module")
def benchmark():
    return read()


def test_it_has_as_many_cells_of_different_functions_as_promised(benchmark):
    forms = {canonical_form(CODE.operations(CODE.from_string(cell)), "linear") for cell in benchmark.architectures}
    assert len(forms) == len(benchmark.architectures) >= 400
    settings = benchmark.origin["settings"]
    assert benchmark.architectures == tuple(map(CODE.to_string, drawn(settings["cells"], settings["draw"])))


def test_every_cell_has_two_trainings_and_many_have_long_ones(benchmark):
    short, long = benchmark.epochs
    for part in ("val", "test"):
        assert np.isfinite(benchmark.accuracies[f"{part}{short}"]).all()
        assert np.isfinite(benchmark.accuracies[f"{part}{long}"]).all(0).sum() >= 150
        assert len(benchmark.accuracies[f"{part}{short}"]) >= 2


def test_every_metric_is_there_with_its_time(benchmark):
    assert set(benchmark.metrics) == set(METRICS)
    assert set(benchmark.metric_seconds) == {*METRICS, "all"}
    for name, values in benchmark.metrics.items():
        assert np.isfinite(values).mean() > 0.99, name
        assert (benchmark.metric_seconds[name] >= 0).all()
    operations = [CODE.operations(CODE.from_string(cell)) for cell in benchmark.architectures]
    parameters = [sum(p.numel() for p in network(cell, REDUCED).parameters()) for cell in operations[:20]]
    assert benchmark.metrics["params"][:20].tolist() == parameters


def test_accuracies_tell_cells_apart(benchmark):
    # the long schedule brings cells closer together
    for count, least in zip(benchmark.epochs, (0.6, 0.4), strict=True):
        values = benchmark.accuracies[f"val{count}"]
        assert ceiling(values).low > least - 0.1
        assert ceiling(values).estimate > least
        kept = np.isfinite(values).all(0)
        test = benchmark.accuracies[f"test{count}"]
        assert spearmanr(values.mean(0)[kept], test.mean(0)[kept])[0] > 0.75
        assert np.ptp(values.mean(0)[kept]) > 3


def test_the_curves_end_in_the_accuracies(benchmark):
    curves = read_columns(DATA / f"{NAME}_curves.csv.gz")
    last = {}
    for key, epochs, seed, value in zip(
        curves.column("idx"), curves.column("epochs"), curves.column("seed"), curves.column("val"), strict=True
    ):
        last[key, int(epochs), int(seed)] = float(value)
    keys = read_columns(DATA / f"{NAME}_archs.csv.gz").column("idx")
    for count in benchmark.epochs:
        for seed, row in enumerate(benchmark.accuracies[f"val{count}"]):
            for key, value in zip(keys, row, strict=True):
                assert last.get((key, count, seed), np.nan) == pytest.approx(value, nan_ok=True)


def test_a_search_reads_it_by_default(benchmark):
    table = load(DATA, NAME)
    assert table.architectures == benchmark.architectures
    assert set(table.metrics) == set(METRICS)


def test_it_is_small():
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 1_000_000


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED.is_dir(), reason="the whole Fashion-MNIST is not installed")
def test_a_row_trained_again_gives_the_same_accuracy(benchmark):
    settings = benchmark.origin["settings"]
    pictures = Data(None, settings["train"], settings["validation"], settings["test"]).load()
    assert pictures.digest == benchmark.origin["data"]
    cell = benchmark.architectures[5]
    with one_thread():
        model = network(CODE.operations(CODE.from_string(cell)), REDUCED, seed=1)
        result = train(model, pictures, Schedule(epochs=settings["epochs"]), 1)
    expected = benchmark.accuracies[f"val{settings['epochs']}"][1, 5]
    same = dict(numeric_backend()) in benchmark.origin["backends"]
    assert 100 * result.validation == pytest.approx(expected, abs=1e-5 if same else 3)
