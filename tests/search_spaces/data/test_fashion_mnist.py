"""Fashion-MNIST: the shipped subset is whole, its parts are apart, and what is not the real set is refused."""

from __future__ import annotations

import gzip
import lzma
import struct
from pathlib import Path

import numpy as np
import pytest

from evo.errors import ConfigError, EvoError
from search_spaces.data import DataError, build, fashion_mnist
from search_spaces.data.fashion_mnist import CELLS, CLASSES, PARTS, SPLITS, part

CLASS_SIZE = 200
"""Of the small stand-in for the whole set."""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No source named, none installed, nothing remembered from another test."""
    monkeypatch.delenv(fashion_mnist.VARIABLE, raising=False)
    monkeypatch.setattr(fashion_mnist, "INSTALLED", Path("/nowhere"))


def stand_in(folder: Path, suffix: str = ".gz") -> tuple[np.ndarray, np.ndarray]:
    """Write random images in the four files of the original, 6 in 7 for training; return them."""
    rng = np.random.default_rng(3)
    labels = rng.permutation(np.repeat(np.arange(10), CLASS_SIZE)).astype(np.uint8)
    images = rng.integers(0, 256, (len(labels), 28, 28)).astype(np.uint8)
    images[:, 1:] = 0
    cut = 6 * len(labels) // 7
    for prefix, rows in (("train", slice(cut)), ("t10k", slice(cut, None))):
        for kind, values in (("images-idx3", images[rows]), ("labels-idx1", labels[rows])):
            header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
            content = header + values.tobytes()
            path = folder / f"{prefix}-{kind}-ubyte{suffix}"
            path.write_bytes(gzip.compress(content, 1) if suffix else content)
    return images, labels


def test_the_shipped_subset_is_balanced_and_read_only() -> None:
    data = fashion_mnist.fashion_mnist("shipped")
    assert data.images.shape == (10_000, 28, 28)
    assert data.images.dtype == data.labels.dtype == np.uint8
    assert np.bincount(data.labels).tolist() == [1000] * 10
    assert len(set(data.places.tolist())) == 10_000
    assert data.places.max() < 70_000
    for array in (data.images, data.labels, data.places, data.cells):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_the_shipped_file_is_small() -> None:
    folder = Path(fashion_mnist.__file__).parent
    assert (folder / fashion_mnist.SHIPPED).stat().st_size <= 4_000_000


def test_no_two_splits_share_an_image_and_together_they_are_the_subset() -> None:
    images = [image.tobytes() for name in PARTS for split in SPLITS for image in part(name, "shipped")[split].images]
    assert len(images) == len(set(images)) == 10_000


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("search", (2400, 1000, 600)), ("selection", (1500, 1000, 500)), ("held_out", (1500, 1000, 500))],
)
def test_splits_have_their_sizes_and_equal_classes(name: str, sizes: tuple[int, ...]) -> None:
    found = part(name, "shipped")
    for split, size in zip(SPLITS, sizes, strict=True):
        images, labels = found[split]
        assert len(images) == len(labels) == size
        assert np.bincount(labels).tolist() == [size // 10] * 10
        # classes are mixed: no fit of a class's length is in a row
        assert len(set(labels[:50].tolist())) == len(CLASSES)


def test_parts_have_digests_of_their_own_and_are_read_once() -> None:
    assert len({part(name, "shipped").digest for name in PARTS}) == len(PARTS)
    assert part("search", "shipped") is part("search", "shipped")


def test_the_environment_names_the_source_and_without_anything_the_subset_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert len(fashion_mnist.fashion_mnist().labels) == 10_000
    monkeypatch.setenv(fashion_mnist.VARIABLE, str(tmp_path / "missing"))
    with pytest.raises(DataError, match="missing"):
        fashion_mnist.fashion_mnist()
    assert len(fashion_mnist.fashion_mnist("shipped").labels) == 10_000


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_a_folder_is_read_and_cut_so_that_the_subset_of_it_keeps_to_its_parts(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = stand_in(tmp_path, suffix)
    monkeypatch.setattr(fashion_mnist, "CELLS", {cell: size // 10 for cell, size in CELLS.items()})
    monkeypatch.setattr(fashion_mnist, "SHIPPED_COUNT", fashion_mnist.SHIPPED_COUNT // 10)
    monkeypatch.setattr(fashion_mnist, "_WHOLE_DIGEST", fashion_mnist.digest_of(images, labels))
    whole = fashion_mnist.fashion_mnist(tmp_path)
    assert np.array_equal(whole.images, images)
    assert np.array_equal(whole.labels, labels)
    counts = np.bincount(whole.cells).tolist()
    assert counts == [size * 10 * CLASS_SIZE // 1000 for size in CELLS.values()]
    assert sum(len(part(name, tmp_path)[split].labels) for name in PARTS for split in SPLITS) == len(labels)

    out = tmp_path / "out"
    out.mkdir()
    build.build_fashion_mnist(tmp_path, out)
    packed = (out / fashion_mnist.SHIPPED).read_bytes()
    with pytest.raises(DataError, match="checksum"):
        fashion_mnist.unpack(packed)
    monkeypatch.setattr(fashion_mnist, "_SHIPPED_DIGEST", fashion_mnist.sha256(lzma.decompress(packed)))
    subset = fashion_mnist.unpack(packed)
    assert np.array_equal(subset.images, images[subset.places])
    assert np.array_equal(subset.labels, labels[subset.places])
    assert np.array_equal(subset.cells, whole.cells[subset.places])


def test_other_images_are_refused(tmp_path: Path) -> None:
    stand_in(tmp_path)
    with pytest.raises(DataError, match="not the 70,000 images") as caught:
        fashion_mnist.read_folder(tmp_path)
    assert isinstance(caught.value, EvoError)
    assert caught.value.hint
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes((tmp_path / "t10k-labels-idx1-ubyte.gz").read_bytes())
    with pytest.raises(DataError, match="not the 70,000 images"):
        fashion_mnist.read_folder(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    stand_in(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="t10k-labels"):
        fashion_mnist.read_folder(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"hello, world", "not an IDX file"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 3, 1, 2]), "cut short"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 1, 1, 2]), "longer"),
        (bytes([0, 0, 8, 3, 0, 0]), "cut short"),
    ],
)
def test_a_damaged_file_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        fashion_mnist.read_idx(path)


def test_a_damaged_compressed_file_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 100, *range(100)]))
    for number, content in enumerate((whole[:-9], b"no gzip", whole[:20] + b"?????" + whole[25:])):
        path = tmp_path / f"{number}.gz"
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            fashion_mnist.read_idx(path)
    with pytest.raises(DataError, match="cannot be read"):
        fashion_mnist.read_idx(tmp_path)


def test_a_damaged_shipped_file_is_refused() -> None:
    for packed in (b"", b"nothing of the kind", lzma.compress(b"nothing of the kind")):
        with pytest.raises(DataError, match="damaged"):
            fashion_mnist.unpack(packed)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="held_out"):
        part("heldout", "shipped")
    with pytest.raises(ConfigError, match="validation"):
        part("search", "shipped")["valid"]
