"""The inline executor: the contract, and what only it must do."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from evo.errors import ExecutorError
from evo.executors.base import EvaluatorRecipe, Limits
from evo.executors.inline import InlineExecutor
from evo.testing.executors import SPEC, ExecutorContract, block, run_blocks, statuses


class TestInline(ExecutorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        return lambda limits: InlineExecutor(limits, allowance_s=0.5)


def test_ctrl_c_in_the_middle_of_a_block_loses_nothing():
    executor = InlineExecutor()
    executor.start(EvaluatorRecipe(SPEC, {"sleep_s": 0.2}))
    executor.submit([block(0, ["ok", "ok"])])
    threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        executor.poll(1.0)
    assert executor.state().in_flight == 2
    (completed,) = executor.poll(1.0)
    assert [o.observations[0].values for o in completed.outcomes] == [(0.0,), (1.0,)]
    executor.close()


def test_close_gives_back_the_thread_settings(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    executor = InlineExecutor(Limits(threads=2))
    executor.start(EvaluatorRecipe(SPEC, {}))
    assert os.environ["OMP_NUM_THREADS"] == "2"
    executor.close()
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_a_timer_of_somebody_else_survives_our_time_limit():
    fired = []
    handler = signal.signal(signal.SIGALRM, lambda *_: fired.append(time.monotonic()))
    began = time.monotonic()
    outer = signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        executor = InlineExecutor(Limits(timeout_s=0.1, attempts=1), allowance_s=0.05)
        executor.start(EvaluatorRecipe(SPEC, {}))
        assert statuses(run_blocks(executor, [block(0, ["hang", "ok"])])) == {0: "timeout"}
        executor.close()
        while not fired and time.monotonic() < began + 60:
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *outer)
    assert fired[0] - began > 0.49


def test_a_time_limit_outside_the_main_thread_is_refused():
    executor = InlineExecutor(Limits(timeout_s=1.0))
    errors = []

    def start():
        try:
            executor.start(EvaluatorRecipe(SPEC, {}))
        except ExecutorError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    executor.close()
    assert "main thread" in errors[0].message


def test_one_attempt_is_enough_where_the_limits_say_so():
    executor = InlineExecutor(Limits(timeout_s=0.1, attempts=1), allowance_s=0.05)
    executor.start(EvaluatorRecipe(SPEC, {}))
    outcomes = run_blocks(executor, [block(0, ["hang"])])
    executor.close()
    assert statuses(outcomes) == {0: "timeout"}
    assert outcomes[0].attempts == 1
    assert outcomes[0].observations[0].message == "did not finish within 0.1 s, alone, once"
