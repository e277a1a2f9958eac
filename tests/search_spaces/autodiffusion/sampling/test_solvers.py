"""Samples equal those of diffusers' schedulers on a real network, step for step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evo.errors import ConfigError
from search_spaces.autodiffusion.genome import SOLVERS, Schedule
from search_spaces.autodiffusion.sampling.noise import noise
from search_spaces.autodiffusion.sampling.solvers import plan
from search_spaces.autodiffusion.sampling.trie import Sampler
from tests.search_spaces.autodiffusion.tiny import tiny

diffusers = pytest.importorskip("diffusers")
TIMES = [(901, 640, 333, 120), (999, 750, 500, 250, 0), (800, 700, 400, 90, 50, 12, 3), (500,)]


def scheduler_of(solver, clip, prediction_type, times):
    """diffusers' scheduler for a solver, its timesteps set."""
    given = {"prediction_type": prediction_type}
    if solver in ("ddim", "dpmpp_2m"):
        order = 1 if solver == "ddim" else 2
        made = diffusers.DPMSolverMultistepScheduler(
            solver_order=order, thresholding=clip, sample_max_value=1.0, **given
        )
        made.set_timesteps(timesteps=list(times))
    elif solver == "euler":
        made = diffusers.EulerDiscreteScheduler(**given)
        made.set_timesteps(timesteps=list(times))
    else:
        made = diffusers.UniPCMultistepScheduler(thresholding=clip, **given)
        made.set_timesteps(len(times))
        sigmas = ((1 - made.alphas_cumprod) / made.alphas_cumprod) ** 0.5
        made.sigmas = torch.cat([sigmas[list(times)], torch.zeros(1)])
        made.timesteps = torch.tensor(times)
    return made


def by_diffusers(model, scheduler, start):
    x = start * scheduler.init_noise_sigma
    with torch.inference_mode():
        for t in scheduler.timesteps:
            predicted = model.unet(scheduler.scale_model_input(x, t), t).sample
            x = scheduler.step(predicted, t, x).prev_sample
    return x


@pytest.mark.parametrize("times", TIMES, ids=len)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("clip", "prediction_type"), [(True, "epsilon"), (False, "epsilon"), (True, "v_prediction")])
def test_images_equal_those_of_diffusers(solver, times, clip, prediction_type):
    model = tiny(clip, prediction_type)
    start = torch.from_numpy(noise(5, 0, 4, model.shape))
    expected = by_diffusers(model, scheduler_of(solver, clip, prediction_type, times), start)
    found = Sampler(model, rows=4).images([Schedule(times, solver)], 5, 4)[0]
    # an untrained network that nothing clips leaves [-1, 1] by far: relative to the largest value
    assert float((found - expected).abs().max()) < 1e-5 * max(1.0, float(expected.abs().max()))


def test_a_clipped_ddim_is_ddims_own_formula():
    """Song et al. (2021), equation 12, with eta = 0 and the noise re-derived from the clipped image."""
    model = tiny(clip=True)
    levels = torch.tensor(model.schedule.alphas_cumprod)
    times = (700, 300, 20)
    x = torch.from_numpy(noise(1, 0, 3, model.shape)).double()
    for t, after in zip(times, (300, 20, None), strict=True):
        predicted = model.call(x.float(), torch.full((3,), t)).double()
        now, then = levels[t], levels[after] if after is not None else torch.tensor(1.0).double()
        image = ((x - (1 - now).sqrt() * predicted) / now.sqrt()).clamp(-1, 1)
        direction = (x - now.sqrt() * image) / (1 - now).sqrt()
        x = then.sqrt() * image + (1 - then).sqrt() * direction
    found = Sampler(model, rows=3).images([Schedule(times)], 1, 3)[0]
    torch.testing.assert_close(found.double(), x, atol=1e-5, rtol=0)


def test_a_step_depends_on_what_came_before_and_the_next_timestep_alone():
    levels = tiny().schedule.alphas_cumprod
    for solver in SOLVERS:
        one, other = (plan(levels, (900, 600, 300, *rest), solver) for rest in ((100, 50), (200, 7, 3)))
        assert one.steps[:2] == other.steps[:2]
        assert one.steps[2].matrix != other.steps[2].matrix


def test_timesteps_that_no_sampler_can_follow_are_refused():
    levels = np.linspace(0.99, 0.01, 1000)
    for wrong in ((5, 5), (3, 9), (1000, 2), (4, -1), ()):
        with pytest.raises(ConfigError):
            plan(levels, wrong, "ddim")
    with pytest.raises(ConfigError, match="heun"):
        plan(levels, (5, 1), "heun")
