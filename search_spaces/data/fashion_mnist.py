"""Fashion-MNIST: 28 x 28 grey images of clothes in ten classes, cut into parts that never overlap.

Source: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms"
(2017, arXiv:1708.07747); 70,000 images, MIT licence.

Search, selection and the held-out judge each have a part of their own, cut into train, validation and test. Which cell
an image belongs to is a property of its place in the whole set: for each class, a fixed random order is dealt in the
proportions of `CELLS`. The shipped subset takes a seventh of each cell, so that its parts are subsets of the whole
set's: the search part of the one has no image in common with the held-out part of the other.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.resources
import itertools
import lzma
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evo.errors import ConfigError
from search_spaces.data import DataError

INSTALLED = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the whole set."""
VARIABLE = "EVO_FASHION_MNIST"
"""The environment variable that names the source where none is given."""
SHIPPED = "fashion_mnist.xz"

CLASSES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
PARTS = ("search", "selection", "held_out")
SPLITS = ("train", "validation", "test")
CELLS: Mapping[tuple[str, str], int] = {
    ("search", "train"): 240,
    ("search", "validation"): 100,
    ("search", "test"): 60,
    ("selection", "train"): 150,
    ("selection", "validation"): 100,
    ("selection", "test"): 50,
    ("held_out", "train"): 150,
    ("held_out", "validation"): 100,
    ("held_out", "test"): 50,
}
"""Images of each class in a cell of the shipped subset; the whole set has `WHOLE` times as many."""
SHIPPED_COUNT = sum(CELLS.values()) * len(CLASSES)
WHOLE = 7
_ORDER_SEED = 20170825

# SHA-256 of images, then labels, of the whole set (training before test), and of the shipped file's content.
_WHOLE_DIGEST = "2cbc59191665e1ba3f2494648f17edac5974f748ab89fb2ae05597d658161f54"
_SHIPPED_DIGEST = "f7d6b682d3f3c206a494cf6e7a6502be3c0b38a793bdd74c68d5239c84e37bac"
_FILES = ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte")


class Examples(NamedTuple):
    """Images (n, 28, 28) uint8, 0 is the background and 255 the brightest; labels (n,) uint8, places in `CLASSES`."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class FashionMNIST:
    """The whole set or the shipped subset. Its arrays cannot be written to.

    Attributes:
        images: (n, 28, 28) uint8.
        labels: (n,) uint8, places in `CLASSES`.
        places: (n,) int64, of each image in the whole set (60,000 training images, then 10,000 test images).
        cells: (n,) int64, places in `CELLS`: part and split of each image.
        digest: hexadecimal SHA-256 of images and labels.
    """

    images: np.ndarray
    labels: np.ndarray
    places: np.ndarray
    cells: np.ndarray
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A third of the data with its splits; `part["train"]` is `part.train`.

    Attributes:
        name: of `PARTS`.
        train, validation, test: examples, in random order of classes.
        digest: hexadecimal SHA-256 of the data set and the part's name.
    """

    name: str
    train: Examples
    validation: Examples
    test: Examples
    digest: str

    def __getitem__(self, split: str) -> Examples:
        if split not in SPLITS:
            raise ConfigError(f"Fashion-MNIST has no split {split!r}", f"name one of {', '.join(SPLITS)}")
        return getattr(self, split)


def fashion_mnist(source: str | os.PathLike[str] | None = None) -> FashionMNIST:
    """The images of a source, read once a process and checked against their digest.

    Args:
        source: "shipped" (10,000 images that come with this package), "installed" (all 70,000, of Debian's package
            dataset-fashion-mnist), or a folder with the four original files, compressed or not. None: the environment
            variable EVO_FASHION_MNIST, which takes the same values; where it is not set or empty, "installed" if the
            package is, else "shipped".

    Raises:
        DataError: there is no such folder, or a file is missing, damaged or not Fashion-MNIST's.
    """
    return _load(_resolve(source))


def part(name: str, source: str | os.PathLike[str] | None = None) -> Part:
    """One of the parts "search", "selection" and "held_out".

    They have 4,000, 3,000 and 3,000 images of the shipped subset, and 28,000, 21,000 and 21,000 of the whole set;
    classes are equally frequent in each split.

    Args:
        name: of the part.
        source: as for `fashion_mnist`. The tasks of the search always take "shipped", so that a search is the same on
            every machine.

    Raises:
        ConfigError: no part has this name.
        DataError: as `fashion_mnist`.
    """
    if name not in PARTS:
        raise ConfigError(f"Fashion-MNIST has no part {name!r}", f"name one of {', '.join(PARTS)}")
    return _part(name, _resolve(source))


