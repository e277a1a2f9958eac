"""Search strategies: ask for proposals, tell results. One algorithm a file; `select` holds the pieces they share."""

from evo.strategies._breeding import Breeder, InitialCandidates, InitialKind, Parent, draw_indices, has_crossover
from evo.strategies.base import BaseStrategy, Fetch, Strategy
from evo.strategies.registry import STRATEGIES, build_strategy, strategy_class, strategy_options

__all__ = [
    "STRATEGIES",
    "BaseStrategy",
    "Breeder",
    "Fetch",
    "InitialCandidates",
    "InitialKind",
    "Parent",
    "Strategy",
    "build_strategy",
    "draw_indices",
    "has_crossover",
    "strategy_class",
    "strategy_options",
]
