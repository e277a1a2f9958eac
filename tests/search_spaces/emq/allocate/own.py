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
TWO = (samples(50), (PAIR[0][-9:], PAIR[1][-9:]))
TWO_BY_NAME = {"calibration": LOADER, "test": DATASET}
TWO_LOADERS = [LOADER, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*TWO[1]), batch_size=4)]
THREE = [*TWO, samples(3)]
FAR_LABELS = ((PAIR[0][:20], PAIR[1][:20]), (PAIR[0][20:], PAIR[1][20:] + 95))
NEGATIVE_LABELS = ((PAIR[0][:20], PAIR[1][:20] - 5), (PAIR[0][20:], PAIR[1][20:]))
COLOURED = (PAIR[0].repeat(1, 3, 1, 1), PAIR[1])
COLOURED_TEST = (PAIR, (PAIR[0].repeat(1, 3, 1, 1), PAIR[1]))
FLAT = (PAIR[0].reshape(60, 64), PAIR[1])


def two_parts():
    """As the benchmark's README writes it."""
    return TWO


def batches():
    """Two batches, not two parts: they come one after the other."""
    yield PAIR[0][:30], PAIR[1][:30]
    yield PAIR[0][30:], PAIR[1][30:]


def broken():
    yield torch.zeros(2, 1, 8, 8), torch.zeros(2).long()
    yield torch.zeros(2, 1, 9, 9), torch.zeros(2).long()


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
