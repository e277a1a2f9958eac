"""What `Robot.prepare` does: the problem, and its pool as a file for the commands that read a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from evo.space import Preparation
from search_spaces.robot.options import RobotOptions
from search_spaces.robot.problem import Problem, problem_from, table_of
from search_spaces.robot.scales import stored_pool
from search_spaces.robot.stored import StoredPool, pool_path, write_pool


def prepared(options: RobotOptions, work: Preparation) -> tuple[Problem, StoredPool]:
    """The problem of the options, and its pool; networks are scored where there is no table.

    Args:
        options: of the space.
        work: folder, workers, progress.
    """
    dropped: Mapping[str, str] = {}
    if options.live:
        from search_spaces.robot.live.problem import live_table

        table, scores = live_table(options, work)
        # names that the user gave may have been dropped: the same value for all networks weighs nothing
        problem, rows = problem_from(table, replace(options, metrics=tuple(table.metrics)))
        dropped = scores.dropped
    else:
        table = table_of(options)
        problem, rows = problem_from(table, options)
    stored = stored_pool(options, table, rows, problem.pool, problem.digest, dropped)
    write_pool(pool_path(work.folder, options), stored)
    return problem, stored
