"""Assessment: programs trained on tasks under seeds, as batches over the workers, each result kept on disk.

Everything that refines asks here, so that nothing is trained twice: not for two purposes that meet, not by programs
that are written differently, not after a kill.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xxhash

from evo.errors import DamagedRunError, EvaluatorError
from evo.program import Lowered
from evo.seeds import MASK63
from search_spaces.lion.evaluator import course, numeric_backend, one_thread
from search_spaces.lion.options import LionOptions
from search_spaces.lion.refine.paired import Assess
from search_spaces.lion.refine.subjects import AdamWSetting, Subject, form_of, in_words, name_of, optimizers
from search_spaces.lion.tasks import load
from search_spaces.lion.tasks.base import Task
from search_spaces.lion.training import CHECK_EVERY, LIMIT, Course, train

VERSION = 1
"""Of a kept loss: raise it when the same training would give another one."""
BLOCK = 16
"""Programs trained together at most: larger batches gain little, and smaller ones share better among workers. How
programs are put together affects no result."""
ITEM = 2e8
"""Parameters x steps x programs of an item at most (5 to 20 s): large networks fill a core alone, and a kill costs the
items at work."""
ROUND_S = 10.0
"""Seconds after which results should be on disk."""
CHECK_TASK = "a task of your own? its loss must be finite, and fall from its `chance` under some learning rate"
FLOOR = 1e-12
"""The smallest loss that a logarithm is taken of."""


class Trial(NamedTuple):
    """A task, and for how many times the search's steps (times the task's pace) it is trained."""

    task: str
    stretch: float = 1.0


class Item(NamedTuple):
    """What a worker gets: programs to train together, or settings of AdamW (never both)."""

    task: str
    course: Course
    seed: int
    programs: tuple[Lowered | AdamWSetting, ...]
    backend: str | None


def seeds_for(run_seed: int, purpose: str, n: int) -> list[int]:
    """The first n 63-bit seeds of a purpose. Those of two purposes, of two runs, or of the search are never the same
    (to the chance of a collision of 63-bit hashes), so that what one step chose is judged by the next on fresh noise.
    """
    return [xxhash.xxh3_64_intdigest(f"lion refine/{run_seed}/{purpose}/{k}".encode()) & MASK63 for k in range(n)]


@cache
def _task(name: str) -> Task:
    return load(name)


def train_item(item: Item) -> list[float]:
    """Final validation losses of an item's programs, +inf where one diverged."""
    with one_thread():
        trained = train(_task(item.task), optimizers(item.programs, item.backend), item.seed, item.course)
    return [float(loss) for loss in trained.loss]


