"""`evo refine RUN`: from a search's leaders to one result: selection, tuning, simplification, as the space does it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol

import click

from evo.cli.main import INTERRUPTED
from evo.cli.options import echo_json, json_option, runs_dir_option
from evo.cli.text import duration

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from evo.refining import RefinedRun

PLAIN_INTERVAL_S = 10.0


@click.command("refine")
@click.argument("run", default="latest")
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Set one of the space's settings of a refinement; --settings lists them.",
)
@click.option("--settings", "listing", is_flag=True, help="List what --set takes, for a RUN or a space, and end.")
@click.option(
    "--quick",
    is_flag=True,
    help="A rehearsal of a minute or so: the same steps on little work, on which no choice should rest.",
)
@click.option("--workers", help="Worker processes: a number, or auto [as the run].")
@click.option("--address", help="Join a Ray cluster: auto, or host:port [as the run].")
@click.option("--executor", type=click.Choice(["inline", "ray"]), help="Where it computes [as the run].")
@click.option("-q", "--quiet", is_flag=True, help="No progress; print the module's path at the end.")
@runs_dir_option
@json_option
def command(
    run: str, overrides: tuple[str, ...], listing: bool, quick: bool, workers: str | None, address: str | None,
    executor: Literal["inline", "ray"] | None, quiet: bool, runs_dir: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Turn a run's leaders into one result, by default on work that the search never saw.

    The run may still be going on. What is computed is kept in RUN/refined: after Ctrl-C, or a kill, the same command
    goes on from there. Module and evidence are named after the run, the candidate and the settings; those of another
    refinement of the run stay beside them.
    """
    if listing:
        print_settings(run, runs_dir, as_json)
        return 0
    from evo.cli.show import run_argument
    from evo.run.folder import resolve_run
    from evo.run.reader import RunReader

    path = resolve_run(run, runs_dir)
    RunReader(path).close()  # a damaged or foreign run is told before anything heavy is imported
    settings = {**({"quick": True} if quick else {}), **parsed(overrides)}
    from evo.refining import refine_run

    view = make_view(quiet or as_json)
    try:
        with ending_on_signals(), view:
            refined = refine_run(
                path, settings, kind=executor, workers=workers_of(workers), address=address, progress=view.update
            )
    except KeyboardInterrupt:
        flags = "".join(f" --set '{item}'" for item in overrides) + (" --quick" if quick else "")
        click.echo(f"stopped; what was computed is kept. To go on: evo refine {run_argument(path)}{flags}", err=True)
        return INTERRUPTED
    if as_json:
        from evo.refining import read_result

        echo_json({**(read_result(path) or {}), "path": str(refined.path), "module": _text(refined.module)})
    elif quiet:
        click.echo(_text(refined.module) or str(refined.path))
    else:
        print_end(refined, run_argument(path))
    return 0


def print_settings(run: str, runs_dir: str | None, as_json: bool) -> None:
    """The settings of a refinement, their defaults and meanings, one below the other.

    Args:
        run: a run, or what `evo run` takes for a space.
        runs_dir: where runs are.

    Raises:
        UsageError: the space has no settings.
    """
    from dataclasses import MISSING

    from evo.errors import UsageError
    from evo.settings import settings_of

    space, name = _space_of(run, runs_dir)
    cls = getattr(space, "refine_settings", lambda: None)()
    if cls is None:
        raise UsageError(f"space {name} lists no settings of a refinement", "its documentation may say more")
    rows = [
        {"key": found.name, "type": found.type, "default": None if found.default is MISSING else found.default,
         "meaning": found.meaning}
        for found in settings_of(cls)
    ]  # fmt: skip
    if as_json:
        echo_json(rows)
        return
    for row in rows:
        click.echo(click.style(f"{row['key']} = {_yaml(row['default'])}", bold=True) + f"  ({row['type']})")
        click.echo(click.wrap_text(str(row["meaning"]), 110, "    ", "    "))


def _space_of(run: str, runs_dir: str | None) -> tuple[Any, str]:
    """The space of a run, or the one of that name, and its name."""
    from evo.cli.spaces_of import space_of
    from evo.errors import EvoError
    from evo.registry import build_space
    from evo.run.folder import resolve_run
    from evo.run.reader import RunReader

    try:
        path = resolve_run(run, runs_dir)
    except EvoError as missing:
        try:
            return build_space(run, {}), run
        except EvoError:
            raise missing from None
    with RunReader(path) as reader:
        config = reader.config()
    return space_of(config), str(config["space"])


