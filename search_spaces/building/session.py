"""A build's surroundings: one process a folder, one thread of torch."""

from __future__ import annotations

import contextlib
import fcntl
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
