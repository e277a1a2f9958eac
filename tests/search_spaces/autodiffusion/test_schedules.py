"""Timesteps in closed form: those of diffusers and of the papers; limits for any number of steps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from search_spaces.autodiffusion.schedules import AYS, closed_forms, spaced

LEVELS = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)).tolist()


def test_uniform_grids_are_those_of_diffusers():
    diffusers = pytest.importorskip("diffusers")
    ours = closed_forms(LEVELS, 4)
    ddim = diffusers.DDIMScheduler()
    ddim.set_timesteps(4)
    assert ours["uniform leading"] == tuple(ddim.timesteps.tolist())
    for spacing, name in (("leading", "uniform inner"), ("trailing", "uniform trailing"), ("linspace", "linspace")):
        multistep = diffusers.DPMSolverMultistepScheduler(timestep_spacing=spacing)
        multistep.set_timesteps(4)
        assert ours[name] == tuple(multistep.timesteps.tolist())
    karras = diffusers.DPMSolverMultistepScheduler(use_karras_sigmas=True)
    karras.set_timesteps(4)
    assert ours["EDM rho 7"] == tuple(karras.timesteps.tolist())


def test_ten_interpolated_steps_are_the_published_ones():
    assert closed_forms(LEVELS, 10)["AYS-like"] == AYS


def test_log_snr_is_even_in_log_snr():
    times = closed_forms(LEVELS, 10)["log-SNR"]
    lams = [0.5 * np.log(LEVELS[t] / (1 - LEVELS[t])) for t in times]
    steps = np.diff(lams)
    assert steps.min() > 0.8 * steps.max()


@settings(deadline=None, max_examples=40)
@given(some.integers(1, 60), some.integers(60, 1500))
def test_every_form_descends_below_t(steps, total):
    levels = np.cumprod(1 - np.linspace(1e-4, 0.02, total)).tolist()
    for name, times in closed_forms(levels, steps).items():
        assert len(times) == steps, name
        assert 0 <= times[-1] <= times[0] < total, name
        assert all(a > b for a, b in itertools.pairwise(times)), name


@settings(deadline=None)
@given(some.lists(some.floats(-50, 400), min_size=1, max_size=12), some.integers(1, 20))
def test_repair_keeps_gap_and_range_and_leaves_what_fits_alone(times, gap):
    fixed = spaced(times, 300, gap)
    assert len(fixed) == len(times)
    assert all(a - b >= gap for a, b in itertools.pairwise(fixed))
    assert 0 <= fixed[-1] <= fixed[0] < 300
    assert spaced(fixed, 300, gap) == fixed


def test_too_many_do_not_fit():
    with pytest.raises(ValueError, match="do not fit"):
        spaced([1, 2, 3], 20, 10)
