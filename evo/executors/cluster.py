"""Reaching Ray: a quiet local one that starts by itself, or a cluster that is joined; and what its nodes offer.

Ray reads its authentication mode once, when it is imported. So this module sets it before, and imports Ray late.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from evo.errors import ExecutorError, UsageError

logger = logging.getLogger(__name__)


class Node(NamedTuple):
    """A live node.

    Attributes:
        id: Ray's node id.
        name: its address, for people.
        cpus, gpus: what it offers to Ray in all, busy or not.
    """

    id: str
    name: str
    cpus: float
    gpus: float


def prepare_environment(address: str | None) -> None:
    """Set what Ray reads from the environment at its import, unless the user or an earlier import decided it.

    A cluster that `ray start` made on a machine with ~/.ray/auth_token wants that token, while a driver without
    RAY_AUTH_MODE does not send it; so the mode is always explicit. A local Ray uses a token.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if "ray" in sys.modules or "RAY_AUTH_MODE" in os.environ:
        return
    os.environ["RAY_AUTH_MODE"] = "token" if address is None or _token_exists() else "disabled"


def _token_exists() -> bool:
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or path.is_file()


def connect(address: str | None, cpus: int | None, timeout_s: float = 15.0) -> bool:
    """Connect this process to Ray; a connection that exists already is used as it is.

    Args:
        address: None starts a local Ray. "auto" (the cluster of this machine, or RAY_ADDRESS) or "host:port" joins one.
        cpus: CPUs that a local Ray offers; None: all of this machine.
        timeout_s: seconds to wait for somebody to listen at `address`.

    Returns:
        True if this call made the connection, so that the caller must end it.

    Raises:
        UsageError: an address of a kind that is not supported.
        ExecutorError: no cluster answers, or it refuses this driver.
    """
    prepare_environment(address)
    import ray

    if ray.is_initialized():
        here = ray.get_runtime_context().gcs_address
        if address not in (None, "auto", here):
            raise ExecutorError(
                f"this process is connected to the Ray cluster at {here}, not {address}", "call ray.shutdown() first"
            )
        return False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    if address is None:
        # "local" by name: without it Ray would join whatever cluster last ran here, even from a stale address file.
        return _init("local", {**quiet, "address": "local", "num_cpus": cpus})
    if address.startswith("ray://"):
        raise UsageError(
            f"{address}: Ray Client is too slow for many small calls",
            "run on a machine of the cluster with its host:port, or through `ray job submit`",
        )
    if address != "auto":
        _check_listening(address, timeout_s)
    quiet.pop("include_dashboard")
    return _init(address, {**quiet, "address": address})


def _init(where: str, arguments: dict[str, Any]) -> bool:
    import ray

    # ray.init replaces the handler of SIGTERM; a search has its own.
    main = threading.current_thread() is threading.main_thread()
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(**arguments)
    except (ConnectionError, RuntimeError, OSError, ray.exceptions.RayError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()
        raise ExecutorError(
            f"cannot connect to Ray ({where}): {reason[0] if reason else type(error).__name__}",
            f"RAY_AUTH_MODE is {os.environ.get('RAY_AUTH_MODE', 'unset')}: it must be the same for the cluster and "
            "here, and so must the token (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token); "
            "versions of Ray and Python must be equal; `executor.kind=inline` needs no Ray",
        ) from error
    finally:
        if main:
            for number, handler in handlers.items():
                if handler is not None:
                    signal.signal(number, handler)
    hush()
    return True


def hush() -> None:
    """Send the raylets' messages about dead workers to the log instead of stderr; they say what incidents say.

    `log_to_driver=False` does not cover them, and they would break the live view.
    """
    import ray._private.worker as internals

    def log(data: dict[str, Any], ignore_prefix: bool = False) -> None:
        for line in data.get("lines", ()):
            logger.info("%s: %s", data.get("pid", "ray"), str(line).strip())

    if hasattr(internals, "print_to_stdstream"):  # private to Ray: newer versions may have renamed it
        internals.print_to_stdstream = log


def _check_listening(address: str, timeout_s: float) -> None:
    """Ray itself retries for minutes when nobody listens."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"{address!r} is no address of a Ray cluster", 'give "auto" or host:port')
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout_s).close()
    except OSError as error:
        raise ExecutorError(
            f"no Ray cluster answers at {address}: {error}", "start one with `ray start --head --port=26379`"
        ) from error


def alive_nodes() -> list[Node]:
    """The nodes that Ray believes alive, those without CPUs for workers included.

    Raises:
        ExecutorError: the head does not answer. Asked about nodes, Ray would block for a minute and then end this
            process, so the head is tried first.
    """
    import ray

    address = ray.get_runtime_context().gcs_address
    host, _, port = address.rpartition(":")
    for patience in (1.0, 2.0, 4.0):
        try:
            socket.create_connection((host.strip("[]"), int(port)), patience).close()
            break
        except OSError as error:
            failure = error
            time.sleep(patience / 2)
    else:
        raise ExecutorError(
            f"the head of the Ray cluster at {address} is gone: {failure}",
            "what was evaluated is stored; resume the run on a new cluster",
        )
    found = []
    for node in ray.nodes():
        if node["Alive"]:
            resources = node["Resources"]
            cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
            found.append(Node(node["NodeID"], node["NodeManagerAddress"], cpus, gpus))
    return found
