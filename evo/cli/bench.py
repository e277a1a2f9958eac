"""`evo bench build SPACE`: make, or go on making, the benchmark that a space's candidates are judged on."""

from __future__ import annotations

from dataclasses import MISSING
from pathlib import Path
from typing import Any

import click

from evo.cli.options import echo_json, json_option, plain_json
from evo.errors import UsageError

OUT = "tables"
EXAMPLE = """
\b
Examples:
  evo bench build emq
  evo bench build emq --set weights=shipped --set rows=600 --set workers=2
  evo bench build emq --set model=mine:net --set data=mine:samples -o tables/mine
  evo bench build emq --settings
"""


@click.group("bench")
def command() -> None:
    """Make the benchmark of a space, or one for a model and data of one's own."""


@command.command("build", epilog=EXAMPLE)
@click.argument("space")
@click.option(
    "--set", "overrides", metavar="KEY=VALUE", multiple=True, help="One of the build's settings; --settings lists them."
)
@click.option("--settings", "listing", is_flag=True, help="List what --set takes, and end.")
@click.option(
    "-o", "--out", type=click.Path(file_okay=False, path_type=Path), help=f"The build's folder [{OUT}/SPACE]."
)
@json_option
def build(space: str, overrides: tuple[str, ...], listing: bool, out: Path | None, as_json: bool) -> int:
    """Build a benchmark: what is done is kept step by step, and the same command goes on after Ctrl-C or a kill."""
    from evo.cli.judge import Progress, terminated_as_interrupted
    from evo.cli.refine import parsed
    from evo.registry import build_space
    from evo.space import BaseSpace

    built: Any = build_space(space, {})
    if getattr(type(built), "build_benchmark", BaseSpace.build_benchmark) is BaseSpace.build_benchmark:
        raise UsageError(f"space {space} builds no benchmark", "spaces that do override `build_benchmark`")
    if listing:
        _list(built, space, as_json)
        return 0
    folder = out if out is not None else Path(OUT) / built.name
    try:
        with terminated_as_interrupted(), Progress() as progress:
            result = built.build_benchmark(parsed(overrides), folder, progress)
    except KeyboardInterrupt:
        click.echo(f"what was done is kept in {folder}; the same command goes on", err=True)
        raise
    except OSError as error:
        raise UsageError(
            f"cannot write {error.filename or folder}: {error.strerror or error}", "give another folder: -o FOLDER"
        ) from error
    if as_json:
        echo_json({"data": result.data, "folder": str(folder)})
    else:
        click.echo(result.text)
    return 0


def _list(space: Any, name: str, as_json: bool) -> None:
    import json

    from evo.settings import settings_of

    cls = space.benchmark_settings()
    if cls is None:
        raise UsageError(f"space {name} lists no settings of a benchmark", "its documentation may say more")
    rows = [
        {"key": s.name, "type": s.type, "default": None if s.default is MISSING else s.default, "meaning": s.meaning}
        for s in settings_of(cls)
    ]
    if as_json:
        echo_json(rows)
        return
    for row in rows:
        default = json.dumps(plain_json(row["default"]))
        click.echo(click.style(f"{row['key']} = {default}", bold=True) + f"  ({row['type']})")
        click.echo(click.wrap_text(str(row["meaning"]), 110, "    ", "    "))
