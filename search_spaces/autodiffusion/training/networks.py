"""The networks of a recipe, with first weights that its seed decides."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from search_spaces.autodiffusion.models.libraries import diffusers
from search_spaces.autodiffusion.training.recipes import Recipe


def scheduler(recipe: Recipe) -> Any:
    """diffusers' DDPMScheduler with the recipe's noise levels; x_0 is clipped to [-1, 1]."""
    return diffusers().DDPMScheduler(
        num_train_timesteps=recipe.levels, beta_schedule=recipe.betas, clip_sample=True, prediction_type="epsilon"
    )


def unet(recipe: Recipe, shape: tuple[int, int, int]) -> nn.Module:
    """diffusers' UNet2DModel for images (c, h, w), untrained; the global random state is left as it was."""
    down = tuple("AttnDownBlock2D" if has else "DownBlock2D" for has in recipe.attention)
    up = tuple("AttnUpBlock2D" if has else "UpBlock2D" for has in reversed(recipe.attention))
    channels, height, width = shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network: nn.Module = diffusers().UNet2DModel(
            sample_size=height if height == width else (height, width), in_channels=channels, out_channels=channels,
            block_out_channels=recipe.channels, layers_per_block=recipe.layers, down_block_types=down,
            up_block_types=up, norm_num_groups=recipe.groups, attention_head_dim=8,
        )  # fmt: skip
    return network
