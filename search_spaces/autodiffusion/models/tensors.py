"""Files of tensors with what is known of them: safetensors, written whole or not at all, with a checksum."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search_spaces.autodiffusion.models.libraries import safetensors
from search_spaces.building.errors import BenchmarkError, DamagedBenchmarkError
from search_spaces.building.files import replace

META = "evo"
AGAIN = "delete it and build it again, or install the package again if it came with it"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and JSON, replacing what is there in one step; the same content gives the same bytes.

    Args:
        path: where; diffusers and safetensors read it as any other file of weights.
        tensors: by name.
        meta: JSON without NaN.
    """
    save = safetensors().torch.save
    held = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}
    text = json.dumps({"meta": meta, "sha256": _digest(held, meta)}, sort_keys=True, allow_nan=False)
    replace(path, _with_metadata(save(held), {"format": "pt", META: text}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote.

    Raises:
        BenchmarkError: there is no such file, or it is none of ours.
        DamagedBenchmarkError: its content does not match its checksum, or it is cut short.
        UsageError: safetensors is not installed.
    """
    library = safetensors()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be read: {error.strerror or error}", "check the path") from error
    try:
        tensors = library.torch.load(content)
        (length,) = struct.unpack("<Q", content[:8])
        stored = json.loads(content[8 : 8 + length])["__metadata__"][META]
        known = json.loads(stored)
        meta: dict[str, Any] = known["meta"]
    except (KeyError, TypeError) as error:
        raise BenchmarkError(f"{path} is none of our files", "give what `evo bench build` wrote") from error
    except (library.SafetensorError, ValueError, struct.error) as error:
        raise DamagedBenchmarkError(f"{path} is damaged: {error}", AGAIN) from error
    if _digest(tensors, meta) != known.get("sha256"):
        raise DamagedBenchmarkError(f"{path} is damaged: its content has the wrong checksum", AGAIN)
    return tensors, meta


def bytes_of(tensor: Tensor) -> bytes:
    """The values of a tensor, row by row, little-endian."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _with_metadata(content: bytes, metadata: Mapping[str, str]) -> bytes:
    # safetensors writes metadata in the order of a hash map, which differs from process to process
    (length,) = struct.unpack("<Q", content[:8])
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(content[8 : 8 + length])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def _digest(tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> str:
    state = hashlib.sha256(json.dumps(meta, sort_keys=True, allow_nan=False).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        state.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        state.update(bytes_of(tensor))
    return state.hexdigest()
