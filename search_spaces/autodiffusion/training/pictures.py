"""The images that a model is trained on: scikit-learn's digits, Fashion-MNIST, or one's own."""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from search_spaces.building.errors import BenchmarkError

_ORDER = 20230920


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Images in a fixed order.

    Attributes:
        images: (n, c, h, w) float32 in [-1, 1]: the denoiser is trained on all of them, and they are what its own
            images are compared with.
        labels: (n,) int64, classes from 0; None: not known, and there is no classifier.
        tested: the last so many are the classifier's test; it is not trained on them.
        source: in words.
        digest: hexadecimal SHA-256 of images and labels.
    """

    images: Tensor
    labels: Tensor | None
    tested: int
    source: str
    digest: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of one image."""
        c, h, w = self.images.shape[1:]
        return int(c), int(h), int(w)


def pictures(data: str, source: str | None = None) -> Pictures:
    """The images of a name.

    Args:
        data: "digits": 1,797 of 8 x 8, pixels/8 - 1. "fashion": Fashion-MNIST, 28 x 28 framed to 32 x 32 and averaged
            over 2 x 2 to 16 x 16. "module:attr": images or (images, labels), or a function without arguments that
            returns them: images (n, c, h, w) or (n, h, w), floats in [-1, 1] or uint8; labels (n,) whole numbers.
        source: of Fashion-MNIST: "installed", "shipped" or a folder; None: the whole set if it is installed.

    Raises:
        BenchmarkError: the images do not fit.
        DataError: Fashion-MNIST cannot be read.
    """
    if data == "digits":
        return _digits()
    if data == "fashion":
        return _fashion(source)
    return _own(data)


def _digits() -> Pictures:
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.Generator(np.random.Philox(_ORDER)).permutation(len(found.target))
    images = torch.from_numpy(found.images[order].astype(np.float32) / 8 - 1)[:, None]
    return _made(images, torch.from_numpy(found.target[order].astype(np.int64)), 300, "sklearn.datasets.load_digits")


def _fashion(source: str | None) -> Pictures:
    from search_spaces.data.fashion_mnist import fashion_mnist

    found = fashion_mnist(source)
    # in the order of the whole set: the 10,000 test images, or those of them that are shipped, come last
    order = np.argsort(found.places, kind="stable")
    framed = functional.pad(torch.from_numpy(found.images[order].astype(np.float32))[:, None], (2, 2, 2, 2))
    images = functional.avg_pool2d(framed, 2) / 127.5 - 1
    labels = torch.from_numpy(found.labels[order].astype(np.int64))
    return _made(images, labels, int((found.places >= 60_000).sum()), f"Fashion-MNIST, {len(labels):,} images")


def _own(spec: str) -> Pictures:
    found = _found(spec)
    pair = found if isinstance(found, tuple | list) and len(found) == 2 else (found, None)
    images, labels = (torch.from_numpy(x.copy()) if isinstance(x, np.ndarray) else x for x in pair)
    form = "give images (n, c, h, w), floats in [-1, 1] or uint8, alone or with labels (n,)"
    if not isinstance(images, Tensor) or images.ndim not in (3, 4) or len(images) < 20:
        raise BenchmarkError(f"data {spec} are no 20 images or more", form)
    images = images[:, None] if images.ndim == 3 else images
    images = images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images.float()
    if not bool(torch.isfinite(images).all()) or float(images.abs().max()) > 1:
        raise BenchmarkError(f"data {spec} have pixels outside [-1, 1]", form)
    if labels is not None:
        whole = isinstance(labels, Tensor) and labels.ndim == 1 and not labels.is_floating_point()
        if not whole or len(labels) != len(images) or int(labels.min()) < 0:
            raise BenchmarkError(f"data {spec}: the labels are not one whole number from 0 for each image", form)
        labels = labels.long()
    return _made(images, labels, max(1, len(images) // 10), spec)


def _made(images: Tensor, labels: Tensor | None, tested: int, source: str) -> Pictures:
    images = images.detach().contiguous()
    state = hashlib.sha256(f"{tuple(images.shape)}\n".encode() + images.numpy().tobytes())
    if labels is not None:
        state.update(labels.numpy().tobytes())
    return Pictures(images, labels, tested, source, state.hexdigest())


def _found(spec: str) -> Any:
    module_name, _, attribute = spec.partition(":")
    if not module_name or not attribute:
        raise BenchmarkError(f"data is {spec!r}", "digits, fashion, or module:attr of images of your own")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
        return found() if callable(found) else found
    except Exception as error:
        raise BenchmarkError(
            f"data {spec} cannot be had: {type(error).__name__}: {error}",
            "check the name; modules are looked for where the command runs, and on PYTHONPATH",
        ) from error
