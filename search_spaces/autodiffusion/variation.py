"""How schedules are drawn, mutated and crossed; all keep the gap, the budget and the limits of masks.

Timesteps move locally (a few are shifted by a width drawn on a logarithmic scale) and globally (one is drawn anew; all
are warped by a power or a factor). Crossing works on sorted timesteps, position by position or at a cut. Masks belong
to the timestep they stand at and move with it. Where skipping buys steps, a schedule that costs too much loses a step
or skips more, and one with room left may gain a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search_spaces.autodiffusion.budget import Profile
from search_spaces.autodiffusion.genome import Schedule
from search_spaces.autodiffusion.options import AutoDiffusionOptions
from search_spaces.autodiffusion.schedules import spaced

if TYPE_CHECKING:
    import numpy as np

Calls = list[tuple[int, tuple[int, ...]]]
"""(timestep, mask) of each call, latest timestep first."""
SLACK = 1e-9
WIDTH = 0.1
"""Widest standard deviation of a local shift, as a share of T."""


@dataclass(frozen=True)
class Draws:
    """Draws schedules.

    Attributes:
        options: of the space.
        total: T.
        profile: the model's blocks and costs; None: there are none to skip.
        share: of a step's blocks that a mask may name now (a search opens masks by and by).
    """

    options: AutoDiffusionOptions
    total: int
    profile: Profile | None
    share: float

    @property
    def open(self) -> tuple[int, ...]:
        """Blocks that may be skipped."""
        if self.profile is None or self.options.masks == "none" or self.most < 1:
            return ()
        kinds = self.options.masks
        return tuple(i for i, kind in enumerate(self.profile.kinds) if kinds in ("all", kind))

    @property
    def most(self) -> int:
        """Blocks that one mask may name."""
        return 0 if self.profile is None else math.floor(self.share * len(self.profile.blocks) + SLACK)

    # ------------------------------------------------------------------ what is drawn

    def sample(self, rng: np.random.Generator) -> Schedule:
        """Timesteps uniform, masks random up to a random share, as many steps as the budget holds."""
        options = self.options
        solver = options.solvers[int(rng.integers(len(options.solvers)))]
        times = spaced(sorted(rng.integers(self.total, size=options.steps).tolist()), self.total, options.gap)
        masked = self.open and rng.random() < 0.5
        bound = int(rng.integers(1, self.most + 1)) if masked else 0
        calls = [(t, self._mask(rng, bound)) for t in times]
        return self._made(self._filled(calls, bound, rng) if masked else calls, solver, rng)

    def mutate(self, schedule: Schedule, rng: np.random.Generator) -> tuple[Schedule, str]:
        """A changed schedule and the operator's name; the operator is drawn again where it changed nothing."""
        operators: list[tuple[float, str, Callable[[Calls, np.random.Generator], Calls]]] = [
            (4.0, "shift", self._shift),
            (1.0, "redraw", self._redraw),
            (1.0, "warp", self._warp),
        ]
        if self.open:
            operators.append((3.0, "mask", self._remask))
            if self.options.budget != "steps":
                operators.append((2.0, "insert", self._insert))
                operators.append((0.5, "drop", self._drop))
        names = [name for _, name, _ in operators]
        weights = [weight for weight, _, _ in operators]
        if len(self.options.solvers) > 1:
            names.append("solver")
            weights.append(0.7)
        sum_of_weights = sum(weights)
        found, name = schedule, "shift"
        for _ in range(10):
            name = names[int(rng.choice(len(names), p=[weight / sum_of_weights for weight in weights]))]
            calls, solver = _calls(schedule), schedule.solver
            if name == "solver":
                others = [other for other in self.options.solvers if other != solver]
                solver = others[int(rng.integers(len(others)))]
            else:
                calls = operators[names.index(name)][2](calls, rng)
            found = self._made(calls, solver, rng)
            if found != schedule:
                break
        return found, name

    def cross(self, a: Schedule, b: Schedule, rng: np.random.Generator) -> tuple[Schedule, str]:
        """A child of two: position by position where they have as many timesteps, or one's beginning and the other's
        end."""
        one, other = _calls(a), _calls(b)
        solver = (a if rng.random() < 0.5 else b).solver
        if len(one) == len(other) and rng.random() < 0.5:
            picks = rng.random(len(one)) < 0.5
            calls = [x if pick else y for pick, x, y in zip(picks, one, other, strict=True)]
            return self._made(calls, solver, rng), "mix"
        if self.options.budget == "steps":
            at = int(rng.integers(1, len(one))) if len(one) > 1 else 1
            return self._made(one[:at] + other[at:], solver, rng), "cut"
        level = int(rng.integers(self.total))
        calls = [call for call in one if call[0] >= level] + [call for call in other if call[0] < level]
        return self._made(calls or one, solver, rng), "cut"

    # ------------------------------------------------------------------ operators on timesteps

    def _shift(self, calls: Calls, rng: np.random.Generator) -> Calls:
        moved = rng.random(len(calls)) < 1 / len(calls)
        moved[int(rng.integers(len(calls)))] = True
        width = math.exp(rng.uniform(math.log(2.0), math.log(max(3.0, WIDTH * self.total))))
        return [
            (t + _away(width * rng.standard_normal()) if move else t, mask)
            for move, (t, mask) in zip(moved, calls, strict=True)
        ]

    def _redraw(self, calls: Calls, rng: np.random.Generator) -> Calls:
        calls = list(calls)
        which = int(rng.integers(len(calls)))
        calls[which] = (int(rng.integers(self.total)), calls[which][1])
        return calls

    def _warp(self, calls: Calls, rng: np.random.Generator) -> Calls:
        power, factor = math.exp(0.2 * rng.standard_normal()), math.exp(0.1 * rng.standard_normal())
        top = self.total - 1
        return [(round(min(1.0, factor * (max(0, t) / top) ** power) * top), mask) for t, mask in calls]

    def _insert(self, calls: Calls, rng: np.random.Generator) -> Calls:
        """One more call, with its neighbour's mask, between two others or beyond them; it may cost skips elsewhere."""
        near = int(rng.integers(len(calls)))
        ends = [self.total, *(t for t, _ in calls), -1]
        low, high = ends[near + 2], ends[near]
        return [*calls, (int(rng.integers(low + 1, max(low + 2, high))), calls[near][1])]

    def _drop(self, calls: Calls, rng: np.random.Generator) -> Calls:
        if len(calls) == 1:
            return calls
        which = int(rng.integers(len(calls)))
        return calls[:which] + calls[which + 1 :]

    # ------------------------------------------------------------------ operators on masks

    def _mask(self, rng: np.random.Generator, bound: int) -> tuple[int, ...]:
        blocks = self.open
        size = min(int(rng.integers(bound + 1)) if bound else 0, len(blocks))
        return tuple(sorted(rng.choice(blocks, size, replace=False).tolist())) if size else ()

    def _remask(self, calls: Calls, rng: np.random.Generator) -> Calls:
        """One block skipped or not at one step, or at all of them; or one step's mask drawn anew or like another's."""
        calls = list(calls)
        which = int(rng.integers(len(calls)))
        t, mask = calls[which]
        kind = rng.random()
        if kind < 0.15:
            calls[which] = (t, self._mask(rng, self.most))
        elif kind < 0.3:
            calls[which] = (t, calls[int(rng.integers(len(calls)))][1])
        else:
            block = int(rng.choice(self.open))
            skip = block not in mask
            for i in range(len(calls)) if kind < 0.5 else (which,):
                calls[i] = (calls[i][0], tuple(sorted({*calls[i][1], block} if skip else {*calls[i][1]} - {block})))
        return calls

    # ------------------------------------------------------------------ limits

    def _made(self, calls: Calls, solver: str, rng: np.random.Generator) -> Schedule:
        """A schedule within all limits."""
        allowed, most = set(self.open), self.most
        calls = sorted(calls, key=lambda call: -call[0])[: self.options.most_steps]
        calls = [(t, _kept([b for b in mask if b in allowed], most, rng)) for t, mask in calls]
        calls = self._afforded(calls, rng)
        times = spaced([t for t, _ in calls], self.total, self.options.gap)
        return Schedule(times, solver, tuple(mask for _, mask in calls))

    def cost(self, calls: Calls) -> float:
        """In full calls, of the budget's unit."""
        if self.profile is None:
            return float(len(calls))
        return sum(self.profile.call(mask, self.options.budget) for _, mask in calls)

    def _afforded(self, calls: Calls, rng: np.random.Generator) -> Calls:
        """Within the budget: steps are dropped, or blocks skipped, until it is. In a budget of steps, as many as there
        shall be."""
        limit = self.options.steps + SLACK
        if self.options.budget == "steps":
            while len(calls) > self.options.steps:
                calls = self._drop(calls, rng)
            while len(calls) < self.options.steps:
                calls = [*calls, (int(rng.integers(self.total)), ())]
            return sorted(calls, key=lambda call: -call[0])
        calls = list(calls)
        skips, everywhere = rng.random(2) < (0.7, 0.5)
        while self.cost(calls) > limit and len(calls) > 1:
            free = self._free(calls) if skips else []
            if not free:
                calls = self._drop(calls, rng)
                continue
            i, block = free[int(rng.integers(len(free)))]
            for at, (t, mask) in enumerate(calls):
                if at == i or (everywhere and (at, block) in free):
                    calls[at] = (t, tuple(sorted((*mask, block))))
        if len(calls) < self.options.steps and self.cost(calls) + 1 <= limit:
            calls.append((int(rng.integers(self.total)), ()))
        return sorted(calls, key=lambda call: -call[0])

    def _free(self, calls: Calls) -> list[tuple[int, int]]:
        """(call, block) that could be skipped as well; where there are any, those whose block another call skips: what
        one call does without, another may."""
        free = [
            (i, block)
            for i, (_, mask) in enumerate(calls)
            if len(mask) < self.most
            for block in self.open
            if block not in mask
        ]
        used = {block for _, mask in calls for block in mask}
        return [pair for pair in free if pair[1] in used] or free

    def _filled(self, calls: Calls, bound: int, rng: np.random.Generator) -> Calls:
        """More steps, as long as the budget holds them (the paper's way)."""
        if self.options.budget == "steps":
            return calls
        while len(calls) < self.options.most_steps:
            more = [*calls, (int(rng.integers(self.total)), self._mask(rng, bound))]
            if self.cost(more) > self.options.steps + SLACK:
                break
            calls = more
        return calls


def _calls(schedule: Schedule) -> Calls:
    return [(t, schedule.mask(i)) for i, t in enumerate(schedule.timesteps)]


def _kept(mask: Sequence[int], most: int, rng: np.random.Generator) -> tuple[int, ...]:
    if len(mask) <= most:
        return tuple(mask)
    return tuple(sorted(rng.choice(mask, most, replace=False).tolist()))


def _away(distance: float) -> int:
    """Rounded away from zero: a shift shifts."""
    return math.ceil(distance) if distance > 0 else math.floor(distance)
