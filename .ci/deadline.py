"""A pytest plug-in: past CI_DEADLINE (unix seconds) tests are skipped, and a run without slow tests is no failure."""

import os
import time

import pytest

DEADLINE = float(os.environ.get("CI_DEADLINE", "inf"))


def pytest_runtest_setup(item):
    if time.time() > DEADLINE:
        pytest.skip("CI's time for slow tests was over: run `make slow`")


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK
