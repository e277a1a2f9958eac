"""Tasks in worker processes: the same results as here, and a death is told."""

from __future__ import annotations

import os

import pytest

from evo.errors import ExecutorError
from search_spaces.building.workers import finished


def multiplier(factor):
    return lambda task: factor * task


def mortal(job):
    def do(task):
        if task == 2:
            os._exit(3)
        return task

    return do


def test_results_come_in_order_here_and_are_the_same_in_processes():
    here = list(finished(multiplier, 3, range(5), 1))
    assert here == [(task, 3 * task) for task in range(5)]
    assert sorted(finished(multiplier, 3, range(5), 2)) == here


def test_here_nothing_is_done_before_it_is_asked_for():
    done = []
    results = finished(lambda job: done.append, None, iter([1, 2]), 1)
    assert done == []
    next(results)
    assert done == [1]


def test_the_death_of_a_worker_is_told():
    with pytest.raises(ExecutorError, match="died"):
        list(finished(mortal, None, range(4), 2))
