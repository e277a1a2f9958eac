"""Who is at fault when a worker dies or a deadline passes: bisection, retries, verdicts. Pure bookkeeping.

A fault is first taken for the machine's. What shared the call is split in halves and tried again; only a request that
fails alone, `attempts` times, is found guilty. All else of its block keeps the values it would have had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from evo.errors import ExecutorError
from evo.executors.base import Block, Completed, Outcome
from evo.executors.worker import failure
from evo.space import Request

Cause = Literal["crash", "deadline"]


class Piece(NamedTuple):
    """Requests `start` to `stop` of a block."""

    block: Block
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    @property
    def requests(self) -> Sequence[Request]:
        whole = self.start == 0 and self.stop == len(self.block.requests)
        return self.block.requests if whole else self.block.requests[self.start : self.stop]


Job = tuple[Piece, ...]
"""What one call carries."""


class Fault(NamedTuple):
    """What befell a call.

    Attributes:
        cause: the worker died, or the deadline passed.
        detail: for people; ends in the outcome's traceback.
        seconds: wall seconds lost.
        worker: the worker's name.
    """

    cause: Cause
    detail: str = ""
    seconds: float = 0.0
    worker: str = ""


@dataclass(slots=True)
class _Open:
    block: Block
    outcomes: list[Outcome | None]
    missing: int
    tries: dict[int, int] = field(default_factory=dict)
    alone: dict[int, int] = field(default_factory=dict)


class Ledger:
    """The blocks that are open, and what is known of each of their requests.

    Args:
        attempts: how often a request that fails alone is tried before it is at fault; at least 1.
        timeout_s: for messages.
    """

    def __init__(self, attempts: int, timeout_s: float | None) -> None:
        if attempts < 1:
            raise ExecutorError(f"limits.attempts is {attempts}", "it must be at least 1")
        self._attempts = attempts
        self._timeout_s = timeout_s
        self._open: dict[int, _Open] = {}
        self.in_flight = 0

    def __len__(self) -> int:
        return len(self._open)

    def open(self, block: Block) -> Piece:
        """Take a block; returns all of it as one piece.

        Raises:
            ExecutorError: it is empty, or its number is open already.
        """
        n = len(block.requests)
        if n == 0 or block.number in self._open:
            what = "is empty" if n == 0 else "was submitted twice"
            raise ExecutorError(f"block {block.number} {what}")
        self._open[block.number] = _Open(block, [None] * n, n)
        self.in_flight += n
        return Piece(block, 0, n)

    def clear(self) -> None:
        """Give up all open blocks."""
        self._open.clear()
        self.in_flight = 0

    def done(self, piece: Piece, outcomes: Sequence[Outcome]) -> Completed | None:
        """Record the outcomes of a piece; returns the block once nothing of it is missing."""
        entry = self._open[piece.block.number]
        if piece.size == len(entry.outcomes) and not entry.tries:
            entry.outcomes = list(outcomes)
        else:
            for position, outcome in enumerate(outcomes, piece.start):
                entry.outcomes[position] = outcome._replace(attempts=1 + entry.tries.get(position, 0))
        entry.missing -= piece.size
        self.in_flight -= piece.size
        if entry.missing:
            return None
        del self._open[piece.block.number]
        return Completed(entry.block, tuple(outcome for outcome in entry.outcomes if outcome is not None))

    def fault(self, job: Job, fault: Fault) -> tuple[list[Job], list[Completed]]:
        """Judge a call that ended in a fault.

        Returns:
            The jobs to run again, each as the only call of its worker; and the blocks that this verdict completed.
        """
        for piece in job:
            tries = self._open[piece.block.number].tries
            for position in range(piece.start, piece.stop):
                tries[position] = tries.get(position, 0) + 1
        if len(job) > 1:
            middle = len(job) // 2
            return [job[:middle], job[middle:]], []
        (piece,) = job
        if piece.size > 1 and fault.cause == "deadline":
            # Each halving would wait for the limit again: one by one, the guilty alone does.
            return [(Piece(piece.block, at, at + 1),) for at in range(piece.start, piece.stop)], []
        if piece.size > 1:
            middle = piece.start + piece.size // 2
            return [(Piece(piece.block, piece.start, middle),), (Piece(piece.block, middle, piece.stop),)], []
        entry = self._open[piece.block.number]
        entry.alone[piece.start] = entry.alone.get(piece.start, 0) + 1
        if entry.alone[piece.start] < self._attempts:
            return [job], []
        entry.tries[piece.start] -= 1
        completed = self.done(piece, [self._verdict(piece.requests[0], fault)])
        return [], [completed] if completed else []

    def _verdict(self, request: Request, fault: Fault) -> Outcome:
        # The message is journaled: nothing in it may depend on the machine, the moment or the number of workers.
        times = "once" if self._attempts == 1 else f"{self._attempts} times"
        if fault.cause == "deadline":
            observations = failure(request, "timeout", f"did not finish within {self._timeout_s:g} s, alone, {times}")
        else:
            observations = failure(request, "quarantined", f"took its worker down, alone, {times}")
        return Outcome(observations, fault.seconds, 1, fault.worker, fault.detail)
