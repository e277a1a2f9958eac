"""`evo export RUN [CANDIDATE]`: a candidate as a Python module that needs none of this project."""

from __future__ import annotations

from pathlib import Path

import click

from evo.cli.options import echo_json, json_option, runs_dir_option


@click.command("export")
@click.argument("run")
@click.argument("candidate", default="best")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File or folder [<run>/export/].")
@click.option("--test", "tried", is_flag=True, help="Import the module in a fresh interpreter and run its self_test().")
@runs_dir_option
@json_option
def command(run: str, candidate: str, output: Path | None, tried: bool, runs_dir: str | None, as_json: bool) -> None:
    """Write a candidate (the best by default) as a Python module of its own."""
    from evo.cli.exporting import export_candidate, try_module
    from evo.cli.spaces_of import space_of
    from evo.run.folder import resolve_run
    from evo.run.reader import RunReader

    with RunReader(resolve_run(run, runs_dir)) as reader:
        chosen = reader.resolve(candidate)
        path = export_candidate(reader, space_of(reader.config()), chosen, output)
    verdict = try_module(path) if tried else None
    if as_json:
        echo_json({"candidate": chosen, "path": str(path), "test": verdict})
    else:
        click.echo(f"exported #{chosen} to {path}" + (f": {verdict}" if verdict else ""))
