"""MQ-Bench-101's pickle: read if it is of plain types, refused unexecuted if it is not."""

from __future__ import annotations

import copyreg
import csv
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from proxies.quantization import expand
from search_spaces.emq.benchmark import RESNET18_ENTRIES, RESNET18_GROUPS, BenchmarkFileError, load, mqbench101
from search_spaces.emq.benchmark.mqbench101 import read_plain_pickle

SHARED = Path(__file__).resolve().parents[5] / "shared" / "data" / "emq"
ROW = [4, 4, 2, 2, 4, 2, 3, 3, 3, 3, 2, 2, 3, 3, 3, 3, 4, 3]


def write(tmp_path, content, protocol=4):
    path = tmp_path / "PTQ-GT.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("scale", [1, 100])
def test_the_published_layout_is_read(tmp_path, protocol, scale):
    content = {
        0: {"bit_cfg": str(ROW), "acc": 0.6512 * scale},
        1: {"bit_cfg": str([2] * 18), "acc": 0.25 * scale},
    }
    made = load(write(tmp_path, content, protocol))
    assert made.layers == RESNET18_ENTRIES
    assert (made.network, made.choices, made.activation_bits) == ("resnet18", (2, 3, 4), 8)
    np.testing.assert_array_equal(made.bits, [ROW, [2] * 18])
    np.testing.assert_allclose(made.accuracy, [[0.6512], [0.25]])
    assert made.rows("adaround").tolist() == [0, 1]


def test_entries_spread_over_resnet18s_layers_by_name():
    names = [name for group in RESNET18_GROUPS.values() for name in group]
    assert len(RESNET18_ENTRIES) == 18
    assert len(names) == 21
    assert set(names) == set(load("resnet").layers)
    row = dict(zip(names, expand([[*range(2, 17), 2, 3, 4]], RESNET18_GROUPS, names)[0], strict=True))
    for place, stage in ((6, 2), (10, 3), (14, 4)):
        assert row[f"layer{stage}.0.downsample.0"] == row[f"layer{stage}.0.conv2"] == place + 2


class _Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(tmp_path):
    made = tmp_path / "made"
    for content in (_Runs(made), {0: {"bit_cfg": _Runs(made), "acc": 1.0}}):
        with pytest.raises(BenchmarkFileError, match=r"asks for posix\.mkdir"):
            load(write(tmp_path, content))
    assert not made.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'touch /tmp/never'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x8c\x06system\x93.",
        b"Pname\n.",
        b"\x80\x02\x82\x01.",
        b"(i__main__\nX\n.",
        b"",
        b"hello",
        b"\x80\x05\x8e\xff\xff\xff\xff\xff\xff\x00\x00abc.",
        b"]" * 3,
        b"\x80\xff.",
    ],
)
def test_crafted_bytes_are_refused(tmp_path, content):
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    with pytest.raises(BenchmarkFileError):
        load(path)


@pytest.mark.parametrize("value", [{1}, frozenset([1]), b"x", bytearray(b"x"), 1j])
def test_types_that_no_table_needs_are_refused(tmp_path, value):
    with pytest.raises(BenchmarkFileError, match="refused"):
        read_plain_pickle(write(tmp_path, {0: {"bit_cfg": value, "acc": 1.0}}, 5))


@pytest.mark.parametrize("step", [b"r\x00\x00\x00\x10", b"q\xff", b"p268435456\n", b"p-1\n"])
def test_a_memo_index_beyond_what_was_made_is_refused_before_anything_is_allocated(tmp_path, step):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04}" + step + b".")
    with pytest.raises(BenchmarkFileError, match="remembers entry"):
        read_plain_pickle(path)


def test_a_registered_extension_is_refused_though_it_is_cached(tmp_path, monkeypatch):
    monkeypatch.setitem(copyreg._extension_cache, 240, eval)
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x02\x82\xf0X\x03\x00\x00\x001+1\x85R.")
    with pytest.raises(BenchmarkFileError, match="EXT1"):
        read_plain_pickle(path)


def test_more_steps_than_a_table_needs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mqbench101, "_MOST_STEPS", 20)
    assert read_plain_pickle(write(tmp_path, [1] * 10)) == [1] * 10
    with pytest.raises(BenchmarkFileError, match="more than 20 steps"):
        read_plain_pickle(write(tmp_path, [1] * 30))


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        3,
        {0: []},
        {0: {"bit_cfg": "[2, 3]"}},
        {0: {"bit_cfg": "[2, 3", "acc": 1.0}},
        {0: {"bit_cfg": "__import__('os')", "acc": 1.0}},
        {0: {"bit_cfg": "[2, 0]", "acc": 1.0}},
        {0: {"bit_cfg": "[]", "acc": 1.0}},
        {0: {"bit_cfg": "[" * 9000, "acc": 1.0}},
        {0: {"bit_cfg": [10**5000], "acc": 1.0}},
        {0: {"bit_cfg": "[2.5]", "acc": 1.0}},
        {0: {"bit_cfg": "[2]", "acc": "high"}},
        {0: {"bit_cfg": "[2]", "acc": float("nan")}},
        {0: {"bit_cfg": "[2]", "acc": -1}},
        {0: {"bit_cfg": "[2]", "acc": 1.0}, 1: {"bit_cfg": "[2, 3]", "acc": 1.0}},
    ],
)
def test_plain_content_of_another_shape_is_refused(tmp_path, content):
    with pytest.raises(BenchmarkFileError) as caught:
        load(write(tmp_path, content))
    assert len(str(caught.value)) < 1000


def test_a_message_does_not_spell_out_what_a_small_file_makes_huge(tmp_path):
    value = ["x"]
    for _ in range(40):
        value = [value, value]
    with pytest.raises(BenchmarkFileError):
        load(write(tmp_path, {0: {"bit_cfg": value, "acc": 1.0}}))


def test_the_published_rows_have_the_entries_that_we_name(tmp_path):
    costs, logged = SHARED / "resnet18_ptq_layer_costs.csv", SHARED / "ptq_logged_top1.csv"
    if not costs.is_file() or not logged.is_file():
        pytest.skip(f"the facts about EMQ are not at {SHARED}")
    with open(costs, newline="") as file:
        names = [row["layer"] for row in csv.DictReader(file)]
    assert [name.removesuffix("+downsample") for name in names] == list(RESNET18_ENTRIES)
    assert [name.endswith("+downsample") for name in names] == [len(RESNET18_GROUPS[n]) == 2 for n in RESNET18_ENTRIES]
    with open(logged, newline="") as file:
        rows = [(json.loads(row["bit_cfg_json"]), float(row["imagenet_top1"])) for row in csv.DictReader(file)]
    content = {i: {"bit_cfg": str(bits), "acc": top1} for i, (bits, top1) in enumerate(rows)}
    assert load(write(tmp_path, content)).mean.tolist() == pytest.approx([top1 / 100 for _, top1 in rows])
