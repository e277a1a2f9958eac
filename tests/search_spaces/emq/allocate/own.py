"""A user's own models and data, for the tests of `evo allocate emq`."""

from __future__ import annotations

import torch

from evo.space import Observation
from search_spaces.emq.known import KNOWN
from search_spaces.emq.space import EMQ
from tests.search_spaces.emq.tiny import model

PROXIES = [KNOWN[name] for name in ("fisher", "output_error", "weight_error", "size")]


def samples(count=60):
    """Images (count, 1, 8, 8), and what the network says of them as labels: the float accuracy is 1."""
    images = torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        return images, model()(images).argmax(1)


NET = model()
PAIR = samples()
PARTS = {"calibration": samples(20), "test": samples(30)}
LOADER = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*PAIR), batch_size=7)
DATASET = torch.utils.data.TensorDataset(*PAIR)
FLOATS = (PAIR[0], PAIR[1].float())
BROKEN = [(torch.zeros(2, 1, 8, 8), torch.zeros(2).long()), (torch.zeros(2, 1, 9, 9), torch.zeros(2).long())]
HALF = {"calibration": PAIR}
NUMBER = 3


def failing():
    raise RuntimeError("no weights")


def a_proxy(net, bits, batch):
    """No sum over layers."""
    return float(min(bits.values()))


class Untested(EMQ):
    """Draws known proxies; how good one is depends on its name alone."""

    defaults = {}

    def sample(self, rng):
        return PROXIES[int(rng.integers(len(PROXIES)))]

    def prepare(self, preparation):
        return None

    def namespace(self):
        return {}

    def report(self, genomes, seeds, prepared):
        return []

    def evaluator(self, prepared):
        return ByName()


class ByName:
    def evaluate(self, requests):
        return [[Observation((float(PROXIES.index(r.genome)),))] * len(r.seeds) for r in requests]
