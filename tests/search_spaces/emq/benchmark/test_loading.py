"""Files of tables: round trips, damage, and text that is no table."""

from __future__ import annotations

import json

import numpy as np
import pytest

from search_spaces.emq.benchmark import BenchmarkError, BenchmarkFileError, DamagedBenchmarkError, load, save
from search_spaces.emq.benchmark.files import read_arrays
from tests.search_spaces.emq.benchmark.tables import table


def same(a, b, but=()):
    for name in {"network", "layers", "choices", "activation_bits", "checksum", "origin"} - set(but):
        assert getattr(a, name) == getattr(b, name), name
    for name in ("bits", "accuracy", "method", "parameters", "macs", "float_accuracy"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), name)


@pytest.mark.parametrize("float_accuracy", [0.9, float("nan")])
def test_npz_gives_back_what_was_saved_and_equal_tables_equal_bytes(tmp_path, float_accuracy):
    made = table(float_accuracy=float_accuracy)
    save(made, tmp_path / "a.npz")
    save(made, tmp_path / "b.npz")
    same(load(tmp_path / "a.npz"), made)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_csv_gives_back_what_was_saved_to_the_last_bit(tmp_path):
    made = table(accuracy=np.random.default_rng(0).random((25, 3)))
    save(made, tmp_path / "a.csv")
    same(load(str(tmp_path / "a.csv")), made, but=("origin", "checksum"))


def test_a_csv_of_ones_own_needs_bits_and_an_accuracy_alone(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("bits:stem,bits:fc,accuracy\n2,8,0.5\n4,8,0.75\n\n")
    made = load(path)
    assert (made.network, made.layers, made.choices) == ("mine", ("stem", "fc"), (2, 4, 8))
    assert made.mean.tolist() == [0.5, 0.75]
    assert set(made.method) == {"nearest"}
    assert np.isnan(made.float_accuracy)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no configuration"),
        ("bits:a,accuracy\n", "no configuration"),
        ("a,b\n1,2\n", "line 1"),
        ("bits:a,accuracy,colour\n2,0.5,red\n", "colour"),
        ("bits:a,bits:a,accuracy\n2,2,0.5\n", "repeated"),
        ("# network = x\nbits:a,accuracy\n2,0.5\ntwo,0.5\n", "line 4"),
        ("bits:a,accuracy\n2\n", "line 2: 1 values for 2"),
        ("bits:a,accuracy\n2,70.5\n", "not in"),
        ("bits:a,accuracy,method\n2,0.5,magic\n", "magic"),
        ("# macs = 1 2\nbits:a,accuracy\n2,0.5\n", "macs"),
        ("# macs = many\nbits:a,accuracy\n2,0.5\n", "many"),
        ("bits:a,accuracy\n300,0.5\n", "300|int8|bound"),
    ],
)
def test_text_that_is_no_table_is_refused_with_the_line(tmp_path, text, words):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(BenchmarkFileError, match=words) as caught:
        load(path)
    assert caught.value.hint


def test_a_changed_value_and_a_cut_file_are_told(tmp_path):
    path = tmp_path / "a.npz"
    save(table(), path)
    arrays, meta = read_arrays(path)
    accuracy = arrays["accuracy"].copy()
    accuracy[3, 1] += 1e-9
    text = json.dumps(meta).encode()
    np.savez(tmp_path / "b.npz", **{**arrays, "accuracy": accuracy, "meta": np.frombuffer(text, np.uint8)})
    with pytest.raises(DamagedBenchmarkError, match="checksum"):
        load(tmp_path / "b.npz")
    content = path.read_bytes()
    for length in (10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedBenchmarkError, match="damaged"):
            load(path)


def test_other_files_are_no_benchmarks(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"hello")
    np.savez(tmp_path / "b.npz", bits=np.zeros(3))
    np.savez(tmp_path / "c.npz", bits=np.array([object()], object))
    for name in ("a", "b"):
        with pytest.raises(BenchmarkFileError):
            load(tmp_path / f"{name}.npz")
    with pytest.raises((BenchmarkFileError, DamagedBenchmarkError)):  # objects would be unpickled
        load(tmp_path / "c.npz")
    with pytest.raises(BenchmarkFileError, match="no file"):
        load(tmp_path / "missing.csv")


@pytest.mark.parametrize(("name", "hint"), [("resnett", "resnet"), ("table.txt", ".npz")])
def test_an_unknown_name_gets_a_hint(name, hint):
    with pytest.raises(BenchmarkError) as caught:
        load(name)
    assert hint in caught.value.hint


def test_a_table_is_not_written_under_another_suffix(tmp_path):
    with pytest.raises(BenchmarkError, match=r"\.xlsx"):
        save(table(), tmp_path / "a.xlsx")
