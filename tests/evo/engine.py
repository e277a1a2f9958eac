"""Helpers of the engine's tests: short runs of the no-op space."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from evo.run.journal import journal_parts
from evo.search import RunResult, Search

NOOP = "evo.testing.noop:NoOpSpace"
ELITES = {"population": 50, "parents": 5, "elites": 4, "replicates": 3}
"""Options of the truncation algorithm with which 600 candidates make eleven generations, each with re-evaluations."""


def make(folder: Path, name: str, space: str = NOOP, **sections: Any) -> Search:
    """A search over the no-op space: inline, small chunks, regularized evolution over 50."""
    settings: dict[str, Any] = {
        "options": {},
        "strategy": {"name": "regularized", "options": {"population": 50, "tournament": 3}},
        "budget": {"proposals": 600, "stall": None},
        "loop": {"chunk": 16, "lag": 40, "block": 8, "snapshot_every": 100},
        "executor": {"kind": "inline", "timeout_s": None, "memory_mb": None},
        "report": {"candidates": 0},
        "seed": 7,
    }
    settings.update(sections)
    return Search(space, name=name, runs_dir=str(folder), **settings)


def run(folder: Path, name: str, **sections: Any) -> RunResult:
    """Run `make(...)` to its end."""
    return make(folder, name, **sections).run()


def stop_after(search: Search, proposals: int) -> RunResult:
    """Run, and ask for a stop once so many candidates were proposed (checked between chunks)."""
    import evo.search

    original = evo.search.StatusBoard.budget_reached

    def watch(board: Any) -> str:
        if board.loop.next_id >= proposals:
            search.stop()
        return original(board)

    evo.search.StatusBoard.budget_reached = watch  # type: ignore[method-assign]
    try:
        return search.run()
    finally:
        evo.search.StatusBoard.budget_reached = original  # type: ignore[method-assign]


def parts(result: RunResult | Path) -> dict[str, str]:
    """The journal's digests, table by table."""
    return journal_parts(result.path if isinstance(result, RunResult) else result)


def query(result: RunResult | Path, statement: str) -> list[tuple[Any, ...]]:
    """Rows of run.db."""
    path = result.path if isinstance(result, RunResult) else result
    with sqlite3.connect(path / "run.db") as connection:
        return connection.execute(statement).fetchall()
