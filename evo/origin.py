"""Where a run comes from: the configuration it was made with, and the versions and commit that made it."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from evo.config import Config
from evo.run.store import RunStore


def stored_config(store: RunStore) -> Config:
    """The configuration a run was made with, as last resumed."""
    return Config.model_validate_json(json.dumps(store.meta()["config"]), strict=True)


def versions() -> dict[str, str]:
    """Versions of what affects a result."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("evo-search", "numpy", "torch", "ray", "xxhash", "optuna", "deap"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def git_commit() -> str | None:
    """The commit of the source tree (with "+dirty" where it was changed), or None outside one."""
    root = Path(__file__).resolve().parent.parent
    try:
        commit = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=5
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+dirty" if dirty else "")
