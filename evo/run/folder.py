"""Names of runs: RUN on the command line is a path, a name, a unique prefix of one, or `latest`."""

from __future__ import annotations

import difflib
import os
import re
import secrets
import time
from pathlib import Path

from evo.errors import RunNotFoundError

DATABASE = "run.db"
DEFAULT_RUNS_DIR = "runs"


def default_runs_dir() -> Path:
    """Where runs are looked for: $EVO_RUNS_DIR, or `runs` in the working directory."""
    return Path(os.environ.get("EVO_RUNS_DIR") or DEFAULT_RUNS_DIR)


def new_run_name(space: str) -> str:
    """A fresh name: <space>-<yyyymmdd-hhmmss>-<4 hex>; of "module:attr" the attribute."""
    word = re.sub(r"[^a-z0-9]+", "-", space.rpartition(":")[2].lower()).strip("-") or "run"
    return f"{word}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def is_run(path: Path) -> bool:
    """Whether a folder holds a run's database."""
    return (path / DATABASE).is_file()


def list_runs(runs_dir: Path | str | None = None) -> list[Path]:
    """The run folders directly under `runs_dir`, the one written to last first."""
    folder = default_runs_dir() if runs_dir is None else Path(runs_dir)
    if not folder.is_dir():
        return []
    found = [item for item in folder.iterdir() if is_run(item)]
    return sorted(found, key=lambda path: (last_written(path), path.name), reverse=True)


def last_written(path: Path) -> float:
    """Unix time of the last write to a run's database (its write-ahead log counts if it holds anything)."""
    times = []
    for name in (DATABASE, DATABASE + "-wal"):
        try:
            stat = (path / name).stat()
        except OSError:
            continue
        if name == DATABASE or stat.st_size:
            times.append(stat.st_mtime)
    return max(times, default=0.0)


def resolve_run(name: str | Path, runs_dir: Path | str | None = None) -> Path:
    """The folder of a run.

    Args:
        name: a path of the folder (or of its run.db), a name under `runs_dir`, a unique prefix of a name, or "latest".
        runs_dir: where names are looked for; None: `default_runs_dir()`.

    Raises:
        RunNotFoundError: none, or more than one, answers to it.
    """
    folder = default_runs_dir() if runs_dir is None else Path(runs_dir)
    text = str(name)
    path = Path(text)
    if path.name == DATABASE and path.is_file():
        return path.parent
    if text and text != "latest" and is_run(path):
        return path
    runs = list_runs(folder)
    if text == "latest":
        if runs:
            return runs[0]
        raise RunNotFoundError(
            f"there is no run in {folder.absolute()}", "start one with `evo run`, or name the folder with --runs-dir"
        )
    if is_run(folder / text) and text:
        return folder / text
    if path.is_dir() and (os.sep in text or path.is_absolute()):
        raise RunNotFoundError(
            f"{path} is no run: it holds no {DATABASE}", "name the folder that holds the run's files"
        )
    names = sorted(run.name for run in runs)
    matches = [candidate for candidate in names if text and candidate.startswith(text)]
    if len(matches) == 1:
        return folder / matches[0]
    if matches:
        listed = ", ".join(matches[:6]) + (f" and {len(matches) - 6} more" if len(matches) > 6 else "")
        raise RunNotFoundError(
            f"{text!r} fits {len(matches)} runs in {folder.absolute()}: {listed}", "give more of the name"
        )
    close = difflib.get_close_matches(text, names, n=3, cutoff=0.4)
    if close:
        hint = f"did you mean {' or '.join(close)}? `evo list` shows all"
    elif names:
        hint = f"{len(names)} other runs are there; `evo list` shows them"
    else:
        hint = "that folder holds no run; start one with `evo run`, or name another folder with --runs-dir"
    raise RunNotFoundError(f"no run called {text!r} in {folder.absolute()}", hint)
