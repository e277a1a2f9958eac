"""The contract tests of an executor: a pytest class that every executor's own tests derive from.

    class TestInline(ExecutorContract):
        @pytest.fixture
        def make(self):
            return lambda limits: InlineExecutor(limits, allowance_s=0.5)

Candidates come from `evo.testing.misbehaving`. The tests run few blocks and share executors where they can, because a
Ray worker takes a second to start.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import pytest

from evo.errors import EvaluatorError, ExecutorError, WorkerMismatchError
from evo.executors.base import Block, EvaluatorRecipe, Executor, Limits, Outcome
from evo.registry import worker_fingerprint
from evo.space import Observation, Request

SPEC = "evo.testing.misbehaving:MisbehavingSpace"
Make = Callable[[Limits], Executor]


def square(x: int) -> int:
    """For `map`: a function that workers can import."""
    return x * x


def block(number: int, acts: Sequence[str], n_seeds: int = 2) -> Block:
    """A block of misbehaving candidates: the i-th has id and x = 100 number + i."""
    seeds = tuple(range(n_seeds))
    ids = range(100 * number, 100 * number + len(acts))
    return Block(
        number,
        tuple(Request(i, {"x": float(i), "act": act}, "search", seeds) for i, act in zip(ids, acts, strict=True)),
    )


def run_blocks(executor: Executor, blocks: Sequence[Block], patience_s: float = 120.0) -> dict[int, Outcome]:
    """Submit blocks, poll until all are complete; outcomes by candidate id."""
    executor.submit(blocks)
    outcomes: dict[int, Outcome] = {}
    missing = {b.number for b in blocks}
    end = time.monotonic() + patience_s
    while missing:
        assert time.monotonic() < end, f"blocks {sorted(missing)} did not complete: {executor.state()}"
        for completed in executor.poll(1.0):
            missing.remove(completed.block.number)
            pairs = zip(completed.block.requests, completed.outcomes, strict=True)
            outcomes.update((request.id, outcome) for request, outcome in pairs)
    return outcomes


def statuses(outcomes: dict[int, Outcome]) -> dict[int, str]:
    """The status of each candidate that is not "ok" throughout."""
    found = {i: {o.status for o in outcome.observations} for i, outcome in outcomes.items()}
    return {i: "/".join(sorted(kinds)) for i, kinds in found.items() if kinds != {"ok"}}


def assert_values_right(outcomes: dict[int, Outcome], n_seeds: int = 2) -> None:
    """Every candidate that is "ok" has x squared for each of its seeds."""
    for i, outcome in outcomes.items():
        if outcome.observations[0].status == "ok":
            assert outcome.observations == (Observation((float(i) ** 2,)),) * n_seeds


class ExecutorContract:
    """Derive from it and override the fixture `make`.

    Attributes:
        isolates_exit: whether a candidate that ends its process is survived.
    """

    isolates_exit: ClassVar[bool] = False

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Make:
        """How to make an executor; its `allowance_s` should be a second or less."""
        raise NotImplementedError(f"{cls.__name__} must override the fixture `make`")

    @pytest.fixture(scope="class")
    @classmethod
    def limits(cls) -> Limits:
        """Limits that make misbehaviour quick to find."""
        return Limits(timeout_s=0.25, memory_mb=64)

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, make: Make, limits: Limits) -> Iterator[Executor]:
        """One that is started, shared by the tests that leave it as it was."""
        executor = make(limits)
        executor.start(EvaluatorRecipe(SPEC, {}, fingerprint=worker_fingerprint(SPEC, ())))
        yield executor
        executor.close()

    def test_fulfils_the_protocol(self, executor: Executor) -> None:
        assert isinstance(executor, Executor)

    def test_outcomes_are_in_the_order_of_the_requests_with_one_observation_a_seed(self, executor: Executor) -> None:
        outcomes = run_blocks(executor, [block(n, ["ok"] * 7, n_seeds=3) for n in range(5)])
        assert len(outcomes) == 35
        assert not statuses(outcomes)
        assert_values_right(outcomes, n_seeds=3)
        assert all(o.attempts == 1 and o.seconds >= 0 and o.worker and not o.traceback for o in outcomes.values())

    def test_a_raised_exception_is_recorded_for_its_candidate_alone(self, executor: Executor) -> None:
        outcomes = run_blocks(executor, [block(0, ["ok", "raise", "ok", "ok", "raise"]), block(1, ["raise"])])
        assert statuses(outcomes) == {1: "failed", 4: "failed", 100: "failed"}
        assert_values_right(outcomes)
        guilty = outcomes[4]
        assert (
            guilty.observations == (Observation((), "failed", message="ValueError: candidate raises at x = 4.0"),) * 2
        )
        assert guilty.attempts == 1
        assert "_observe" in guilty.traceback
        assert "ValueError" in guilty.traceback

    def test_nan_is_a_status(self, executor: Executor) -> None:
        outcomes = run_blocks(executor, [block(0, ["ok", "nan", "ok"])])
        assert statuses(outcomes) == {1: "nan"}
        assert all(math.isnan(o.values[0]) and "NaN" in o.message for o in outcomes[1].observations)
        assert_values_right(outcomes)

    def test_allocation_without_end_fails_the_candidate_alone(self, executor: Executor) -> None:
        outcomes = run_blocks(executor, [block(0, ["ok", "ok", "hog", "ok"])])
        assert statuses(outcomes) == {2: "failed"}
        assert "MemoryError" in outcomes[2].observations[0].message
        assert_values_right(outcomes)

    def test_a_hang_is_a_timeout_after_two_attempts_alone(self, executor: Executor) -> None:
        outcomes = run_blocks(executor, [block(0, ["ok", "hang", "ok"]), block(1, ["ok"] * 3)])
        assert statuses(outcomes) == {1: "timeout"}
        assert outcomes[1].observations[0].message == "did not finish within 0.25 s, alone, 2 times"
        assert outcomes[1].attempts >= 2
        assert_values_right(outcomes)
        assert executor.state().incidents["deadline"] >= 2

    def test_a_candidate_that_ends_its_process_is_quarantined(self, executor: Executor) -> None:
        if not self.isolates_exit:
            pytest.skip("this executor shares the candidate's process")
        outcomes = run_blocks(executor, [block(0, ["ok", "ok", "exit", "ok"]), block(1, ["ok"] * 3)])
        assert statuses(outcomes) == {2: "quarantined"}
        assert outcomes[2].observations[0].message == "took its worker down, alone, 2 times"
        assert outcomes[2].attempts >= 2
        assert_values_right(outcomes)

    def test_map_keeps_the_order(self, executor: Executor) -> None:
        assert executor.map(square, range(20)) == [x * x for x in range(20)]
        assert executor.map(square, []) == []

    def test_map_raises_what_the_function_raised_and_goes_on(self, executor: Executor) -> None:
        def reciprocal(x: int) -> float:
            return 1 / x

        with pytest.raises(ZeroDivisionError):
            executor.map(reciprocal, [1, 0, 2])
        assert executor.map(reciprocal, [1, 2]) == [1.0, 0.5]

    def test_starting_again_builds_a_new_evaluator(self, executor: Executor) -> None:
        executor.start(EvaluatorRecipe(SPEC, {"hang_s": 0.0}))
        outcomes = run_blocks(executor, [block(0, ["hang", "ok"])])
        assert not statuses(outcomes)
        executor.start(EvaluatorRecipe(SPEC, {}))

    def test_state_and_capacity_count_what_is_in_flight(self, executor: Executor) -> None:
        before = executor.capacity
        assert before > 0
        executor.submit([block(0, ["ok"] * 9)])
        assert executor.state().in_flight == 9
        assert executor.capacity <= before
        while not executor.poll(1.0):
            pass
        assert executor.state().in_flight == 0
        assert executor.state().workers >= 1

    def test_poll_without_work_returns_at_once(self, executor: Executor) -> None:
        assert executor.poll(60.0) == []

    @pytest.mark.parametrize("blocks", [[Block(0, ())], [block(3, ["ok"]), block(3, ["ok"])]])
    def test_refuses_blocks_that_are_empty_or_submitted_twice(self, executor: Executor, blocks: list[Block]) -> None:
        with pytest.raises(ExecutorError, match="block"):
            executor.submit(blocks)
        while executor.state().in_flight:
            executor.poll(1.0)

    def test_start_says_why_an_evaluator_cannot_be_built_and_may_be_called_again(self, executor: Executor) -> None:
        with pytest.raises(EvaluatorError, match="no data") as caught:
            executor.start(EvaluatorRecipe(SPEC, {"broken": "build"}))
        assert "misbehaving.py" in caught.value.hint
        with pytest.raises(WorkerMismatchError, match="instead of 0123"):
            executor.start(EvaluatorRecipe(SPEC, {}, fingerprint="code=0123 python=3.11"))
        executor.start(EvaluatorRecipe(SPEC, {}))
        assert not statuses(run_blocks(executor, [block(0, ["ok"])]))

    def test_a_breach_of_the_evaluators_contract_is_an_error_after_which_it_may_start_again(
        self, executor: Executor
    ) -> None:
        executor.start(EvaluatorRecipe(SPEC, {"broken": "seeds"}))
        executor.submit([block(0, ["ok", "ok"]), block(1, ["ok"])])
        with pytest.raises(EvaluatorError, match="1 items for 2 seeds"):
            executor.poll(30.0)
        assert executor.state().in_flight == 0
        executor.start(EvaluatorRecipe(SPEC, {}))
        assert_values_right(run_blocks(executor, [block(0, ["ok"] * 3)]))

    def test_close_may_be_repeated_and_ends_the_executor(self, make: Make) -> None:
        executor = make(Limits())
        executor.close()
        executor.close()
        with pytest.raises(ExecutorError):
            executor.submit([block(0, ["ok"])])
