"""English texts for character language models: one for the search, one for selection, one for the held-out judge."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.resources
import lzma
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from evo.errors import ConfigError
from search_spaces.data import DataError


class Entry(NamedTuple):
    """Where a text lies, and the hexadecimal SHA-256 of its UTF-8 bytes."""

    file: str
    digest: str


TEXTS: Mapping[str, Entry] = {
    "python_tutorial": Entry(
        "python_tutorial.txt.gz", "ff30917b7dd20915127fe700ebff53519530d6030425d6a94638f534e407fc31"
    ),
    "python_library": Entry(
        "python_library.txt.xz", "3115a23494405500c0e2928f0348987ed940d7aad3971679232e2365a5a84571"
    ),
    "jargon": Entry(
        "jargon.txt.xz",
        "a76cd0c3183fdb5e4f2a7a2cb4ce6022fa5098347c437201e18ef341c7e1af98",
    ),
}
"""The Python tutorial (256,327 characters; search), pages of the Python library's reference (1.4 million; selection),
entries of the Jargon File (0.8 million; held out). `NOTICE.md` says where they are from."""


@functools.cache
def text(name: str) -> str:
    """A text of `TEXTS`, with line ends as "\\n".

    Raises:
        ConfigError: no text has this name.
        DataError: its file is damaged.
    """
    if name not in TEXTS:
        raise ConfigError(f"no text is called {name!r}", f"name one of {', '.join(TEXTS)}")
    file, digest = TEXTS[name]
    return unpack(importlib.resources.files("search_spaces.data").joinpath(file).read_bytes(), file, digest)


def unpack(packed: bytes, file: str, digest: str) -> str:
    """The text in a compressed file, checked against its digest.

    Args:
        packed: content of the file.
        file: its name; the suffix, ".gz" or ".xz", tells the format.
        digest: hexadecimal SHA-256 of the text in UTF-8.

    Raises:
        DataError: the file is damaged.
    """
    hint = "install the package again"
    try:
        content = lzma.decompress(packed) if file.endswith(".xz") else gzip.decompress(packed)
    except (lzma.LZMAError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"the shipped {file} is damaged: {error}", hint) from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise DataError(f"the shipped {file} is damaged: its content has the wrong checksum", hint)
    return content.decode()
