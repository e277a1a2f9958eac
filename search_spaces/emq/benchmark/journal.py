"""What was measured so far, row by row: lines of JSON with checksums that survive a kill at any time.

The first line says what is measured; each further one is a row's counts. A line that a kill cut short is the last one
and is measured again; any other damage is an error, since the rows after it cannot be trusted either.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from search_spaces.emq.benchmark.errors import BenchmarkError, DamagedBenchmarkError


class RowJournal:
    """Counts of correct answers by row; opened, it appends.

    Args:
        path: the file.
        identity: digest of everything that the counts depend on.

    Raises:
        BenchmarkError: the file belongs to a build of another identity.
        DamagedBenchmarkError: a line other than the last is damaged.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self.counts: dict[int, tuple[int, ...]] = {}
        good = self._read(identity)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "ab")  # noqa: SIM115 - closed by `close`
        self._file.truncate(good)
        if not good:
            self._append({"identity": identity})

    def add(self, row: int, counts: Sequence[int]) -> None:
        """Keep a row: when this returns it is on disk."""
        self._append({"row": row, "correct": list(counts)})
        self.counts[row] = tuple(counts)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> RowJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, value: dict[str, object]) -> None:
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
                self.counts[value["row"]] = tuple(value["correct"])
            good += len(line)
        return good


def _value(line: bytes) -> dict | None:
    check, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or check != b"%08x" % zlib.crc32(text):
        return None
    return json.loads(text)
