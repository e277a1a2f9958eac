"""A build's surroundings: one process a folder, one thread of torch, files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import torch

from evo.errors import RunLockedError


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes.

    Raises:
        RunLockedError: another one has it.
    """
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunLockedError(f"another process builds in {folder}", "wait for it, or give another -o") from error
        yield


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: with more, sums are formed in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def replace(path: Path, content: bytes) -> None:
    """Write a file so that, whenever the machine stops, the old or the new content is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    with open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
