"""What every worker does, in whichever process: build the evaluator, answer blocks, find the guilty candidate."""

from __future__ import annotations

import math
import re
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from evo.errors import EvaluatorError, EvoError, WorkerMismatchError
from evo.executors.base import EvaluatorRecipe, Limits, Outcome
from evo.executors.limits import MemoryLimit, Threads
from evo.registry import build_space, worker_fingerprint
from evo.space import Evaluator, Observation, Request, Status

_STATUSES = frozenset({"ok", "stopped", "invalid", "failed", "nan"})
_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")
_TRACEBACK_LINES = 60


class BlockWorker:
    """An evaluator that is built once and then answers blocks.

    Args:
        recipe: how to build it.
        limits: memory is enforced here; time is the executor's business.
        threads: pinned by the caller, and again here once the evaluator has imported what it needs.
        name: the worker's name in outcomes.

    Raises:
        WorkerMismatchError: this process holds other code or another numeric backend than the driver.
        EvaluatorError: the evaluator could not be built.
    """

    def __init__(self, recipe: EvaluatorRecipe, limits: Limits, threads: Threads, name: str) -> None:
        add_import_roots(recipe.import_roots)
        _check_fingerprint(recipe, name)
        self.evaluator, self.n_values = build_evaluator(recipe)
        threads.apply()
        self.memory = MemoryLimit(limits.memory_mb)
        self.name = name

    def run(self, requests: Sequence[Request]) -> list[Outcome]:
        """See `evaluate_block`."""
        return evaluate_block(self.evaluator, requests, self.n_values, self.memory, self.name)


def add_import_roots(roots: Sequence[str]) -> None:
    """Put directories at the front of `sys.path`, in order, those that are not there yet."""
    sys.path[:0] = [root for root in roots if root not in sys.path]


def build_evaluator(recipe: EvaluatorRecipe) -> tuple[Evaluator, int]:
    """The evaluator and the number of values that an observation holds (objectives that are not costs)."""
    try:
        space = build_space(recipe.space, recipe.options)
        evaluator = space.evaluator(recipe.prepared)
    except EvoError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise EvaluatorError(
            f"the evaluator of space {recipe.space!r} could not be built: {describe_error(error)}",
            f"raised at {frame.filename}:{frame.lineno} in {frame.name}",
        ) from error
    return evaluator, sum(not objective.cost for objective in space.objectives)


def _check_fingerprint(recipe: EvaluatorRecipe, name: str) -> None:
    """Compare what the recipe's fingerprint names ("key=value" pairs; a bare word is a code digest)."""
    wanted = dict((p if "=" in p else f"code={p}").split("=", 1) for p in recipe.fingerprint.split())
    if not wanted:
        return
    found = dict(p.split("=", 1) for p in worker_fingerprint(recipe.space, recipe.import_roots).split())
    differing = [f"{k} {found.get(k, 'absent')} instead of {v}" for k, v in wanted.items() if found.get(k) != v]
    if differing:
        raise WorkerMismatchError(
            f"worker {name} differs from the driver: {', '.join(differing)}",
            "values from it could not be compared; install the same versions and code on every machine, "
            "and do not edit the code of a run while it runs",
        )


def evaluate_block(
    evaluator: Evaluator, requests: Sequence[Request], n_values: int, memory: MemoryLimit, worker: str
) -> list[Outcome]:
    """Evaluate requests together; where that raises, bisect down to the candidates at fault.

    Args:
        evaluator: the space's evaluator.
        requests: non-empty.
        n_values: values that an "ok" observation must hold.
        memory: entered around each call of the evaluator.
        worker: a name for people.

    Returns:
        One outcome a request, in order. A candidate that raised alone (`MemoryError` and `SystemExit` included) has
        status "failed" and a traceback; one with a NaN has status "nan".

    Raises:
        EvaluatorError: the evaluator broke its contract (counts or types of what it returns), or raised it itself.
    """
    began = time.perf_counter()
    traced: dict[int, str] = {}
    observed = _bisect(evaluator, requests, 0, n_values, memory, traced)
    seconds = (time.perf_counter() - began) / len(requests)
    if not traced:
        return [Outcome(observations, seconds, 1, worker) for observations in observed]
    return [Outcome(o, seconds, 1, worker, traced.get(i, "")) for i, o in enumerate(observed)]


