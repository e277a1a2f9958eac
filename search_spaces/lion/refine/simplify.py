"""Automatic simplification: rewrites of a program, each accepted by a paired test, until nothing more can go.

First what equals the program in real numbers (`closed_forms`) replaces it, after a check of its course in float64 and
a look that nothing diverges. Then rounds of backward elimination: all rewrites that would make the program simpler are
screened together on a few seeds; those that may be harmless are tested one by one, the least harmful first, each on
seeds that nothing has used; the first that passes is taken, and the next round begins. Constants are rounded the same
way at the end.

Error control. What a rewrite is tested against is the anchor: the original, or the first accepted program that was
shown to be better than the anchor before it. So many small losses cannot add up: each accepted program is itself
within the margin of the anchor, but for errors. A test errs with probability at most alpha for a program that is worse
by the margin (`paired`), and screening, which does choose among many, shares no seed with any test. Of T tests of such
programs about alpha * T would err all the same; therefore the result is at the end compared with the original, once,
on seeds that nothing used before, and `Simplified.confirmed` says how that ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import xxhash

from evo.errors import ConfigError
from evo.program import Program, simplify
from evo.space import Json
from search_spaces.lion.language import LION
from search_spaces.lion.refine.closed_forms import complexity
from search_spaces.lion.refine.courses import same_course
from search_spaces.lion.refine.journal import Journal
from search_spaces.lion.refine.naming import named
from search_spaces.lion.refine.paired import Assess, PairedTest, SeedSource, Verdict, bounds, differences, paired_test
from search_spaces.lion.refine.rewrites import Rewrite, candidates, identity, roundings, tidy

VERSION = 2
"""Of the decisions: raise it when the same journal would be read otherwise."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class SimplifyOptions:
    """How hard to try, and how sure to be.

    Attributes:
        margin, alpha, first, cap: of every paired test, see `PairedTest`.
        screen: seeds on which all rewrites of a round are looked at together, at least 2.
        screen_alpha: a rewrite is not tested if the screen alone shows it worse by the margin at this level.
        confirm: seeds of the final comparison with the original; None: `cap`.
        reach: how many statements back a value's replacement may lie.
        tests: most tests in all; the simplification ends there, and says so.
        rounding: whether to round constants at the end.
    """

    margin: float = 0.005
    alpha: float = 0.05
    first: int = 8
    cap: int = 64
    screen: int = 4
    screen_alpha: float = 0.1
    confirm: int | None = None
    reach: int = 2
    tests: int = 100
    rounding: bool = True

    def __post_init__(self) -> None:
        self.test()  # checks its own part
        if not 0 < self.screen_alpha < 0.5:
            raise ConfigError(f"screen_alpha is {self.screen_alpha}; it must lie between 0 and 0.5")
        least = {"screen": 2, "reach": 1, "tests": 0, "confirm": 2}
        for name, value in least.items():
            given = getattr(self, name)
            if given is not None and given < value:
                raise ConfigError(f"{name} is {given}; it must be at least {value}")

    def test(self) -> PairedTest:
        """The paired test of a rewrite."""
        return PairedTest(self.margin, self.alpha, self.first, self.cap)

    def confirmation(self) -> PairedTest:
        """The one comparison at the end: one look."""
        seeds = self.cap if self.confirm is None else self.confirm
        return PairedTest(self.margin, self.alpha, seeds, seeds)


@dataclass(frozen=True, slots=True)
class Step:
    """One decision.

    Attributes:
        kind: see `Rewrite.kind`; "equal" for closed forms.
        statement: what it is about, infix; "" for the whole program.
        change: what is done to it.
        outcome: "accepted"; "rejected" (by a test); "screened" (not worth a test).
        statements: of the program before and after.
        difference, low, high: mean of log loss, candidate minus anchor, and its one-sided bounds; NaN for "equal".
        seeds: how many it was judged on.
        seed_purpose: with the `SeedSource` it gives the seeds themselves.
        reason: for people.
        program: the rewritten program.
    """

    kind: str
    statement: str
    change: str
    outcome: str
    statements: tuple[int, int]
    difference: float
    low: float
    high: float
    seeds: int
    seed_purpose: str
    reason: str
    program: Program

    def to_json(self) -> dict[str, Json]:
        """JSON-able; numbers that JSON has no word for are strings."""
        plain = {key: getattr(self, key) for key in self.__slots__ if key != "program"}
        for key in ("difference", "low", "high"):
            if not np.isfinite(plain[key]):
                plain[key] = str(plain[key])
        return {**plain, "statements": list(self.statements), "program": self.program.to_json()}

    def __str__(self) -> str:
        about = f"{self.statement}: {self.change}" if self.statement else self.change
        if self.kind == "equal":
            return f"{self.outcome}: {about} ({self.statements[0]} -> {self.statements[1]} statements)"
        return (
            f"{self.outcome}: {about} ({self.difference:+.4f} in [{self.low:+.4f}, {self.high:+.4f}], "
            f"{self.seeds} seeds)"
        )


