"""Keeping a C library's chatter off standard output, which may be JSON that somebody parses."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator

_LOCK = threading.RLock()


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """Inside, what C code prints to file descriptor 1 goes nowhere.

    HiGHS prints a debugging line by `printf`, whatever its options, when it repairs an integer solution. It lies in
    C's own buffer, which must be emptied on both sides. Other threads that print meanwhile are silenced too.
    """
    with _LOCK:
        try:
            flush = ctypes.CDLL(None).fflush
            kept = os.dup(1)
        except (OSError, AttributeError, TypeError):  # no C library to ask (TypeError: Windows), or no standard output
            yield
            return
        try:
            with contextlib.suppress(AttributeError, OSError, ValueError):
                sys.stdout.flush()
            flush(None)
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 1)
            yield
        finally:
            flush(None)
            os.dup2(kept, 1)
            os.close(kept)
