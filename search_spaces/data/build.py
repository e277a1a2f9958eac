"""Make the data files of this folder from Debian's packages: `python -m search_spaces.data.build --help`.

The texts are read from unpacked packages (`apt-get download python3.11-doc jargon-text; dpkg-deb -x FILE FOLDER`).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import lzma
from pathlib import Path

import numpy as np

from search_spaces.data import DataError, fashion_mnist, texts

HERE = Path(__file__).parent
# fmt: off
TUTORIAL_PAGES = (
    "index", "appetite", "interpreter", "introduction", "controlflow", "datastructures", "modules", "inputoutput",
    "errors", "classes", "stdlib", "stdlib2", "venv", "whatnow", "interactive", "floatingpoint", "appendix",
)
LIBRARY_PAGES = (
    "functions", "stdtypes", "re", "datetime", "collections", "itertools", "os", "io", "time", "argparse", "subprocess",
    "socket", "multiprocessing", "decimal", "typing",
)
# fmt: on
JARGON_LENGTH = 850_000
"""Characters of the Jargon File's lexicon that are shipped, up to the entry's end."""


def build_fashion_mnist(folder: Path, out: Path) -> None:
    """Write the shipped subset: of each class, the first seventh of each cell of the whole set in `folder`."""
    whole = fashion_mnist.read_folder(folder)
    _, ranks = fashion_mnist.cells_of(whole.labels)
    sizes = np.array(list(fashion_mnist.CELLS.values()))
    chosen = np.flatnonzero(ranks < sizes[whole.cells])
    chosen = chosen[np.argsort(whole.cells[chosen], kind="stable")]
    packed = fashion_mnist.pack(whole.images[chosen], whole.labels[chosen], chosen)
    _write(out / fashion_mnist.SHIPPED, packed, lzma.decompress(packed))


def build_python(root: Path, out: Path) -> None:
    """Write the tutorial and the pages of the library's reference, from python3.11-doc unpacked in `root`."""
    sources = root / "usr/share/doc/python3.11/html/_sources"
    for name, folder, pages in (
        ("python_tutorial", "tutorial", TUTORIAL_PAGES),
        ("python_library", "library", LIBRARY_PAGES),
    ):
        content = "\n\n".join((sources / folder / f"{page}.rst.txt").read_text("utf-8") for page in pages)
        _write_text(name, content, out)


def build_jargon(root: Path, out: Path) -> None:
    """Write the first entries of the Jargon File's lexicon, from jargon-text unpacked in `root`."""
    content = gzip.decompress((root / "usr/share/doc/jargon-text/jargon.txt.gz").read_bytes()).decode()
    start = content.find("\n   :")
    end = content.find("\n   :", start + JARGON_LENGTH)
    if start < 0 or end < 0:
        raise DataError(f"the Jargon File in {root} has no such lexicon", "take version 4.4.7-4.1 of the package")
    _write_text("jargon", content[start + 1 : end + 1], out)


def _write_text(name: str, content: str, out: Path) -> None:
    raw = content.encode()
    file = texts.TEXTS[name].file
    pack = (
        gzip.compress(raw, 9, mtime=0) if file.endswith(".gz") else lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)
    )
    _write(out / file, pack, raw)


def _write(path: Path, packed: bytes, content: bytes) -> None:
    path.write_bytes(packed)
    digest = hashlib.sha256(content).hexdigest()
    print(f"{path.name}: {len(packed):,} bytes; {len(content):,} bytes unpacked, their SHA-256: {digest}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fashion-mnist", type=Path, metavar="FOLDER", help=f"as in {fashion_mnist.INSTALLED}")
    parser.add_argument("--python", type=Path, metavar="ROOT", help="where python3.11-doc was unpacked")
    parser.add_argument("--jargon", type=Path, metavar="ROOT", help="where jargon-text was unpacked")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: this package's)")
    arguments = parser.parse_args()
    if arguments.fashion_mnist:
        build_fashion_mnist(arguments.fashion_mnist, arguments.out)
    if arguments.python:
        build_python(arguments.python, arguments.out)
    if arguments.jargon:
        build_jargon(arguments.jargon, arguments.out)


if __name__ == "__main__":
    main()
