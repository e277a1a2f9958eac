"""A judgement from tuning to verdict: which runs are wanted, in which order, and who does them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from evo.errors import ConfigError
from evo.options import did_you_mean
from evo.space import Judgement, Preparation
from search_spaces.lion.judge import tuning
from search_spaces.lion.judge.runs import Runs, Unit, run_unit
from search_spaces.lion.judge.subjects import Subject, baselines, module_subject, names
from search_spaces.lion.judge.tasks import TASKS, Task, task_named
from search_spaces.lion.judge.training import Run
from search_spaces.lion.judge.tuning import Setting

SLICE = 24
"""Runs handed to the workers at a time; between slices all of them wait for the slowest."""
WATCH_S = 0.5
TUNING_SEEDS = (0, 1)
FIRST_FRESH_SEED = 100


@dataclass(frozen=True, slots=True)
class Settings:
    """What users may set.

    Attributes:
        trials: settings that each subject is tuned over, on each task.
        seeds: fresh seeds that each tuned subject is judged on.
        tasks: names of held-out tasks, or `module:attr` of the user's own (see `own`); empty for all that ship.
        own: more tasks of the user's own, beside those of `tasks`.
        steps: a horizon instead of the tasks' own, for a quick look; None for theirs.
    """

    trials: int = 24
    seeds: int = 5
    tasks: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    steps: int | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Settings:
        """Checked settings.

        Raises:
            ConfigError: a key is not known, a value is out of range, or a class is no task. UsageError: a task is not
                known.
        """
        known = [field.name for field in fields(cls)]
        for key in given:
            if key not in known:
                raise ConfigError(
                    f"the judgement has no setting {key!r}", did_you_mean(key, known) or f"known: {', '.join(known)}"
                )
        lists = {key: tuple(given.get(key, ())) for key in ("tasks", "own")}
        made = replace(cls(), **{**given, **lists})
        for key, least in (("trials", 1), ("seeds", 1), ("steps", 2)):
            value = getattr(made, key)
            if value is None and key == "steps":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{key} must be an integer of at least {least}, not {value!r}", "")
        for name in made.own:
            if ":" not in name:
                raise ConfigError(f"a task of your own is named as module:attr, not {name!r}", "")
        asked = [*(made.tasks or TASKS), *made.own]
        shipped = [name for name in TASKS if name in asked]
        others = [name for name in dict.fromkeys(asked) if name not in TASKS]
        for name in others:
            task_named(name)
        return replace(made, tasks=(*shipped, *others), own=())

    def horizon(self, task: Task) -> int:
        """Steps of a training run."""
        return self.steps or task.steps


@dataclass(frozen=True, slots=True)
class Tuned:
    """A subject on a task: how it was tuned, and what it then did.

    Attributes:
        settings: the trials.
        trials: their final losses under the first tuning seed.
        again: by place, the final losses of the best under the second.
        place: of the setting that was chosen.
        runs: one a fresh seed.
    """

    settings: Sequence[Setting]
    trials: Sequence[float]
    again: Mapping[int, float]
    place: int
    runs: Sequence[Run]


def judge(modules: Sequence[Path], given: Mapping[str, Any], work: Preparation) -> Judgement:
    """Tune and judge the baselines and the modules; what the folder already holds is not done again.

    Args:
        modules: exported files; none to have the baselines alone.
        given: see `Settings`.
        work: `folder` holds the runs, `map` does them, `progress` counts them.

    Raises:
        ConfigError, UsageError: settings. ModuleError: a file that cannot be judged.
    """
    from search_spaces.lion.judge.figures import figures
    from search_spaces.lion.judge.results import results
    from search_spaces.lion.judge.text import text

    settings = Settings.of(given)
    subjects = baselines()
    called = names(modules, [subject.name for subject in subjects])
    subjects += [module_subject(path, name) for path, name in zip(modules, called, strict=True)]
    data = results(settings, subjects, outcomes(settings, subjects, work))
    return Judgement(text(data), data, tuple(figures(data)))


def outcomes(settings: Settings, subjects: Sequence[Subject], work: Preparation) -> dict[tuple[str, str], Tuned]:
    """By (task, subject): all trials, then the best again, then fresh seeds for the setting that was chosen."""
    runs = Runs(work.folder / "runs")
    pairs = [(task_named(name), subject) for name in settings.tasks for subject in subjects]
    trials = {(task.name, s.name): tuning.settings(s, settings.trials) for task, s in pairs}
    again = min(tuning.RETRIED, settings.trials)
    counter = _Counter(len(pairs) * (settings.trials + again + settings.seeds), work.progress)

    def units(task: Task, subject: Subject, places: Sequence[int], seeds: Sequence[int]) -> list[Unit]:
        pair = trials[task.name, subject.name]
        return [Unit(subject, task.name, pair[p], seed, settings.horizon(task)) for p in places for seed in seeds]

    def finals(wanted: Sequence[Unit]) -> list[float]:
        return [runs[unit].final for unit in wanted]

    first = {(t.name, s.name): units(t, s, range(settings.trials), TUNING_SEEDS[:1]) for t, s in pairs}
    _do([unit for wanted in first.values() for unit in wanted], runs, work, counter, "tuning")
    best = {pair: tuning.best_trials(finals(wanted)) for pair, wanted in first.items()}
    second = {(t.name, s.name): units(t, s, best[t.name, s.name], TUNING_SEEDS[1:]) for t, s in pairs}
    _do([unit for wanted in second.values() for unit in wanted], runs, work, counter, "tuning, second seed")
    places, fresh = {}, {}
    seeds = range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + settings.seeds)
    for task, subject in pairs:
        pair = (task.name, subject.name)
        places[pair] = tuning.chosen(finals(first[pair]), dict(zip(best[pair], finals(second[pair]), strict=True)))
        fresh[pair] = units(task, subject, [places[pair]], seeds)
    _do([unit for wanted in fresh.values() for unit in wanted], runs, work, counter, "fresh seeds")
    return {
        pair: Tuned(
            trials[pair], finals(first[pair]), dict(zip(best[pair], finals(second[pair]), strict=True)), places[pair],
            [runs[unit] for unit in fresh[pair]],
        )
        for pair in first
    }  # fmt: skip


class _Counter:
    """Runs done so far, of all phases."""

    def __init__(self, total: int, progress: Callable[[int, int, str], None]) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def add(self, runs: int, what: str) -> None:
        self._done += runs
        self._progress(self._done, self._total, what)

    def show(self, more: int, what: str) -> None:
        self._progress(self._done + more, self._total, what)


def _do(units: Sequence[Unit], runs: Runs, work: Preparation, counter: _Counter, what: str) -> None:
    """Have the runs done that are not there, in slices."""
    missing = [unit for unit in units if unit not in runs]
    counter.add(len(units) - len(missing), what)
    for start in range(0, len(missing), SLICE):
        part = missing[start : start + SLICE]
        with _watched(part, runs, counter, what):
            done = work.map(run_unit, [(unit, unit.key, str(runs.folder)) for unit in part])
        for key, text in done:
            runs.keep(key, text)
        counter.add(len(part), what)


@contextmanager
def _watched(part: Sequence[Unit], runs: Runs, counter: _Counter, what: str) -> Iterator[None]:
    """Progress inside a slice: files appear as workers finish."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(WATCH_S):
            counter.show(sum(unit in runs for unit in part), what)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
