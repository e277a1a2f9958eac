"""How the classifier is trained by whose features images are compared: Adam over a half cosine, noisy images."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from search_spaces.autodiffusion.fid.classifier import Classifier
from search_spaces.autodiffusion.training.pictures import Pictures
from search_spaces.autodiffusion.training.recipes import Recipe
from search_spaces.building.errors import BenchmarkError

Progress = Callable[[int, int, str], None]
RATE, BATCH = 2e-3, 64
_EVALUATED = 500
_SEEDS = 1_000_003


def train_classifier(pictures: Pictures, recipe: Recipe, progress: Progress) -> tuple[Classifier, float]:
    """A classifier of labelled images, and the share of the test images that it gets right.

    The same images, recipe and number of torch threads give the same weights; the global random state is neither used
    nor changed.

    Raises:
        BenchmarkError: the images have no labels, or are too few.
    """
    labels = pictures.labels
    trained_on = len(pictures.images) - pictures.tested
    if labels is None:
        raise BenchmarkError(
            f"{pictures.source} has no labels to train a classifier on", "give labels, or features=module:attr"
        )
    if trained_on < 1:
        raise BenchmarkError(f"{pictures.source}: {len(labels)} images leave none to train on", "give more")
    classes = int(labels.max()) + 1
    network = Classifier(*pictures.shape, classes=classes, features=recipe.features, seed=recipe.seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    steps = max(1, trained_on // BATCH)
    network.train()
    for epoch in range(recipe.classifier_epochs):
        progress(epoch, recipe.classifier_epochs, "classifier")
        generator = torch.Generator().manual_seed(recipe.seed * _SEEDS + epoch)
        order = torch.randperm(trained_on, generator=generator)
        for step in range(steps):
            rows = order[step * BATCH : (step + 1) * BATCH]
            images = pictures.images[rows]
            noisy = images + recipe.classifier_noise * torch.randn(images.shape, generator=generator)
            done = (epoch * steps + step) / (recipe.classifier_epochs * steps)
            for group in optimizer.param_groups:
                group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * done))
            loss = functional.cross_entropy(network(noisy), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    progress(recipe.classifier_epochs, recipe.classifier_epochs, "classifier")
    network.eval().requires_grad_(False)
    return network, accuracy(network, pictures)


def accuracy(network: nn.Module, pictures: Pictures) -> float:
    """Share of the test images whose largest logit is at their label."""
    if pictures.labels is None:
        return math.nan
    images, labels = pictures.images[-pictures.tested :], pictures.labels[-pictures.tested :]
    right = 0
    with torch.no_grad():
        for start in range(0, len(labels), _EVALUATED):
            rows = slice(start, start + _EVALUATED)
            right += int((network(images[rows]).argmax(1) == labels[rows]).sum())
    return right / len(labels)
