"""`evo allocate emq` on a user's own model: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from evo.cli.main import invoke
from evo.errors import ConfigError, UsageError
from evo.run.folder import DATABASE
from proxies.quantization.allocation import Allocation, accuracy, quantize
from search_spaces.emq.allocate import allocate, request_of
from search_spaces.emq.allocate.subject import subject_of
from search_spaces.emq.export import export
from search_spaces.emq.known import KNOWN
from tests.evo.engine import make
from tests.search_spaces.emq.allocate import own
from tests.search_spaces.emq.tiny import model

OWN = "tests.search_spaces.emq.allocate.own"
SPACE = "search_spaces.emq.space:EMQ"
QUICK = {"budget": "4bits", "model": f"{OWN}:NET", "data": f"{OWN}:PAIR", "proxy": "bit_sum", "calibration": 20,
         "front": 5}  # fmt: skip


def silent(done, total, what):
    pass


def evo(tmp_path, *arguments):
    given = ["allocate", SPACE, "--model", f"{OWN}:NET", "--data", f"{OWN}:PAIR", "--proxy", "bit_sum"]
    return invoke([*given, "--calibration", "20", "--out", str(tmp_path), *map(str, arguments)])


def test_the_command_prints_bits_and_accuracies_and_writes_all_of_it(tmp_path, capsys):
    assert evo(tmp_path, "--budget", "4bits", "--fix", "fc=5", "--front", "4") == 0
    said = capsys.readouterr()
    assert "5 (fixed)" in said.out
    assert "100.00%" in said.out
    assert "proven" in said.out
    [data] = (tmp_path / "emq").glob("*.json")
    found = Allocation.load(data)
    assert found.bits["fc"] == 5
    assert found.mean_bits <= 4
    written = json.loads(data.read_text())
    images, labels = own.PAIR
    made = quantize(model(), found.bits, images[:20], labels[:20])
    assert written["accuracy"]["allocated"] == accuracy(made, images[20:], labels[20:])
    samples = written["samples"]
    assert (samples.pop("use"), samples) == (
        "one set: its first 20 samples calibrate, the 40 after them are for the test",
        {"calibration": 20, "test": 40},
    )
    assert "the 40 after them are for the test" in " ".join(said.out.split())
    assert [p["size_mib"] for p in written["front"]] == sorted(p["size_mib"] for p in written["front"])
    page = data.with_suffix(".html").read_text()
    for words in ("Score against cost", "Bits of each layer", "conv3", "Plotly"):
        assert words in page
    assert "Judgement" not in page.split("<body>")[1].split("</h1>")[0]


def test_json_is_alone_on_standard_output(tmp_path, capsys):
    assert evo(tmp_path, "--bops", "1G", "--front", "0", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert value["data"]["allocation"]["budget"] == {"giga_bops": 1.0}
    assert value["data"]["front"] == []
    assert Path(value["files"]["html"]).is_file()


def test_a_result_repeats_itself():
    first, second = (allocate(QUICK | {"proxy": "hawq_v2"}, Path(), silent).data for _ in range(2))
    assert first == second


def test_operations_may_be_the_budget_and_inputs_may_stay_float():
    data = allocate(QUICK | {"budget": "1GBOPs", "activation_bits": None}, Path(), silent).data
    assert data["front_by"] == "giga_bops"
    assert data["uniform_levels"][0]["giga_bops"] == pytest.approx(
        sum(layer["macs"] for layer in data["layers"]) * 2 * 32 / 1e9
    )


def test_the_smallest_budget_leaves_uniform_bits_alone():
    data = allocate(QUICK | {"budget": "2bits"}, Path(), silent).data
    assert data["uniform"]["bits"] == dict.fromkeys(data["allocation"]["bits"], 2)
    assert data["accuracy"]["over_uniform"] == 0


def test_a_proxy_may_be_a_file_a_function_or_a_run(tmp_path, monkeypatch):
    path = export(KNOWN["fisher"], tmp_path / "found.py", {}, 64)
    data = allocate(QUICK | {"proxy": str(path)}, tmp_path, silent).data
    assert (data["allocation"]["proxy"], data["allocation"]["method"]) == ("found", "milp")
    data = allocate(QUICK | {"proxy": f"{OWN}:a_proxy", "choices": [2, 4], "front": 3}, tmp_path, silent).data
    assert data["allocation"]["method"] == "evolution"
    assert set(data["allocation"]["bits"].values()) == {4}


@pytest.mark.parametrize("candidate", ["", ":best", ":3"])
def test_a_candidate_of_a_run_is_a_proxy(candidate, tmp_path):
    made = make(
        tmp_path / "runs", "a-run", f"{OWN}:Untested", strategy={"name": "random", "options": {}},
        budget={"proposals": 8, "stall": None}, options={"samples": 64},
    )  # fmt: skip
    best = made.run().best
    data = allocate(QUICK | {"proxy": f"a-run{candidate}", "runs_dir": str(tmp_path / "runs")}, tmp_path, silent).data
    number = 3 if candidate == ":3" else best["id"]
    path = tmp_path / "proxies" / f"a_run_{number}.py"
    assert f"candidate: {number}" in path.read_text()
    assert "SAMPLES: int | None = 64" in path.read_text()
    again = allocate(QUICK | {"proxy": str(path)}, tmp_path, silent).data
    assert again["allocation"]["bits"] == data["allocation"]["bits"]
    assert again["allocation"]["score"] == data["allocation"]["score"]


def test_uniform_bits_far_below_the_budget_are_said_to_be_and_held_against_filled_ones(capsys, tmp_path):
    data = allocate(QUICK | {"budget": "3bits", "fixed": {"fc": 5}}, Path(), silent).data
    assert data["uniform"]["bits"]["conv3"] == 2
    assert data["uniform"]["mean_bits"] < data["filled"]["mean_bits"] <= 3
    assert {data["filled"]["bits"][name] for name in ("conv1", "conv2", "conv3")} == {2, 3}
    assert data["filled"]["bits"]["fc"] == 5
    images, labels = own.PAIR
    made = quantize(model(), data["filled"]["bits"], images[:20], labels[:20])
    assert data["accuracy"]["filled"] == accuracy(made, images[20:], labels[20:])
    gain = data["accuracy"]["allocated"] - data["accuracy"]["filled"]
    assert data["accuracy"]["over_filled"] == pytest.approx(gain)
    assert evo(tmp_path, "--budget", "3bits", "--fix", "fc=5") == 0
    said = capsys.readouterr().out
    assert "uniform, filled up" in said
    unused = 1 - data["uniform"]["mean_bits"] / 3
    assert f"those leave {unused:.0%} of the budget unused" in said
    assert evo(tmp_path, "--budget", "3bits") == 0
    assert "unused" not in capsys.readouterr().out


def test_a_result_of_other_settings_is_kept_and_of_the_same_replaced(tmp_path, capsys):
    def files():
        return sorted(path.name for path in (tmp_path / "emq").glob("*.json"))

    assert evo(tmp_path, "--budget", "4bits", "--front", "0") == 0
    [first] = files()
    before = (tmp_path / "emq" / first).read_text()
    assert "numbered" not in capsys.readouterr().err
    assert evo(tmp_path, "--budget", "4bits", "--front", "0", "--fix", "fc=8") == 0
    assert "numbered" in capsys.readouterr().err
    assert files() == sorted([first, first.replace(".json", "-2.json")])
    assert (tmp_path / "emq" / first).read_text() == before
    assert (
        json.loads((tmp_path / "emq" / first.replace(".json", "-2.json")).read_text())["allocation"]["bits"]["fc"] == 8
    )
    assert evo(tmp_path, "--budget", "4bits", "--front", "0", "--fix", "fc=8") == 0
    assert len(files()) == 2
    assert evo(tmp_path, "--budget", "4bits", "--front", "0", "--method", "evolution") == 0
    assert len(files()) == len(list((tmp_path / "emq").glob("*.html"))) == 3


def test_the_text_of_a_page_is_not_wider_than_the_page():
    text = allocate(QUICK | {"proxy": "hawq_v2", "method": "evolution", "choices": [2, 4]}, Path(), silent).text
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize("data", ["PAIR", "samples", "LOADER", "DATASET", "batches"])
def test_data_come_in_many_forms(data):
    found = subject_of(f"{OWN}:NET", f"{OWN}:{data}", 20)
    images, labels = own.PAIR
    assert torch.equal(found.inputs, images[:20])
    assert torch.equal(found.test_labels, labels[20:])


@pytest.mark.parametrize("data", ["TWO", "two_parts"])
def test_of_training_and_test_samples_the_test_ones_alone_are_tested_on(data):
    found = subject_of(f"{OWN}:NET", f"{OWN}:{data}", 20)
    (images, labels), (test, test_labels) = own.TWO
    assert torch.equal(found.inputs, images[:20])
    assert torch.equal(found.labels, labels[:20])
    assert torch.equal(found.test_inputs, test)
    assert torch.equal(found.test_labels, test_labels)
    assert found.use == "the first 20 of the training part calibrate; the test part, 9 samples, is the test"
    every = subject_of(f"{OWN}:NET", f"{OWN}:{data}", 512)
    assert (len(every.labels), len(every.test_labels)) == (50, 9)


@pytest.mark.parametrize("data", ["TWO_BY_NAME", "TWO_LOADERS"])
def test_each_part_may_be_a_loader_or_a_dataset(data):
    found = subject_of(f"{OWN}:NET", f"{OWN}:{data}", 20)
    assert torch.equal(found.inputs, own.PAIR[0][:20])
    assert len(found.test_labels) == (60 if data == "TWO_BY_NAME" else 9)


def test_the_proxy_sees_no_test_sample_and_accuracies_see_no_other():
    seen = []

    def watching(net, bits, batch):
        seen.append(batch)
        return own.a_proxy(net, bits, batch)

    own.watching = watching
    data = allocate(
        QUICK | {"data": f"{OWN}:TWO", "proxy": f"{OWN}:watching", "choices": [2, 4], "front": 0}, Path(), silent
    ).data
    assert all(torch.equal(batch, own.TWO[0][0][:20]) for batch in seen)
    made = quantize(model(), data["allocation"]["bits"], own.TWO[0][0][:20], own.TWO[0][1][:20])
    assert data["accuracy"]["allocated"] == accuracy(made, *own.TWO[1])


def test_data_may_come_in_two_parts():
    found = subject_of(f"{OWN}:model", f"{OWN}:PARTS", 15)
    assert (len(found.inputs), len(found.labels), len(found.test_inputs)) == (15, 15, 30)


def test_a_network_that_ships_brings_its_own_data():
    found = subject_of("mobilenet", None, 8)
    assert found.inputs.shape == (8, 1, 28, 28)
    assert len(found.test_labels) > 1000
    assert accuracy(found.model, found.test_inputs[:200], found.test_labels[:200]) > 0.8


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"budget": "4"}, "cannot read the budget"),
        ({"budget": "1bits"}, "smallest possible is 2 bits a weight"),
        ({"proxy": "hawk"}, "no proxy and no run is called 'hawk'"),
        ({"proxy": "no_file.py"}, "there is no file no_file.py"),
        ({"proxy": f"{OWN}:absent"}, "no attribute 'absent'"),
        ({"proxy": "no_run:17"}, "no proxy and no run is called 'no_run'"),
        ({"model": "vgg"}, "model 'vgg' is no module:attr"),
        ({"model": f"{OWN}:NUMBER"}, "no torch module"),
        ({"model": f"{OWN}:failing"}, "no weights"),
        ({"model": f"{OWN}:absent"}, "no attribute 'absent'"),
        ({"model": "no.such:thing"}, "importing no.such failed"),
        ({"data": None}, "needs data"),
        ({"data": f"{OWN}:NUMBER"}, "data .* are int"),
        ({"data": f"{OWN}:FLOATS"}, "labels are the classes"),
        ({"data": f"{OWN}:broken", "calibration": 2}, "cannot be joined"),
        ({"data": f"{OWN}:THREE"}, "3 pairs in a list: neither"),
        ({"data": f"{OWN}:FAR_LABELS"}, "the model gives 5 classes, test labels reach 9"),
        ({"data": f"{OWN}:NEGATIVE_LABELS"}, "calibration labels go down to -"),
        ({"data": f"{OWN}:COLOURED"}, r"fails on calibration inputs of shape \(2, 3, 8, 8\)"),
        ({"data": f"{OWN}:COLOURED_TEST"}, r"fails on test inputs of shape \(2, 3, 8, 8\)"),
        ({"data": f"{OWN}:FLAT"}, r"fails on calibration inputs of shape \(2, 64\)"),
        ({"budget": "0bits"}, "the budget '0bits' leaves nothing to spend"),
        ({"budget": "1B"}, r"no configuration fits 1 B: the smallest possible is [\d.]+ B"),
        ({"data": f"{OWN}:HALF"}, "lack 'test'"),
        ({"calibration": 59}, "59 for calibration leave 1"),
        ({"fixed": {"conv9": 8}}, "conv9"),
        ({"layers": ["conv9"]}, "conv9"),
        ({"choices": [1, 2]}, "1 bits are among those to choose from"),
        ({"choices": [2, 40]}, "40 bits are among"),
        ({"choices": []}, "no bits to choose"),
        ({"front": 1}, "2 points or more"),
        ({"activation_bits": 1}, "activation_bits is 1"),
        ({"method": "milp", "proxy": f"{OWN}:a_proxy"}, "no sum over layers"),
        ({"budgets": "4bits"}, "budgets"),
    ],
)
def test_what_a_user_can_get_wrong_is_refused(change, says, tmp_path):
    with pytest.raises(UsageError, match=says) as caught:
        allocate(QUICK | change, tmp_path, silent)
    assert caught.value.hint or "\n  hint" in str(caught.value) or caught.value.message


def test_a_budget_is_needed_and_spaces_that_do_not_allocate_say_so(tmp_path, capsys):
    with pytest.raises(ConfigError, match="needs a budget"):
        request_of({})
    assert evo(tmp_path) == 2
    assert "needs a budget" in capsys.readouterr().err
    assert evo(tmp_path, "--budget", "1MiB", "--fix", "conv1") == 2
    assert "LAYER=BITS" in capsys.readouterr().err
    assert evo(tmp_path, "--budget", "1MiB", "--choices", "2,x") == 2
    assert "'x' is no whole number" in capsys.readouterr().err
    assert invoke(["allocate", "lion", "--budget", "1MiB"]) == 2
    assert "allocates nothing" in capsys.readouterr().err
    assert not (tmp_path / "emq" / DATABASE).exists()


def test_help_has_an_example(capsys):
    assert invoke(["allocate", "--help"]) == 0
    assert "evo allocate emq --model mine:net --data mine:samples" in capsys.readouterr().out
