"""What an evaluation may use, enforced inside the process that runs it: time, memory, threads."""

from __future__ import annotations

import math
import os
import resource
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from evo.errors import ExecutorError

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_PAGE = resource.getpagesize()
_MEGABYTE = 1 << 20


class Expired(BaseException):
    """The time limit passed. Not an `Exception`, so that a candidate's `except Exception` does not swallow it."""


class TimeLimit:
    """Raises `Expired` in the main thread when a body of Python code takes longer than allowed.

    `arm(seconds)` and `disarm()` go around each body. The signal repeats every second until disarmed, because code may
    swallow the first. Code in C that does not return to the interpreter is not interrupted.

    Raises:
        ExecutorError: this is not the main thread.
    """

    def __init__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise ExecutorError(
                "a time limit on inline evaluations needs the main thread",
                "start the search in the main thread, use the ray executor, or set no timeout",
            )
        self._armed = False
        self._began = 0.0
        self._outer: tuple[Any, float, float] | None = None

    def _expire(self, signum: int, frame: FrameType | None) -> None:
        if self._armed:
            raise Expired

    def arm(self, seconds: float) -> None:
        """Start the clock; `seconds` > 0, wall time."""
        self._began = time.monotonic()
        self._armed = True
        handler = signal.signal(signal.SIGALRM, self._expire)
        self._outer = (handler, *signal.setitimer(signal.ITIMER_REAL, seconds, 1.0))

    def disarm(self) -> None:
        """Stop the clock; whoever used the timer before (a test's own time limit, say) has it back."""
        self._armed = False
        if self._outer is None:
            return
        handler, delay, interval = self._outer
        self._outer = None
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler if handler is not None else signal.SIG_DFL)
        if delay > 0.0:
            signal.setitimer(signal.ITIMER_REAL, max(1e-6, delay - (time.monotonic() - self._began)), interval)


class MemoryLimit:
    """While entered, the process may allocate so many megabytes beyond what it holds at that moment.

    An allocation beyond that fails, which Python, numpy and torch turn into an exception inside the candidate, before
    the machine suffers. It limits private writable memory (`RLIMIT_DATA`), mapped or touched, on Linux.

    Args:
        megabytes: the allowance, or None for none (entering then costs nothing).
    """

    def __init__(self, megabytes: int | None) -> None:
        if megabytes is not None and not sys.platform.startswith("linux"):
            raise ExecutorError("limits.memory_mb works on Linux alone", "set it to null")
        self._allowance = 0 if megabytes is None else megabytes * _MEGABYTE
        self._unlimited = megabytes is None
        self._saved: tuple[int, int] | None = None
        self._base = 0 if megabytes is None else held_bytes()

    def __enter__(self) -> MemoryLimit:
        if not self._unlimited:
            soft, hard = self._saved = resource.getrlimit(resource.RLIMIT_DATA)
            ceilings = [held_bytes() + self._allowance]
            ceilings += [bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY]
            resource.setrlimit(resource.RLIMIT_DATA, (min(ceilings), hard))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._saved is not None:
            resource.setrlimit(resource.RLIMIT_DATA, self._saved)
            self._saved = None

    @property
    def leaked(self) -> bool:
        """Whether the process kept more than a whole allowance since this limit was made: time for a fresh worker."""
        return not self._unlimited and held_bytes() > self._base + self._allowance


def held_bytes() -> int:
    """Private writable memory of this process in bytes, as `RLIMIT_DATA` counts it (Linux)."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[5]) * _PAGE


def thread_variables(threads: int) -> dict[str, str]:
    """The environment that pins numeric libraries to so many threads; works before they are imported."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


class Threads:
    """Pins numeric libraries to so many threads. `apply` again after imports; `restore` gives back what was found."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._environment = {name: os.environ.get(name) for name in THREAD_VARIABLES}
        self._pools: Any = None
        self._torch_before = 0
        self.apply()

    def apply(self) -> None:
        """Pin the libraries loaded by now, and through the environment those that load later."""
        os.environ.update(thread_variables(self._threads))
        if "numpy" in sys.modules:
            # Variables come too late for a BLAS that is loaded; threadpoolctl reaches it.
            import threadpoolctl  # type: ignore[import-untyped]

            limited = threadpoolctl.threadpool_limits(limits=self._threads)
            self._pools = self._pools or limited
        torch = sys.modules.get("torch")
        if torch is not None:
            self._torch_before = self._torch_before or torch.get_num_threads()
            torch.set_num_threads(self._threads)

    def restore(self) -> None:
        """Back to what was found."""
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if self._pools is not None:
            self._pools.restore_original_limits()
        if self._torch_before:
            sys.modules["torch"].set_num_threads(self._torch_before)


def seconds_allowed(timeout_s: float | None, requests: int, allowance_s: float) -> float:
    """Wall seconds that so many requests may take together; infinite without a limit."""
    return math.inf if timeout_s is None else timeout_s * requests + allowance_s
