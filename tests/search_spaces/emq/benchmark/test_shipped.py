"""What comes with the package: networks, batches and tables belong together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from proxies.quantization import layer_shapes, quantizable, quantized
from search_spaces.data.fashion_mnist import INSTALLED
from search_spaces.emq.benchmark import SHIPPED, BenchmarkError, batch, load, network
from search_spaces.emq.benchmark.images import TRAINING, images
from search_spaces.emq.benchmark.measuring import calibration_rows
from search_spaces.emq.benchmark.pretrained import DATA
from search_spaces.emq.benchmark.subjects import identity


@pytest.mark.parametrize("name", SHIPPED)
def test_a_table_has_enough_rows_spread_and_agreement(name):
    table = load(name)
    nearest, adaround = table.rows("nearest"), table.rows("adaround")
    assert len(np.unique(table.bits[nearest], axis=0)) == len(nearest) >= 400
    assert len(adaround) >= 60
    assert {row.tobytes() for row in table.bits[adaround]} <= {row.tobytes() for row in table.bits[nearest]}
    assert table.choices == (2, 3, 4, 8)
    assert table.accuracy.shape[1] >= 3
    assert table.ceiling("nearest").low > 0.95
    assert table.ceiling("adaround").low > 0.95
    assert np.ptp(table.mean[nearest]) > 0.2
    assert table.float_accuracy > 0.9
    assert table.origin["test"] == 10_000


@pytest.mark.parametrize("name", SHIPPED)
def test_a_tables_columns_are_its_networks_layers(name):
    table, model = load(name), network(name)
    assert set(table.layers) == set(quantizable(model))
    shapes = {shape.name: shape for shape in layer_shapes(model, batch(name, 2)[0])}
    assert [shapes[layer].weights for layer in table.layers] == table.parameters.tolist()
    assert [shapes[layer].macs for layer in table.layers] == table.macs.tolist()
    assert identity(model) == table.origin["model"]
    assert not model.training


@pytest.mark.parametrize("name", SHIPPED)
def test_a_network_is_as_good_on_the_shipped_test_images_as_its_table_says(name):
    data = images("shipped")
    with torch.no_grad():
        found = (network(name)(data.test).argmax(1) == data.test_labels).double().mean()
    assert float(found) == pytest.approx(load(name).float_accuracy, abs=0.025)  # 3 standard errors of 1,400 images


def test_a_batch_is_fixed_and_the_start_of_a_larger_one():
    few, labels = batch("resnet", 8)
    more, more_labels = batch("mobilenet", 64)
    assert few.shape == (8, 1, 28, 28)
    assert few.dtype == torch.float32
    assert torch.equal(few, more[:8])
    assert torch.equal(labels, more_labels[:8])
    assert len(set(more_labels.tolist())) == 10
    with pytest.raises(BenchmarkError, match="0 images"):
        batch("resnet", 0)
    with pytest.raises(BenchmarkError, match="no network"):
        batch("vgg")


def test_training_and_test_images_are_fashion_mnists_own():
    data = images("shipped")
    assert len(data.train_labels) + len(data.test_labels) == 10_000
    # a test image in the batch that proxies look at would be a leak
    test = {image.numpy().tobytes() for image in data.test}
    assert not any(image.numpy().tobytes() in test for image in batch("resnet", 256)[0])
    assert TRAINING == 60_000


def test_what_ships_is_small():
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 2**20


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_rows_of_the_table_are_measured_again(name):
    if not INSTALLED.is_dir():
        pytest.skip(f"the whole of Fashion-MNIST is not at {INSTALLED}")
    table, model, data = load(name), network(name), images("installed")
    for row in (0, 1, 7):
        bits = dict(zip(table.layers, table.bits[row].tolist(), strict=True))
        calibration = data.train[calibration_rows(TRAINING, 256, 0)]
        made = quantized(model, bits, table.activation_bits, calibration, seed=0)
        with torch.no_grad():
            correct = sum(
                int((made(data.test[start : start + 500]).argmax(1) == data.test_labels[start : start + 500]).sum())
                for start in range(0, 10_000, 500)
            )
        # other instruction sets may round a few images over the border
        assert correct / 10_000 == pytest.approx(table.accuracy[row, 0], abs=5e-4)
