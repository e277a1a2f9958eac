"""Counters of a run: proposals, hits by kind, failures by kind, seconds hashed, evaluated and saved.

Statistics are for people; nothing that affects a result reads them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

KINDS = (
    "proposals", "told", "committed", "evaluations", "structural", "functional", "twin", "imported", "invalid",
    "reevaluated", "copies", "failed", "nan", "timeout", "quarantined", "stopped", "audits", "audit_disagreements",
    "calls",
)  # fmt: skip
SECONDS = ("hashed", "evaluated", "saved", "strategy", "store")


class Statistics:
    """Counts and seconds.

    `counts["evaluations"]` counts functions distinct in this run. `counts["copies"]` are the hits of a warm start,
    which proposes known genomes over and over to fill a population: they are neither hits of a kind nor time saved.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
        self.seconds: dict[str, float] = dict.fromkeys(SECONDS, 0.0)
        self.audit_largest = 0.0
        self._costs: dict[int, list[float]] = {}
        """A rung: seconds evaluated, requests, hits."""

    def evaluated(self, seconds: float, rung: int) -> None:
        """One request came back from the executor."""
        self.counts["calls"] += 1
        self.seconds["evaluated"] += seconds
        cost = self._costs.setdefault(rung, [0.0, 0.0, 0.0])
        cost[0] += seconds
        cost[1] += 1

    def hit(self, rung: int) -> None:
        """A hit saved the evaluations up to a rung.

        They are counted at the mean cost of a request over the whole run: the function's own cost, or the mean so far,
        would flatter, since what shares its block with few, or comes first on a cold worker, costs many times the mean.
        """
        for reached in range(rung + 1):
            self._costs.setdefault(reached, [0.0, 0.0, 0.0])[2] += 1
        self.seconds["saved"] = sum(seconds / calls * hits for seconds, calls, hits in self._costs.values() if calls)

    def audited(self, same: bool, apart: float) -> None:
        """A hit was evaluated all the same; `apart` is the largest relative difference of its values."""
        self.counts["audits"] += 1
        self.counts["audit_disagreements"] += not same
        self.audit_largest = max(self.audit_largest, apart)

    def as_json(self) -> dict[str, Any]:
        return {
            "counts": dict(self.counts),
            "seconds": {k: round(v, 4) for k, v in self.seconds.items()},
            "audit_largest": self.audit_largest,
            "costs": {str(rung): cost for rung, cost in self._costs.items()},
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Seconds of earlier sessions; counts that the journal does not hold."""
        self.seconds.update(saved.get("seconds", {}))
        self.audit_largest = saved.get("audit_largest", 0.0)
        self._costs = {int(rung): list(cost) for rung, cost in saved.get("costs", {}).items()}
        for kind in ("calls", "audits", "audit_disagreements"):
            self.counts[kind] = saved.get("counts", {}).get(kind, 0)
