"""What our searches found and ships: each scores a network that none saw, sums its table, and says its origin."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from proxies.registry import discovered_names, load_proxy


@pytest.fixture
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = (nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3))
        return nn.Sequential(*layers), torch.randn(8, 1, 8, 8), torch.arange(8) % 3


def test_something_is_shipped():
    assert discovered_names()


@pytest.mark.parametrize("name", discovered_names())
def test_a_shipped_proxy_scores_as_its_table_sums_and_prefers_all_bits(name, network):
    model, images, labels = network
    before = {key: value.clone() for key, value in model.state_dict().items()}
    proxy = load_proxy(name)
    configurations = [{"0": a, "2": b, "5": c} for a, b, c in [(2, 2, 2), (2, 8, 4), (8, 3, 2), (8, 8, 8)]]
    found = proxy.score_all(model, configurations, images, labels)
    assert found[0] < found[-1]
    assert len({round(value, 12) for value in found}) == 4
    table = proxy.table(model, images, (2, 3, 4, 8), None, labels)
    sums = [sum(table[layer][bits] for layer, bits in row.items()) for row in configurations]
    assert found == pytest.approx(sums, rel=1e-9)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", discovered_names())
def test_a_shipped_proxy_tells_the_run_it_comes_from(name):
    text = load_proxy(name).path.read_text()
    assert "Origin:" in text
    assert "commit: " in text
    assert "+dirty" not in text
