"""Builds: broken at any place they end as unbroken ones do; what does not fit is told."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from evo.errors import ConfigError, EvoError, RunLockedError
from proxies.quantization import config_table
from search_spaces.building.session import locked
from search_spaces.emq.benchmark import BenchmarkError, DamagedBenchmarkError, load
from search_spaces.emq.benchmark.building import build
from search_spaces.emq.benchmark.configurations import random_configurations
from search_spaces.emq.benchmark.settings import Settings, build_settings
from tests.search_spaces.emq.benchmark import own

HERE = "tests.search_spaces.emq.benchmark.own"
OWN = {"model": f"{HERE}:deep", "data": f"{HERE}:samples", "calibration": 20, "rounding_iterations": 2}
SMALL = {**OWN, "rows": 12, "adaround_rows": 3, "seeds": 2}


def silent(done, total, what):
    pass


def built(folder, **settings):
    build({**SMALL, **settings}, folder, silent)
    return folder / "own.npz"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An unbroken build's folder."""
    folder = tmp_path_factory.mktemp("whole")
    built(folder)
    return folder


def test_a_users_own_model_and_data_give_a_table(whole):
    table = load(whole / "own.npz")
    assert table.network == "own"
    assert len(table.layers) == 6
    assert table.bits.shape == (15, 6)
    assert table.accuracy.shape == (15, 2)
    assert (table.rows("nearest").tolist(), table.rows("adaround").tolist()) == (list(range(12)), [12, 13, 14])
    np.testing.assert_array_equal(table.bits[12:], table.bits[:3])
    assert table.parameters.tolist() == [1296] * 5 + [108]
    assert 0.3 < table.float_accuracy <= 1
    assert table.origin["source"] == OWN["data"]


@pytest.mark.parametrize("changed", [{"model": f"{HERE}:made"}, {"data": f"{HERE}:given"}, {"data": f"{HERE}:by_name"}])
def test_a_model_and_data_may_be_objects_and_arrays(tmp_path, changed, whole):
    made, expected = load(built(tmp_path, **changed)), load(whole / "own.npz")
    np.testing.assert_array_equal(made.accuracy, expected.accuracy)


def test_accuracies_are_whole_numbers_of_test_examples(whole):
    counts = load(whole / "own.npz").accuracy * 300
    np.testing.assert_allclose(counts, counts.round(), atol=1e-9)


def test_the_progress_reaches_its_end_for_every_part(tmp_path):
    seen = {}
    build(SMALL, tmp_path, lambda done, total, what: seen.update({what: (done, total)}))
    assert seen == {"own: nearest": (12, 12), "own: learned rounding": (6, 6), "own: adaround": (3, 3)}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.55, 0.9, 1.0])
def test_a_build_whose_journal_was_cut_anywhere_ends_with_the_same_table(whole, tmp_path, share):
    (tmp_path / "work").mkdir()
    for path in (whole / "work").iterdir():
        content = path.read_bytes()
        cut = int(share * len(content)) if path.suffix == ".jsonl" else len(content)
        (tmp_path / "work" / path.name).write_bytes(content[:cut])
    assert built(tmp_path).read_bytes() == (whole / "own.npz").read_bytes()
    for path in (whole / "work").iterdir():
        assert (tmp_path / "work" / path.name).read_bytes() == path.read_bytes()


def test_a_finished_build_measures_nothing_again_and_longer_ones_go_on(whole, tmp_path, monkeypatch):
    monkeypatch.setattr("search_spaces.emq.benchmark.building.measured", None)  # raises if it is called
    assert built(whole).is_file()
    monkeypatch.undo()
    built(tmp_path, rows=10, adaround_rows=2)
    assert built(tmp_path).read_bytes() == (whole / "own.npz").read_bytes()


CODE = """
import sys
from pathlib import Path
from search_spaces.emq.benchmark.building import build
if __name__ == "__main__":
    build({settings!r}, Path({folder!r}), lambda *_: None)
"""