@dataclass(frozen=True, slots=True)
class Simplified:
    """What a simplification came to.

    Attributes:
        program: the result, valid, never more complex than the original's closed form.
        equal: the original's closed form: equal in real numbers, whatever the tests said.
        steps: every decision, in order.
        confirmed: the final comparison accepted the result; where it did not, `equal` is the safe choice.
        final: that comparison.
        evidence: JSON: options, final comparison, counts.
    """

    program: Program
    equal: Program
    steps: tuple[Step, ...]
    confirmed: bool
    final: Verdict
    evidence: Json


def simplified(
    program: Program,
    assess: Assess,
    seeds: SeedSource,
    options: SimplifyOptions | None = None,
    progress: Progress | None = None,
    journal: Path | None = None,
    world: str = "",
) -> Simplified:
    """The simplest program that is shown to be as good as this one, to a margin.

    What comes out depends on the arguments alone. With a journal every decision is appended to a file; called again
    with the same arguments after a kill it recalls them and goes on.

    Args:
        program: a valid program.
        assess: programs and seeds to (n_programs, n_tasks, n_seeds) log relative losses; lower is better, +inf where
            one diverged.
        seeds: must not be shared with what chose or tuned the program.
        options: None: the defaults.
        progress: called with tests done, most tests, and what is going on.
        journal: a file of its own for this simplification.
        world: identity of what `assess` depends on beside its arguments (data, courses, backend). It goes into the
            journal, so that what was decided elsewhere is not recalled.

    Raises:
        InvalidGenomeError: the program is not valid.
        ConfigError: the journal belongs to another simplification.
    """
    LION.infer(program)
    options = options or SimplifyOptions()
    asked = {"version": VERSION, "program": program.to_json(), "root": seeds.root, "options": asdict(options)}
    asked["world"] = world
    return _Simplification(program, assess, seeds, options, progress or _silent, Journal(journal, asked)).run()


def _silent(done: int, total: int, what: str) -> None:
    """No progress is shown."""


