"""The whole build of a model: train the denoiser and the classifier, real statistics, what to compare with; killed and
started again, it goes on.

Into the folder: the files of `models/files.py`, and under work/ checkpoints and sampled images. The weights depend on
settings, data and numeric backend alone, not on kills.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evo.codebase import numeric_backend
from evo.space import Judgement
from search_spaces.autodiffusion.fid.features import Extractor, of_classifier, own_extractor
from search_spaces.autodiffusion.fid.reference import Score, reference_of
from search_spaces.autodiffusion.models.files import (
    CLASSIFIED,
    read_classifier,
    read_model,
    write_about,
    write_classifier,
    write_model,
    write_statistics,
)
from search_spaces.autodiffusion.models.model import Model, NoiseSchedule
from search_spaces.autodiffusion.models.shipped import DATA, JUDGED_AS
from search_spaces.autodiffusion.training.baselines import ancestral, floor
from search_spaces.autodiffusion.training.classifier import accuracy, train_classifier
from search_spaces.autodiffusion.training.denoiser import loss_of, train
from search_spaces.autodiffusion.training.networks import scheduler, unet
from search_spaces.autodiffusion.training.pictures import Pictures, pictures
from search_spaces.autodiffusion.training.recipes import RECIPES, Recipe
from search_spaces.autodiffusion.training.settings import Settings, build_settings
from search_spaces.building.errors import BenchmarkError
from search_spaces.building.session import locked, one_thread

Progress = Callable[[int, int, str], None]
LOSS_IMAGES = 1000
"""Real images of the loss in about.json: the first so many."""


def build(settings: Mapping[str, Any], folder: Path, progress: Progress) -> Judgement:
    """Build the model that the settings ask for, or go on with a build.

    Args:
        settings: see `Settings`.
        folder: where everything goes.
        progress: called with steps done, all steps, and words.

    Returns:
        What was built, as text and JSON.

    Raises:
        ConfigError: a setting does not fit.
        DataError: Fashion-MNIST cannot be read.
        BenchmarkError: data of one's own do not fit.
        DamagedBenchmarkError: a file in the folder is damaged.
        RunLockedError: another process builds in this folder.
        UsageError: a package of the extra `[diffusion]` is not installed.
    """
    chosen = build_settings(settings)
    recipe = chosen.recipe()
    found = pictures(recipe.data, chosen.source)
    _fits(recipe, found)
    if found.labels is None and chosen.features is None:
        raise BenchmarkError(
            f"data {recipe.data} have no labels to train a classifier on",
            "give (images, labels), or features=module:attr of a network whose features images are compared by",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder), one_thread():
        model, losses = _denoiser(recipe, found, folder, progress)
        extractor, right = _extractor(chosen, recipe, found, folder, progress)
        reference = reference_of(extractor, found.images, found.digest)
        write_statistics(folder, reference)
        score = Score(extractor, reference)
        about: dict[str, Any] = {
            "model": chosen.name, "recipe": json.loads(_plain(recipe)), "source": found.source, "data": found.digest,
            "digest": model.digest, "parameters": sum(p.numel() for p in model.unet.parameters()),
            "losses": losses, "loss": loss_of(model, found.images[:LOSS_IMAGES]),
            "features": chosen.features or CLASSIFIED, "extractor": extractor.digest, "accuracy": right,
            "floor": floor(score, found.images), "backend": dict(numeric_backend()),
        }  # fmt: skip
        if chosen.ddpm_seeds:
            about["ddpm"] = ancestral(
                model, scheduler(recipe), score, chosen.ddpm_seeds, chosen.ddpm_samples, folder / "work" / "ddpm",
                progress,
            )  # fmt: skip
        write_about(folder, about)
    return _summarised(about, folder)


def _denoiser(recipe: Recipe, found: Pictures, folder: Path, progress: Progress) -> tuple[Model, list[float]]:
    network, levels = unet(recipe, found.shape), scheduler(recipe)
    identity = {"recipe": _plain(recipe), "data": found.digest}
    checkpoint = folder / "work" / "denoiser.safetensors"
    losses = train(network, NoiseSchedule.of_scheduler(levels), found.images, recipe, checkpoint, identity, progress)
    write_model(folder, network, levels)
    return read_model(folder), losses


def _extractor(
    settings: Settings, recipe: Recipe, found: Pictures, folder: Path, progress: Progress
) -> tuple[Extractor, float | None]:
    if settings.features is not None:
        return own_extractor(settings.features, found.shape), None
    judge = JUDGED_AS.get(settings.name)
    if judge is None or judge == settings.name or recipe.data != RECIPES[settings.name].data:
        write_classifier(folder, train_classifier(found, recipe, progress)[0])
    else:
        write_classifier(folder, read_classifier(DATA / judge))
    network = read_classifier(folder)  # its weights are float16's now
    return of_classifier(network, folder.name), accuracy(network, found)


def _fits(recipe: Recipe, found: Pictures) -> None:
    halvings = 2 ** (len(recipe.channels) - 1)
    if any(size % halvings for size in found.shape[1:]):
        raise BenchmarkError(
            f"{len(recipe.channels)} resolutions halve images of {found.shape[1]} x {found.shape[2]} "
            f"{len(recipe.channels) - 1} times",
            f"give sides that are multiples of {halvings}, or fewer channels and attention",
        )


def _plain(recipe: Recipe) -> str:
    return json.dumps(asdict(recipe), sort_keys=True)


def _summarised(about: Mapping[str, Any], folder: Path) -> Judgement:
    recipe = about["recipe"]
    lines = [
        f"{about['source']}: {about['parameters']:,} parameters, {recipe['steps']:,} steps, "
        f"loss {about['loss']:.4f} on fixed noise  ({folder})"
    ]
    if about["accuracy"] is not None:
        lines.append(f"  classifier: {about['accuracy']:.1%} of the test images right, {recipe['features']} features")
    for count, values in about["floor"].items():
        lines.append(f"  {count:>5} real images      FID {_spread(values)}")
    if "ddpm" in about:
        ddpm = about["ddpm"]
        lines.append(f"  {ddpm['samples']:>5} of DDPM, {ddpm['steps']} steps  FID {_spread(ddpm['fid'])}")
    return Judgement("\n".join(lines), dict(about))


def _spread(values: list[float]) -> str:
    return f"{sum(values) / len(values):.2f} ({min(values):.2f} to {max(values):.2f} of {len(values)})"
