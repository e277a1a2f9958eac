"""Inner tuning: the constants of finalists by CMA-ES (Hansen and Ostermeier 2001), a generation trained as one batch.

A mutation multiplies one constant at a time by a random factor, and few survive; the last factor of two in a learning
rate, or of three in the weight 1 - beta of an average, is seldom found by a search of structures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from evo.program import Program, simplify
from search_spaces.lion.language import LION
from search_spaces.lion.refine.subjects import AdamWSetting, Subject

Judge = Callable[[Sequence[Subject], Sequence[int]], np.ndarray]
"""As `paired.Assess`, also of settings of AdamW."""
DIGITS = 6
"""Significant digits of a tuned constant: more would only be noise, and tie a result to the last bit of a library."""


class Literal(NamedTuple):
    """A constant of a program, or of AdamW, and the scale that it is tuned on.

    Attributes:
        statement: index of its statement; of AdamW: in `ADAMW_CONSTANTS`.
        argument: index in its arguments; of AdamW: 0.
        value: as it stands.
        anchor: 0, or 1 where the distance to 1 counts: its logarithm is the coordinate, log|value - anchor|.
    """

    statement: int
    argument: int
    value: float
    anchor: float

    @property
    def coordinate(self) -> float:
        """Where it stands."""
        return math.log(abs(self.value - self.anchor))

    def at(self, coordinate: float) -> float:
        """The constant at a coordinate, on its side of the anchor."""
        distance = math.copysign(math.exp(min(coordinate, 80.0)), self.value - self.anchor)
        return float(f"{self.anchor + distance:.{DIGITS}g}") if self.anchor == 0.0 else _beside(self.anchor, distance)


def _beside(anchor: float, distance: float) -> float:
    """anchor + distance with a rounded distance: 0.999 keeps the digits of its 0.001."""
    short = float(f"{distance:.{DIGITS}g}")
    return float(f"{anchor + short:.12g}")


ADAMW_CONSTANTS = (("lr", 0.0), ("weight_decay", 0.0), ("beta1", 1.0), ("beta2", 1.0))
"""Fields of `AdamWSetting` and the anchors of their scales."""


def literals(program: Subject) -> list[Literal]:
    """The constants that tuning moves: all but zeros.

    The coordinate is log|c|, as constants act over orders of magnitude. An interpolation's weight is told by what it
    leaves to the other value: 0.99 and 0.999 are ten times apart, so from a half on it is log|1 - c|.
    """
    if isinstance(program, AdamWSetting):
        values = [(getattr(program, name), anchor) for name, anchor in ADAMW_CONSTANTS]
        return [Literal(index, 0, value, anchor) for index, (value, anchor) in enumerate(values) if value != 0.0]
    found = []
    for index, step in enumerate(program.instructions):
        for place, argument in enumerate(step.arguments):
            if isinstance(argument, str) or argument == 0.0:
                continue
            weight = step.operator == "interp" and place == 2 and argument >= 0.5 and argument != 1.0
            found.append(Literal(index, place, float(argument), 1.0 if weight else 0.0))
    return found


def with_constants(program: Subject, places: Sequence[Literal], coordinates: Sequence[float]) -> Subject:
    """The program, or AdamW, with its constants moved."""
    if isinstance(program, AdamWSetting):
        moved = zip(places, coordinates, strict=True)
        return replace(program, **{ADAMW_CONSTANTS[place.statement][0]: place.at(at) for place, at in moved})
    steps = list(program.instructions)
    for literal, coordinate in zip(places, coordinates, strict=True):
        step = steps[literal.statement]
        arguments = list(step.arguments)
        arguments[literal.argument] = literal.at(coordinate)
        steps[literal.statement] = step._replace(arguments=tuple(arguments))
    return Program(tuple(steps))


def tuned(
    programs: Sequence[Subject],
    assess: Judge,
    seeds: Callable[[int], Sequence[int]],
    generations: int,
    *,
    population: int | None,
    spread: float,
    seed: int,
    stage: Callable[[int], None] = lambda generation: None,
) -> list[Subject]:
    """Each program with tuned constants: the centre of the last generation's distribution.

    All programs advance together, one batch a generation. Each generation is judged on seeds of its own, so that no
    constant is fitted to one; within it all meet the same noise. Under noise the centre is the better estimate than
    the best candidate ever seen, which was lucky. Repeated with a kept record of losses it gives the same again.

    Args:
        programs: what to tune; they are simplified first. Settings of AdamW may stand among them.
        assess: judges a generation; the mean over tasks and seeds is minimised.
        seeds: the seeds of a generation, by its number.
        generations: how many.
        population: candidates a generation and program; None: 4 + 3 ln n for n constants.
        spread: initial standard deviation of every coordinate.
        seed: of the sampling; non-negative.
        stage: told the number of each generation when it begins.
    """
    import cmaes

    shorts = [p if isinstance(p, AdamWSetting) else simplify(LION, p) for p in programs]
    places = [literals(program) for program in shorts]
    searches: list[cmaes.CMA | None] = []
    for number, found in enumerate(places):
        if not found or not generations:
            searches.append(None)
            continue
        centre = [literal.coordinate for literal in found]
        centre += [0.0] * (len(found) == 1)  # CMA-ES wants two dimensions; the second is ignored
        size = population or 4 + int(3 * math.log(len(centre)))
        searches.append(cmaes.CMA(np.array(centre), spread, seed=(seed + number) % 2**32, population_size=max(3, size)))
    for generation in range(generations):
        stage(generation)
        asked: list[tuple[int, np.ndarray]] = []
        for number, search in enumerate(searches):
            if search is not None:
                asked += [(number, search.ask()) for _ in range(search.population_size)]
        if not asked:
            break
        batch = [with_constants(shorts[n], places[n], point[: len(places[n])]) for n, point in asked]
        scores = assess(batch, seeds(generation)).mean(axis=(1, 2))
        for number, search in enumerate(searches):
            if search is not None:
                mine = [(p, float(s)) for (n, p), s in zip(asked, scores, strict=True) if n == number]
                search.tell(mine)
    return [
        short if search is None else with_constants(short, found, search.mean[: len(found)])
        for short, found, search in zip(shorts, places, searches, strict=True)
    ]
