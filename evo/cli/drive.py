"""Driving a search from a terminal: the live view, Ctrl-C, and what is printed when it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from evo.cli.live import View, make_view
from evo.cli.main import INTERRUPTED
from evo.cli.options import echo_notes
from evo.errors import ConfigError, EvoError

if TYPE_CHECKING:
    from evo.search import RunResult, Search

EXIT_CODES = {"finished": 0, "stopped": INTERRUPTED}
EXTENSIONS = {
    "budget.evaluations": " --set budget.evaluations=+5000",
    "budget.proposals": " --set budget.proposals=+20000",
    "budget.wall": " --set budget.wall=+10m",
    "budget.target": " --set budget.target=null",
    "budget.stall": " --set budget.stall=+20000",
}
"""What a finished run needs to go on, by what ended it."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def drive(search: Search, quiet: bool = False, as_json: bool = False) -> int:
    """Run a search to its end or to Ctrl-C; returns the exit code.

    The first SIGINT or SIGTERM drains what is in flight and saves; the second ends the process at once. Each prints
    the command that goes on.
    """
    from evo.registry import build_space

    space = build_space(search.config.space, search.config.options)
    echo_notes(space)
    objectives = [{"name": o.name, "direction": o.direction, "cost": o.cost} for o in space.objectives]
    source = str(folder_of(search) or Path(search.config.runs_dir) / (search.config.name or ""))
    view = make_view(objectives, source=source, quiet=quiet or as_json, stderr=as_json)
    try:
        with view, stopping_on_signals(search, view):
            result = search.run(observer=view.update)
    except EvoError as error:
        path = folder_of(search)
        if path is not None and (path / "run.db").exists() and not _never_began(path, error):
            resume = f"what was stored is safe; to go on: {search.resume_command}"
            error.hint = f"{error.hint}; {resume}" if error.hint else resume
        raise
    return conclude(result, space, quiet, as_json)


def _never_began(path: Path, error: EvoError) -> bool:
    """Whether a wrong setting ended the run before its first candidate: to resume it would end alike."""
    from evo.run.reader import RunReader

    if not isinstance(error, ConfigError):
        return False
    with RunReader(path) as reader:
        return not (reader.status().get("counts") or {}).get("proposals")


def folder_of(search: Search) -> Path | None:
    """The run's folder; None before it is made."""
    try:
        return search.path
    except EvoError:
        return None


@contextmanager
def stopping_on_signals(search: Search, view: View) -> Iterator[None]:
    """First signal: `search.stop()`. Second: restore the terminal, say how to go on, end the process."""
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        path = folder_of(search)
        if asked:
            view.close()
            command = search.resume_command if path is not None else ""
            os.write(2, f"killed\n{'to go on: ' + command if command else ''}\n".encode())
            os._exit(INTERRUPTED)
        asked = True
        search.stop()
        view.notice("stopping: waiting for what is in flight, then saving; Ctrl-C again kills at once")

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def conclude(result: RunResult, space: Any, quiet: bool, as_json: bool) -> int:
    """Export the winner where the space can, print how the run ended, return the exit code."""
    from evo.cli.exporting import export_candidate
    from evo.cli.options import echo_json
    from evo.run.reader import RunReader

    exported: Path | None = None
    note = ""
    locate = getattr(space, "locate", None)
    if locate is not None:
        locate(result.path.parent / ".prepared" / space.name)
    with RunReader(result.path) as reader:
        leaders = reader.leaders(1)
        if leaders and result.state == "finished":
            try:
                exported = export_candidate(reader, space, int(leaders[0]["id"]))
            except EvoError as error:
                note = error.message
        if as_json:
            echo_json(
                {
                    "path": str(result.path), "name": result.name, "state": result.state, "reason": result.reason,
                    "best": leaders[0] if leaders else None, "counts": result.status.get("counts"),
                    "seconds": result.status.get("seconds"), "exported": str(exported) if exported else None,
                    "held_out": reader.reports(), "resume": result.resume_command,
                }
            )  # fmt: skip
        elif quiet:
            click.echo(str(result.path))
            click.echo(f"to go on: {result.resume_command}", err=True)
        else:
            _print_end(reader, result, space, exported, note)
    return EXIT_CODES.get(result.state, 1)


def _print_end(reader: Any, result: RunResult, space: Any, exported: Path | None, note: str) -> None:
    from evo.cli.show import run_argument
    from evo.cli.summary import heading, held_out_table, leader_words, leaderboard, status_lines
    from evo.cli.text import indented
    from evo.space import decode_genome

    status, leaders, objectives = reader.status(), reader.leaders(8), reader.objectives()
    click.echo()
    for line in status_lines(status):
        click.echo(line)
    if leaders:
        click.echo("\n" + heading("leaderboard"))
        click.echo(leaderboard(leaders, objectives))
        best: Mapping[str, Any] = leaders[0]
        click.echo("\n" + heading(f"winner #{best['id']}") + f", {leader_words(best, objectives)}")
        click.echo(indented(space.describe(decode_genome(space, reader.genome(int(best["id"])), reader.genome))))
    if result.status.get("report_error"):
        click.echo(
            f"\nthe held-out evaluation failed: {result.status['report_error']} (its traceback is in the events)"
        )
    held = held_out_table(reader.reports())
    if held:
        click.echo("\n" + heading("held-out evaluation") + " (never told to the search)")
        click.echo(held)
    name = run_argument(result.path)
    click.echo(f"\nrun          {result.path}")
    if exported is not None:
        click.echo(f"exported     {exported}")
    elif note:
        click.echo(f"not exported {note}")
    if leaders:
        click.echo(f"next         evo show {name} best | evo report {name} | evo export {name} best -o FILE")
    click.echo(f"to go on     {result.resume_command}{_extension(result.reason, status.get('budget', {}))}")


def _extension(reason: str, budget: Mapping[str, Any]) -> str:
    """`EXTENSIONS`, but no more than as much again: of 20 trainings, 20 more."""
    given = budget.get("evaluations")
    if reason == "budget.evaluations" and given is not None and given < 5000:
        return f" --set budget.evaluations=+{given}"
    return EXTENSIONS.get(reason, "")
