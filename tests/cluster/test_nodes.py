"""Nodes that die, freeze, vanish and appear while blocks are evaluated."""

from __future__ import annotations

import os
import signal
import time

import pytest

from evo.executors.base import EvaluatorRecipe, Limits
from evo.executors.calls import Patience
from evo.testing.executors import SPEC, assert_values_right, block, statuses


def collect(executor, numbers, on_tick=lambda: None, patience_s=90.0):
    """Poll until these blocks are complete; outcomes by candidate id."""
    outcomes, missing, end = {}, set(numbers), time.monotonic() + patience_s
    while missing:
        assert time.monotonic() < end, f"{sorted(missing)} missing: {executor.state()}"
        for completed in executor.poll(0.2):
            missing.remove(completed.block.number)
            pairs = zip(completed.block.requests, completed.outcomes, strict=True)
            outcomes.update((request.id, outcome) for request, outcome in pairs)
        on_tick()
    return outcomes


@pytest.fixture
def executor(ray_cluster):
    """All CPUs of the cluster, whatever nodes come; each candidate sleeps 20 ms."""
    from evo.executors.ray import RayExecutor

    executor = RayExecutor(
        "auto", None, Limits(timeout_s=0.3), allowance_s=2.0, patience=Patience(start_s=20.0, tend_s=0.2)
    )
    executor.start(EvaluatorRecipe(SPEC, {"sleep_s": 0.02}))
    yield executor
    executor.close()


@pytest.fixture
def extra_node(ray_cluster):
    node = ray_cluster.add_node(1)
    yield node
    ray_cluster.kill_node(node)


def wait_for_workers(executor, n, patience_s=60.0):
    end = time.monotonic() + patience_s
    while executor.state().workers != n:
        assert time.monotonic() < end, executor.state()
        # An empty poll with blocks open tends the pool; without work it does too.
        executor.poll(0.1)
        time.sleep(0.05)


def test_a_new_node_is_used_and_its_death_costs_nothing_but_time(ray_cluster, executor, extra_node):
    wait_for_workers(executor, 3)
    executor.submit([block(n, ["ok"] * 4) for n in range(60)])
    started = time.monotonic()
    killed = []

    def kill():
        if not killed and time.monotonic() > started + 0.5:
            killed.append(ray_cluster.kill_node(extra_node))

    outcomes = collect(executor, range(60), kill)
    assert killed
    assert len(outcomes) == 240
    assert not statuses(outcomes)
    assert_values_right(outcomes)
    assert executor.state().incidents["worker died"] >= 1
    wait_for_workers(executor, 2)


def test_a_frozen_node_costs_one_deadline(ray_cluster, executor, extra_node):
    wait_for_workers(executor, 3)
    executor.submit([block(n, ["ok"] * 4) for n in range(40)])
    time.sleep(0.1)
    began = time.monotonic()
    ray_cluster.freeze_node(extra_node)
    try:
        outcomes = collect(executor, range(40))
        # 40 blocks on two workers take 1.6 s, a deadline is 3.2 s a block in the call; Ray alone needs a minute.
        assert time.monotonic() - began < 45
    finally:
        ray_cluster.thaw_node(extra_node)
    assert not statuses(outcomes)
    assert_values_right(outcomes)
    assert executor.state().incidents["deadline"] >= 1


def test_killed_workers_are_replaced(executor):
    wait_for_workers(executor, 2)
    executor.submit([block(n, ["ok"] * 4) for n in range(40)])
    victims = {int(worker.name.rpartition(":")[2]) for worker in executor._pool.ready}
    time.sleep(0.1)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    outcomes = collect(executor, range(40))
    assert not statuses(outcomes)
    assert_values_right(outcomes)
    wait_for_workers(executor, 2)
    assert not victims & {int(worker.name.rpartition(":")[2]) for worker in executor._pool.ready}
