"""Evaluations in this process: no start-up, nothing to pickle, nothing between the evaluator and a debugger."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from evo.errors import EvoError, ExecutorError
from evo.executors.base import Block, Completed, EvaluatorRecipe, ExecutorState, Limits
from evo.executors.limits import Expired, Threads, TimeLimit, seconds_allowed
from evo.executors.retry import Fault, Job, Ledger
from evo.executors.worker import BlockWorker

_NAME = "inline"
_FIRST_GUESS = 256


class InlineExecutor:
    """Runs blocks in `poll`, one after the other.

    A candidate that raises, allocates without end or hangs in Python code is isolated as on a cluster. One that
    calls `os._exit` or hangs inside C code takes this process with it; the run can then be resumed, with Ray.

    Args:
        limits: see `Limits`. A time limit needs the main thread (it is a timer signal).
        allowance_s: added to the deadline of each call (first calls compile and fill caches).
    """

    def __init__(self, limits: Limits | None = None, allowance_s: float = 10.0) -> None:
        self.limits = limits or Limits()
        self._allowance_s = allowance_s
        self._ledger = Ledger(self.limits.attempts, self.limits.timeout_s)
        self._queue: deque[Job] = deque()
        self._incidents: Counter[str] = Counter()
        self._recipe: EvaluatorRecipe | None = None
        self._worker: BlockWorker | None = None
        self._threads: Threads | None = None
        self._timer: TimeLimit | None = None
        self._largest = 0

    def start(self, recipe: EvaluatorRecipe) -> None:
        """Build the evaluator in this process; nothing may be in flight."""
        if self._queue:
            raise ExecutorError("the executor was started again with blocks in flight", "poll until it is empty")
        self._build(recipe)
        self._recipe = recipe
        if self.limits.timeout_s is not None and self._timer is None:
            self._timer = TimeLimit()

    def _build(self, recipe: EvaluatorRecipe) -> None:
        if self._threads is None:
            self._threads = Threads(self.limits.threads)
        self._worker = BlockWorker(recipe, self.limits, self._threads, _NAME)

    def submit(self, blocks: Sequence[Block]) -> None:
        """Queue blocks."""
        if self._worker is None:
            raise ExecutorError("the executor was not started, or was closed")
        for block in blocks:
            self._largest = max(self._largest, len(block.requests))
            self._queue.append((self._ledger.open(block),))

    def poll(self, timeout: float) -> list[Completed]:
        """Run until a block is complete; that takes as long as it takes, whatever `timeout`. Empty without work.

        Raises:
            EvaluatorError: the evaluator broke its contract; all blocks in flight are then given up.
        """
        while self._queue:
            # The job leaves the queue only when it is done, so that Ctrl-C in the middle of it loses nothing.
            try:
                completed = self._run(self._queue[0])
            except EvoError:
                self._queue.clear()
                self._ledger.clear()
                raise
            if completed:
                return completed
        return []

    def _run(self, job: Job) -> list[Completed]:
        worker, timer = self._worker, self._timer
        if worker is None:
            raise ExecutorError("the executor was closed")
        (piece,) = job
        began = time.perf_counter()
        if timer is None:
            outcomes = worker.run(piece.requests)
        else:
            try:
                timer.arm(seconds_allowed(self.limits.timeout_s, piece.size, self._allowance_s))
                try:
                    outcomes = worker.run(piece.requests)
                finally:
                    timer.disarm()
            except Expired:
                timer.disarm()
                return self._expired(job, time.perf_counter() - began)
        self._queue.popleft()
        completed = self._ledger.done(piece, outcomes)
        return [completed] if completed else []

    def _expired(self, job: Job, seconds: float) -> list[Completed]:
        self._incidents["deadline"] += 1
        again, completed = self._ledger.fault(job, Fault("deadline", "", seconds, _NAME))
        if len(again) > 1:
            self._incidents["bisected"] += 1
        self._queue.popleft()
        self._queue.extendleft(reversed(again))
        # What was interrupted may be half changed.
        if self._recipe is not None:
            self._build(self._recipe)
        return completed

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """`[function(item) for item in items]`."""
        return [function(item) for item in items]

    @property
    def capacity(self) -> int:
        """Two blocks of the largest size seen, less what is queued."""
        return max(0, 2 * (self._largest or _FIRST_GUESS) - self._ledger.in_flight)

    def state(self) -> ExecutorState:
        """One worker, busy while blocks are queued."""
        return ExecutorState(1, int(bool(self._queue)), self._ledger.in_flight, dict(self._incidents))

    def close(self) -> None:
        """Give back the thread settings."""
        self._queue.clear()
        if self._threads is not None:
            self._threads.restore()
            self._threads = None
        self._worker = None
