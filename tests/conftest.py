"""What all tests share: an environment set before numpy, torch, triton and ray load, and one Ray cluster."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

# Read once, when the libraries load.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("TRITON_INTERPRET", "0" if Path("/dev/nvidia0").exists() else "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
if "RAY_AUTH_MODE" not in os.environ:
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)

import contextlib  # noqa: E402
import logging  # noqa: E402
import signal  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402


class LocalCluster:
    """A Ray cluster on this machine: a head without CPUs, one node with two, and nodes that tests add and break.

    Attributes:
        address: "host:port", for `executor.address`; subprocesses that join it inherit the authentication from the
            environment.
    """

    def __init__(self) -> None:
        import ray
        from ray.cluster_utils import Cluster

        from evo.executors.cluster import hush

        logging.getLogger("ray").setLevel(logging.ERROR)
        self._ray = ray
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": False,
                # Ray takes 17 s by default to see that a node is gone; one second gives false alarms.
                "_system_config": {
                    "health_check_initial_delay_ms": 0,
                    "health_check_period_ms": 1000,
                    "health_check_timeout_ms": 3000,
                    "health_check_failure_threshold": 3,
                },
            },
        )
        self.address: str = self._cluster.address
        self.base = self.add_node(2)
        self._frozen: dict[int, list[int]] = {}
        ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")
        hush()

    def add_node(self, cpus: int) -> Any:
        """A further node; the test that adds it removes it (`kill_node`)."""
        return self._cluster.add_node(num_cpus=cpus, include_dashboard=False)

    def kill_node(self, node: Any) -> None:
        """SIGKILL, as when a machine is lost; a node that is gone already is left alone."""
        self.thaw_node(node)
        if node in self._cluster.worker_nodes:
            self._cluster.remove_node(node, allow_graceful=False)

    def freeze_node(self, node: Any) -> None:
        """SIGSTOP to the node's raylet and all its workers, as when a machine hangs."""
        import psutil

        raylet = next(info.process for info in node.all_processes["raylet"])
        pids = [raylet.pid, *(child.pid for child in psutil.Process(raylet.pid).children(recursive=True))]
        self._frozen[id(node)] = pids
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw_node(self, node: Any) -> None:
        """SIGCONT after `freeze_node`."""
        for pid in self._frozen.pop(id(node), []):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """Disconnect and stop all nodes."""
        self._ray.shutdown()
        self._cluster.shutdown()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[LocalCluster]:
    """The one Ray of a test run, started by the first test that asks for it (about 10 s)."""
    cluster = LocalCluster()
    yield cluster
    cluster.close()
