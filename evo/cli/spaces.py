"""`evo spaces`: the installed search spaces, and why one does not load."""

from __future__ import annotations

from typing import Any

import click

from evo.cli.options import echo_json, json_option


@click.command("spaces")
@json_option
def command(as_json: bool) -> None:
    """List the installed search spaces; a broken one says why."""
    rows = installed_spaces()
    if as_json:
        echo_json(rows)
        return
    if not rows:
        click.echo("no search space is installed; a plug-in registers one under the entry point group evo.spaces")
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        words = click.style("does not load: " + row["problem"], fg="red") if row["problem"] else row["description"]
        click.echo(f"{row['name']:<{width}}  {words}")
    click.echo("\nevo run NAME starts one with its defaults; evo run NAME --print-config prints them.")


def installed_spaces() -> list[dict[str, Any]]:
    """{"name", "target", "description", "objectives", "problem"} of each entry point of `evo.spaces`."""
    import importlib.metadata

    from evo.errors import EvoError
    from evo.registry import GROUP, load_space_class

    rows = []
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name):
        row: dict[str, Any] = {
            "name": point.name,
            "target": point.value,
            "description": "",
            "objectives": [],
            "problem": "",
        }
        try:
            found = load_space_class(point.name)
            lines = (found.__doc__ or "").strip().splitlines()
            row["description"] = lines[0] if lines else "(no description)"
            row["objectives"] = [objective.name for objective in getattr(found, "objectives", ())]
        except EvoError as error:
            row["problem"] = error.message
        rows.append(row)
    return rows