@pytest.mark.timeout(1200)
def test_killed_while_workers_measure_it_goes_on_to_the_same_table_and_leaves_no_process(tmp_path, whole):
    script, folder = tmp_path / "main.py", tmp_path / "build"
    root = str(Path(__file__).resolve().parents[4])
    environment = {**os.environ, "PYTHONPATH": root, own.IDLE: "0.2"}
    settings = {**SMALL, "model": f"{HERE}:idling", "workers": 2}
    script.write_text(CODE.format(settings=settings, folder=str(folder)))
    journal = folder / "work" / "own.nearest.jsonl"
    process = subprocess.Popen([sys.executable, str(script)], env=environment)
    try:
        deadline = time.monotonic() + 600
        while not journal.is_file() or journal.read_bytes().count(b"\n") < 4:
            assert process.poll() is None, "the build ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
    finally:
        process.kill()
    assert len(children) >= 2
    assert not psutil.wait_procs(children, timeout=300)[1], "workers outlived their parent"
    lines = journal.read_bytes().count(b"\n")
    assert lines < 13, "there is something left to do"
    assert built(folder, model=f"{HERE}:idling", workers=2).read_bytes() == (whole / "own.npz").read_bytes()


def test_a_damaged_line_is_told_unless_it_is_the_last(whole, tmp_path):
    (tmp_path / "work").mkdir()
    path = tmp_path / "work" / "own.nearest.jsonl"
    lines = (whole / "work" / path.name).read_bytes().splitlines(keepends=True)
    changed = lines[3].replace(b'"correct":[', b'"correct":[1')
    path.write_bytes(b"".join([*lines[:3], changed, *lines[4:]]))
    with pytest.raises(DamagedBenchmarkError, match="line 4"):
        built(tmp_path)
    path.write_bytes(b"".join([*lines[:3], changed]))
    assert built(tmp_path).read_bytes() == (whole / "own.npz").read_bytes()


@pytest.mark.parametrize(
    "changed", [{"calibration": 21}, {"model": f"{HERE}:infinitesimal"}, {"seed": 1}, {"seeds": 1}, {"norms": True}]
)
def test_a_folder_of_another_build_is_refused(whole, changed):
    with pytest.raises(BenchmarkError, match="other settings") as caught:
        built(whole, **changed)
    assert "-o" in caught.value.hint


def test_two_builds_do_not_share_a_folder(tmp_path):
    with locked(tmp_path), pytest.raises(RunLockedError, match="another process"):
        built(tmp_path)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"model": "nowhere_at_all:net"}, "importing nowhere_at_all failed"),
        ({"model": "own"}, "module:attr|model is 'own'"),
        ({"model": f"{HERE}:nett"}, "no attribute 'nett'"),
        ({"model": f"{HERE}:no_function"}, "is int"),
        ({"model": f"{HERE}:raising"}, "no weights here"),
        ({"model": f"{HERE}:no_model"}, "returns int"),
        ({"model": f"{HERE}:without_layers"}, "no Conv2d or Linear"),
        ({"model": f"{HERE}:narrow"}, "from 0 to 2, the model has 2 classes"),
        ({"model": f"{HERE}:mute"}, "fails on its test inputs"),
        ({"model": f"{HERE}:infinite"}, "not finite"),
        ({"model": f"{HERE}:with_an_idle_layer"}, "spare did not run"),
        ({"model": f"{HERE}:restless"}, "another model at each call"),
        ({"data": f"{HERE}:no_function"}, "two pairs"),
        ({"data": f"{HERE}:one_pair"}, "two pairs"),
        ({"data": f"{HERE}:float_labels"}, "float32"),
        ({"data": f"{HERE}:fewer_labels"}, "labels are"),
        ({"layers": ["1", "nine"]}, "nine"),
        ({"rows": 3000}, "distinct rows"),
    ],
)
def test_a_model_or_data_that_do_not_fit_are_told_with_a_hint(tmp_path, changed, words):
    with pytest.raises(EvoError, match=words) as caught:
        built(tmp_path, **changed)
    assert caught.value.hint
    assert not (tmp_path / "own.npz").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"row": 5}, "row"),
        ({"rows": 1}, "rows"),
        ({"rows": "many"}, "rows"),
        ({"adaround_rows": 500}, "adaround_rows"),
        ({"choices": [2]}, "choices"),
        ({"choices": [4, 2]}, "choices"),
        ({"choices": [1, 2]}, "choices"),
        ({"activation_bits": 1}, "activation_bits"),
        ({"networks": ["vgg"]}, "vgg"),
        ({"networks": "resnet,resnet"}, "each once"),
        ({"networks": []}, "networks"),
        ({"weights": "borrow"}, "borrow"),
        ({"model": "a:b"}, "belong together"),
        ({"layers": "fc"}, "layers"),
        ({"test": 0}, "test"),
        ({"workers": 0}, "workers"),
    ],
)
def test_settings_out_of_range_are_told(given, words):
    with pytest.raises(ConfigError, match=words):
        build_settings(given)


