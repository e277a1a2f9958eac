"""The closing phase of a run: its leaders are evaluated again on fresh seeds, so that what heads the board is no luck.

The best of thousands of noisy scores is mostly lucky. At a run's end the best so many lines of the board, by their
means over all that was observed, are evaluated again on seeds that nothing before has used, the same for all of them.
That lets lucky ones fall and others rise to their places, which are evaluated in turn, until the first lines all were.

Nothing of it is told to the strategy or written to the journal, and the board that a resume rebuilds from the journal
knows nothing of it: a run that is extended ends like one that was longer from the start, its closing included.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from evo.executors.base import Block, Executor, Outcome
from evo.leaders import Leader, Leaders
from evo.seeds import replicate_seed
from evo.space import Request, Rung

SALT = -1
"""Strategies use salts of 0 and above: the seeds of the closing phase are its own."""
REACH = 4
"""Functions evaluated again at most, in multiples of the lines wanted: a board that is all luck has an end too."""
SAYS_NOTHING = ("timeout", "quarantined")
POLL_S = 0.2


class Closing(NamedTuple):
    """What a closing phase did.

    Attributes:
        lines: first lines of the board that were wanted confirmed; fewer where the board has fewer.
        confirmed: how many of them, counted from the top, are means over the fresh seeds as well.
        functions: distinct functions that were evaluated again.
        seeds: fresh seeds for each.
        seconds: wall time.
    """

    lines: int
    confirmed: int
    functions: int
    seeds: int
    seconds: float


def close(
    leaders: Leaders,
    rung: Rung,
    executor: Executor,
    *,
    lines: int,
    seeds: int,
    block: int,
    stopped: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Closing | None:
    """Evaluate the first lines of a board again until none of them stands on the search's own seeds alone.

    Args:
        leaders: the board; it is changed. The executor is idle.
        rung: the space's last.
        lines: how many of the first lines shall be means over fresh seeds as well.
        seeds: fresh seeds for each; the same for all, so that lines are compared under the same noise.
        block: requests a block.
        stopped: asked a few times a second; True ends the phase.
        progress: `progress(done, total)` functions, where the total may grow.

    Returns:
        What was done; None where it was stopped before its end.
    """
    began = time.monotonic()
    numbers = tuple(replicate_seed(rung.name, number, SALT) for number in range(seeds))
    tried: set[int] = set()
    while True:
        room = REACH * lines - len(tried)
        wanted = [leader for leader in leaders.contenders()[:lines] if leader.function not in tried][: max(0, room)]
        if not wanted:
            break
        tried.update(leader.function for leader in wanted)
        for leader, outcome in _evaluated(wanted, rung, numbers, executor, block, stopped, progress, len(tried)):
            if outcome is None:
                return None
            _pool(leaders, leader, outcome, numbers)
    first = leaders.contenders()[:lines]
    sure = next(
        (at for at, leader in enumerate(first) if numbers[0] not in leaders.observed(leader.function)), len(first)
    )
    return Closing(len(first), sure, len(tried), seeds, round(time.monotonic() - began, 3))


def _evaluated(
    wanted: Sequence[Leader],
    rung: Rung,
    numbers: tuple[int, ...],
    executor: Executor,
    block: int,
    stopped: Callable[[], bool],
    progress: Callable[[int, int], None],
    total: int,
) -> Iterable[tuple[Leader, Outcome | None]]:
    """The leaders with what became of them, in their order; with None from where it was stopped."""
    found: dict[int, Outcome] = {}
    size = max(1, min(block, len(wanted) // 4))  # few requests: small blocks keep all workers busy
    for start in range(0, len(wanted), size):
        part = wanted[start : start + size]
        requests = tuple(Request(leader.id, leader.genome, rung.name, numbers) for leader in part)
        executor.submit([Block(start, requests)])
    while len(found) < len(wanted) and not stopped():
        progress(total - len(wanted) + len(found), total)
        for done in executor.poll(POLL_S):
            found.update(zip((request.id for request in done.block.requests), done.outcomes, strict=True))
    progress(total - len(wanted) + len(found), total)
    return [(leader, found.get(leader.id)) for leader in wanted]


def _pool(leaders: Leaders, leader: Leader, outcome: Outcome, numbers: tuple[int, ...]) -> None:
    """Let the board know; a time-out may be the machine's and says nothing of the function."""
    statuses = {observation.status for observation in outcome.observations}
    if statuses & set(SAYS_NOTHING):
        return
    values = [observation.values for observation in outcome.observations]
    sound = statuses == {"ok"}
    leaders.pool(leader.function, sound, [*zip(numbers, values, strict=True)] if sound else [], leader.values)
