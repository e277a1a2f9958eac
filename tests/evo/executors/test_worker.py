"""What every worker does: bisection within a block, the evaluator's contract, NaN, messages that travel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.errors import EvaluatorError, WorkerMismatchError
from evo.executors.base import EvaluatorRecipe, Limits
from evo.executors.codec import pack_outcomes, pack_requests, unpack_outcomes, unpack_requests
from evo.executors.limits import MemoryLimit, Threads, held_bytes
from evo.executors.worker import BlockWorker, describe_error, evaluate_block
from evo.registry import worker_fingerprint
from evo.space import Observation, Request
from evo.testing.executors import SPEC, block


class Scripted:
    """An evaluator that answers what a function says."""

    def __init__(self, answer):
        self.answer = answer
        self.calls = 0

    def evaluate(self, requests):
        self.calls += 1
        return [[self.answer(request)] * len(request.seeds) for request in requests]


def requests(n):
    return tuple(Request(i, i, "search", (7,)) for i in range(n))


def evaluate(answer, n, n_values=1):
    return evaluate_block(Scripted(answer), requests(n), n_values, MemoryLimit(None), "w")


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_bisection_finds_exactly_the_candidates_that_raise(guilty):
    def answer(request):
        if guilty[request.id]:
            raise ValueError(f"no {request.id}")
        return Observation((float(request.id),))

    outcomes = evaluate(answer, len(guilty))
    assert [o.observations[0].status == "failed" for o in outcomes] == guilty
    for i, outcome in enumerate(outcomes):
        assert bool(outcome.traceback) == guilty[i]
        assert outcome.observations[0].message == (f"ValueError: no {i}" if guilty[i] else "")
        assert outcome.observations[0].values == (() if guilty[i] else (float(i),))


def test_one_guilty_candidate_costs_few_further_calls():
    def answer(request):
        if request.id == 100:
            raise ValueError
        return Observation((0.0,))

    evaluator = Scripted(answer)
    evaluate_block(evaluator, requests(256), 1, MemoryLimit(None), "w")
    assert evaluator.calls == 1 + 2 * 8


def test_sys_exit_is_the_candidates_failure_and_ctrl_c_is_not():
    def leave(request):
        raise SystemExit(3)

    def interrupt(request):
        raise KeyboardInterrupt

    assert evaluate(leave, 1)[0].observations[0].message == "SystemExit: 3"
    with pytest.raises(KeyboardInterrupt):
        evaluate(interrupt, 1)


@pytest.mark.parametrize("broken", ["requests", "seeds", "values", "type", "status"])
def test_a_breach_of_contract_names_what_was_wrong(broken):
    worker = BlockWorker(EvaluatorRecipe(SPEC, {"broken": broken}), Limits(), Threads(1), "w")
    with pytest.raises(EvaluatorError, match="the evaluator ") as caught:
        worker.run(block(0, ["ok", "ok"]).requests)
    assert "contract" in caught.value.hint


def test_values_become_plain_floats_and_nan_a_status():
    outcomes = evaluate(lambda r: Observation((np.float32(0.5), 2)), 1, 2)
    assert outcomes[0].observations[0].values == (0.5, 2.0)
    assert all(type(v) is float for v in outcomes[0].observations[0].values)
    (outcome,) = evaluate(lambda r: Observation((math.inf, -math.nan)), 1, 2)
    assert outcome.observations[0].status == "nan"
    assert outcome.observations[0].message == "NaN in objective 1"
    assert evaluate(lambda r: Observation((math.inf,)), 1)[0].observations[0].status == "ok"


def test_an_evaluator_may_say_invalid_or_failed_without_values():
    for status in ("invalid", "failed"):
        (outcome,) = evaluate(lambda r, s=status: Observation((), s, message="why"), 1, 2)
        assert outcome.observations == (Observation((), status, message="why"),)


def test_messages_do_not_carry_addresses():
    assert describe_error(ValueError("bad <object at 0x7f12ab34cd56>")) == "ValueError: bad <object at 0x...>"
    assert describe_error(KeyError()) == "KeyError"


def test_memory_limit_turns_a_hog_into_a_memory_error_and_is_lifted_after():
    limit = MemoryLimit(64)
    with pytest.raises(MemoryError), limit:
        np.ones(256 << 20, np.uint8)
    assert np.ones(256 << 20, np.uint8).nbytes == 256 << 20
    with limit:
        assert np.ones(16 << 20, np.uint8).nbytes == 16 << 20


def test_a_worker_that_keeps_a_whole_allowance_is_told_apart():
    limit = MemoryLimit(32)
    assert not limit.leaked
    before = held_bytes()
    kept = np.ones(64 << 20, np.uint8)
    assert held_bytes() - before >= kept.nbytes
    assert limit.leaked


def test_a_fingerprint_compares_what_it_names():
    own = worker_fingerprint(SPEC, ())
    digest = next(p for p in own.split() if p.startswith("code=")).removeprefix("code=")
    for fingerprint in ("", own, digest):
        BlockWorker(EvaluatorRecipe(SPEC, {}, fingerprint=fingerprint), Limits(), Threads(1), "w")
    with pytest.raises(WorkerMismatchError, match=r"numpy .* instead of 1\.0"):
        BlockWorker(EvaluatorRecipe(SPEC, {}, fingerprint=f"code={digest} numpy=1.0"), Limits(), Threads(1), "w")


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20), st.booleans())
def test_outcomes_survive_the_journey(counts, traced):
    def answer(request):
        if traced and request.id % 3 == 0:
            raise ValueError("x")
        return Observation((1.0, -0.0), "ok", (0.5,), {"a": [1]}, "", b"\x00")

    asked = tuple(Request(i, ("g", i), "search", tuple(range(n))) for i, n in enumerate(counts))
    assert unpack_requests(pack_requests(asked)) == asked
    outcomes = evaluate_block(Scripted(answer), asked, 2, MemoryLimit(None), "w")
    assert unpack_outcomes(pack_outcomes(outcomes)) == outcomes
