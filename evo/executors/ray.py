"""Evaluations on Ray: whole blocks in few calls, two in flight a worker; what crashes or hangs is isolated."""

from __future__ import annotations

import math
import pickle
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import ray

from evo.codebase import local_paths
from evo.errors import EvoError, ExecutorError
from evo.executors.base import Block, Completed, EvaluatorRecipe, ExecutorState, Limits
from evo.executors.calls import Answered, Lost, Patience, Worker
from evo.executors.cluster import connect
from evo.executors.codec import pack_requests, unpack_outcomes
from evo.executors.limits import seconds_allowed
from evo.executors.pool import WorkerPool
from evo.executors.retry import Fault, Job, Ledger, Piece
from evo.executors.shipping import pack_code, project_root
from evo.registry import resolve_space

CALL_SECONDS = 0.075
"""Aim of a call's length: Ray's own cost of about 1 ms then stays near 1 %."""

SHORTEST_CALL_SECONDS = 0.003
"""Less work than this is not split over workers, nor sent while the caller has more to submit: a call costs about
0.7 ms of the driver's CPU."""

LONGEST_HOLD_SECONDS = 0.02
"""So long may little work be held back for more to join it."""

PATIENCE_FACTOR = 30.0
"""The others of a call may take so many times the mean so far. A call cut too early is only tried again in pieces."""

WARM_ALLOWANCE_SECONDS = 2.0
"""Added to the deadline of a call to a worker that has answered before: a busy machine may be slow to start it."""

_DEPTH = 2
_FIRST_GUESS = 256
_MEMORY = 0.3  # weight of the newest call in the running mean of seconds a request


class _Mapped(NamedTuple):
    start: int
    items: Sequence[Any]
    tries: int