def test_names_may_be_given_with_commas():
    assert build_settings({"networks": "mobilenet, resnet"}).networks == ("mobilenet", "resnet")
    assert build_settings({}) == Settings()


def test_the_packages_own_network_is_built_on_the_shipped_images(tmp_path):
    settings = {
        "networks": "mobilenet", "weights": "shipped", "source": "shipped", "rows": 2, "adaround_rows": 0, "seeds": 2,
        "calibration": 8, "test": 40,
    }  # fmt: skip
    result = build(settings, tmp_path, silent)
    table, shipped = load(tmp_path / "mobilenet.npz"), load("mobilenet")
    assert table.layers == shipped.layers
    assert table.origin["model"] == shipped.origin["model"]
    assert "shipped subset" in table.origin["source"]
    np.testing.assert_array_equal(table.bits, shipped.bits[:2])
    assert result.data["mobilenet"]["checksum"] == table.checksum
    assert "mobilenet: 23 layers" in result.text


def test_networks_are_trained_where_no_weights_are_asked_for(tmp_path, monkeypatch):
    from search_spaces.emq.benchmark import building

    few = {}

    def images(source):
        few.setdefault("images", original(source))
        data = few["images"]
        return dataclasses.replace(data, train=data.train[:256], train_labels=data.train_labels[:256])

    original = building.images
    monkeypatch.setattr(building, "images", images)
    settings = {
        "networks": "mobilenet", "source": "shipped", "rows": 2, "adaround_rows": 0, "seeds": 1, "calibration": 8,
        "test": 20, "epochs": 1,
    }  # fmt: skip
    seen = []
    build(settings, tmp_path, lambda done, total, what: seen.append(what))
    assert "mobilenet: training" in seen
    weights = (tmp_path / "mobilenet.weights.npz").read_bytes()
    seen.clear()
    build(settings, tmp_path, lambda done, total, what: seen.append(what))
    assert "mobilenet: training" not in seen, "trained weights are taken as they are"
    assert (tmp_path / "mobilenet.weights.npz").read_bytes() == weights


def test_configurations_are_distinct_spread_and_the_start_of_longer_tables():
    few, many = random_configurations(20, (2, 3, 4, 8), 50), random_configurations(20, (2, 3, 4, 8), 400)
    np.testing.assert_array_equal(few, many[:50])
    assert len(np.unique(many, axis=0)) == 400
    means = many.mean(1)
    assert means.min() < 2.7
    assert means.max() > 6.5
    assert np.ptp(means[1::2]) < np.ptp(means[::2]), "every other row is uniform"
    assert (random_configurations(20, (2, 3, 4, 8), 50, seed=1) != few).any()
    config_table([dict(zip("abcdefghijklmnopqrst", row.tolist(), strict=True)) for row in few], "abcdefghijklmnopqrst")
    assert len(random_configurations(2, (2, 8), 2)) == 2
    with pytest.raises(BenchmarkError, match="half of all"):
        random_configurations(2, (2, 8), 3)