def cells_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Deal images to cells: for each class, its members in a fixed random order, in the proportions of `CELLS`.

    Args:
        labels: (n,) of the whole set.

    Returns:
        cells (n,) int64, and ranks (n,) int64: an image's number inside its cell and class, from 0.
    """
    cells, ranks = np.full(len(labels), -1, np.int64), np.full(len(labels), -1, np.int64)
    total = sum(CELLS.values())
    for label in range(len(CLASSES)):
        members = np.flatnonzero(labels == label)
        rng = np.random.Generator(np.random.Philox(key=np.array([_ORDER_SEED, label], np.uint64)))
        members = members[rng.permutation(len(members))]
        borders = np.cumsum([0, *CELLS.values()]) * len(members) // total
        for cell, (start, end) in enumerate(itertools.pairwise(borders)):
            cells[members[start:end]] = cell
            ranks[members[start:end]] = np.arange(end - start)
    return cells, ranks


def digest_of(images: np.ndarray, labels: np.ndarray) -> str:
    """Hexadecimal SHA-256 of images (n, 28, 28) and labels (n,), both uint8."""
    return sha256(images.tobytes() + labels.tobytes())


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def _resolve(source: str | os.PathLike[str] | None) -> str:
    if source is None:
        source = os.environ.get(VARIABLE) or ("installed" if INSTALLED.is_dir() else "shipped")
    name = os.fspath(source)
    return name if name in ("shipped", "installed") else str(Path(name).expanduser().absolute())


@functools.cache
def _load(source: str) -> FashionMNIST:
    if source == "shipped":
        return unpack(importlib.resources.files("search_spaces.data").joinpath(SHIPPED).read_bytes())
    return read_folder(INSTALLED if source == "installed" else Path(source))


@functools.cache
def _part(name: str, source: str) -> Part:
    data = _load(source)
    splits = {}
    for cell, (owner, split) in enumerate(CELLS):
        if owner == name:
            # in the order of the whole set, which is random in the classes
            rows = np.flatnonzero(data.cells == cell)
            splits[split] = Examples(*_frozen(data.images[rows], data.labels[rows]))
    return Part(name, **splits, digest=sha256(f"{data.digest}/{name}".encode()))


def pack(images: np.ndarray, labels: np.ndarray, places: np.ndarray) -> bytes:
    """The shipped file of images (n, 28, 28) uint8, labels (n,) uint8 and places (n,), cell after cell.

    The three follow one another (the places as uint32, little-endian) under xz with a preset that suits bytes of
    images: 3.8 MB for 10,000 images. A predictor of neighbouring pixels (that of lossless JPEG) makes it worse.
    """
    content = b"".join(array.tobytes() for array in (images, labels, places.astype("<u4")))
    chain = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0}]
    return lzma.compress(content, format=lzma.FORMAT_XZ, check=lzma.CHECK_SHA256, filters=chain)


def unpack(packed: bytes) -> FashionMNIST:
    """What `pack` packed.

    Raises:
        DataError: the file is damaged.
    """
    hint = "install the package again"
    try:
        content = lzma.decompress(packed, format=lzma.FORMAT_XZ)
    except lzma.LZMAError as error:
        raise DataError(f"the shipped {SHIPPED} is damaged: {error}", hint) from error
    count, rest = divmod(len(content), 28 * 28 + 1 + 4)
    if count != SHIPPED_COUNT or rest or sha256(content) != _SHIPPED_DIGEST:
        raise DataError(f"the shipped {SHIPPED} is damaged: its content has the wrong checksum", hint)
    values = np.frombuffer(content, np.uint8)
    images, labels, places = np.split(values, [count * 784, count * 785])
    images = images.reshape(-1, 28, 28)
    cells = np.repeat(np.arange(len(CELLS)), [len(CLASSES) * size for size in CELLS.values()])
    arrays = _frozen(images, labels, places.view("<u4").astype(np.int64), cells)
    return FashionMNIST(*arrays, digest=digest_of(images, labels))


def read_folder(folder: Path) -> FashionMNIST:
    """The whole set from a folder with the four original files, with or without ".gz".

    Raises:
        DataError: the folder or a file is missing, damaged or not Fashion-MNIST's.
    """
    if not folder.is_dir():
        hint = f"install Debian's dataset-fashion-mnist, or set {VARIABLE} to the folder of its files, or to 'shipped'"
        raise DataError(f"there is no folder {folder} with Fashion-MNIST", hint)
    arrays = [read_idx(_find(folder, name)) for name in _FILES]
    images, labels = (np.concatenate([array.reshape(-1) for array in two]) for two in (arrays[:2], arrays[2:]))
    digest = digest_of(images, labels)
    if digest != _WHOLE_DIGEST:
        hint = "fetch the four files again: other data would not keep the parts apart"
        raise DataError(f"the files in {folder} are not the 70,000 images of Fashion-MNIST", hint)
    images = images.reshape(-1, 28, 28)
    return FashionMNIST(*_frozen(images, labels, np.arange(len(labels)), cells_of(labels)[0]), digest=digest)


def read_idx(path: Path) -> np.ndarray:
    """An array of bytes in the IDX format of MNIST's files, uncompressed or, if named so, ".gz".

    Raises:
        DataError: the file cannot be read, or is not such a file.
    """
    hint = "fetch the file again"
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}", hint) from error
    # two zero bytes, 8 for unsigned bytes, the number of dimensions, their sizes
    header = np.frombuffer(content[:4], np.uint8)
    if len(header) < 4 or header[:3].tolist() != [0, 0, 8]:
        raise DataError(f"{path} is not an IDX file of bytes", hint)
    start = 4 + 4 * int(header[3])
    shape = np.frombuffer(content[4:start], ">u4").tolist() if len(content) >= start else []
    if len(content) < start or len(content) - start != math.prod(shape):
        raise DataError(f"{path} is cut short, or longer than its header says", hint)
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise DataError(f"{folder} has no {name}.gz", f"the folder must hold {', '.join(_FILES)}, each with or without .gz")


def _frozen(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    for array in arrays:
        array.flags.writeable = False
    return arrays
