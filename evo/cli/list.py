"""`evo list`: the runs of a folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from evo.cli.options import echo_json, json_option, runs_dir_option
from evo.cli.state import state_of
from evo.cli.text import duration, number, table
from evo.errors import EvoError

COLUMNS = ("name", "state", "space", "strategy", "best", "evaluations", "proposals", "elapsed", "written")


@click.command("list")
@runs_dir_option
@click.option(
    "--status", "states", multiple=True, help="Only runs in this state (running, finished, stopped, killed, ...)."
)
@click.option("--space", "spaces", multiple=True, help="Only runs of this space.")
@click.option(
    "--sort",
    type=click.Choice(["written", "best", "name", "evaluations", "elapsed"]),
    default="written",
    show_default=True,
)
@json_option
def command(runs_dir: str | None, states: tuple[str, ...], spaces: tuple[str, ...], sort: str, as_json: bool) -> None:
    """List the runs, the one written to last first."""
    from evo.run.folder import default_runs_dir, list_runs

    folder = default_runs_dir() if runs_dir is None else Path(runs_dir)
    rows = [_row(path) for path in list_runs(folder)]
    rows = [r for r in rows if (not states or r["state"] in states) and (not spaces or r["space"] in spaces)]
    if sort == "best":
        rows.sort(key=lambda row: (row["space"], row["rank"] is None, row["rank"] or 0.0))
    elif sort == "name":
        rows.sort(key=lambda row: row["name"])
    elif sort in ("evaluations", "elapsed"):
        rows.sort(key=lambda row: -(row[sort] or 0))
    for row in rows:
        del row["rank"]
    if as_json:
        echo_json(rows)
    elif not rows:
        click.echo(
            f"no runs in {folder.absolute()}" + (" that fit" if states or spaces else "; start one with `evo run`")
        )
    else:
        click.echo(table(COLUMNS, [_cells(row) for row in rows], right=(4, 5, 6, 7, 8), indent="", flexible=2))


def _row(path: Path) -> dict[str, Any]:
    from evo.run.folder import last_written
    from evo.run.reader import RunReader

    row: dict[str, Any] = dict.fromkeys((*COLUMNS, "rank", "reason", "path"))
    row |= {"name": path.name, "path": str(path), "written": last_written(path), "space": "", "strategy": ""}
    try:
        with RunReader(path) as run:
            status = run.status()
            objectives = run.objectives()
            row["space"] = status.get("space") or run.config().get("space") or ""
    except EvoError as error:  # one broken run must not hide the others
        return row | {"state": "unreadable", "reason": error.message}
    leaders = status.get("leaders") or [{}]
    values = leaders[0].get("values") or []
    maximise = bool(objectives) and objectives[0]["direction"] == "maximise"
    return row | {
        "state": state_of(status),
        "reason": status.get("reason"),
        "strategy": status.get("strategy") or "",
        "best": values[0] if values else None,
        "rank": (-values[0] if maximise else values[0]) if values else None,
        "evaluations": (status.get("counts") or {}).get("evaluations"),
        "proposals": (status.get("counts") or {}).get("proposals"),
        "elapsed": status.get("elapsed_s"),
    }


def _cells(row: dict[str, Any]) -> list[str]:
    ago = duration(max(0.0, time.time() - row["written"])) + " ago"
    return [
        row["name"], row["state"], row["space"], row["strategy"], number(row["best"]), number(row["evaluations"]),
        number(row["proposals"]), duration(row["elapsed"]), ago,
    ]  # fmt: skip
