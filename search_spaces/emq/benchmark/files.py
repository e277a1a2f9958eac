"""Files of arrays with a checksum, written whole or not at all: tables, weights and what a build keeps on its way.

An .npz whose entry "meta" is UTF-8 JSON; its key "checksum" is the SHA-256 over everything else. The same content gives
the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.building.files import replace
from search_spaces.emq.benchmark.errors import BenchmarkFileError, DamagedBenchmarkError

META = "meta"


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> str:
    """Write arrays and JSON to `path` (.npz), replacing what is there in one step.

    Args:
        path: where.
        arrays: numbers or text, by name; nothing may be called "meta".
        meta: JSON; "checksum" is added.

    Returns:
        The checksum.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    checksum = digest(arrays, meta)
    text = json.dumps({**meta, "checksum": checksum}, sort_keys=True, allow_nan=False)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays, **{META: np.frombuffer(text.encode(), np.uint8)})
    replace(path, buffer.getvalue())
    return checksum


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What `write_arrays` wrote: arrays, and the JSON with its "checksum".

    Raises:
        BenchmarkFileError: there is no such file, or it is none of ours.
        DamagedBenchmarkError: it is cut short, or its checksum is wrong.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BenchmarkFileError(f"{path} cannot be read: {error.strerror or error}", "check the path") from error
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError, NotImplementedError) as error:
        if content[:2] == b"PK":
            raise DamagedBenchmarkError(f"{path} is damaged: {error}", _AGAIN) from error
        raise BenchmarkFileError(f"{path} is no .npz file: {error}", "give what `evo bench build` wrote") from error
    if META not in arrays:
        raise BenchmarkFileError(f"{path} has no entry {META!r}", "give what `evo bench build` wrote")
    try:
        meta = json.loads(arrays.pop(META).tobytes())
        checksum = meta.pop("checksum")
    except (ValueError, KeyError, AttributeError) as error:
        raise BenchmarkFileError(f"the {META!r} of {path} is not ours", "give what `evo bench build` wrote") from error
    if digest(arrays, meta) != checksum:
        raise DamagedBenchmarkError(f"{path} is damaged: its content has the wrong checksum", _AGAIN)
    return arrays, {**meta, "checksum": checksum}


def digest(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> str:
    """Hexadecimal SHA-256 of arrays (names, types, shapes, values) and JSON."""
    state = hashlib.sha256(json.dumps(meta, sort_keys=True, allow_nan=False).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        state.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        state.update(array.tobytes())
    return state.hexdigest()


_AGAIN = "delete it and build it again, or install the package again if it came with it"
