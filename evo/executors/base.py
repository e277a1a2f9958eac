"""The contract of an executor: where evaluations run. Inline and Ray fulfil it alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from evo.space import Observation, Request


class Block(NamedTuple):
    """The unit of evaluation: requests of one rung, in id order.

    Attributes:
        number: the block's number in this process; never affects a result.
        requests: non-empty; all of the same rung.
    """

    number: int
    requests: tuple[Request, ...]


class Outcome(NamedTuple):
    """What became of one request.

    Attributes:
        observations: one a seed, in order. A failure repeats one observation with the failure's status and message.
        seconds: the evaluator's share of wall seconds for this request (block time over block size).
        attempts: how often it was tried; 1 unless a worker died or a deadline passed.
        worker: a name for people.
        traceback: for failures; empty otherwise.
    """

    observations: tuple[Observation, ...]
    seconds: float = 0.0
    attempts: int = 1
    worker: str = ""
    traceback: str = ""


class Completed(NamedTuple):
    """A finished block: outcomes in the order of its requests."""

    block: Block
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class EvaluatorRecipe:
    """How a worker builds its evaluator, without pickling the space.

    Attributes:
        space: the space's spec: an entry point's name or "module:attr".
        options: the space's options, JSON.
        prepared: what `SearchSpace.prepare` returned (put once in the object store by Ray).
        import_roots: directories that must be on `sys.path`.
        fingerprint: digest of (code, numeric backend) as the driver computed it; a worker that differs is refused.
    """

    space: str
    options: Mapping[str, Any]
    prepared: Any = None
    import_roots: tuple[str, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True)
class Limits:
    """What an evaluation may use.

    Attributes:
        timeout_s: seconds a request; a block gets this times its size, plus a fixed start-up allowance. None: no limit.
        memory_mb: megabytes a worker may allocate beyond what it holds when its evaluator is built. None: no limit.
        threads: threads of numeric libraries a worker.
        attempts: how often a request that fails alone by a crash or a deadline is tried before it is at fault.
    """

    timeout_s: float | None = None
    memory_mb: int | None = None
    threads: int = 1
    attempts: int = 2


class ExecutorState(NamedTuple):
    """For the live view: workers there, workers busy, requests in flight, kinds of incident counted so far
    ("worker died", "deadline", "bisected", ...)."""

    workers: int
    busy: int
    in_flight: int
    incidents: Mapping[str, int]


@runtime_checkable
class Executor(Protocol):
    """Runs blocks. An exception raised by a candidate is its own fault: recorded, not retried. A crash or an expired
    deadline is first taken for the machine's: the block is bisected and tried elsewhere; only a candidate that fails
    alone, again, is at fault ("timeout" or "quarantined")."""

    def start(self, recipe: EvaluatorRecipe) -> None:
        """Build the evaluators (again, with a new recipe). Raises EvaluatorError, WorkerMismatchError."""

    def submit(self, blocks: Sequence[Block]) -> None:
        """Take blocks; returns at once."""

    def poll(self, timeout: float) -> list[Completed]:
        """Completed blocks in arrival order; waits at most `timeout` seconds for the first."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """`function` over `items` on the workers, in order."""

    @property
    def capacity(self) -> int:
        """How many more requests it can take before all workers have two calls waiting."""

    def state(self) -> ExecutorState: ...

    def close(self) -> None:
        """Stop workers; idempotent."""
