"""The status of a run: what the live view, `evo list` and `evo show` read, and where budgets are counted.

The keys are: state, reason, pid, host, heartbeat, space, strategy, seed, name, session, budget, progress, eta_s,
elapsed_s, counts, seconds, rate, rate_evaluations, executor, leaders, curve, timeline, preparing, functions, closing
(what the closing phase did). Times here are for people and for the wall budget; no proposal depends on them.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evo.closing import Closing
from evo.config import Config
from evo.executors.base import Executor
from evo.leaders import Leader, standard_error
from evo.run.store import RunStore, dump, unpack
from evo.space import SearchSpace
from evo.statistics import Statistics

if TYPE_CHECKING:
    from evo.loop import Loop
    from evo.search import Session

OBSERVE_EVERY_S = 0.25
STATUS_EVERY_S = 1.0
TIMELINE_POINTS = 400
LEADERS = 50


def summary_of(space: SearchSpace[Any], genome: Any) -> str:
    """One line; a space that cannot describe a genome must not end its run."""
    try:
        return space.summary(genome)
    except Exception as error:
        return f"(summary failed: {type(error).__name__}: {error})"


class StatusBoard:
    """Counts budgets, writes the status row about once a second, calls the observer a few times a second."""

    def __init__(
        self, config: Config, path: Path, store: RunStore, observer: Callable[[dict[str, Any]], None] | None
    ) -> None:
        self.config = config
        self.path = path
        self.store = store
        self.observer = observer
        self.statistics = Statistics()
        self.loop: Loop | None = None
        self.executor: Executor | None = None
        saved = store.status()
        self.statistics.restore(saved)
        self._elapsed_before = float(saved.get("elapsed_s", 0.0))
        self._began = time.monotonic()
        self._prepared_s = 0.0
        self._shown = 0.0
        self._written = 0.0
        self._rates: list[tuple[float, int, int]] = []
        self._summaries: dict[int, str] = {}
        self._errors: dict[tuple[int, int], list[float | None]] = {}
        self._busy = [0.0, 0.0]
        self._last_timeline = -1e9
        self.status: dict[str, Any] = {
            "state": "preparing",
            "reason": "",
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "heartbeat": time.time(),
            "space": config.space,
            "strategy": config.strategy.name,
            "seed": config.seed,
            "name": path.name,
            "session": int(saved.get("session", 0)) + 1,
            "budget": config.budget.model_dump(mode="json"),
            "progress": 0.0,
            "eta_s": None,
            "elapsed_s": self._elapsed_before,
            "leaders": saved.get("leaders", []),
            "curve": saved.get("curve", []),
            "timeline": saved.get("timeline", []),
            "functions": saved.get("functions", 0),
            **self.statistics.as_json(),
        }

    # ------------------------------------------------------------------ budgets

    @property
    def elapsed(self) -> float:
        """Seconds over all sessions."""
        return self._elapsed_before + time.monotonic() - self._began

    def _shares(self) -> dict[str, float]:
        budget, loop = self.config.budget, self.loop
        assert loop is not None
        shares: dict[str, float] = {}
        if budget.evaluations is not None:
            shares["evaluations"] = loop.functions / budget.evaluations
        if budget.proposals is not None:
            shares["proposals"] = loop.next_id / budget.proposals
        if budget.wall is not None:
            shares["wall"] = self.elapsed / budget.wall
        return shares

    def budget_reached(self) -> str:
        """The name of the budget that is used up, or ""; the wall counts at a window's end only."""
        loop, budget = self.loop, self.config.budget
        assert loop is not None
        for name, share in self._shares().items():
            if share >= 1.0 and (name != "wall" or loop.next_id >= loop.window_end):
                return f"budget.{name}"
        if budget.target is not None and loop.reached is not None and not loop.telling:
            better = loop.reached[0] >= budget.target
            if loop.space.objectives[0].direction == "minimise":
                better = loop.reached[0] <= budget.target
            if better:
                return "budget.target"
        if budget.stall is not None and loop.next_id - loop.last_found - 1 >= budget.stall:
            return "budget.stall"
        return ""

    def proposals_left(self) -> int:
        """How many proposals may be asked for without overshooting a count."""
        loop, budget = self.loop, self.config.budget
        assert loop is not None
        left = loop.settings.chunk
        if budget.proposals is not None:
            left = min(left, budget.proposals - loop.next_id)
        if budget.evaluations is not None:
            left = min(left, budget.evaluations - loop.functions)
        return max(1, left)

    # ------------------------------------------------------------------ life

    def begin(self) -> None:
        """The session starts."""
        self.store.add_event("session", number=self.status["session"], pid=os.getpid(), host=socket.gethostname())
        self._write()

    def attach(self, loop: Loop, executor: Executor) -> None:
        self.loop, self.executor = loop, executor
        self._prepared_s = time.monotonic() - self._began
        self.status["state"] = "running"
        self.status.pop("preparing", None)

    def preparing(self, done: int, total: int, what: str) -> None:
        """Progress of `SearchSpace.prepare`."""
        self.status["preparing"] = {"done": done, "total": total, "what": what}
        self.status["elapsed_s"] = round(self.elapsed, 3)
        now = time.monotonic()
        if now - self._shown >= OBSERVE_EVERY_S or done == total:
            self._shown = now
            self._notify()

    def closing(self, done: int, total: int) -> None:
        """Progress of the closing phase, see `evo.closing`."""
        self.status["state"] = "closing"
        self.preparing(done, total, "evaluating the leaders again")

    def closed(self, found: Closing | None) -> None:
        """What the closing phase did; None where it was stopped."""
        self.status.pop("preparing", None)
        self.status["closing"] = found._asdict() if found is not None else None
        assert self.loop is not None
        self.loop.improved = True

    def reporting(self) -> None:
        self.status["state"] = "reporting"
        self.refresh()
        self._write()
        self._notify()

    def tick(self, session: Session) -> None:
        """Called often; does something a few times a second."""
        if self.loop is not None and self.loop.improved:
            self._add_point(self.loop)
        now = time.monotonic()
        if now - self._shown < OBSERVE_EVERY_S:
            return
        self._shown = now
        self.refresh()
        self._notify()
        if now - self._written >= STATUS_EVERY_S:
            self._write()

    def end(self, session: Session, state: str, reason: str) -> None:
        self.status["state"], self.status["reason"] = state, reason
        self.refresh(final=True)
        self.store.add_event(state, reason=reason)
        self._write()
        self._notify()

    def failed(self, session: Session | None, error: BaseException) -> None:
        """Best effort: the disk may be full."""
        self.status["state"], self.status["reason"] = "failed", f"{type(error).__name__}: {error}"
        try:
            if self.loop is not None:
                self.refresh(final=True)
            self._write()
        except Exception as second:
            self.status["reason"] += f" (and the status could not be written: {second})"

    # ------------------------------------------------------------------ assembling

    def refresh(self, final: bool = False) -> None:
        """Bring the status up to date."""
        loop, executor, status = self.loop, self.executor, self.status
        if loop is None:
            return
        counts = self.statistics.counts
        counts["proposals"] = loop.next_id
        counts["evaluations"] = loop.functions
        elapsed = self.elapsed
        status.update(self.statistics.as_json())
        status["functions"] = loop.functions
        status["elapsed_s"] = round(elapsed, 3)
        status["heartbeat"] = time.time()
        shares = self._shares()
        status["progress"] = round(min(1.0, max(shares.values(), default=0.0)), 4)
        now = time.monotonic()
        self._rates.append((now, loop.next_id, loop.functions))
        while len(self._rates) > 2 and now - self._rates[0][0] > 10.0:
            self._rates.pop(0)
        then, proposals, functions = self._rates[0]
        span = max(1e-9, now - then)
        if not final or status.get("rate") is None:
            status["rate"] = round((loop.next_id - proposals) / span, 2) if span > 0.2 else 0.0
            status["rate_evaluations"] = round((loop.functions - functions) / span, 2) if span > 0.2 else 0.0
        status["eta_s"] = self._eta(shares, elapsed) if not final else None
        if executor is not None:
            self._executor_status(executor)
        if loop.improved or final:
            loop.improved = False
            self._leaders(loop)
        self._add_point(loop)
        if elapsed - self._last_timeline >= max(0.5, elapsed / TIMELINE_POINTS) or final:
            self._last_timeline = elapsed
            timeline = status["timeline"]
            timeline.append([round(elapsed, 3), dict(counts), status["seconds"]])
            if len(timeline) > TIMELINE_POINTS:
                del timeline[1:-1:2]

    def _add_point(self, loop: Loop) -> None:
        """The best so far, where it is another than before; asked after each improvement, however short the run."""
        best, curve = loop.leaders.best, self.status["curve"]
        if best is not None and (not curve or curve[-1][3] != list(best.values)):
            curve.append([loop.functions, loop.next_id, round(self.elapsed, 3), list(best.values)])

    def _executor_status(self, executor: Executor) -> None:
        state = executor.state()
        self._busy[0] += state.busy
        self._busy[1] += max(1, state.workers)
        self.status["executor"] = {
            "kind": self.config.executor.kind,
            "workers": state.workers,
            "busy": state.busy,
            "in_flight": state.in_flight,
            "utilisation": round(self._busy[0] / self._busy[1], 3),
            "incidents": dict(state.incidents),
        }
        if self._busy[1] > 400 * max(1, state.workers):
            self._busy = [self._busy[0] / 2, self._busy[1] / 2]

    def _eta(self, shares: dict[str, float], elapsed: float) -> float | None:
        this = time.monotonic() - self._began
        share = max(shares.values(), default=0.0)
        if share <= 0.001 or this < 1.0:
            return None
        if shares.get("wall") != share:
            # counts grow with the search; what was prepared before it is no part of their pace
            elapsed = max(0.0, elapsed - self._prepared_s)
        return round(max(0.0, elapsed / share - elapsed), 1)

    def _leaders(self, loop: Loop) -> None:
        leaders = loop.leaders.top(LEADERS)
        kept = {leader.id for leader in leaders}
        self._summaries = {i: s for i, s in self._summaries.items() if i in kept}
        lines = {(leader.id, leader.replicates) for leader in leaders}
        self._errors = {line: errors for line, errors in self._errors.items() if line in lines}
        for leader in leaders:
            if leader.id not in self._summaries:
                self._summaries[leader.id] = summary_of(loop.space, leader.genome)
        self.status["leaders"] = [
            {
                "id": leader.id,
                "function": leader.function,
                "values": list(leader.values),
                "status": leader.status,
                "rung": leader.rung,
                "operator": leader.operator,
                "parents": list(leader.parents),
                "replicates": leader.replicates,
                "confirmed": loop.leaders.confirmed(leader.function),
                "errors": self._errors_of(loop, leader),
                "summary": self._summaries[leader.id],
            }
            for leader in leaders
        ]

    def _errors_of(self, loop: Loop, leader: Leader) -> list[float | None]:
        """The standard error of each value, from all the observations behind it; None where that is not known: of a
        cost, of one observation, and where the function was observed under other seeds too (salts, forgetting)."""
        line = (leader.id, leader.replicates)
        if line not in self._errors:
            rows = self.store.rows(
                "SELECT vals FROM observations WHERE function=? AND rung=? AND request=0 AND status='ok'",
                (leader.function, loop.space.rungs[leader.rung].name),
            )
            again = loop.leaders.observed(leader.function)
            observations = [*(unpack(vals) for (vals,) in rows), *again.values()]
            known = len(observations) == leader.replicates
            columns = iter([standard_error(column) for column in zip(*observations, strict=True)] if known else ())
            self._errors[line] = [None if o.cost else next(columns, None) for o in loop.space.objectives]
        return self._errors[line]

    def _write(self) -> None:
        self._written = time.monotonic()
        self.store.set_status(self.status)
        self.store.commit()
        if self.store.network:
            temporary = self.path / "status.json.tmp"
            temporary.write_text(dump(self.status))
            temporary.replace(self.path / "status.json")

    def _notify(self) -> None:
        if self.observer is not None:
            self.observer(self.status)
