"""A population sampled at once: same bits as alone, whoever shares the call; calls counted; memory bounded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evo.errors import ConfigError
from search_spaces.autodiffusion.genome import SOLVERS, Schedule
from search_spaces.autodiffusion.sampling.masks import blocks_of
from search_spaces.autodiffusion.sampling.noise import noise
from search_spaces.autodiffusion.sampling.trie import Sampler
from tests.search_spaces.autodiffusion.tiny import tiny


@pytest.fixture(scope="module")
def model():
    return tiny()


@pytest.fixture(scope="module")
def blocks(model):
    return blocks_of(model.unet)


def population(blocks, count=12):
    """Schedules that share beginnings, solvers and masks mixed."""
    rng = np.random.default_rng(4)
    found = []
    for i in range(count):
        later = sorted((int(t) for t in rng.choice(600, 2, replace=False)), reverse=True)
        times = (900, 640, *later) if i % 2 else (900, *later)
        masks = () if i % 3 else tuple((int(rng.integers(len(blocks))),) if step else () for step in range(len(times)))
        found.append(Schedule(times, SOLVERS[i % 4], masks))
    return found


def test_images_do_not_depend_on_the_company_to_the_bit(model, blocks):
    sampler, schedules = Sampler(model, blocks, rows=8), population(blocks)
    together = sampler.images(schedules, 7, 11)
    for i, schedule in enumerate(schedules):
        assert torch.equal(sampler.images([schedule], 7, 11)[0], together[i])
    backwards = sampler.images(schedules[::-1], 7, 11)
    assert torch.equal(backwards.flip(0), together)
    assert torch.equal(Sampler(model, blocks, rows=8).images(schedules, 7, 5), together[:, :5])


def test_tiles_that_share_calls_give_the_same_images(model, blocks):
    """Mixed calls: a timestep and a mask a row."""
    schedules = population(blocks)
    apart = Sampler(model, blocks, rows=4).images(schedules, 7, 6)
    mixed = Sampler(model, blocks, rows=12, tile=4).images(schedules, 7, 6)
    torch.testing.assert_close(mixed, apart, atol=1e-5, rtol=1e-5)


def test_a_small_limit_cuts_the_population_and_changes_nothing(model, blocks):
    schedules = population(blocks)
    whole = Sampler(model, blocks, rows=64)
    cut = Sampler(model, blocks, rows=64, limit_mb=0)
    assert cut.calls(schedules).made > whole.calls(schedules).made
    assert cut.calls(schedules).made == cut.calls(schedules).alone
    assert torch.equal(cut.images(schedules, 0, 3), whole.images(schedules, 0, 3))


def test_calls_are_counted_as_they_are_made(model, blocks, monkeypatch):
    schedules = population(blocks)
    sampler, seen = Sampler(model, blocks, rows=8), []
    unet = model.unet
    handle = unet.register_forward_hook(lambda *given: seen.append(1))
    sampler.images(schedules, 0, 16)
    handle.remove()
    calls = sampler.calls(schedules)
    assert len(seen) == 2 * calls.made
    assert calls.alone == sum(s.steps for s in schedules)
    assert 0 < calls.saved < 1


def test_what_is_shared(model):
    """One timestep: one call for all that scale alike; the second too, since each solver begins with DDIM's step."""
    sampler = Sampler(model, rows=4)
    first = [Schedule((800, 400, 90), solver) for solver in ("ddim", "dpmpp_2m", "unipc")]
    assert sampler.calls(first).made == 1 + 1 + 3
    assert sampler.calls([Schedule((800, 400)), Schedule((800, 400), "euler")]).made == 4
    multistep = [Schedule((800, 400, 90, 5), "dpmpp_2m"), Schedule((800, 400, 90), "dpmpp_2m")]
    assert sampler.calls(multistep).made == 4


def test_the_first_samples_do_not_depend_on_how_many_there_are():
    assert np.array_equal(noise(3, 2, 4, (1, 2)), noise(3, 0, 9, (1, 2))[2:6])
    assert not np.array_equal(noise(3, 0, 4, (1, 2)), noise(4, 0, 4, (1, 2)))
    drawn = noise(0, 0, 2000, (4,))
    assert abs(float(drawn.mean())) < 0.05
    assert abs(float(drawn.std()) - 1) < 0.05


def test_what_cannot_be_is_refused(model, blocks):
    with pytest.raises(ConfigError, match="tile"):
        Sampler(model, rows=8, tile=3)
    with pytest.raises(ConfigError, match="block 99"):
        Sampler(model, blocks, rows=4).images([Schedule((5, 1), masks=((99,), ()))], 0, 4)