class Losses:
    """Losses by content address, in a file that survives a kill; None keeps them in memory.

    Raises:
        DamagedRunError: the file is no database of this kind.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(":memory:" if path is None else path)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS losses (key BLOB PRIMARY KEY, loss REAL NOT NULL) WITHOUT ROWID"
            )
            self._known: dict[bytes, float] = dict(self._db.execute("SELECT key, loss FROM losses"))
        except sqlite3.DatabaseError as error:
            raise DamagedRunError(
                f"{path} cannot be read: {error}", "delete it: what it holds is computed again"
            ) from error

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: bytes) -> float | None:
        return self._known.get(key)

    def put(self, found: Iterable[tuple[bytes, float]]) -> None:
        """Store, on disk when this returns (as far as a killed process is concerned)."""
        rows = list(found)
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO losses VALUES (?, ?)", rows)
        self._known.update(rows)

    def close(self) -> None:
        self._db.close()


class Assessor:
    """Trains programs and relates their losses to those of a reference program.

    Args:
        options: of the space: steps, batch, schedule, backend.
        losses: where results are kept.
        map: `map(function, items)` over workers, in order.
        progress: `progress(done, total, what)`.

    Attributes:
        reference: the optimizer whose loss on a task, under the same seed, is the unit. It shifts all alike, so that no
            choice depends on it.
        stage: what is going on, for `progress`.
        trained: how many trainings this object had to do; the others were known.
    """

    def __init__(
        self,
        options: LionOptions,
        losses: Losses,
        map: Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]],
        progress: Callable[[int, int, str], None],
    ) -> None:
        self._options = options
        self._losses = losses
        self._map = map
        self._progress = progress
        self._backend = numeric_backend(options.backend)
        self._round = 4
        self.reference: Subject | None = None
        self.stage = ""
        self.trained = 0

    def logs(self, programs: Sequence[Subject], trials: Sequence[Trial], seeds: Sequence[int]) -> np.ndarray:
        """log(final validation loss), (n_programs, n_trials, n_seeds) float64; +inf where it diverged."""
        names = [name_of(program) for program in programs]
        distinct: dict[bytes, Subject] = {}
        for name, program in zip(names, programs, strict=True):
            distinct.setdefault(name, program)
        runs = [(trial, course(self._options, trial.task, self._options.steps * trial.stretch)) for trial in trials]
        keys = {
            (name, trial, seed): self._key(name, trial.task, given, seed)
            for trial, given in runs
            for seed in seeds
            for name in distinct
        }
        items, places = self._missing(distinct, runs, seeds, keys)
        self._train(items, places)
        found = np.array(
            [[[self._losses.get(keys[name, trial, seed]) for seed in seeds] for trial in trials] for name in names],
            np.float64,
        ).reshape(len(programs), len(trials), len(seeds))
        return np.log(np.maximum(found, FLOOR))

    def relative(self, programs: Sequence[Subject], trials: Sequence[Trial], seeds: Sequence[int]) -> np.ndarray:
        """As `Assess`, for these trials.

        Raises:
            EvaluatorError: no reference was set, or it diverges.
        """
        if self.reference is None:
            raise EvaluatorError("losses cannot be related: no reference was set")
        logs = self.logs([*programs, self.reference], trials, seeds)
        reference = logs[-1]
        if not np.isfinite(reference).all():
            lost = ", ".join(
                trial.task for trial, row in zip(trials, reference, strict=True) if not np.isfinite(row).all()
            )
            raise EvaluatorError(f"the reference, {in_words(self.reference)}, diverges on {lost}", CHECK_TASK)
        return np.asarray(logs[:-1] - reference)

    def identity(self, trials: Sequence[Trial]) -> str:
        """Digest of all that losses on these trials depend on beside the optimizer and the seed: the tasks' data and
        code, their courses, the numeric backend."""
        parts = [f"{VERSION}/{CHECK_EVERY}/{LIMIT}/{self._backend}"]
        for trial in trials:
            given = course(self._options, trial.task, self._options.steps * trial.stretch)
            parts.append(f"{trial.task}/{_digest(trial.task)}/{given}")
        return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()

    def on(self, trials: Sequence[Trial]) -> Assess:
        """`relative` on fixed trials."""
        return lambda programs, seeds: self.relative(programs, trials, seeds)

    def _key(self, name: bytes, task: str, given: Course, seed: int) -> bytes:
        text = f"{VERSION}/{CHECK_EVERY}/{LIMIT}/{task}/{_digest(task)}/{given}/{seed}/{self._backend}/"
        return hashlib.blake2b(text.encode() + name, digest_size=16).digest()

    def _missing(
        self,
        distinct: dict[bytes, Subject],
        runs: Sequence[tuple[Trial, Course]],
        seeds: Sequence[int],
        keys: dict[tuple[bytes, Trial, int], bytes],
    ) -> tuple[list[Item], list[list[bytes]]]:
        """What must be trained as items, the dearest first (what is left at a round's end is then small), and the keys
        of their results."""
        made: list[tuple[float, Item, list[bytes]]] = []
        forms: dict[bytes, Lowered | AdamWSetting] = {}
        for trial, given in runs:
            for seed in dict.fromkeys(seeds):
                missing = [name for name in distinct if self._losses.get(keys[name, trial, seed]) is None]
                each = float(_task(trial.task).segments[-1]) * given.steps
                size = max(1, min(BLOCK, int(ITEM / each)))
                for part in _parts(missing, distinct, size):
                    for name in part:
                        if name not in forms:
                            forms[name] = form_of(distinct[name])
                    item = Item(trial.task, given, seed, tuple(forms[name] for name in part), self._options.backend)
                    made.append((each * len(part), item, [keys[name, trial, seed] for name in part]))
        made.sort(key=lambda entry: -entry[0])
        return [item for _, item, _ in made], [places for _, _, places in made]

    def _train(self, items: Sequence[Item], places: Sequence[Sequence[bytes]]) -> None:
        """In rounds, each stored when it is done. Their size follows the clock, which no result depends on."""
        done = 0
        while done < len(items):
            left = len(items) - done
            part = items[done : done + (left if left <= 1.5 * self._round else self._round)]
            self._progress(done, len(items), self.stage)
            began = time.monotonic()
            answers = self._map(train_item, part)
            seconds = time.monotonic() - began
            self._losses.put(
                (key, loss)
                for keys, answer in zip(places[done:], answers, strict=False)
                for key, loss in zip(keys, answer, strict=True)
            )
            self.trained += sum(len(item.programs) for item in part)
            done += len(part)
            if seconds < ROUND_S / 2 and len(part) >= self._round:
                self._round = min(1024, self._round * 2)
            elif seconds > 2 * ROUND_S:
                self._round = max(2, self._round // 2)
        if items:
            self._progress(done, len(items), self.stage)


def _parts(names: Sequence[bytes], subjects: Mapping[bytes, Subject], size: int) -> Iterator[list[bytes]]:
    """Names in parts of at most `size` that can be trained together."""
    for known in (False, True):
        kind = [name for name in names if isinstance(subjects[name], AdamWSetting) is known]
        count = -(-len(kind) // size)
        yield from (kind[number::count] for number in range(count))


@cache
def _digest(task: str) -> str:
    return _task(task).digest()
