"""What was done so far, value by value: lines of JSON with checksums that survive a kill at any time.

The first line says what is done; each further one is one result. A line that a kill cut short is the last one, and its
result is computed again; any other damage is an error, since what comes after it cannot be trusted either.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any

from search_spaces.building.errors import BenchmarkError, DamagedBenchmarkError


class LineJournal:
    """Results in the order in which they came; opened, it appends.

    Args:
        path: the file.
        identity: digest of everything that the results depend on.

    Attributes:
        entries: the results, JSON objects.

    Raises:
        BenchmarkError: the file belongs to a build of another identity.
        DamagedBenchmarkError: a line other than the last is damaged.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self.entries: list[dict[str, Any]] = []
        good = self._read(identity)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "ab")  # noqa: SIM115 - closed by `close`
        self._file.truncate(good)
        if not good:
            self._append({"identity": identity})

    def add(self, entry: dict[str, Any]) -> None:
        """Keep a result: when this returns it is on disk."""
        self._append(entry)
        self.entries.append(entry)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> LineJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, value: dict[str, Any]) -> None:
        text = json.dumps(value, separators=(",", ":")).encode()
        self._file.write(b"%08x %s\n" % (zlib.crc32(text), text))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self, identity: str) -> int:
        """Read what is there; returns the length of its good part."""
        if not self.path.is_file():
            return 0
        lines = self.path.read_bytes().splitlines(keepends=True)
        good = 0
        for number, line in enumerate(lines):
            value = _value(line)
            if value is None:
                if number == len(lines) - 1:
                    break
                raise DamagedBenchmarkError(
                    f"line {number + 1} of {self.path} is damaged", "delete the file, and its rows are measured again"
                )
            if number == 0:
                if value.get("identity") != identity:
                    raise BenchmarkError(
                        f"{self.path} was measured with other settings, weights, data or version",
                        "give the same settings, or another folder: -o FOLDER",
                    )
            else:
                self.entries.append(value)
            good += len(line)
        return good


def _value(line: bytes) -> dict[str, Any] | None:
    check, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or check != b"%08x" % zlib.crc32(text):
        return None
    value: dict[str, Any] = json.loads(text)
    return value