class RayExecutor:
    """Runs blocks on long-lived worker processes of a local Ray or of a cluster.

    Args:
        workers: how many, or "auto" for one a CPU of the cluster.
        address: None starts a local Ray; "auto" or "host:port" joins a cluster, to which the project's code and the
            import roots are then shipped.
        limits: see `Limits`.
        import_roots: directories that mapped functions need before `start`; a recipe's own are used after it.
        gpus_per_worker: a share of a GPU a worker; then there are as many workers as fit.
        allowance_s: added to the deadline of a worker's first calls, which compile and fill caches;
            `WARM_ALLOWANCE_SECONDS` at most once one came back.
        patience: see `Patience`.

    Raises:
        ExecutorError: Ray cannot be reached.
    """

    def __init__(
        self,
        workers: int | str = "auto",
        address: str | None = None,
        limits: Limits | None = None,
        *,
        import_roots: Sequence[str] = (),
        gpus_per_worker: float = 0.0,
        allowance_s: float = 10.0,
        patience: Patience | None = None,
    ) -> None:
        self.limits = limits or Limits()
        wanted = None if workers == "auto" else int(workers)
        if wanted is not None and wanted < 1:
            raise ExecutorError(f"{wanted} workers", 'give a positive number or "auto"')
        self._owned = connect(address, wanted)
        self._ships = address is not None
        # A user who sets a short limit has cheap evaluations, and would wait for each bisection of a hang.
        short = self.limits.timeout_s is not None and self.limits.timeout_s < 2.0
        self._allowance_s = min(allowance_s, 3.0) if short else allowance_s
        self._pool = WorkerPool(wanted, self.limits, gpus_per_worker, patience)
        self._ledger = Ledger(self.limits.attempts, self.limits.timeout_s)
        self._fresh: deque[Piece] = deque()
        self._fresh_requests = 0
        self._held_since = 0.0
        self._careful: deque[Job] = deque()
        self._completed: list[Completed] = []
        self._seconds_per_request: float | None = None
        self._largest = 0
        self._started = False
        self._closed = False
        self._use_code(tuple(import_roots))

    def _use_code(self, roots: tuple[str, ...]) -> None:
        if self._ships:
            self._pool.use_code([], (*pack_code(roots), len(roots)))
        else:
            self._pool.use_code([project_root(), *local_paths()], None)

    def start(self, recipe: EvaluatorRecipe) -> None:
        """Build the evaluators; returns once the first worker is ready. Nothing may be in flight."""
        self._check_open()
        if len(self._ledger):
            raise ExecutorError("the executor was started again with blocks in flight", "poll until it is empty")
        self._use_code(recipe.import_roots)
        # A machine to which the code was shipped has no entry points.
        sent = replace(recipe, space=resolve_space(recipe.space), prepared=None)
        self._pool.set_up(pickle.dumps((sent, self.limits)), recipe.prepared)
        self._seconds_per_request = None
        self._started = True

    def submit(self, blocks: Sequence[Block]) -> None:
        """Queue blocks, and send them where a worker idles; otherwise, or if they are little work, `poll` sends them,
        in larger calls."""
        self._check_open()
        if not self._started:
            raise ExecutorError("the executor was not started")
        for block in blocks:
            self._largest = max(self._largest, len(block.requests))
            piece = self._ledger.open(block)
            if not self._fresh:
                self._held_since = time.monotonic()
            self._fresh.append(piece)
            self._fresh_requests += piece.size
        if any(not worker.calls for worker in self._pool.ready):
            self._dispatch(hold=True)

    def poll(self, timeout: float) -> list[Completed]:
        """Completed blocks; waits at most `timeout` seconds for the first. Empty at once if nothing is in flight.

        Raises:
            EvaluatorError: the evaluator broke its contract, or cannot be built.
            ExecutorError: no worker can be had.
            All blocks in flight are then given up.
        """
        self._check_open()
        try:
            return self._poll(timeout)
        except EvoError:
            self._give_up()
            raise

    def _give_up(self) -> None:
        self._pool.abandon()
        self._ledger.clear()
        self._fresh.clear()
        self._fresh_requests = 0
        self._careful.clear()
        self._completed.clear()

    def _poll(self, timeout: float) -> list[Completed]:
        end = time.monotonic() + timeout
        while True:
            self._pool.tend()
            self._dispatch(hold=timeout <= 0.0)
            left = end - time.monotonic()
            if self._completed or not len(self._ledger):
                left = 0.0
            for event in self._pool.gather(max(0.0, min(left, 1.0))):
                if isinstance(event, Answered):
                    self._answered(event)
                else:
                    self._lost(event)
            if self._completed or not len(self._ledger) or time.monotonic() >= end:
                self._dispatch(hold=True)
                completed, self._completed = self._completed, []
                return completed

    def _answered(self, event: Answered) -> None:
        job: Job = event.tag
        for piece, packed in zip(job, event.answer.pieces, strict=True):
            completed = self._ledger.done(piece, unpack_outcomes(packed))
            if completed:
                self._completed.append(completed)
        newest = event.answer.seconds / sum(piece.size for piece in job)
        mean = self._seconds_per_request
        self._seconds_per_request = newest if mean is None else mean + _MEMORY * (newest - mean)

    def _lost(self, event: Lost) -> None:
        # Calls behind the first had not begun. They go again, alone on their worker, so that no innocent call is
        # lost with them a second time.
        suspect, *others = event.tags
        fault = Fault(event.cause, event.detail, event.seconds, event.worker.name)
        again, completed = self._ledger.fault(suspect, fault)
        if len(again) > 1:
            self._pool.incidents["bisected"] += 1
        self._careful.extend(again)
        self._careful.extend(others)
        self._completed.extend(completed)

    # Sending ----------------------------------------------------------------------------------------------------

    def _dispatch(self, hold: bool) -> None:
        if not self._fresh and not self._careful:
            return
        mean = self._seconds_per_request
        little = mean is not None and self._fresh_requests * mean < SHORTEST_CALL_SECONDS
        if hold and little and not self._careful and time.monotonic() < self._held_since + LONGEST_HOLD_SECONDS:
            return
        ready = [worker for worker in self._pool.ready if not worker.alone]
        for depth in range(_DEPTH):
            for worker in ready:
                if len(worker.calls) != depth or worker.alone:
                    continue
                if self._careful and depth == 0:
                    self._send(worker, self._careful.popleft(), alone=True)
                elif self._fresh and not (self._careful and depth):
                    # While suspects wait, second calls are held back: workers must come free for them.
                    self._send(worker, self._take(ready), alone=False)

    def _take(self, ready: Sequence[Worker]) -> Job:
        """Blocks for one call: an even share of what waits, but at least `SHORTEST_CALL_SECONDS` and at most
        `CALL_SECONDS` of work (and never less than a block)."""
        slots = sum(_DEPTH - len(worker.calls) for worker in ready)
        share = math.ceil(len(self._fresh) / max(1, slots))
        job, requests = [self._fresh.popleft()], 0
        mean = self._seconds_per_request
        while self._fresh and mean is not None:
            requests += job[-1].size
            if requests * mean >= (CALL_SECONDS if len(job) < share else SHORTEST_CALL_SECONDS):
                break
            job.append(self._fresh.popleft())
        self._fresh_requests -= sum(piece.size for piece in job)
        return tuple(job)

    def _send(self, worker: Worker, job: Job, alone: bool) -> None:
        payload = pickle.dumps([pack_requests(piece.requests) for piece in job], pickle.HIGHEST_PROTOCOL)
        allowance = min(self._allowance_s, WARM_ALLOWANCE_SECONDS) if worker.warm else self._allowance_s
        size, mean = sum(piece.size for piece in job), self._seconds_per_request
        allowed = seconds_allowed(self.limits.timeout_s, size, allowance)
        if mean is not None and self.limits.timeout_s is not None:
            # One request may take the whole limit; that all of them do is not to be waited for.
            usual = min(self.limits.timeout_s, PATIENCE_FACTOR * mean)
            allowed = self.limits.timeout_s + allowance + (size - 1) * usual
        self._pool.send(worker, "run", payload, job, allowed, alone)

    # The rest of the contract -----------------------------------------------------------------------------------

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """`function` over `items` on the workers, in order; before `start` too, but with no block in flight.

        Raises:
            ExecutorError: blocks are in flight, or an item took its worker down `limits.attempts` times.
            Exception: whatever `function` raised.
        """
        self._check_open()
        if len(self._ledger):
            raise ExecutorError("map was called with blocks in flight")
        if not items:
            return []
        if not self._started:
            self._pool.set_up(pickle.dumps((None, self.limits)), None)
        try:
            return self._map(function, items)
        except BaseException:
            self._pool.abandon()
            raise

    def _map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        size = max(1, len(items) // (16 * max(1, len(self._pool.workers))))
        waiting = deque(_Mapped(i, items[i : i + size], 0) for i in range(0, len(items), size))
        results: dict[int, list[Any]] = {}
        count = len(waiting)
        while len(results) < count:
            self._pool.tend()
            for worker in self._pool.ready:
                if waiting and not worker.calls:
                    chunk = waiting.popleft()
                    payload = ray.cloudpickle.dumps((function, chunk.items))
                    self._pool.send(worker, "apply", payload, chunk, math.inf)
            for event in self._pool.gather(0.5):
                if isinstance(event, Answered):
                    results[event.tag.start] = event.answer.pieces
                    continue
                (chunk,) = event.tags
                if chunk.tries + 1 >= self.limits.attempts:
                    raise ExecutorError(
                        f"mapping {getattr(function, '__name__', function)} over item {chunk.start} took its worker "
                        f"down {chunk.tries + 1} times: {event.detail}"
                    )
                waiting.append(chunk._replace(tries=chunk.tries + 1))
        return [result for start in sorted(results) for result in results[start]]

    @property
    def capacity(self) -> int:
        """Requests that would give each ready worker two calls of the aimed length (at least one block each)."""
        block = self._largest or _FIRST_GUESS
        seconds = self._seconds_per_request
        per_call = block if not seconds else max(block, int(CALL_SECONDS / seconds))
        return max(0, _DEPTH * per_call * len(self._pool.ready) - self._ledger.in_flight)

    def state(self) -> ExecutorState:
        """Ready workers, those with a call, requests in flight, incidents so far."""
        ready = self._pool.ready
        busy = sum(bool(worker.calls) for worker in ready)
        return ExecutorState(len(ready), busy, self._ledger.in_flight, dict(self._pool.incidents))

    def close(self) -> None:
        """Kill the workers; end Ray if this executor started or joined it."""
        if self._closed:
            return
        self._closed = True
        self._give_up()
        self._pool.close()
        if self._owned:
            ray.shutdown()

    def _check_open(self) -> None:
        if self._closed:
            raise ExecutorError("the executor was closed")
