"""Training: a broken one ends where an unbroken one does; schedules and networks are what they should be."""

from __future__ import annotations

import pytest
import torch

from search_spaces.emq.benchmark.errors import BenchmarkError, BenchmarkFileError, DamagedBenchmarkError
from search_spaces.emq.benchmark.networks import NETWORKS, MobileNet, ResNet, untrained
from search_spaces.emq.benchmark.pretrained import read_network, write_network
from search_spaces.emq.benchmark.training import Recipe, schedule, train

RECIPE = Recipe(epochs=3, batch=16)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(48, 1, 28, 28, generator=generator), torch.randint(10, (48,), generator=generator)


def small():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return ResNet((4, 8))


def trained(images, path, progress=lambda *_: None, recipe=RECIPE):
    return train(small(), *images, recipe, path, progress, {"data": "x"})


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(images, tmp_path):
    def stop(done, total, what):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(images, tmp_path / "a.npz", stop)
    seen = []
    broken = trained(images, tmp_path / "a.npz", lambda done, *_: seen.append(done))
    assert seen == [2, 3], "the epochs before are not run again"
    whole = trained(images, tmp_path / "b.npz")
    assert same(broken, whole)
    assert not same(whole, small())
    assert not whole.training


def test_a_checkpoint_of_another_recipe_is_not_gone_on_from(images, tmp_path):
    trained(images, tmp_path / "a.npz", recipe=Recipe(epochs=1, batch=16, seed=1))
    assert same(trained(images, tmp_path / "a.npz"), trained(images, tmp_path / "b.npz"))


def test_a_damaged_checkpoint_is_told(images, tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK and then nothing")
    with pytest.raises(DamagedBenchmarkError):
        trained(images, tmp_path / "a.npz")


def test_training_does_not_touch_the_global_generator(images, tmp_path):
    before = torch.get_rng_state()
    trained(images, tmp_path / "a.npz", recipe=Recipe(epochs=1, batch=16))
    untrained("resnet", 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_trained_weights_survive_a_file_to_the_bit(images, tmp_path):
    model = train(untrained("mobilenet", 0), *images, Recipe(epochs=1, batch=16), tmp_path / "t", lambda *_: None, {})
    write_network(tmp_path / "w.npz", model, {"network": "mobilenet"})
    assert same(read_network(tmp_path / "w.npz")[0], model)
    write_network(tmp_path / "x.npz", model, {"network": "resnet"})
    with pytest.raises(BenchmarkFileError, match="not those of ResNet"):
        read_network(tmp_path / "x.npz")
    write_network(tmp_path / "y.npz", model, {"network": "other"})
    with pytest.raises(BenchmarkFileError, match="no network"):
        read_network(tmp_path / "y.npz")


def test_the_schedule_rises_then_falls_to_nothing():
    rates = [schedule(k / 100, 0.1) for k in range(101)]
    assert rates[0] == 0
    assert max(rates) == rates[10] == 1
    assert rates[-1] == pytest.approx(0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_networks_have_the_layers_they_are_made_for():
    kinds = {name: [type(m) for m in build().modules()] for name, build in NETWORKS.items()}
    layers = {name: sum(kind in (torch.nn.Conv2d, torch.nn.Linear) for kind in found) for name, found in kinds.items()}
    assert layers == {"resnet": 21, "mobilenet": 23}
    depthwise = [m for m in MobileNet().modules() if isinstance(m, torch.nn.Conv2d) and m.groups > 1]
    assert len(depthwise) == 7
    for name in NETWORKS:
        assert untrained(name, 0).eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    with pytest.raises(BenchmarkError, match="'resnett'") as caught:
        untrained("resnett", 0)
    assert "resnet" in caught.value.hint
