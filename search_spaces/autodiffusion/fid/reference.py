"""What images are compared with: mean and covariance of the real images' features, computed once and kept."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evo.errors import ConfigError
from kernels.frechet import Root, frechet, moments
from search_spaces.autodiffusion.fid.features import Extractor
from search_spaces.autodiffusion.models.tensors import bytes_of, read_tensors, write_tensors


@dataclass(frozen=True, eq=False)
class Reference:
    """Statistics of real images.

    Attributes:
        mean: (d,) float64.
        covariance: (d, d) float64, with n - 1 below.
        count: n, the real images.
        extractor: digest of what computed the features.
        data: digest of the images.
    """

    mean: np.ndarray
    covariance: np.ndarray
    count: int
    extractor: str
    data: str

    @functools.cached_property
    def root(self) -> Root:
        """The covariance's square root."""
        return Root(self.covariance)

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of images and extractor."""
        return _key(self.extractor, self.data)


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """The Fréchet distance of generated images to real ones: less is better; it falls with the number of images too,
    so compare equal numbers.

    Args:
        extractor: of features.
        reference: of the real images, by the same extractor.

    Raises:
        ConfigError: the reference was computed by another extractor.
    """

    extractor: Extractor
    reference: Reference

    def __post_init__(self) -> None:
        if self.reference.extractor != self.extractor.digest:
            raise ConfigError(
                f"the reference statistics were not computed with the features {self.extractor.name}",
                "give the real images, and they are computed",
            )

    def of(self, images: Tensor) -> float:
        """Of images (n, c, h, w) float32, n of 2 or more; values outside [-1, 1] are taken as they are."""
        return float(self.of_each([images])[0])

    def of_each(self, batches: Sequence[Tensor]) -> np.ndarray:
        """(k,) float64 of k candidates' images; NaN where images are not finite. Each depends on its images alone."""
        means = np.empty((len(batches), self.extractor.size))
        covariances = np.empty((len(batches), self.extractor.size, self.extractor.size))
        for number, images in enumerate(batches):
            means[number], covariances[number] = moments(self.extractor.features(images))
        return np.asarray(frechet(means, covariances, self.reference.mean, self.reference.root))


def reference_of(extractor: Extractor, images: Tensor, data: str | None = None) -> Reference:
    """Statistics of real images (n, c, h, w).

    Args:
        extractor: of features.
        images: n of 2 or more.
        data: digest of the images; None: computed.
    """
    mean, covariance = moments(extractor.features(images))
    return Reference(mean, covariance, len(images), extractor.digest, data or images_digest(images))


def kept_reference(extractor: Extractor, images: Tensor, folder: Path) -> Reference:
    """Statistics of real images, read from a folder where they were computed before, else computed and kept there.

    Raises:
        DamagedBenchmarkError: the kept file is damaged.
    """
    data = images_digest(images)
    path = folder / f"{_key(extractor.digest, data)[:32]}.safetensors"
    if path.is_file():
        return read_reference(path)
    found = reference_of(extractor, images, data)
    write_reference(path, found)
    return found


def write_reference(path: Path, reference: Reference) -> None:
    """Write statistics as safetensors: `mean` (d,), `covariance` (d, d), float64."""
    tensors = {"mean": torch.from_numpy(reference.mean), "covariance": torch.from_numpy(reference.covariance)}
    meta = {"count": reference.count, "extractor": reference.extractor, "data": reference.data}
    write_tensors(path, tensors, meta)


def read_reference(path: Path) -> Reference:
    """What `write_reference` wrote.

    Raises:
        BenchmarkError, DamagedBenchmarkError: as `read_tensors`.
    """
    tensors, meta = read_tensors(path)
    mean, covariance = tensors["mean"].numpy(), tensors["covariance"].numpy()
    return Reference(mean, covariance, int(meta["count"]), meta["extractor"], meta["data"])


def images_digest(images: Tensor) -> str:
    """Hexadecimal SHA-256 of images."""
    return hashlib.sha256(f"{tuple(images.shape)} {images.dtype}\n".encode() + bytes_of(images)).hexdigest()


def _key(extractor: str, data: str) -> str:
    return hashlib.sha256(f"{extractor} {data}".encode()).hexdigest()
