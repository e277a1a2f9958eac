"""`evo resume RUN`: go on with a stopped or killed run, or extend a finished one."""

from __future__ import annotations

import click

from evo.cli.options import json_option, runs_dir_option, set_option


@click.command("resume")
@click.argument("run", default="latest")
@set_option
@click.option("--force", is_flag=True, help="Also take changes that define the search; recorded in the run.")
@click.option("-q", "--quiet", is_flag=True, help="No live view; print the run's path at the end.")
@runs_dir_option
@json_option
def command(run: str, overrides: tuple[str, ...], force: bool, quiet: bool, runs_dir: str | None, as_json: bool) -> int:
    """Go on with a run exactly where it stopped, however it stopped.

    Budget, executor and report may be changed freely: --set budget.evaluations=+5000 extends a finished run.
    """
    from evo.run.folder import resolve_run
    from evo.run.reader import RunReader

    path = resolve_run(run, runs_dir)
    RunReader(path).close()  # a damaged or foreign run is told before anything heavy is imported
    from evo.cli.drive import drive
    from evo.search import Search

    return drive(Search.open(path, overrides, force), quiet, as_json)