@dataclass
class _Simplification:
    original: Program
    assess: Assess
    seeds: SeedSource
    options: SimplifyOptions
    progress: Progress
    journal: Journal
    steps: list[Step] = field(default_factory=list)
    tests: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """Functions that a screen or a test refused -> label of the rewrite."""
    ended_early: bool = False
    """Whether a rewrite was left that deserved a test when no test was left."""

    def run(self) -> Simplified:
        equal = self._equal()
        self.current = self.anchor = equal
        while self._round(candidates(self.current, self.options.reach)):
            pass
        if self.options.rounding:
            while self._round(roundings(self.current), coarsest_first=True):
                pass
        self.progress(self.tests, self.options.tests, "comparing the result with the original on fresh seeds")
        final = Verdict.from_json(self.journal.decide("final", lambda: self._compared(self.options.confirmation())))
        evidence = {
            "options": asdict(self.options),
            "seed_root": self.seeds.root,
            "final": final.to_json(),
            "tests": self.tests,
            "ended_early": self.ended_early,
            "screened": sum(step.outcome == "screened" for step in self.steps),
            "accepted": sum(step.outcome == "accepted" and step.kind != "equal" for step in self.steps),
            "statements": [len(self.original), len(equal), len(self.current)],
        }
        return Simplified(self.current, equal, tuple(self.steps), final.accepted, final, evidence)

    def _equal(self) -> Program:
        """The closed form, if it keeps its course; else what exact rewriting gives."""
        found = tidy(self.original)
        seeds = self.seeds.take("equal", self.options.screen)

        def sound() -> bool:
            if not same_course(self.original, found):
                return False
            losses = np.asarray(self.assess([self.original, found], seeds), float)
            return bool((np.isfinite(losses[1]) | ~np.isfinite(losses[0])).all())

        accepted = self.journal.decide("equal", sound)
        exact = named(simplify(LION, self.original))
        self.steps.append(
            Step(
                "equal", "", "closed form: dead, folded and chained statements derived again",
                "accepted" if accepted else "rejected", (len(self.original), len(found)),
                np.nan, np.nan, np.nan, len(seeds), "equal",
                "equal in real numbers" if accepted else "its course in floating point is another", found,
            )
        )  # fmt: skip
        return found if accepted else min(exact, simplify(LION, self.original), key=complexity)

    def _round(self, rewrites: Sequence[Rewrite], coarsest_first: bool = False) -> bool:
        """Screen and test rewrites of the current program; True if one was accepted.

        What was refused under a former program, and leads to a new function now, waits until all else is refused: it
        is hardly ever accepted later, but "nothing more can go" includes it.
        """
        open_ = [rewrite for rewrite in rewrites if identity(rewrite.program) not in self.refused]
        before = set(self.refused.values())
        new = [rewrite for rewrite in open_ if rewrite.label not in before]
        again = [rewrite for rewrite in open_ if rewrite.label in before]
        return any(self._tried(part, coarsest_first) for part in (new, again) if part)

    def _tried(self, rewrites: Sequence[Rewrite], coarsest_first: bool) -> bool:
        hopeful = self._screened(rewrites)
        if coarsest_first:
            hopeful.sort(key=lambda found: (found[1].complexity, found[1].label))
        for _, rewrite in hopeful:
            if self.tests >= self.options.tests:
                self.ended_early = True
                return False
            if self._tested(rewrite):
                return True
        return False

    def _screened(self, rewrites: Sequence[Rewrite]) -> list[tuple[float, Rewrite]]:
        """Rewrites that may be harmless, the least harmful first, with their mean difference on the screen's seeds."""
        self.progress(self.tests, self.options.tests, f"screening {len(rewrites)} rewrites")
        seeds = self.seeds.take("screen", self.options.screen)
        programs = [rewrite.program for rewrite in rewrites]

        def look() -> list[list[str]]:
            losses = np.asarray(self.assess([self.anchor, *programs], seeds), float)
            rows = (differences(losses[1 + k], losses[0]).mean(axis=0) for k in range(len(programs)))
            return [[repr(x) for x in bounds(row, self.options.screen_alpha)] for row in rows]

        key = "screen " + " ".join(_name(p) for p in (self.anchor, *programs))
        hopeful = []
        for rewrite, row in zip(rewrites, self.journal.decide(key, look), strict=True):
            mean, low, high = map(float, row)
            if low < self.options.margin:
                hopeful.append((mean, rewrite))
            else:
                reason = "worse on the screen's seeds" if np.isfinite(mean) else "it diverged"
                self._refuse(rewrite, "screened", (mean, low, high), len(seeds), "screen", reason)
        return sorted(hopeful, key=lambda found: (found[0], found[1].complexity, found[1].label))

    def _tested(self, rewrite: Rewrite) -> bool:
        self.tests += 1
        purpose = f"test {self.tests}"
        self.progress(self.tests, self.options.tests, rewrite.label)

        def test() -> Json:
            take = lambda n, start: self.seeds.take(purpose, n, start)  # noqa: E731
            return paired_test(self.assess, rewrite.program, self.anchor, take, self.options.test()).to_json()

        key = f"{purpose} {_name(self.anchor)} {_name(rewrite.program)}"
        found = Verdict.from_json(self.journal.decide(key, test))
        interval = (found.difference, found.low, found.high)
        if not found.accepted:
            self._refuse(rewrite, "rejected", interval, found.seeds, purpose, found.reason)
            return False
        self._record(rewrite, "accepted", interval, found.seeds, purpose, found.reason)
        self.current = rewrite.program
        if found.high < 0:
            self.anchor = rewrite.program
        return True

    def _compared(self, test: PairedTest) -> Json:
        take = lambda n, start: self.seeds.take("final", n, start)  # noqa: E731
        return paired_test(self.assess, self.current, self.original, take, test).to_json()

    def _refuse(self, rewrite: Rewrite, outcome: str, interval: tuple[float, float, float], n: int, purpose: str,
                reason: str) -> None:  # fmt: skip
        self.refused[identity(rewrite.program)] = rewrite.label
        self._record(rewrite, outcome, interval, n, purpose, reason)

    def _record(self, rewrite: Rewrite, outcome: str, interval: tuple[float, float, float], n: int, purpose: str,
                reason: str) -> None:  # fmt: skip
        sizes = (len(self.current), len(rewrite.program))
        self.steps.append(
            Step(rewrite.kind, rewrite.statement, rewrite.change, outcome, sizes, *interval, n, purpose, reason,
                 rewrite.program)
        )  # fmt: skip


def _name(program: Program) -> str:
    """Short, for keys of the journal: what is decided is decided of a program as it is written."""
    return xxhash.xxh3_64_hexdigest(str(program).encode())
