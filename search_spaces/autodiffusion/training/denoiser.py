"""How a denoiser is trained: AdamW on the mean squared error of the predicted noise, its weights averaged.

Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models" (2020), algorithm 1. Each step draws from a generator of
its own, so that a training that was killed goes on from its last checkpoint and ends with the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from search_spaces.autodiffusion.models.model import Model, NoiseSchedule
from search_spaces.autodiffusion.models.tensors import read_tensors, write_tensors
from search_spaces.autodiffusion.training.recipes import Recipe

Progress = Callable[[int, int, str], None]
KEPT_EVERY = 200
"""Steps between checkpoints."""
FLOOR = 0.05
"""Share of the peak learning rate at the end."""
_SEEDS = 1_000_003


def train(
    network: nn.Module,
    schedule: NoiseSchedule,
    images: Tensor,
    recipe: Recipe,
    checkpoint: Path,
    identity: Mapping[str, str],
    progress: Progress,
) -> list[float]:
    """Train a network in place, or go on with a training; it ends with the averaged weights.

    Args:
        network: diffusers' UNet with its first weights; called with noisy images and timesteps.
        schedule: noise levels.
        images: (n, c, h, w) float32 in [-1, 1].
        recipe: how.
        checkpoint: the file to go on from, and to write every `KEPT_EVERY` steps.
        identity: what else the result depends on; a checkpoint of another identity is not used.
        progress: called with steps done, all steps, and words.

    Returns:
        Mean loss of each hundred steps.

    Raises:
        DamagedBenchmarkError: the checkpoint is damaged.
    """
    meta = dict(identity)
    levels = torch.from_numpy(schedule.alphas_cumprod.copy())
    signal, noise_share = levels.sqrt().float()[:, None, None, None], (1 - levels).sqrt().float()[:, None, None, None]
    parameters = list(network.parameters())
    averaged = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.rate, weight_decay=recipe.decay)
    losses: list[float] = []
    total_loss = 0.0
    done = _restore(network, averaged, optimizer, losses, checkpoint, meta)
    network.train().requires_grad_(True)
    for step in range(done, recipe.steps):
        if step % 10 == 0:
            progress(step, recipe.steps, f"training{f', loss {losses[-1]:.4f}' if losses else ''}")
        generator = torch.Generator().manual_seed(recipe.seed * _SEEDS + step)
        rows = torch.randint(len(images), (recipe.batch,), generator=generator)
        clean = images[rows]
        t = torch.randint(schedule.steps, (recipe.batch,), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        predicted = network(signal[t] * clean + noise_share[t] * noise, t, return_dict=False)[0]
        loss = (predicted - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, recipe.clip)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * rate_share(step, recipe)
        optimizer.step()
        with torch.no_grad():
            # early on a shorter average, or the first weights would weigh for long
            rate = min(recipe.average, (1 + step) / (10 + step))
            torch._foreach_lerp_(averaged, parameters, 1 - rate)
        total_loss += float(loss.detach())
        if (step + 1) % 100 == 0 or step + 1 == recipe.steps:
            losses.append(round(total_loss / (step % 100 + 1), 6))
            total_loss = 0.0
        if (step + 1) % KEPT_EVERY == 0 or step + 1 == recipe.steps:
            _keep(network, averaged, optimizer, losses, checkpoint, meta, step + 1)
    with torch.no_grad():
        for parameter, average in zip(parameters, averaged, strict=True):
            parameter.copy_(average)
    network.eval().requires_grad_(False)
    progress(recipe.steps, recipe.steps, "training")
    return losses


def rate_share(step: int, recipe: Recipe) -> float:
    """Share of the peak learning rate at a step."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * done))


def loss_of(model: Model, images: Tensor, seed: int = 0, batch: int = 256) -> float:
    """Mean squared error of the predicted noise on images (n, c, h, w), one timestep and noise each, by the seed.

    The timesteps are spread evenly over the levels, so that few images tell models apart.
    """
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(len(images)) * model.schedule.steps // len(images)
    t = t[torch.randperm(len(images), generator=generator)]
    noise = torch.randn(images.shape, generator=generator)
    levels = torch.from_numpy(model.schedule.alphas_cumprod.copy())[t].float()[:, None, None, None]
    noisy = levels.sqrt() * images + (1 - levels).sqrt() * noise
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(images), batch):
            rows = slice(start, start + batch)
            total += float((model(noisy[rows], t[rows]) - noise[rows]).square().double().sum())
    return total / images.numel()


def _keep(
    network: nn.Module,
    averaged: list[Tensor],
    optimizer: torch.optim.Optimizer,
    losses: list[float],
    path: Path,
    meta: dict[str, str],
    done: int,
) -> None:
    tensors = {}
    for (name, parameter), average in zip(network.named_parameters(), averaged, strict=True):
        state = optimizer.state[parameter]
        tensors[f"weight/{name}"] = parameter
        tensors[f"average/{name}"] = average
        tensors[f"first/{name}"] = state["exp_avg"]
        tensors[f"second/{name}"] = state["exp_avg_sq"]
    write_tensors(path, tensors, {"identity": meta, "done": done, "losses": losses})


def _restore(
    network: nn.Module,
    averaged: list[Tensor],
    optimizer: torch.optim.Optimizer,
    losses: list[float],
    path: Path,
    meta: dict[str, str],
) -> int:
    """Put everything where the checkpoint left it; returns the steps done."""
    if not path.is_file():
        return 0
    tensors, kept = read_tensors(path)
    if kept.get("identity") != meta:
        return 0
    with torch.no_grad():
        for (name, parameter), average in zip(network.named_parameters(), averaged, strict=True):
            parameter.copy_(tensors[f"weight/{name}"])
            average.copy_(tensors[f"average/{name}"])
            optimizer.state[parameter] = {
                "step": torch.tensor(float(kept["done"])),
                "exp_avg": tensors[f"first/{name}"].clone(),
                "exp_avg_sq": tensors[f"second/{name}"].clone(),
            }
    losses.extend(kept["losses"])
    return int(kept["done"])
