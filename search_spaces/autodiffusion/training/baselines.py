"""What a model's Fréchet distances are held against: real images, and all T steps of the sampler it was trained for.

Both depend on the number of images: the distance of a sample to its own source falls with the sample's size.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from search_spaces.autodiffusion.fid.reference import Score
from search_spaces.autodiffusion.models.model import Model
from search_spaces.autodiffusion.models.tensors import read_tensors, write_tensors

Progress = Callable[[int, int, str], None]
BLOCK = 250
"""Images that are sampled at once, and kept when they are done."""
FLOOR_COUNTS = (250, 500, 1000, 1500)
FLOOR_DRAWS = 5


def floor(score: Score, images: Tensor, draws: int = FLOOR_DRAWS) -> dict[str, list[float]]:
    """Distances of random real images to all real images, by how many they are: what a perfect model would have.

    Args:
        score: the distance.
        images: (n, c, h, w), the real images.
        draws: of each count.

    Returns:
        by count, a value a draw.
    """
    found = {}
    for count in FLOOR_COUNTS:
        values = []
        for draw in range(draws):
            rng = np.random.Generator(np.random.Philox(key=np.array([count, draw], np.uint64)))
            # with replacement, as a model draws: without, small sets would come too near
            rows = torch.from_numpy(rng.integers(len(images), size=count))
            values.append(round(score.of(images[rows]), 4))
        found[str(count)] = values
    return found


def ancestral(
    model: Model, scheduler: Any, score: Score, seeds: int, samples: int, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Distances of images sampled with all T steps of DDPM, by seed; what is sampled is kept in `folder`.

    Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models" (2020), algorithm 2, as diffusers' DDPMScheduler
    does it: variances "fixed_small", x_0 clipped.

    Args:
        model: to sample from.
        scheduler: diffusers' DDPMScheduler with the model's noise levels.
        score: the distance.
        seeds: how many; the first is 0.
        samples: images a seed.
        folder: for the images; those that are there are not sampled again.
        progress: called with steps done, all steps, and words.

    Returns:
        `samples`, `steps` (T), and `fid`: a value a seed.
    """
    blocks = -(-samples // BLOCK)
    total = seeds * blocks * model.schedule.steps
    values = []
    for seed in range(seeds):
        parts = []
        for block in range(blocks):
            path = folder / f"{model.digest[:16]}.{seed}.{block}.safetensors"
            done = (seed * blocks + block) * model.schedule.steps
            if not path.is_file():
                images = _sampled(
                    model, scheduler, seed, block, lambda step, done=done: progress(done + step, total, "DDPM")
                )
                write_tensors(path, {"images": images}, {"seed": seed, "block": block, "model": model.digest})
            parts.append(read_tensors(path)[0]["images"])
        values.append(round(score.of(torch.cat(parts)[:samples]), 4))
    progress(total, total, "DDPM")
    return {"samples": samples, "steps": model.schedule.steps, "fid": values}


def _sampled(model: Model, scheduler: Any, seed: int, block: int, progress: Callable[[int], None]) -> Tensor:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + block)
    scheduler.set_timesteps(model.schedule.steps)
    images = torch.randn((BLOCK, *model.shape), generator=generator)
    with torch.no_grad():
        for step, t in enumerate(scheduler.timesteps):
            if step % 20 == 0:
                progress(step)
            predicted = model(images, t.expand(BLOCK))
            images = scheduler.step(predicted, t, images, generator=generator).prev_sample
    return images