def _yaml(value: Any) -> str:
    """A default as --set would take it."""
    import json

    from evo.cli.options import plain_json

    return json.dumps(plain_json(value))


def parsed(overrides: tuple[str, ...]) -> dict[str, Any]:
    """`key=value` settings, values read as YAML.

    Raises:
        UsageError: no `=`, or the value is not YAML.
    """
    import yaml

    from evo.config.files import parse_value
    from evo.errors import UsageError

    found: dict[str, Any] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {text}: not of the form KEY=VALUE", "--set final_seeds=4")
        try:
            found[key.strip()] = parse_value(value)
        except yaml.YAMLError:
            raise UsageError(f"--set {text}: the value is not valid YAML", "quote it: --set 'key=[1, 2]'") from None
    return found


def workers_of(text: str | None) -> int | Literal["auto"] | None:
    """--workers as a number, "auto", or None where it was not given.

    Raises:
        UsageError: neither.
    """
    from evo.errors import UsageError

    if text is None or text == "auto":
        return "auto" if text else None
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise UsageError(f"--workers {text}: not a number of workers", "give a whole number above zero, or auto")


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """SIGTERM ends as Ctrl-C does (also where the shell made a background process deaf to it): workers are stopped,
    what is stored stays."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class View(Protocol):
    """Shows what is done now; a context manager that restores the terminal."""

    def update(self, done: int, total: int, what: str) -> None: ...
    def __enter__(self) -> View: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_view(quiet: bool) -> View:
    """Bars on a terminal; a line a step, or every ten seconds, where there is none; nothing where quiet."""
    import os
    import sys

    if not quiet and sys.stdout.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb":
        return BarView()
    return PlainView(quiet)


class PlainView:
    """For log files and CI."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._began = time.monotonic()
        self._shown = -float("inf")
        self._step = ""

    def update(self, done: int, total: int, what: str) -> None:
        """Print a line if it is time for one: at each new step, and every ten seconds."""
        now = time.monotonic()
        step = what.partition(":")[0]
        if self._quiet or (step == self._step and now - self._shown < PLAIN_INTERVAL_S):
            return
        self._step, self._shown = step, now
        click.echo(f"[{duration(now - self._began):>7}] {what} {done}/{total}")

    def __enter__(self) -> PlainView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class BarView:
    """A bar for the step at work; steps that are done stay above it."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress: Progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        )
        self._step = ""
        self._task: TaskID | None = None

    def update(self, done: int, total: int, what: str) -> None:
        """Move the bar, or begin another. What is said before a colon names the step; each has one bar."""
        step = what.partition(":")[0]
        if self._task is None or step != self._step:
            if self._task is not None:
                self._progress.stop_task(self._task)
            self._step, self._task = step, self._progress.add_task(what, total=total)
        self._progress.update(self._task, description=what, completed=done, total=total)

    def __enter__(self) -> BarView:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def print_end(refined: RefinedRun, run: str) -> None:
    """The steps, the table, the refined source, where the module is, and what comes next."""
    from evo.cli.exporting import can_export
    from evo.cli.summary import heading
    from evo.cli.text import indented

    found = refined.refined
    click.echo("\n" + heading("what was done"))
    for number, step in enumerate(found.steps, 1):
        click.echo(f"{number:>3}. {step}")
    shown = table_of(found.evidence)
    if shown:
        click.echo("\n" + shown)
    click.echo("\n" + heading(f"refined, from candidate #{found.candidate}"))
    click.echo(indented(refined.space.describe(found.genome)))
    click.echo(f"\nevidence     {refined.path}")
    if refined.module is not None:
        click.echo(f"module       {refined.module}")
    for number, path in enumerate(refined.earlier):
        click.echo(f"{'' if number else 'also kept':<13}{path} (an earlier refinement)")
    from evo.space import BaseSpace

    judges = getattr(type(refined.space), "judge", BaseSpace.judge) is not BaseSpace.judge
    following = [f"evo report {run}"] + ([f"evo export {run} --refined -o FILE"] if can_export(refined.space) else [])
    if judges and refined.module is not None:
        following.insert(0, f"evo judge {refined.space.name} {refined.module}")
    click.echo("next         " + " | ".join(following))


def table_of(evidence: Any) -> str:
    """The "table" of a space's evidence as text; empty where it has none."""
    from evo.cli.summary import heading
    from evo.cli.text import table

    found = evidence.get("table") if isinstance(evidence, Mapping) else None
    if not found:
        return ""
    return (
        heading(str(found["title"]))
        + "\n"
        + table(found["headers"], found["rows"], right=range(1, len(found["headers"])), flexible=0)
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
