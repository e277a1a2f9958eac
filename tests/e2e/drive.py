"""A driver process for the kill tests: `python -m tests.e2e.drive FOLDER NAME SETTING [WRITES]`.

With WRITES it kills itself (SIGKILL) just before the WRITES-th time that it would begin or commit a write.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from evo.run.store import RunStore
from evo.search import Search
from tests.evo.engine import make

SETTINGS: dict[str, dict[str, Any]] = {
    "hurdle": {
        "options": {"rungs": 2, "hurdle": 0.3, "hurdle_after": 20, "functions": 300, "sleep_s": 0.0003, "noise": 0.1},
        "identity": {"audit": 0.1},
    },
    "elites": {
        "options": {"noise": 0.5, "functions": 500, "sleep_s": 0.0003},
        "strategy": {
            "name": "truncation",
            "options": {"population": 50, "parents": 5, "elites": 4, "replicates": 3, "salt": "generation"},
        },
    },
    "throughput": {
        "options": {"functions": 300, "sleep_s": 0.0003},
        "loop": {"mode": "throughput", "chunk": 16, "block": 8},
    },
}


def main() -> None:
    folder, name, setting = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    if len(sys.argv) > 4:
        _die_at(int(sys.argv[4]))
    path = folder / name
    if (path / "run.db").exists() and has_begun(path):
        Search.open(path).run()
    else:
        make(folder, name, **SETTINGS[setting]).run()


def has_begun(path: Path) -> bool:
    """Whether the run got as far as writing its configuration; a user would simply start anew otherwise."""
    import shutil
    import sqlite3

    try:
        with sqlite3.connect(path / "run.db") as db:
            if db.execute("SELECT 1 FROM meta WHERE key = 'config'").fetchone():
                return True
    except sqlite3.DatabaseError:
        pass
    shutil.rmtree(path)
    return False


def _die_at(writes: int) -> None:
    left = writes

    def counted(method: Any) -> Any:
        def wrapper(self: RunStore, *arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(self, *arguments)

        return wrapper

    RunStore._many = counted(RunStore._many)  # type: ignore[method-assign]
    RunStore.commit = counted(RunStore.commit)  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
