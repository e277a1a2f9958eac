"""The strategy: timesteps first, then masks, opened by and by.

After Li et al. (2023): the running best breed; while the search is young nothing is skipped, and then the share of a
step's blocks that a mask may name grows in stages. Where the options skip nothing it is `evo.strategies.topk` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evo.errors import ConfigError
from evo.space import SearchSpace, Variation
from evo.strategies._options import check_at_least
from evo.strategies.topk import TopK, TopKOptions
from search_spaces.autodiffusion.genome import Schedule


@dataclass(frozen=True, slots=True)
class TwoStageOptions(TopKOptions):
    """Options of the two stages; those of `topk` beside, with other defaults.

    Attributes:
        open_after: distinct schedules told before masks open.
        stages: in so many equal stages the share grows to the option `max_skip`.
        open_over: distinct schedules told between the first stage and the last.
    """

    population: int = 12
    first: int = 40
    tournament: int = 2
    crossover: float = 0.3
    mutation: float = 0.7
    newcomers: float = 0.03
    open_after: int = 100
    stages: int = 4
    open_over: int = 60

    def __post_init__(self) -> None:
        super(TwoStageOptions, self).__post_init__()
        check_at_least("two_stage.open_after", self.open_after, 0)
        check_at_least("two_stage.stages", self.stages, 1)
        check_at_least("two_stage.open_over", self.open_over, 0)


class TwoStage(TopK[Schedule]):
    """The running best, with masks that open."""

    name = "two_stage"
    Options = TwoStageOptions
    options: TwoStageOptions

    def __init__(self, space: SearchSpace[Schedule], options: Any = None) -> None:
        if not hasattr(space, "at"):
            raise ConfigError(f"strategy two_stage is autodiffusion's, not {space.name!r}'s", "take strategy topk")
        super().__init__(space, options)

    @property
    def share(self) -> float:
        """Of a step's blocks that a mask may name now."""
        given: Any = self.space
        past = self.fresh - self.options.open_after
        if given.options.masks == "none" or past < 0:
            return 0.0
        stages = self.options.stages
        stage = stages if not self.options.open_over else min(stages, 1 + past * (stages - 1) // self.options.open_over)
        return float(given.options.max_skip) * stage / stages

    def operators(self) -> SearchSpace[Schedule]:
        staged: Any = _Staged(self.space, self.share)
        return staged  # type: ignore[no-any-return]


class _Staged:
    """A space at a stage: seen through, but for what it draws with. That needs the model and, for a budget of time,
    what `prepare` measured: it is asked for when the first candidate is."""

    def __init__(self, space: Any, share: float) -> None:
        self._space, self._share = space, share

    def sample(self, rng: Any) -> Schedule:
        return self._space.at(self._share).sample(rng)  # type: ignore[no-any-return]

    def mutate(self, genome: Schedule, rng: Any) -> Variation:
        return Variation(*self._space.at(self._share).mutate(genome, rng))

    def crossover(self, a: Schedule, b: Schedule, rng: Any) -> Variation:
        return Variation(*self._space.at(self._share).cross(a, b, rng))

    def __getattr__(self, name: str) -> Any:
        if name == "_space":  # not there yet, as while being copied: do not ask oneself for it
            raise AttributeError(name)
        return getattr(self._space, name)
