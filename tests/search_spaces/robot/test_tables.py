"""Tables: the CSV layout, NASLib's JSON, and errors that say what is wrong and what there is."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from search_spaces.robot.tables import Table, TableError, find, from_csv, from_naslib, load
from search_spaces.robot.tables.names import kind_of, matching, metric_name
from tests.search_spaces.robot.tiny import columns, folder_of, strings, write_csv


@pytest.fixture
def folder(tmp_path):
    return folder_of(tmp_path)


def test_two_files_make_a_table(folder):
    table = from_csv(folder / "tiny_archs.csv.gz", folder / "tiny_metrics.csv", dataset="c10", classes="cls_three")
    every = columns()
    assert table.architectures == tuple(strings())
    assert list(table.metrics) == ["good", "noisy", "wrong"]
    assert table.metrics["good"].tolist() == every["good"]
    assert table.objectives["val_a"].tolist() == every["val_a"]
    assert set(table.objectives) == {"val_a", "val12_b"}
    assert table.reported["test_a"].tolist() == every["test_a"]
    assert table.costs["cost12_s"].tolist() == every["cost12_s"]
    assert table.classes.tolist() == every["cls_three"]
    assert table.keys == tuple(every["idx"])


def test_a_data_set_is_known_by_its_other_names(folder):
    for name in ("c10", "cifar10", "CIFAR-10"):
        assert load(folder, "tiny", dataset=name).metrics["good"].tolist() == columns()["good"]
    assert load(folder, "tiny", dataset="other").metrics["good"].tolist() == columns()["good"][::-1]


def test_one_file_makes_a_table(tmp_path):
    every = columns()
    write_csv(tmp_path / "own.csv", {"arch": every["arch_str"], "val_a": every["val_a"], "good": every["good"]})
    table = load(tmp_path, "own")
    assert list(table.metrics) == ["good"]
    assert table.classes is None
    assert table.keys == ()


def test_architectures_without_metrics_are_left_out(folder):
    few = {"idx": ["1002", "1000"], "good": [2.0, 1.0]}
    write_csv(folder / "few.csv", few)
    table = from_csv(folder / "tiny_archs.csv.gz", folder / "few.csv")
    assert table.architectures == (strings()[0], strings()[2])
    assert table.metrics["good"].tolist() == [1.0, 2.0]


def test_what_is_missing_or_not_finite_is_nan(tmp_path):
    write_csv(
        tmp_path / "t.csv",
        {"arch": ["a", "b", "c", "d"], "val_a": [1, 2, 3, 4], "m": [1.5, "", -1e8, "inf"], "empty": ["", "", "", ""]},
    )
    table = load(tmp_path, "t")
    assert np.isnan(table.metrics["m"]).tolist() == [False, True, True, True]
    assert "empty" not in table.metrics


def test_naslib_json_makes_a_table(tmp_path):
    rows = {
        "(0, 1)": {"nwot": {"score": 3.0, "time": 0.1}, "val_accuracy": 80.0},
        "(1, 1)": {"nwot": {"score": -1e8, "time": 0.1}, "snip": {"score": 2}, "val_accuracy": 81},
    }
    path = tmp_path / "zc_nasbench201.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"cifar10": rows, "ImageNet16-120": rows}).encode()))
    for name in ("cifar10", "c10"):
        table = load(path, dataset=name)
        assert table.architectures == ("(0, 1)", "(1, 1)")
        assert table.objectives["val_accuracy"].tolist() == [80.0, 81.0]
        assert table.metrics["naswot"][0] == 3.0
        assert np.isnan(table.metrics["naswot"][1])
        assert np.isnan(table.metrics["snip"][0])
    assert from_naslib(path, dataset="imagenet16").name.endswith("imagenet16")


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "JSON"), ("[]", "mapping"), ('{"a": {}}', "architectures"), ('{"a": {"x": {"m": {"score": 1}}}}', "val_acc"),
     ('{"a": {"x": {"m": {"score": "high"}, "val_accuracy": 1}}}', "high")],
)  # fmt: skip
def test_a_json_file_of_another_layout_is_refused(tmp_path, content, words):
    path = tmp_path / "zc.json"
    path.write_text(content)
    with pytest.raises(TableError, match=words):
        from_naslib(path)


def test_of_several_data_sets_one_must_be_named(folder):
    with pytest.raises(TableError, match="several: c10, other"):
        load(folder, "tiny")
    with pytest.raises(TableError, match="third") as caught:
        load(folder, "tiny", dataset="third")
    assert "c10, other" in caught.value.hint


def test_a_data_set_of_files_that_hold_one_is_refused(folder):
    write_csv(folder / "own.csv", {"arch": ["a", "b"], "val_a": [1, 2], "m": [3, 4]})
    with pytest.raises(TableError, match="holds one data set, and 'c10' was asked for"):
        load(folder, "own", dataset="c10")


def test_the_table_that_ships_misspelt_is_recognised():
    with pytest.raises(TableError, match="no table 'shiped'") as caught:
        load("shiped")
    assert "did you mean 'shipped'" in caught.value.hint


def test_a_folder_without_the_benchmark_says_what_it_holds(folder):
    with pytest.raises(TableError, match="nb201") as caught:
        load(folder, "nb201", dataset="c10")
    assert "tiny" in caught.value.hint


def test_of_several_metrics_one_must_be_named(folder):
    (folder / "tiny_metrics.csv").rename(folder / "tiny_metrics_one.csv")
    assert find(folder, "tiny")[1] == folder / "tiny_metrics_one.csv"
    write_csv(folder / "tiny_metrics_two.csv", {"idx": ["1000"], "m": [1]})
    with pytest.raises(TableError) as caught:
        find(folder, "tiny")
    assert "one, two" in caught.value.hint
    assert find(folder, "tiny", "two")[1] == folder / "tiny_metrics_two.csv"
    with pytest.raises(TableError, match="three"):
        find(folder, "tiny", "three")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arch,val_a,m\na,1,2\na,1,3\n", "twice"),
        ("arch,val_a,m\na,1,many\n", "line 2, column m: 'many'"),
        ("arch,val_a,m\na,1\n", "line 2 has 2 cells"),
        ("arch,val_a,m\n", "no row"),
        ("val_a,m\n1,2\n", "no column arch_str or arch"),
    ],
)
def test_a_damaged_file_is_named_with_line_and_column(tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(TableError, match=words):
        load(tmp_path, "t")


def test_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(TableError, match="neither folder nor file"):
        load(tmp_path / "nowhere", "t")
    with pytest.raises(TableError, match="no file"):
        load(tmp_path / "zc.json")
    with pytest.raises(TableError, match="which benchmark"):
        load(tmp_path)
    (tmp_path / "t.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(TableError, match="cannot be read"):
        load(tmp_path, "t")


def test_test_accuracy_is_no_objective(folder):
    table = load(folder, "tiny", dataset="c10")
    with pytest.raises(TableError, match="no search may look at"):
        table.objective("test_a")
    with pytest.raises(TableError, match="val_z"):
        table.objective("val_z")
    with pytest.raises(TableError, match="best"):
        table.metric("best")


def test_taking_rows_takes_them_everywhere(folder):
    table = load(folder, "tiny", dataset="c10", classes="cls_three")
    some = table.take(np.array([5, 2]))
    assert some.architectures == (strings()[5], strings()[2])
    assert some.classes.tolist() == [1, 0]
    assert some.keys == ("1005", "1002")
    for whole, part in ((table.metrics, some.metrics), (table.reported, some.reported), (table.costs, some.costs)):
        assert all(part[name].tolist() == column[[5, 2]].tolist() for name, column in whole.items())


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(TableError, match="shape"):
        Table("t", ("a", "b"), {"m": np.zeros(3)}, {}, {}, None, "here")


@pytest.mark.parametrize(
    ("column", "kind"),
    [("val_c10", "objective"), ("val12_c10", "objective"), ("valid9445", "metric"), ("test_c10", "reported"),
     ("cost12_s", "cost"), ("cls_strict4930", "class"), ("time_snip", "time"), ("imputed", "ignored"),
     ("arch", "identity"), ("synflow", "metric")],
)  # fmt: skip
def test_a_columns_name_says_what_it_holds(column, kind):
    assert kind_of(column) == kind


def test_names_are_matched_with_those_in_files():
    assert matching("imagenet16", ["ImageNet16-120", "cifar10"], "f") == "ImageNet16-120"
    assert matching("class_scene", ["class_scene"], "f") == "class_scene"
    assert metric_name("nwot") == "naswot"
    assert metric_name("snip") == "snip"
