"""What a model is: noise levels that are checked, a digest that tells models apart, calls as diffusers' are."""

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UNet2DModel
from torch import nn

from evo.errors import ConfigError
from search_spaces.autodiffusion.models.model import NoiseSchedule, model_of


def network(**changed):
    torch.manual_seed(0)
    settings = {
        "sample_size": 4, "in_channels": 1, "out_channels": 1, "block_out_channels": (8,), "norm_num_groups": 4,
        "layers_per_block": 1, "down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), **changed,
    }  # fmt: skip
    return UNet2DModel(**settings)


@pytest.fixture
def schedule():
    return NoiseSchedule.of_scheduler(DDPMScheduler(num_train_timesteps=50))


def test_levels_are_those_of_the_scheduler(schedule):
    given = DDPMScheduler(num_train_timesteps=50).alphas_cumprod
    assert schedule.alphas_cumprod.dtype == np.float64
    np.testing.assert_array_equal(schedule.alphas_cumprod, given.double().numpy())
    assert (schedule.steps, schedule.prediction_type, schedule.clip) == (50, "epsilon", True)
    # x_0's share and the noise's are those of a vector of length 1
    assert schedule.sigmas == pytest.approx(np.tan(np.arccos(np.sqrt(schedule.alphas_cumprod))))
    with pytest.raises(ValueError, match="read-only"):
        schedule.alphas_cumprod[0] = 1


def test_a_scheduler_without_clipping_does_not_clip():
    assert not NoiseSchedule.of_scheduler(DPMSolverMultistepScheduler()).clip


@pytest.mark.parametrize("levels", [[0.9], [0.5, 0.9], [1.0, 0.5], [0.9, 0.0], [[0.9, 0.5]], [0.9, float("nan")]])
def test_what_are_no_noise_levels_is_refused(levels):
    with pytest.raises(ConfigError, match="no noise levels"):
        NoiseSchedule(np.array(levels))


def test_schedulers_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="alphas_cumprod"):
        NoiseSchedule.of_scheduler(FlowMatchEulerDiscreteScheduler())
    with pytest.raises(ConfigError, match="prediction_type"):
        NoiseSchedule(np.array([0.9, 0.5]), "flow")


def test_the_digest_tells_weights_sizes_and_levels_apart(schedule):
    model = model_of("a", network(), schedule, (1, 4, 4), "unconditional")
    assert model.digest == model_of("b", network(), schedule, (1, 4, 4), "unconditional").digest
    moved = network()
    with torch.no_grad():
        next(moved.parameters()).view(-1)[0] += 1e-6
    others = [
        model_of("a", moved, schedule, (1, 4, 4), "unconditional").digest,
        model_of("a", network(norm_num_groups=2), schedule, (1, 4, 4), "unconditional").digest,
        model_of("a", network(), NoiseSchedule(schedule.alphas_cumprod**2), (1, 4, 4), "unconditional").digest,
        model_of("a", network(), NoiseSchedule(schedule.alphas_cumprod, clip=False), (1, 4, 4), "unconditional").digest,
    ]
    assert len({model.digest, *others}) == 5


def test_a_call_takes_a_timestep_a_sample(schedule):
    model = model_of("a", network(), schedule, (1, 4, 4), "unconditional")
    assert not model.unet.training
    assert not any(p.requires_grad for p in model.unet.parameters())
    x = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([0, 20, 49])
    together = model(x, t)
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], model.unet(x[i : i + 1], int(t[i])).sample)


def test_predicted_variances_are_left_out(schedule):
    model = model_of("a", network(out_channels=2), schedule, (1, 4, 4), "unconditional")
    x, t = torch.zeros(2, 1, 4, 4), torch.tensor([3, 4])
    assert model(x, t).shape == (2, 1, 4, 4)
    torch.testing.assert_close(model(x, t), model.unet(x, t).sample[:, :1])


def test_conditions_reach_the_network(schedule):
    class Shifted(nn.Module):
        def forward(self, x, t, by, return_dict):
            return (x + by,)

    model = model_of("a", Shifted(), schedule, (1, 4, 4), "conditional")
    x = torch.zeros(1, 1, 4, 4)
    assert float(model(x, torch.tensor([1]), by=2.0).mean()) == 2
    with pytest.raises(ConfigError, match="kind"):
        model_of("a", Shifted(), schedule, (1, 4, 4), "other")
