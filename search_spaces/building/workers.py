"""Tasks done by worker processes, or in this one; a worker ends when its parent does, however that ends."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import torch

from evo.errors import ExecutorError

Job = TypeVar("Job")
Task = TypeVar("Task")
Result = TypeVar("Result")


def finished(
    prepare: Callable[[Job], Callable[[Task], Result]], job: Job, tasks: Iterable[Task], workers: int
) -> Iterator[tuple[Task, Result]]:
    """(task, result) in the order in which they are done.

    Args:
        prepare: called once a process; gives what does a task. A function of a module, as processes are spawned.
        job: what `prepare` must know.
        tasks: what is to be done, most important first.
        workers: processes; 1: all is done in this one, as they are asked for.

    Raises:
        ExecutorError: a worker process died.
    """
    if workers == 1:
        do = prepare(job)
        for task in tasks:
            yield task, do(task)
        return
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _start, (prepare, job))
    try:
        waiting = {pool.submit(_do, task) for task in tasks}
        while waiting:
            done, waiting = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise ExecutorError(
            "a worker process died", "results so far are kept: run it again, with workers=1 to see its errors"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_work: Callable[[Any], Any] | None = None


def _start(prepare: Callable[[Any], Callable[[Any], Any]], job: Any) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _work = prepare(job)


def _end_with_parent() -> None:
    # an orphan would wait forever: it holds the other end of its own queue
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _do(task: Any) -> tuple[Any, Any]:
    assert _work is not None, "the pool's initializer sets it"
    return task, _work(task)