def _bisect(
    evaluator: Evaluator,
    requests: Sequence[Request],
    offset: int,
    n_values: int,
    memory: MemoryLimit,
    traced: dict[int, str],
) -> list[tuple[Observation, ...]]:
    try:
        with memory:
            answers: Any = evaluator.evaluate(requests)
    except EvaluatorError:
        raise
    except (Exception, SystemExit) as error:
        if len(requests) == 1:
            traced[offset] = format_traceback(error)
            return [failure(requests[0], "failed", describe_error(error))]
    else:
        return _checked(requests, answers, n_values)
    middle = len(requests) // 2
    left = _bisect(evaluator, requests[:middle], offset, n_values, memory, traced)
    return left + _bisect(evaluator, requests[middle:], offset + middle, n_values, memory, traced)


def _checked(requests: Sequence[Request], answers: Any, n_values: int) -> list[tuple[Observation, ...]]:
    if not isinstance(answers, (list, tuple)) or len(answers) != len(requests):
        _breach(f"returned {_count(answers)} for {len(requests)} requests", "one list of observations a request")
    checked = []
    for request, observations in zip(requests, answers, strict=True):
        if not isinstance(observations, (list, tuple)) or len(observations) != len(request.seeds):
            _breach(
                f"gave candidate {request.id} {_count(observations)} for {len(request.seeds)} seeds",
                "one observation a seed, in order",
            )
        plain = True
        for observation in observations:
            if observation.__class__ is not Observation:
                _breach(f"gave candidate {request.id} a {type(observation).__name__}", "an evo.space.Observation")
            values = observation[0]
            if observation[1] != "ok" or len(values) != n_values:
                plain = False
                break
            for value in values:
                if value.__class__ is not float or value != value:
                    plain = False
                    break
        checked.append(
            tuple(observations) if plain else tuple(_normal(o, request, n_values) for o in observations),
        )
    return checked


def _normal(observation: Observation, request: Request, n_values: int) -> Observation:
    """The observation with plain floats for values, and NaN turned into its status."""
    if observation.__class__ is not Observation:
        _breach(f"gave candidate {request.id} a {type(observation).__name__}", "an evo.space.Observation")
    if observation.status not in _STATUSES:
        _breach(f"gave candidate {request.id} the status {observation.status!r}", '"ok", "invalid" or "failed"')
    try:
        values = tuple(map(float, observation.values))
    except (TypeError, ValueError):
        _breach(f"gave candidate {request.id} the values {observation.values!r}", "a tuple of floats")
    if len(values) != n_values and (values or observation.status in ("ok", "nan")):
        _breach(f"gave candidate {request.id} {len(values)} values", f"{n_values}, one an objective that is no cost")
    if observation.status == "ok":
        bad = [i for i, value in enumerate(values) if math.isnan(value)]
        if bad:
            # One NaN for all: its sign and payload differ between machines, and values are compared to the bit.
            values = tuple(math.nan if math.isnan(value) else value for value in values)
            which = ", ".join(map(str, bad))
            return observation._replace(values=values, status="nan", message=f"NaN in objective {which}")
    return observation._replace(values=values)


def _count(value: Any) -> str:
    return f"{len(value)} items" if isinstance(value, (list, tuple)) else f"a {type(value).__name__}"


def _breach(what: str, wanted: str) -> NoReturn:
    raise EvaluatorError(f"the evaluator {what}", f"its contract (evo.space.Evaluator) wants {wanted}")


def failure(request: Request, status: Status, message: str) -> tuple[Observation, ...]:
    """The observations of a request that gave none: the same failure for each of its seeds."""
    return (Observation((), status, message=message),) * len(request.seeds)


def describe_error(error: BaseException) -> str:
    """Type and text of an error, without what differs between two processes (addresses): it is journaled."""
    text = _ADDRESS.sub("0x...", str(error)).strip()
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def format_traceback(error: BaseException) -> str:
    """The traceback for people, without this module's own frames; shortened in the middle if it is long."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    lines = "".join(traceback.format_exception(type(error), error, trace)).splitlines()
    if len(lines) > _TRACEBACK_LINES:
        half = _TRACEBACK_LINES // 2
        lines = [*lines[:half], f"... {len(lines) - 2 * half} lines ...", *lines[-half:]]
    return "\n".join(lines)
