"""One search of `robot` on a table without the engine: asked, looked up, told; for hundreds of them a minute.

`tests/search_spaces/robot/test_space.py` holds that the engine's own run queries the same architectures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evo.seeds import Streams
from evo.space import Breed, Told
from evo.strategies import build_strategy
from search_spaces.robot.space import Robot

PATIENCE = 2000
"""Proposals in a row without a new architecture after which a search is over."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What a search did.

    Attributes:
        rows: (queries,) rows of the pool, in the order in which they were first queried.
        values: (queries,) float64, what they were told with.
        explored: how many of them exploration found (T0).
        proposals: with the repeats.
    """

    rows: np.ndarray
    values: np.ndarray
    explored: int
    proposals: int

    @property
    def best(self) -> int:
        """The row of the best value; of equals the first."""
        return int(self.rows[int(np.argmax(self.values))])


def search(
    space: Robot, strategy: str, options: Mapping[str, Any], queries: int, seed: int, limit: int | None = None
) -> Trial:
    """Search until so many distinct architectures were queried, or nothing new comes.

    Args:
        space: with a problem whose accuracies are known.
        strategy, options: as in a run's configuration.
        queries: distinct architectures.
        seed: of the run.
        limit: proposals, repeats included, after which it is over in any case; None: none.
    """
    accuracy = space.problem.accuracy
    if accuracy is None:
        raise ValueError(f"{space.problem.name} has no accuracies")
    searcher = build_strategy(strategy, space, options)
    streams, first, last = Streams(seed), {}, 0
    values: list[float] = []
    explored = number = 0
    while len(first) < queries and number - last < PATIENCE and (limit is None or number < limit):
        proposals = searcher.ask(number, 1, streams)
        if not proposals:
            break  # all is told, and everything was proposed
        for proposal in proposals:
            assert isinstance(proposal, Breed)
            row = space.row(proposal.genome)
            assert row is not None
            new = row not in first
            function = first.setdefault(row, number)
            if new:
                last = number
                values.append(float(accuracy[row]))
                explored += proposal.operator != "greedy"
            searcher.tell(
                [
                    Told(number, proposal.genome, (float(accuracy[row]),), "ok", 0, function, proposal.operator,
                         proposal.parents, None, new)
                ]
            )  # fmt: skip
            number += 1
    return Trial(np.array(list(first)), np.array(values), explored, number)
