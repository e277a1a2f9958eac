"""A search from launch to end: `Search` builds everything from a configuration, drives the loop, keeps the folder.

from evo import Search

result = Search("lion", budget={"wall": "3m"}, seed=1).run()
print(result.best["summary"], result.path)
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evo.closing import close
from evo.config import Config, defining_changes, load_config, override_config, to_yaml
from evo.equivalence.cache import Published, SharedCache
from evo.equivalence.identify import Identifier
from evo.errors import ConfigError, EvoError, RunExistsError, RunNotFoundError
from evo.executors import make_executor
from evo.executors.base import EvaluatorRecipe, Executor, Limits
from evo.loop import Loop, LoopSettings
from evo.origin import git_commit, stored_config, versions
from evo.pipeline import Pipeline
from evo.registry import build_space, import_roots_of, worker_fingerprint
from evo.replay import replay
from evo.resume import restore
from evo.run.lock import RunLock
from evo.run.store import RunStore, decode_observation
from evo.seeds import Streams
from evo.space import Preparation, SearchSpace
from evo.statistics import Statistics
from evo.status import StatusBoard
from evo.strategies import build_strategy
from evo.strategies.base import Strategy

__all__ = ["RunResult", "Search", "replay"]

Observer = Callable[[dict[str, Any]], None]
POLL_S = 0.2
ERROR_FILES = 1000


@dataclass(frozen=True)
class RunResult:
    """How a session of a run ended.

    Attributes:
        path: the run's folder.
        state: "finished" (a budget was reached) or "stopped" (interrupted; resume goes on).
        reason: which budget, or "interrupted".
        leaders: best first, distinct functions: id, function, values, operator, parents, summary.
        status: the last status, as `evo show` reads it.
        resume_command: the command that goes on from here.
    """

    path: Path
    name: str
    state: str
    reason: str
    leaders: list[dict[str, Any]]
    status: dict[str, Any]
    resume_command: str

    @property
    def best(self) -> dict[str, Any] | None:
        """The first of the leaders, or None where nothing was evaluated."""
        return self.leaders[0] if self.leaders else None


@dataclass
class Session:
    """What one session of a run holds open."""

    store: RunStore
    lock: RunLock
    space: SearchSpace[Any]
    loop: Loop
    pipeline: Pipeline
    executor: Executor
    board: StatusBoard
    statistics: Statistics
    cache: SharedCache | None
    prepared: Any
    began: float = field(default_factory=time.monotonic)


class Search:
    """A new run, or (through `open`) an old one.

    Args:
        space: an installed space's name, "module:attr", or a path to a configuration file.
        sections: the other keys of the configuration (`options`, `strategy`, `budget`, `loop`, `identity`, `executor`,
            `report`, `seed`, `name`, `runs_dir`), as values, mappings or models; the space's defaults fill the rest.

    Raises:
        ConfigError: something in it does not validate; the message names the key.
        UnknownSpaceError: no such space.
    """

    def __init__(self, space: str | Path, **sections: Any) -> None:
        plain = {k: v.model_dump() if hasattr(v, "model_dump") else v for k, v in sections.items()}
        if "strategy" in plain and isinstance(plain["strategy"], str):
            plain["strategy"] = {"name": plain["strategy"]}
        text = str(space)
        is_file = text.endswith((".yaml", ".yml")) or isinstance(space, Path)
        config = load_config(space if is_file else {"space": text, **plain}, ())
        if is_file and plain:
            config = override_config(config, [f"{k}={json.dumps(v)}" for k, v in _flat(plain).items()])
        self._init(config, given=None, command=None)

    def _init(self, config: Config, given: str | None, command: Sequence[str] | None) -> None:
        self.config = config
        self._given = given
        self._command = list(command if command is not None else sys.argv)
        self._path: Path | None = None
        self._resumed = False
        self._changes: dict[str, Any] = {}
        self._stop = False

    @classmethod
    def from_config(cls, config: Config, *, given: str | None = None, command: Sequence[str] | None = None) -> Search:
        """A new run from a validated configuration; its folder is made by `run`.

        Args:
            given: the configuration's text as the user gave it, kept in the run.
            command: the command line, kept in the run.
        """
        search = cls.__new__(cls)
        search._init(config, given, command)
        return search

    @classmethod
    def open(cls, path: Path | str, overrides: Sequence[str] = (), force: bool = False) -> Search:
        """An old run, to resume or extend.

        Args:
            path: the run's folder.
            overrides: `key=value` changes; budget, executor and report may change freely.
            force: also take changes that define the search; journals are then no longer comparable.

        Raises:
            RunNotFoundError, DamagedRunError, SchemaError, ConfigError.
        """
        path = Path(path)
        if not (path / "run.db").exists():
            raise RunNotFoundError(f"no run at {path}", "`evo list` shows the runs there are")
        store = RunStore(path / "run.db")
        try:
            old = stored_config(store)
            elapsed = float(store.status().get("elapsed_s", 0.0))
        finally:
            store.close()
        if any(o.replace(" ", "").startswith("budget.wall=+") for o in overrides) and old.budget.wall is not None:
            # "+10m" means ten more minutes from here, though draining and reporting took some beyond the budget.
            wall = max(old.budget.wall, elapsed)
            old = old.model_copy(update={"budget": old.budget.model_copy(update={"wall": wall})})
        config = override_config(old, overrides) if overrides else old
        changes = defining_changes(old, config)
        if changes and not force:
            raise ConfigError(
                f"{', '.join(changes)} define(s) the search of run {path.name} and cannot change on resume",
                "start a new run, or pass --force to go on with a journal that no single configuration explains",
            )
        search = cls.from_config(config)
        search._path = path
        search._resumed = True
        search._changes = {k: list(v) for k, v in changes.items()}
        return search

    # ------------------------------------------------------------------ running

    def stop(self) -> None:
        """Drain what is in flight, save, and return from `run`; safe in a signal handler."""
        self._stop = True

    @property
    def path(self) -> Path:
        """The run's folder; known once `run` has begun."""
        if self._path is None:
            raise EvoError("the run has no folder yet", "call run() first")
        return self._path

    @property
    def resume_command(self) -> str:
        """What to type to go on with this run."""
        return f"evo resume {shlex.quote(str(self.path))}"

    def run(self, observer: Observer | None = None) -> RunResult:
        """Run to the end of a budget, or until `stop`.

        Args:
            observer: called with the status (see `evo.status`) a few times a second.

        Raises:
            EvoError: of the kind that fits; what was stored before it is safe, and `evo resume` goes on.
        """
        if self._path is None:
            space = self._space()  # what is wrong with it, or with the strategy, should leave no folder behind
            self._strategy(space)
            space.namespace()
            self._path = self._create_folder()
        with RunLock(self._path) as lock:
            if not self._resumed:
                self._create_store()
            store = RunStore(self._path / "run.db")
            session: Session | None = None
            board = StatusBoard(self.config, self._path, store, observer)
            executor: Executor | None = None
            try:
                board.begin()
                executor = self._make_executor()
                session = self._open_session(store, lock, board, executor)
                state, reason = self._drive(session)
                if state == "finished":
                    self._publish(session)
                    self._confirm(session)
                    self._final_report(session)
                board.end(session, state, reason)
                self._resumed = True
                return RunResult(self._path, self._path.name, state, reason, board.status["leaders"], board.status,
                                 self.resume_command)  # fmt: skip
            except BaseException as error:
                board.failed(session, error)
                self._resumed = True
                raise
            finally:
                self._stop = False
                if executor is not None:
                    executor.close()
                if session is not None and session.cache is not None:
                    session.cache.close()
                store.close()

    def _create_folder(self) -> Path:
        config = self.config
        short = config.space.rsplit(":", 1)[-1].rsplit(".", 1)[-1].lower()
        stamp = time.strftime("%Y%m%d-%H%M%S")
        name = config.name or f"{short}-{stamp}-{secrets.token_hex(2)}"
        path = Path(config.runs_dir) / name
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"runs_dir: the folder {path} cannot be made: {error.strerror or error}",
                "choose a runs_dir that is a folder you may write to",
            ) from error
        if (path / "run.db").exists():
            raise RunExistsError(
                f"there is a run named {name} in {config.runs_dir} already",
                f"`evo resume {path}` goes on with it; choose another --name for a new one",
            )
        if config.identity.cache is not None:
            # A resume may come from another working directory.
            cache = str(Path(config.identity.cache).expanduser().absolute())
            config = config.model_copy(update={"identity": config.identity.model_copy(update={"cache": cache})})
            self.config = config
        (path / "config.yaml").write_text(to_yaml(config))
        if self._given is not None:
            (path / "config.src.yaml").write_text(self._given)
        return path

    def _create_store(self) -> None:
        """run.db appears whole, with its configuration, or not at all: a kill before leaves the name free."""
        partial = self.path / "run.db.new"
        for name in ("run.db.new", "run.db.new-wal", "run.db.new-shm"):
            (self.path / name).unlink(missing_ok=True)
        store = RunStore(partial, create=True)
        try:
            self._write_meta(store)
        finally:
            store.close()
        partial.replace(self.path / "run.db")

    def _write_meta(self, store: RunStore) -> None:
        space = self._space()
        store.set_meta(
            config=self.config.model_dump(mode="json"),
            config_given=self._given,
            space=self.config.space,
            objectives=[[o.name, o.direction, o.cost] for o in space.objectives],
            rungs=[[r.name, r.replicates, r.hurdle] for r in space.rungs],
            namespace=dict(space.namespace()),
            versions=versions(),
            commit=git_commit(),
            command=self._command,
            directory=os.getcwd(),
            created=time.time(),
        )
        store.commit()

    def _space(self) -> SearchSpace[Any]:
        space: SearchSpace[Any] = build_space(self.config.space, self.config.options)
        return space

    def _make_executor(self) -> Executor:
        e = self.config.executor
        limits = Limits(timeout_s=e.timeout_s, memory_mb=e.memory_mb, threads=e.threads, attempts=e.attempts)
        roots = import_roots_of(self.config.space)
        return make_executor(e.kind, e.workers, e.address, limits, import_roots=roots)

    def _strategy(self, space: SearchSpace[Any]) -> Strategy[Any]:
        s = self.config.strategy
        if s.restart is None:
            return build_strategy(s.name, space, s.options)
        restart = s.restart.model_dump()
        restart["limit"] = restart["limit"] or None
        return build_strategy("restart", space, {"strategy": s.name, "options": s.options, **restart})

    def _open_session(self, store: RunStore, lock: RunLock, board: StatusBoard, executor: Executor) -> Session:
        config = self.config
        space = self._space()
        namespace = dict(space.namespace())
        if self._resumed:
            self._check_namespace(store, namespace)
            if self._changes:
                store.add_event("forced", changes=self._changes)
            store.set_meta(config=config.model_dump(mode="json"))
            (self.path / "config.yaml").write_text(to_yaml(config))
        statistics = board.statistics
        cache = self._open_cache(store, namespace)
        folder = self.path.parent / ".prepared" / space.name
        folder.mkdir(parents=True, exist_ok=True)
        prepared = space.prepare(Preparation(folder, executor.map, board.preparing))
        roots = import_roots_of(config.space)
        executor.start(
            EvaluatorRecipe(
                config.space, dict(config.options), prepared, roots, worker_fingerprint(config.space, roots)
            )
        )
        loop = config.loop
        pipeline = Pipeline(space, store, executor, statistics, block=loop.block, cache=cache)
        settings = LoopSettings(
            loop.chunk, loop.lag, loop.block, loop.span or min(4 * loop.block, loop.lag), loop.snapshot_every,
            loop.mode == "throughput", config.identity.forget, config.identity.audit,
        )  # fmt: skip
        identifier = Identifier(space, structural=config.identity.structural, functional=config.identity.functional)
        made = Loop(space, self._strategy(space), Streams(config.seed), identifier, pipeline, store, statistics,
                    settings, cache)  # fmt: skip
        board.attach(made, executor)
        if self._resumed:
            restore(made)
        return Session(store, lock, space, made, pipeline, executor, board, statistics, cache, prepared)

    def _check_namespace(self, store: RunStore, namespace: Mapping[str, str]) -> None:
        recorded = store.meta().get("namespace", {})
        changed = [k for k in {**recorded, **namespace} if recorded.get(k) != namespace.get(k)]
        if changed and not self._changes:
            raise ConfigError(
                f"run {self.path.name} was made under another {', '.join(sorted(changed))}:"
                + "".join(f" {k} was {recorded.get(k)!r}, is {namespace.get(k)!r};" for k in sorted(changed)),
                "values from before and after would not be comparable: go on where it was made, or start a new run",
            )

    def _open_cache(self, store: RunStore, namespace: Mapping[str, str]) -> SharedCache | None:
        if self.config.identity.cache is None:
            return None
        full = {**namespace, "space": self.config.space}
        recorded = store.meta().get("cache_mark")
        cache = SharedCache.open(Path(self.config.identity.cache).expanduser(), full, mark=recorded)
        if recorded is None:
            store.set_meta(cache_mark=cache.mark)
            store.commit()
        return cache

    # ------------------------------------------------------------------ driving

    def _drive(self, s: Session) -> tuple[str, str]:
        loop, pipeline, board = s.loop, s.pipeline, s.board
        reason = ""
        while not reason:
            if self._stop:
                reason = "interrupted"
                break
            reason = board.budget_reached()
            if reason:
                break
            if not loop.may_ask():
                self._wait(s)
            elif loop.ask(board.proposals_left()):
                if pipeline.in_flight:
                    self._collect(s, 0.0)
                while loop.settings.throughput and pipeline.in_flight and s.executor.capacity <= 0 and not self._stop:
                    self._collect(s, POLL_S)
            elif not loop.untold:
                reason = "strategy has nothing more to propose"
            else:
                while not loop.tell_one() and not self._stop:
                    self._wait(s)
            board.tick(s)
        finished = reason != "interrupted"
        self._settle(s, everything=finished)
        s.store.add_snapshot(loop.next_id, loop.told, loop.strategy.state())
        s.store.commit()
        return ("finished" if finished else "stopped"), reason

    def _collect(self, s: Session, timeout: float) -> None:
        s.pipeline.collect(timeout)
        s.loop.commit_finished()
        for failure in s.pipeline.failures:
            self._write_error(*failure)
        s.pipeline.failures.clear()

    def _wait(self, s: Session) -> None:
        if not s.pipeline.in_flight:
            s.pipeline.flush()
        self._collect(s, POLL_S)
        s.board.tick(s)

    def _settle(self, s: Session, everything: bool) -> None:
        """Wait for what is in flight; at a run's end also evaluate what stands in open blocks. Nothing more is told."""
        while True:
            if everything:
                s.pipeline.flush()
            if not s.pipeline.in_flight:
                break
            self._collect(s, POLL_S)
            s.board.tick(s)
        s.store.commit()

    def _write_error(self, candidate: int, status: str, message: str, trace: str) -> None:
        folder = self.path / "errors"
        folder.mkdir(exist_ok=True)
        if len(os.listdir(folder)) >= ERROR_FILES:
            return
        text = f"candidate {candidate}: {status}\n{message}\n\nreplay it in this process with:\n"
        text += f"  evo replay {self.path} {candidate}\n\n{trace}\n"
        (folder / f"{candidate}.txt").write_text(text)

    # ------------------------------------------------------------------ the end

    def _publish(self, s: Session) -> None:
        if s.cache is None:
            return
        store = s.store

        def functions() -> Iterator[Published]:
            for id, key, a, b, genome in store.rows(
                "SELECT id, key, grid_a, grid_b, p.genome FROM identities JOIN proposals p USING (id)"
                " WHERE id = function AND source = 'evaluated' ORDER BY id"
            ):
                aliases = [k for k in (key, a, b) if k is not None]
                rows = [
                    (rung, seed, row)
                    for rung, seed, *row in store.rows(
                        "SELECT rung, seed, status, vals, behaviour, extra, message, fingerprint FROM observations"
                        " WHERE function = ? AND request = 0",
                        (id,),
                    )
                ]
                if aliases and rows:
                    yield Published(
                        aliases,
                        [(rung, seed, decode_observation(row)) for rung, seed, row in rows],
                        None if s.space.links else genome,
                    )

        s.cache.publish(functions())

    def _confirm(self, s: Session) -> None:
        """The closing phase: the first lines of the board on fresh seeds; see `evo.closing`."""
        settings = self.config.report
        if settings.confirm and not self._stop:
            s.board.closing(0, settings.confirm)
            found = close(
                s.loop.leaders, s.space.rungs[-1], s.executor, lines=settings.confirm, seeds=settings.confirm_seeds,
                block=self.config.loop.block, stopped=lambda: self._stop, progress=s.board.closing,
            )  # fmt: skip
            s.board.closed(found)

    def _final_report(self, s: Session) -> None:
        settings = self.config.report
        leaders = s.loop.leaders.top(settings.candidates)
        if not settings.candidates or not leaders or self._stop:
            return
        s.board.reporting()
        try:
            rows = s.space.report([leader.genome for leader in leaders], list(range(settings.seeds)), s.prepared)
        except Exception as error:
            # The search itself is whole; what went wrong after it is said, and does not undo it.
            s.board.status["report_error"] = f"{type(error).__name__}: {error}"
            s.store.add_event("report failed", traceback=traceback.format_exc())
            return
        for row in rows:
            index = row.pop("genome_index", None)
            row["candidate"] = leaders[index].id if index is not None else None
        s.store.replace_reports(rows)
        s.store.commit()


def _flat(value: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, item in value.items():
        where = f"{path}.{key}" if path else key
        if isinstance(item, Mapping) and item:
            leaves.update(_flat(item, where))
        else:
            leaves[where] = item
    return leaves
