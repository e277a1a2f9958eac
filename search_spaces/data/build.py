"""Make the data files of this folder from Debian's packages: `python -m search_spaces.data.build --help`."""

from __future__ import annotations

import argparse
import hashlib
import lzma
from pathlib import Path

import numpy as np

from search_spaces.data import fashion_mnist

HERE = Path(__file__).parent


def build_fashion_mnist(folder: Path, out: Path) -> None:
    """Write the shipped subset: of each class, the first seventh of each cell of the whole set in `folder`."""
    whole = fashion_mnist.read_folder(folder)
    _, ranks = fashion_mnist.cells_of(whole.labels)
    sizes = np.array(list(fashion_mnist.CELLS.values()))
    chosen = np.flatnonzero(ranks < sizes[whole.cells])
    chosen = chosen[np.argsort(whole.cells[chosen], kind="stable")]
    packed = fashion_mnist.pack(whole.images[chosen], whole.labels[chosen], chosen)
    _write(out / fashion_mnist.SHIPPED, packed)


def _write(path: Path, packed: bytes) -> None:
    path.write_bytes(packed)
    digest = hashlib.sha256(lzma.decompress(packed)).hexdigest()
    print(f"{path.name}: {len(packed):,} bytes, SHA-256 of the content {digest}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fashion-mnist", type=Path, default=fashion_mnist.INSTALLED, help="folder of the whole set")
    parser.add_argument("--out", type=Path, default=HERE)
    arguments = parser.parse_args()
    build_fashion_mnist(arguments.fashion_mnist, arguments.out)


if __name__ == "__main__":
    main()
