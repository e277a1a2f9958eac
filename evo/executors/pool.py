"""Worker processes on Ray, and the calls in flight on them: placed, watched, killed and replaced by us.

Ray notices a frozen node after a minute; so each call has our own deadline. Placement is ours too (a hard affinity to
a node), so that a replacement does not land on the node that has just frozen. Nothing here knows of blocks.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from evo.errors import EvaluatorError, EvoError, ExecutorError, WorkerMismatchError
from evo.executors import remote
from evo.executors.base import Limits
from evo.executors.calls import Answered, Call, Lost, Patience, Setup, Worker
from evo.executors.cluster import Node, alive_nodes
from evo.executors.host import Raised, Ready
from evo.executors.limits import thread_variables
from evo.executors.retry import Cause

logger = logging.getLogger(__name__)

_PASSED_ON = ("ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES", "TRITON_INTERPRET")
_BUILD_CRASHES = 3


class WorkerPool:
    """As many evaluator processes as wanted and possible.

    Args:
        workers: how many, or None for all that the cluster's CPUs (and GPUs) allow.
        limits: threads are set in the workers' environment.
        gpus_per_worker: a share of a GPU for each worker; bookkeeping alone, Ray does not divide its memory.
        patience: see `Patience`.
    """

    def __init__(
        self, workers: int | None, limits: Limits, gpus_per_worker: float = 0.0, patience: Patience | None = None
    ) -> None:
        self.workers: list[Worker] = []
        self.incidents: Counter[str] = Counter()
        self._wanted = workers
        self._limits = limits
        self._gpus = gpus_per_worker
        self._patience = patience or Patience()
        self._calls: dict[Any, Call] = {}
        self._suspects: dict[str, float] = {}
        self._refused: dict[str, EvoError] = {}
        self._setup: tuple[bytes, list[Any]] | None = None
        self._paths: list[str] = []
        self._shipped: tuple[list[Any], str, int] | None = None
        self._generation = 0
        self._headless = False
        self._build_crashes = 0
        self._last_detail = ""
        self._next_tend = 0.0
        self._last_ready = time.monotonic()
        # By value: a worker on another machine must be able to load the class before it has the project.
        ray.cloudpickle.register_pickle_by_value(remote)
        self._class = ray.remote(remote.RemoteWorker)

    # Set-up -----------------------------------------------------------------------------------------------------

    def use_code(self, paths: Sequence[str], shipped: tuple[bytes, str, int] | None) -> None:
        """Where workers find the project: directories of this machine, or an archive that is put in the object
        store once. Workers that run with other code are replaced."""
        before = None if self._shipped is None else self._shipped[1:]
        after = None if shipped is None else shipped[1:]
        if before == after and self._paths == list(paths):
            return
        self._paths = list(paths)
        self._shipped = None if shipped is None else ([ray.put(shipped[0])], shipped[1], shipped[2])
        self._discard_all()

    def set_up(self, payload: bytes, prepared: Any) -> None:
        """Have every worker, now and later, build from `payload`; waits until one is ready.

        Args:
            payload: pickled (recipe without `prepared`, or None; limits).
            prepared: put once in the object store.

        Raises:
            EvaluatorError, WorkerMismatchError, ExecutorError.
        """
        self._setup = (payload, [] if prepared is None else [ray.put(prepared)])
        self._generation += 1
        self._refused.clear()
        self._build_crashes = 0
        self._last_ready = time.monotonic()
        for worker in self.workers:
            worker.ready = False
            self._send_setup(worker)
        self._next_tend = 0.0
        while not self.ready:
            self.tend()
            self.gather(0.5)

    @property
    def ready(self) -> list[Worker]:
        """Workers that can take calls."""
        return [worker for worker in self.workers if worker.ready]

    @property
    def calls_in_flight(self) -> int:
        """Calls other than set-ups."""
        return sum(not isinstance(call.tag, Setup) for call in self._calls.values())

    # Calls ------------------------------------------------------------------------------------------------------

    def send(
        self, worker: Worker, method: str, payload: bytes, tag: Any, allowed_s: float, alone: bool = False
    ) -> None:
        """Send a call; it comes back from `gather`, as `Answered` or in a `Lost`."""
        self._register(worker, getattr(worker.actor, method).remote(payload), tag, allowed_s, alone)

    def _register(self, worker: Worker, ref: Any, tag: Any, allowed_s: float, alone: bool) -> None:
        call = Call(worker, ref, tag, allowed_s, alone, time.monotonic())
        self._calls[ref] = call
        worker.calls.append(call)

    def _send_setup(self, worker: Worker) -> None:
        if self._setup is not None:
            payload, prepared = self._setup
            ref = worker.actor.setup.remote(payload, prepared)
            self._register(worker, ref, Setup(self._generation), self._patience.start_s, False)

    def gather(self, wait: float) -> list[Answered | Lost]:
        """What came back, waiting at most `wait` seconds for the first; overdue calls end their worker.

        Raises:
            EvoError: what a worker raised on purpose (its evaluator broke its contract, say).
        """
        refs = list(self._calls)
        if not refs:
            time.sleep(min(wait, 0.1))
            return []
        overdue_in = min(w.calls[0].began + w.calls[0].allowed_s for w in self.workers if w.calls) - time.monotonic()
        ready, _ = ray.wait(refs, num_returns=1, timeout=max(0.0, min(wait, overdue_in)))
        if ready:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        events: list[Answered | Lost] = []
        failures: list[tuple[Call, str]] = []
        now = time.monotonic()
        for ref, reply in zip(ready, _get(ready), strict=True):
            call = self._calls[ref]
            if isinstance(reply, bytes):
                self._answered(call, pickle.loads(reply), events, now)
            else:
                failures.append((call, _shortened(reply)))
        for call, detail in failures:
            if call.ref in self._calls:  # else its worker was lost with an earlier one
                self._lose(call.worker, "crash", detail, events)
        for worker in list(self.workers):
            # Only after all that had come back was taken: the driver itself may have been away for long.
            if worker.calls and now > worker.calls[0].began + worker.calls[0].allowed_s:
                self._suspects[worker.node.id] = now + self._patience.suspect_s
                self._lose(worker, "deadline", f"no answer within {worker.calls[0].allowed_s:g} s", events)
        return events

    def _answered(self, call: Call, reply: Any, events: list[Answered | Lost], now: float) -> None:
        worker = call.worker
        del self._calls[call.ref]
        worker.calls.remove(call)
        if worker.calls:
            worker.calls[0].began = now
        if isinstance(call.tag, Setup) and call.tag.generation != self._generation:
            return
        if isinstance(reply, Raised):
            self._raised(worker, reply, isinstance(call.tag, Setup), events)
        elif isinstance(reply, Ready):
            worker.ready = True
            worker.name = f"{reply.host}:{reply.pid}"
            self._build_crashes = 0
        else:
            worker.warm = True
            events.append(Answered(call.tag, worker, reply))
            if reply.leaked and not worker.calls:
                self.incidents["worker leaked"] += 1
                self._discard(worker)

    def _raised(self, worker: Worker, reply: Raised, setup: bool, events: list[Answered | Lost]) -> None:
        error = reply.error
        error.add_note(f"in worker {worker.name}:\n{reply.traceback}")
        if not (setup and isinstance(error, WorkerMismatchError)):
            raise error
        # A machine that differs is not used; the search goes on while others do not.
        self.incidents["worker refused"] += 1
        logger.warning("%s", error.message)
        self._refused[worker.node.id] = error
        self._discard(worker)
        usable = [n for n in self._nodes() if self._slots(n) > 0 and n.id not in self._refused]
        if not self.workers and not usable:
            raise error

    # Workers that come and go -----------------------------------------------------------------------------------

    def tend(self) -> None:
        """Look at the cluster, if it is time: drop workers of dead nodes, start workers where there is room.

        Raises:
            ExecutorError: there has been no worker for `no_worker_s`.
            EvaluatorError: workers die whenever they build the evaluator.
        """
        now = time.monotonic()
        if now < self._next_tend:
            return
        self._next_tend = now + self._patience.tend_s
        nodes = self._nodes()
        if self._build_crashes >= _BUILD_CRASHES:
            raise EvaluatorError(
                f"{self._build_crashes} workers in a row died while they built the evaluator: {self._last_detail}",
                "build it in one process with `executor.kind=inline` to see why",
            )
        self._place(nodes, now)
        if any(worker.ready for worker in self.workers):
            self._last_ready = now
        elif now - self._last_ready > self._patience.no_worker_s:
            offered = ", ".join(f"{n.name} ({n.cpus:g} CPUs, {n.gpus:g} GPUs)" for n in nodes) or "none"
            share = f" and {self._gpus:g} of a GPU" if self._gpus else ""
            waited = now - self._last_ready
            raise ExecutorError(
                f"no worker for {waited:.0f} s; nodes: {offered}; {self._last_detail or 'none started'}",
                f"a worker needs 1 free CPU{share}; see `ray status`, or use `executor.kind=inline`",
            )

    def _nodes(self) -> list[Node]:
        try:
            nodes = alive_nodes()
        except ExecutorError:
            self._headless = True
            raise
        if not nodes:
            raise ExecutorError("all nodes of the Ray cluster are gone", "resume the run on a new cluster")
        return nodes

    def _slots(self, node: Node) -> int:
        slots = int(node.cpus)
        return min(slots, int(node.gpus / self._gpus + 1e-9)) if self._gpus else slots

    def _place(self, nodes: Sequence[Node], now: float) -> None:
        used = Counter(worker.node.id for worker in self.workers)
        free = {n.id: self._slots(n) - used[n.id] for n in nodes if n.id not in self._refused}
        by_id = {n.id: n for n in nodes}
        wanted = sum(self._slots(n) for n in nodes) if self._wanted is None else self._wanted
        while len(self.workers) < wanted and any(count > 0 for count in free.values()):
            # The emptiest node that is above suspicion; a suspect one is better than none.
            best = max((i for i in free if free[i] > 0), key=lambda i: (self._suspects.get(i, 0.0) <= now, free[i], i))
            free[best] -= 1
            self._spawn(by_id[best])

    def _spawn(self, node: Node) -> None:
        environment = thread_variables(self._limits.threads)
        environment |= {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        actor = self._class.options(
            num_cpus=1,
            num_gpus=self._gpus or None,
            max_restarts=0,
            max_task_retries=0,
            enable_task_events=False,  # the head's memory would grow by 3 KB a call
            runtime_env={"env_vars": environment},
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
        ).remote(self._paths, self._shipped)
        worker = Worker(actor, node, f"{node.name}:starting")
        self.workers.append(worker)
        self._send_setup(worker)

    def _lose(self, worker: Worker, cause: Cause, detail: str, events: list[Answered | Lost]) -> None:
        self.incidents["worker died" if cause == "crash" else "deadline"] += 1
        self._last_detail = f"worker {worker.name}: {detail}"
        logger.info("worker %s lost (%s): %s", worker.name, cause, detail)
        head = worker.calls[0] if worker.calls else None
        if head is not None and isinstance(head.tag, Setup):
            self.incidents["worker failed to start"] += 1
            if cause == "crash":
                self._build_crashes += 1
        tags = [call.tag for call in worker.calls if not isinstance(call.tag, Setup)]
        if tags and head is not None:
            events.append(Lost(tags, cause, detail, time.monotonic() - head.began, worker))
        self._discard(worker)

    def _discard(self, worker: Worker) -> None:
        for call in worker.calls:
            self._calls.pop(call.ref, None)
        worker.calls.clear()
        self.workers.remove(worker)
        if not self._headless:  # without a head, Ray would block and then end this process
            with contextlib.suppress(ray.exceptions.RayError, ValueError):
                ray.kill(worker.actor, no_restart=True)
        self._next_tend = 0.0

    def _discard_all(self) -> None:
        for worker in list(self.workers):
            self._discard(worker)

    def abandon(self) -> None:
        """Give up all calls in flight; the workers that hold them are replaced."""
        for worker in list(self.workers):
            if any(not isinstance(call.tag, Setup) for call in worker.calls):
                self._discard(worker)

    def close(self) -> None:
        """Kill all workers and drop what was put in the object store."""
        self._discard_all()
        self._setup = self._shipped = None


def _get(refs: list[Any]) -> list[Any]:
    """Values, or the exceptions that took their place; one round trip if all is well."""
    if not refs:
        return []
    try:
        return list(ray.get(refs))
    except Exception:
        replies: list[Any] = []
        for ref in refs:
            try:
                replies.append(ray.get(ref))
            except Exception as error:
                replies.append(error)
        return replies


def _shortened(error: BaseException) -> str:
    """What people need of Ray's long messages: how they begin, and how they end (an actor's own exception)."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text if len(text) < 600 else f'{text[:400]} ... {text[-200:]}'}"
