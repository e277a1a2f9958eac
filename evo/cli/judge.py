"""`evo judge SPACE MODULE...`: exported modules beside tuned baselines, on work that the search never saw."""

from __future__ import annotations

import hashlib
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal

import click

from evo.cli.options import echo_json, json_option, plain_json
from evo.errors import EvoError, UsageError

OUT = "judgements"
LONGEST_NAME = 60


class ListsTasks(click.Command):
    """A command whose help names the tasks of the installed spaces that judge."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from evo.registry import load_space_class, space_names

        for space in space_names():
            try:
                tasks = getattr(load_space_class(space), "judge_tasks", None)
            except EvoError as error:
                tasks = {"?": error.message}
            if tasks:
                with formatter.section(f"Tasks of {space}"):
                    formatter.write_dl(list(tasks.items()))


@click.command("judge", cls=ListsTasks)
@click.argument("space")
@click.argument("modules", nargs=-1, type=click.Path(path_type=Path))
@click.option("--trials", type=click.IntRange(min=1), help="Settings that each subject is tuned over, a task [24].")
@click.option("--seeds", type=click.IntRange(min=1), help="Fresh seeds after tuning [5, which an interval needs].")
@click.option("--tasks", metavar="NAME,...", help="Some of the held-out tasks, see below [all].")
@click.option(
    "--task",
    "own",
    metavar="MODULE:ATTR",
    multiple=True,
    help="A task of your own, beside those: a class (what to write: search_spaces/lion/judge/own.py).",
)
@click.option("--steps", type=click.IntRange(min=2), help="Shorter training runs, for a quick look: no judgement.")
@click.option("--baselines-only", is_flag=True, help="Tune and judge the baselines; modules later reuse their runs.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=OUT,
    show_default=True,
    help="Where runs and results are kept; rerun with the same folder to go on.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes [one a CPU].")
@json_option
def command(
    space: str, modules: tuple[Path, ...], trials: int | None, seeds: int | None, tasks: str | None,
    own: tuple[str, ...], steps: int | None, baselines_only: bool, out: Path, workers: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Judge exported modules on held-out work, beside baselines that are tuned with the same number of trials.

    Every training run is kept in OUT as it ends: killed and started again, the judgement goes on where it was, and
    baselines are trained once for all modules. Results have a folder of their own there, named after what they hold.
    """
    from evo.cli.judging import write_judgement
    from evo.executors import make_executor
    from evo.executors.base import Limits
    from evo.registry import build_space, import_roots_of
    from evo.space import BaseSpace, Preparation

    if baselines_only == bool(modules):
        raise UsageError(
            "--baselines-only takes no module" if modules else "there is no module to judge",
            "give files that `evo export` wrote, or --baselines-only",
        )
    built: Any = build_space(space, {})
    if getattr(type(built), "judge", BaseSpace.judge) is BaseSpace.judge:
        raise UsageError(f"space {space} judges nothing", "spaces that do override `judge`")
    for module in modules:
        if not module.is_file():
            raise UsageError(f"there is no module {module}", "`evo export RUN CANDIDATE -o FILE` writes one")
    given: dict[str, Any] = {"trials": trials, "seeds": seeds, "steps": steps}
    settings = {key: value for key, value in given.items() if value is not None}
    if tasks is not None:
        settings["tasks"] = [name.strip() for name in tasks.split(",") if name.strip()]
    if own:
        settings["own"] = list(own)
    roots = dict.fromkeys(root for spec in (space, *_classes(settings)) for root in import_roots_of(spec))
    folder = out / built.name
    folder.mkdir(parents=True, exist_ok=True)
    kind: Literal["inline", "ray"] = "inline" if workers == 1 else "ray"
    executor = make_executor(kind, workers or "auto", limits=Limits(threads=1), import_roots=tuple(roots))
    try:
        with terminated_as_interrupted(), Progress() as progress:
            work = Preparation(folder.absolute(), executor.map, progress)
            judgement = built.judge([module.absolute() for module in modules], settings, work)
    except KeyboardInterrupt:
        click.echo(f"the runs that ended are kept in {folder}; the same command goes on", err=True)
        raise
    finally:
        executor.close()
    name = "+".join(module.stem for module in modules)[:LONGEST_NAME] or "baselines"
    data, page = write_judgement(judgement, folder / f"{name}-{content_key(judgement.data)}", name)
    if as_json:
        echo_json({"data": judgement.data, "files": {"json": str(data), "html": str(page)}})
    else:
        click.echo(judgement.text)
        click.echo(f"\nfigures  {page}\ndata     {data}")
    return 0


def _classes(settings: dict[str, Any]) -> list[str]:
    """The tasks that are named as module:attr."""
    return [name for key in ("tasks", "own") for name in settings.get(key, ()) if ":" in name]


def content_key(data: Any) -> str:
    """Eight hexadecimal digits of a result's content: other modules, settings or runs overwrite nothing."""
    text = json.dumps(plain_json(data), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends like Ctrl-C: workers are stopped, what is done is kept."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Progress:
    """`progress(done, total, what)` as a bar on stderr; where that is no terminal, a line every tenth."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._live = sys.stderr.isatty()
        self._tenth, self._what = -1, ""
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), console=Console(stderr=True), disable=not self._live, expand=True,
        )  # fmt: skip
        self._task = self._bar.add_task("starting", total=None)

    def __call__(self, done: int, total: int, what: str) -> None:
        if self._live:
            self._bar.update(self._task, completed=done, total=total, description=what)
            return
        tenth = 10 * done // max(1, total)
        if (tenth, what) != (self._tenth, self._what):
            self._tenth, self._what = tenth, what
            click.echo(f"{what}: {done} of {total}", err=True)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
