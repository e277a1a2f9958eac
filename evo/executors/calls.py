"""The values of the worker pool: workers, the calls in flight on them, and what becomes of a call."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from evo.executors.cluster import Node
from evo.executors.host import Answer
from evo.executors.retry import Cause


class Setup(NamedTuple):
    """The tag of a set-up call; a later set-up makes earlier ones stale."""

    generation: int


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a pool waits, in wall seconds.

    Attributes:
        start_s: for a worker process to start and build its evaluator, before it is tried elsewhere.
        no_worker_s: without any worker, before giving up.
        suspect_s: how long a node is avoided after it froze or died.
        tend_s: between looks at the cluster's nodes.
    """

    start_s: float = 180.0
    no_worker_s: float = 240.0
    suspect_s: float = 60.0
    tend_s: float = 2.0


@dataclass(slots=True, eq=False)
class Call:
    """A call in flight. `began` is when it became the first of its worker's calls, as far as the driver knows."""

    worker: Worker
    ref: Any
    tag: Any
    allowed_s: float
    alone: bool
    began: float


@dataclass(slots=True, eq=False)
class Worker:
    """An evaluator process; `calls` run in order, one at a time. It is warm once a call came back."""

    actor: Any
    node: Node
    name: str
    ready: bool = False
    warm: bool = False
    calls: deque[Call] = field(default_factory=deque)

    @property
    def alone(self) -> bool:
        """Whether what it runs must not share it."""
        return any(call.alone for call in self.calls)


class Answered(NamedTuple):
    """A call that came back."""

    tag: Any
    worker: Worker
    answer: Answer


class Lost(NamedTuple):
    """A worker that is gone, with the tags of its calls: only the first can be to blame, the others had not begun."""

    tags: list[Any]
    cause: Cause
    detail: str
    seconds: float
    worker: Worker
