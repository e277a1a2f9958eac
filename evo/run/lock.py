"""The lock of a run directory: one writer, and a message that names who holds it.

An advisory `flock` on `<run>/lock`: the kernel releases it when the holder dies, however it dies. The file's text
says who took it, for people.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from pathlib import Path
from types import TracebackType

from evo.errors import RunLockedError, UsageError


class RunLock:
    """Held from construction until `release` (or the end of the process).

    Raises:
        RunLockedError: another process holds the run; the message says which.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError(
                f"cannot write in {folder}: {error.strerror or error}", "a run writes to its folder; reading works"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._read_holder()
            os.close(self._descriptor)
            raise RunLockedError(
                f"run {folder.name} is held by {holder}",
                "wait for it, watch it with `evo watch`, or stop that process; reading (`evo show`) works meanwhile",
            ) from error
        text = json.dumps(
            {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time(), "command": sys.argv}
        ).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)

    def _read_holder(self) -> str:
        try:
            holder = json.loads(os.pread(self._descriptor, 65536, 0) or b"{}")
        except ValueError:
            holder = {}
        if not holder:
            return "another process"
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["since"]))
        return f"process {holder['pid']} on {holder['host']} since {since} ({' '.join(holder['command'])})"

    def release(self) -> None:
        """Let go; idempotent."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
