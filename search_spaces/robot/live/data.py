"""What networks are trained and judged on: Fashion-MNIST, or a user's own images.

Data of one's own is `module:attr` of an object, or of a function that returns one, with the attributes train,
train_labels, validation, validation_labels, test and test_labels: images (n, channels, height, width) float32 as the
networks take them, labels (n,) whole numbers. The search sees training and validation images; the test images are for
the final report.
"""

from __future__ import annotations

import hashlib
import importlib
from typing import Any

import torch
from torch import Tensor

from evo.errors import ConfigError
from search_spaces.robot.benchmark.images import Images, images

SPLITS = ("train", "validation", "test")


def pictures(
    source: str, side: int = 14, train: int | None = None, validation: int | None = None, test: int | None = None
) -> Images:
    """The images that the options name.

    Args:
        source: "shipped", "installed", a folder of Fashion-MNIST, or module:attr of one's own.
        side: of Fashion-MNIST alone.
        train, validation, test: the first so many of each part; None: all.

    Raises:
        ConfigError: there are fewer, or what module:attr names is no such data.
        DataError: Fashion-MNIST cannot be read.
    """
    wanted = {"train": train, "validation": validation, "test": test}
    if ":" not in source:
        return images(source, side=side, **wanted)
    found = _attribute(source)
    parts: dict[str, Tensor] = {}
    for split, count in wanted.items():
        pictures_of, labels = _part(found, source, split)
        if count is not None and count > len(labels):
            raise ConfigError(f"options.{split} is {count:,}, and {source} has {len(labels):,}", "give fewer, or null")
        parts[split], parts[f"{split}_labels"] = pictures_of[:count], labels[:count]
    digest = hashlib.sha256()
    for name, part in parts.items():
        digest.update(f"{name} {tuple(part.shape)}".encode())
        digest.update(part.contiguous().numpy().tobytes())
    counts = " ".join(f"{len(parts[split]):,} {split}," for split in SPLITS)
    shape = " x ".join(map(str, parts["train"].shape[1:]))
    return Images(**parts, source=f"{source}: {counts} {shape}", digest=digest.hexdigest())


def _part(found: Any, source: str, split: str) -> tuple[Tensor, Tensor]:
    given = [getattr(found, name, None) for name in (split, f"{split}_labels")]
    if any(part is None for part in given):
        raise ConfigError(
            f"options.images: {source} lacks {split} or {split}_labels",
            "it has train, train_labels, validation, validation_labels, test and test_labels",
        )
    pictures_of, labels = torch.as_tensor(given[0]), torch.as_tensor(given[1])
    fits = pictures_of.ndim == 4 and labels.ndim == 1 and len(pictures_of) == len(labels) > 0
    if not fits or not pictures_of.is_floating_point() or labels.is_floating_point():
        raise ConfigError(
            f"options.images: {source} has {split} images {tuple(pictures_of.shape)} {pictures_of.dtype} and labels "
            f"{tuple(labels.shape)} {labels.dtype}",
            "images are (n, channels, height, width) floating, labels (n,) whole numbers",
        )
    if not bool(torch.isfinite(pictures_of).all()):
        raise ConfigError(f"options.images: {source} has {split} images that are not finite", "mend or drop them")
    if int(labels.min()) < 0:
        raise ConfigError(f"options.images: {source} has a label {int(labels.min())} in {split}_labels", "count from 0")
    return pictures_of.detach().float(), labels.detach().long()


def _attribute(spec: str) -> Any:
    module, _, attribute = spec.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"options.images: {spec} cannot be loaded: {error}", "give module:attr") from error
    if not callable(found):
        return found
    try:
        return found()
    except Exception as error:
        raise ConfigError(
            f"options.images: {spec}() raised {type(error).__name__}: {error}", "call it by itself to see where"
        ) from error
