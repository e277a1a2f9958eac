"""What a stored status says now: a run that claims to be running may have been killed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Any

ACTIVE = ("preparing", "running", "closing", "reporting")
SILENT_S = 120.0
"""Seconds without a heartbeat after which a run on another machine counts as killed."""


def state_of(status: Mapping[str, Any]) -> str:
    """The state stored, or "killed" where its process is gone, or "empty" before anything was stored."""
    state = str(status.get("state") or "empty")
    if state not in ACTIVE:
        return state
    if status.get("host") == socket.gethostname() and status.get("pid"):
        return state if process_exists(int(status["pid"])) else "killed"
    heartbeat = float(status.get("heartbeat") or 0.0)
    return state if time.time() - heartbeat < SILENT_S else "killed"


def process_exists(pid: int) -> bool:
    """Whether a process of this machine has this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def failures_of(counts: Mapping[str, int]) -> dict[str, int]:
    """The kinds of failure that occurred, with their counts."""
    return {kind: counts[kind] for kind in ("invalid", "failed", "nan", "timeout", "quarantined") if counts.get(kind)}


def hits_of(counts: Mapping[str, int]) -> dict[str, int]:
    """Candidates whose observations were known already, by kind; the copies that a warm start begins with are none."""
    return {kind: int(counts.get(kind, 0)) for kind in ("structural", "functional", "twin", "imported")}


def searched(counts: Mapping[str, int]) -> int:
    """Candidates proposed, but for the copies of known genomes that a warm start begins with: what shares refer to."""
    return int(counts.get("proposals", 0)) - int(counts.get("copies", 0))


def reason_in_words(reason: str | None) -> str:
    """budget.evaluations as "the budget of evaluations is used up"."""
    if not reason:
        return ""
    known = {
        "interrupted": "stopped on request",
        "budget.target": "the target is reached",
        "budget.stall": "no new function for long: the space seems exhausted",
        "budget.wall": "the time is used up",
    }
    if reason in known:
        return known[reason]
    if reason.startswith("budget."):
        return f"the budget of {reason.partition('.')[2]} is used up"
    return reason
