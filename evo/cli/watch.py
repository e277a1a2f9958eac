"""`evo watch RUN`: the live view of a run that another process owns."""

from __future__ import annotations

import time

import click

from evo.cli.options import runs_dir_option
from evo.cli.state import ACTIVE, state_of


@click.command("watch")
@click.argument("run", default="latest")
@click.option("--once", is_flag=True, help="Show the present state and leave.")
@click.option(
    "--interval", type=click.FloatRange(0.1), default=1.0, show_default=True, help="Seconds between two looks."
)
@runs_dir_option
def command(run: str, once: bool, interval: float, runs_dir: str | None) -> None:
    """Watch a run that another process owns, until it ends; Ctrl-C leaves it alone."""
    from evo.cli.live import make_view
    from evo.run.folder import resolve_run
    from evo.run.reader import RunReader

    path = resolve_run(run, runs_dir)
    with RunReader(path) as reader, make_view(objectives=reader.objectives(), source=str(path)) as view:
        try:
            while True:
                status = reader.status()
                state = state_of(status)
                ended = state not in ACTIVE and state != "empty"
                view.update({**status, "state": state}, final=ended or once)
                if ended or once:
                    return
                time.sleep(interval)
        except KeyboardInterrupt:
            return
