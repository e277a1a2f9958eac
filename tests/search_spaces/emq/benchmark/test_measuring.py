"""Measured accuracies are those of the quantizer's own models, and depend on nothing but bits and seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from proxies.quantization import adaround, quantized
from search_spaces.emq.benchmark.errors import BenchmarkError, DamagedBenchmarkError
from search_spaces.emq.benchmark.images import Images
from search_spaces.emq.benchmark.measuring import Meter, Protocol, calibration_rows, nearest_weights
from search_spaces.emq.benchmark.rounding import Rounding, learned_weights
from tests.search_spaces.emq.benchmark import own

PROTOCOL = Protocol(calibration=20)


@pytest.fixture
def images():
    (train, train_labels), (test, test_labels) = own.samples()
    return Images(train, train_labels, test, test_labels, "a test", "")


def right(model, images):
    with torch.no_grad():
        return int((model(images.test).argmax(1) == images.test_labels).sum())


@pytest.mark.parametrize("bits", [(2, 2), (8, 2), (3, 4)])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_row_is_what_the_quantizer_gives(images, bits, seed):
    model = own.net()
    meter = Meter(model, images, PROTOCOL)
    assert meter.names == ("conv", "head"), "in the order in which they run"
    calibration = images.train[calibration_rows(60, 20, seed)]
    by_name = dict(zip(meter.names, bits, strict=True))
    expected = quantized(model, by_name, 8, calibration, seed=seed)
    weights = nearest_weights(model, PROTOCOL)
    assert meter.correct(bits, weights, seed) == right(expected, images)
    with torch.no_grad(), meter.quantized(bits, weights, seed) as found:
        np.testing.assert_allclose(found(images.test), expected(images.test), rtol=1e-5, atol=1e-5)


def test_a_row_does_not_depend_on_those_before_it(images):
    model = own.net()
    protocol = Protocol(calibration=20, norms=True)
    weights = nearest_weights(model, protocol)
    meter = Meter(model, images, protocol)
    rows = [((a, b), seed) for a in (2, 8) for b in (2, 3) for seed in (0, 1)]
    forward = [meter.correct(bits, weights, seed) for bits, seed in rows]
    backward = [meter.correct(bits, weights, seed) for bits, seed in reversed(rows)]
    fresh = [Meter(model, images, protocol).correct(bits, weights, seed) for bits, seed in rows]
    assert forward == backward[::-1] == fresh


def test_the_model_is_left_as_it_was(images):
    model = own.net()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    meter = Meter(model, images, Protocol(calibration=20, norms=True))
    meter.correct((2, 2), nearest_weights(model, PROTOCOL), 0)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert meter.float_correct() == right(model.eval(), images)


def test_estimating_norms_anew_repairs_a_shift(images):
    model = own.net()
    with torch.no_grad():
        model.norm.running_mean += 100.0
    weights = nearest_weights(model, PROTOCOL)
    kept = Meter(model, images, PROTOCOL).quantized((8, 8), weights, 0)
    anew = Meter(model, images, Protocol(calibration=20, norms=True)).quantized((8, 8), weights, 0)
    with torch.no_grad(), kept as a, anew as b:
        assert a(images.test).std(0).max() < 1e-6, "all logits the same: the shift drowns the images"
        assert b(images.test).std(0).min() > 1e-3


def test_a_layer_that_never_runs_is_told(images):
    with pytest.raises(BenchmarkError, match="spare did not run") as caught:
        Meter(own.with_an_idle_layer(), images, PROTOCOL)
    assert "layers=['conv', 'head']" in caught.value.hint
    assert Meter(own.with_an_idle_layer(), images, Protocol(layers=("conv", "head"))).names == ("conv", "head")


def test_calibration_draws_distinct_images_by_seed():
    a, b = calibration_rows(60, 20, 0), calibration_rows(60, 20, 1)
    assert len(set(a)) == len(set(b)) == 20
    assert set(a) != set(b)
    assert sorted(calibration_rows(5, 20, 0)) == list(range(5))


def test_learned_rounding_is_adarounds_layer_by_layer_and_is_gone_on_with(images, tmp_path):
    model, rounding = own.net(), Rounding(iterations=4, images=16, batch=8)
    calls = []

    def stop_after_the_first(done, total):
        calls.append(done)
        if done == 1 and len(calls) == 2:
            raise KeyboardInterrupt

    path = tmp_path / "r.npz"
    with pytest.raises(KeyboardInterrupt):
        learned_weights(model, images.train, PROTOCOL, rounding, path, "x", stop_after_the_first)
    broken = learned_weights(model, images.train, PROTOCOL, rounding, path, "x", stop_after_the_first)
    whole = learned_weights(model, images.train, PROTOCOL, rounding, tmp_path / "w.npz", "x", lambda *_: None)
    assert path.read_bytes() == (tmp_path / "w.npz").read_bytes()
    calibration = images.train[calibration_rows(60, 16, 0)]
    one = adaround(model, quantized(model, {"head": 3}, None, layers=["head"]), calibration, iterations=4, batch_size=8)
    assert torch.equal(whole["head", 3], one.model.head.weight)
    assert all(torch.equal(broken[key], whole[key]) for key in whole)
    assert len(whole) == 8
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DamagedBenchmarkError):
        learned_weights(model, images.train, PROTOCOL, rounding, path, "x", lambda *_: None)
