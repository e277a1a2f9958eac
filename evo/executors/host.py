"""What runs inside a Ray worker once the project can be imported: bytes in, bytes out."""

from __future__ import annotations

import dataclasses
import os
import pickle
import socket
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from evo.errors import EvaluatorError, EvoError
from evo.executors.base import EvaluatorRecipe, Limits, Outcome
from evo.executors.codec import pack_outcomes, unpack_requests
from evo.executors.limits import Threads
from evo.executors.worker import BlockWorker, describe_error
from evo.space import Request


@dataclasses.dataclass(frozen=True, slots=True)
class Ready:
    """A worker's answer when it is set up."""

    host: str
    pid: int


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """A worker's answer to a call.

    Attributes:
        pieces: packed outcomes, one a piece; results of a mapped function otherwise.
        seconds: wall seconds of all of it.
        leaked: the process kept so much memory that it should be replaced.
    """

    pieces: list[Any]
    seconds: float
    leaked: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Raised:
    """A worker's answer when the call cannot be answered and trying elsewhere would not help."""

    error: BaseException
    traceback: str


class WorkerHost:
    """State of one worker process.

    Args:
        import_roots: where the recipe's import roots lie on this machine; None: where the recipe says.
    """

    def __init__(self, import_roots: Sequence[str] | None) -> None:
        self._import_roots = import_roots
        self._worker: BlockWorker | None = None
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    def setup(self, payload: bytes, prepared: Any) -> bytes:
        """Build the evaluator from a pickled (recipe or None, limits); returns a pickled `Ready` or `Raised`."""

        def build() -> Ready:
            recipe: EvaluatorRecipe | None
            limits: Limits
            recipe, limits = pickle.loads(payload)
            if recipe is not None:
                recipe = dataclasses.replace(recipe, prepared=prepared)
                if self._import_roots is not None:
                    recipe = dataclasses.replace(recipe, import_roots=tuple(self._import_roots))
                self._worker = BlockWorker(recipe, limits, Threads(limits.threads), self._name)
            return Ready(socket.gethostname(), os.getpid())

        return self._answer(build)

    def run(self, payload: bytes) -> bytes:
        """Evaluate a pickled tuple of packed pieces; returns a pickled `Answer` or `Raised`."""

        def evaluate() -> Answer:
            worker = self._worker
            if worker is None:
                raise EvaluatorError(f"worker {self._name} has no evaluator")
            seconds, packed = 0.0, []
            for piece in pickle.loads(payload):
                outcomes = worker.run(self._unpack(piece))
                seconds += outcomes[0].seconds * len(outcomes)
                packed.append(self._pack(outcomes))
            return Answer(packed, seconds, worker.memory.leaked)

        return self._answer(evaluate)

    def apply(self, payload: bytes) -> bytes:
        """Call a function on items, both pickled; returns a pickled `Answer` or `Raised`."""

        from ray import cloudpickle

        def work() -> Answer:
            function, items = pickle.loads(payload)
            return Answer([function(item) for item in items], 0.0)

        return self._answer(work, cloudpickle.dumps)

    def _unpack(self, piece: bytes) -> tuple[Request, ...]:
        try:
            return unpack_requests(piece)
        except Exception as error:
            raise EvaluatorError(
                f"worker {self._name} cannot read a genome: {describe_error(error)}",
                "genomes must be picklable, and their module must lie in an import root",
            ) from error

    @staticmethod
    def _pack(outcomes: Sequence[Outcome]) -> bytes:
        try:
            return pack_outcomes(outcomes)
        except Exception as error:
            raise EvaluatorError(
                f"an observation cannot be sent back: {describe_error(error)}", "behaviour and extra must be plain data"
            ) from error

    @staticmethod
    def _answer(work: Callable[[], Ready | Answer], dumps: Callable[[Any], bytes] = pickle.dumps) -> bytes:
        try:
            return dumps(work())
        except (Exception, SystemExit) as error:
            text = traceback.format_exc()
            try:
                data = pickle.dumps(Raised(error, text))
                pickle.loads(data)
            except Exception:
                # An exception that cannot travel: what it says can.
                data = pickle.dumps(Raised(EvoError(describe_error(error)), text))
            return data
