"""What a simplification has decided, on disk: appended as it goes, recalled after a restart."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evo.errors import ConfigError, DamagedRunError


class Journal:
    """Decisions by name; each is made once, and recalled ever after.

    A file of JSON lines: first what the simplification was asked (`header`), then one decision a line. A last line that
    a kill cut short is dropped.

    Args:
        path: of the file; None keeps decisions in memory alone.
        header: JSON; a file with another one belongs to another simplification.

    Raises:
        ConfigError: the file belongs to another simplification.
        DamagedRunError: a line other than the last cannot be read.
    """

    def __init__(self, path: Path | None, header: Any) -> None:
        self._path = path
        self._known: dict[str, Any] = {}
        if path is None:
            return
        header = json.loads(json.dumps(header))
        lines = self._lines(path) if path.is_file() else []
        if not lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(header)
        elif lines[0] != header:
            raise ConfigError(
                f"{path} is the journal of another simplification (another program, seed or options)",
                "name another file, or remove this one to start anew",
            )
        self._known.update((line["what"], line["found"]) for line in lines[1:])

    def decide(self, what: str, decision: Callable[[], Any]) -> Any:
        """The decision of that name: recalled, or made by calling `decision` (which returns JSON) and kept."""
        if what not in self._known:
            self._known[what] = found = json.loads(json.dumps(decision()))
            if self._path is not None:
                self._append({"what": what, "found": found})
        return self._known[what]

    def _append(self, value: Any) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(value) + "\n")
            file.flush()
            os.fsync(file.fileno())

    @staticmethod
    def _lines(path: Path) -> list[Any]:
        """The whole lines of a file; a torn last one is cut off the file, so that the next starts cleanly."""
        text = path.read_text()
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            with path.open("r+") as file:
                file.truncate(len(whole.encode()))
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError:
            raise DamagedRunError(f"{path} cannot be read", "remove it to start the simplification anew") from None
