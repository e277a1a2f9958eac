"""The Ray executor: the contract, on the one cluster of the test run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from evo.errors import EvaluatorError, ExecutorError, UsageError
from evo.executors import make_executor
from evo.executors.base import EvaluatorRecipe, Limits
from evo.testing.executors import SPEC, ExecutorContract, assert_values_right, block, run_blocks, statuses


@pytest.fixture(scope="module")
def make(ray_cluster):
    from evo.executors.ray import RayExecutor

    return lambda limits: RayExecutor(2, None, limits, allowance_s=1.0)


class TestRay(ExecutorContract):
    isolates_exit = True

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls, make):
        return make


def where_am_i(_):
    import evo

    return os.path.dirname(evo.__file__), os.environ["OMP_NUM_THREADS"], os.getpid()


def raises_unpicklable(_):
    class LocalError(Exception):
        def __reduce__(self):
            raise TypeError

    raise LocalError("a message")


def test_a_joined_cluster_gets_the_code_and_plug_ins_shipped(ray_cluster, tmp_path, monkeypatch):
    from evo.executors.ray import RayExecutor
    from evo.registry import import_roots_of, worker_fingerprint

    (tmp_path / "plugged_in.py").write_text(
        "from evo.testing.misbehaving import MisbehavingSpace\nclass Plugged(MisbehavingSpace):\n    name = 'plugged'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    roots = import_roots_of("plugged_in:Plugged")
    assert roots == (str(tmp_path),)
    executor = RayExecutor(1, ray_cluster.address, Limits(threads=3), import_roots=roots)
    try:
        ((folder, threads, pid),) = executor.map(where_am_i, [0])
        assert "evo-code-" in folder
        assert threads == "3"
        fingerprint = worker_fingerprint("plugged_in:Plugged", roots)
        executor.start(EvaluatorRecipe("plugged_in:Plugged", {}, None, roots, fingerprint))
        outcomes = run_blocks(executor, [block(0, ["ok"] * 3)])
        assert_values_right(outcomes)
        assert outcomes[0].worker.endswith(f":{pid}")
    finally:
        executor.close()


def test_prepared_data_reaches_every_worker_once(make):
    executor = make(Limits())
    try:
        executor.start(EvaluatorRecipe("tests.evo.executors.spaces:Shifted", {}, prepared={"shift": 5.0}))
        outcomes = run_blocks(executor, [block(n, ["ok"] * 4) for n in range(4)])
        assert outcomes[3].observations[0].values == (14.0,)
    finally:
        executor.close()


def test_a_worker_that_dies_while_building_is_an_error_of_the_evaluator(make):
    executor = make(Limits())
    try:
        with pytest.raises(EvaluatorError, match="3 workers in a row died"):
            executor.start(EvaluatorRecipe(SPEC, {"broken": "build_exit"}))
    finally:
        executor.close()


def test_without_room_for_a_worker_there_is_an_error_with_a_hint(ray_cluster):
    from evo.executors.calls import Patience
    from evo.executors.ray import RayExecutor

    executor = RayExecutor(1, None, gpus_per_worker=1.0, patience=Patience(no_worker_s=0.5, tend_s=0.1))
    try:
        with pytest.raises(ExecutorError, match="no worker") as caught:
            executor.start(EvaluatorRecipe(SPEC, {}))
        assert "GPU" in caught.value.hint
    finally:
        executor.close()


def test_an_exception_that_cannot_travel_is_told_in_words(make):
    executor = make(Limits())
    try:
        with pytest.raises(Exception, match="LocalError: a message"):
            executor.map(raises_unpicklable, [0])
    finally:
        executor.close()


def test_many_small_blocks_share_calls_and_come_back_whole(make):
    executor = make(Limits())
    try:
        executor.start(EvaluatorRecipe(SPEC, {}))
        outcomes = run_blocks(executor, [block(n, ["ok"] * 5) for n in range(300)])
        assert len(outcomes) == 1500
        assert not statuses(outcomes)
        assert_values_right(outcomes)
    finally:
        executor.close()


def test_the_drivers_signal_handlers_are_its_own(ray_cluster):
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("address", "error", "text"),
    [
        ("ray://here:10001", UsageError, "slow"),
        ("nowhere", UsageError, "no address"),
        ("127.0.0.1:1", ExecutorError, ""),
    ],
)
def test_an_address_where_no_cluster_is(address, error, text):
    code = (
        "import sys\nfrom evo.executors import make_executor\nfrom evo.errors import EvoError\n"
        f"try:\n    make_executor('ray', 1, {address!r})\n"
        "except EvoError as e:\n    print(type(e).__name__, e.message, '|', e.hint)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True).stdout
    assert found.startswith(error.__name__)
    assert text in found
    assert found.split("|")[1].strip()


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"executor\.kind"):
        make_executor("dask")  # type: ignore[arg-type]
