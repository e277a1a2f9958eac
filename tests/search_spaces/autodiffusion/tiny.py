"""A real but tiny network with random weights, as a model."""

from __future__ import annotations

import pytest
import torch

from search_spaces.autodiffusion.models.model import NoiseSchedule, model_of


def tiny(clip=True, prediction_type="epsilon", seed=0):
    """A UNet2DModel of 12 blocks on 1 x 8 x 8 images; linear betas."""
    diffusers = pytest.importorskip("diffusers")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = diffusers.UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16), layers_per_block=1,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=4, attention_head_dim=8,
        )  # fmt: skip
    scheduler = diffusers.DDPMScheduler(clip_sample=clip, prediction_type=prediction_type)
    return model_of("tiny", unet, NoiseSchedule.of_scheduler(scheduler), (1, 8, 8), "unconditional")


def tiny_problem():
    """The same with features of random directions, and noise for real images."""
    from search_spaces.autodiffusion.fid.features import Extractor
    from search_spaces.autodiffusion.fid.reference import Score, reference_of
    from search_spaces.autodiffusion.problem import Problem
    from search_spaces.autodiffusion.sampling.masks import blocks_of

    generator = torch.Generator().manual_seed(2)
    directions = torch.randn(64, 5, generator=generator) / 8
    extractor = Extractor("directions", lambda images: (images.flatten(1) @ directions).tanh(), 5, "directions")
    real = torch.randn(40, 1, 8, 8, generator=generator).clamp(-1, 1)
    model = tiny()
    return Problem(model, Score(extractor, reference_of(extractor, real)), tuple(blocks_of(model.unet)))
