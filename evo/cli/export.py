"""`evo export RUN [CANDIDATE]`: a candidate as a Python module that needs none of this project."""

from __future__ import annotations

from pathlib import Path

import click

from evo.cli.options import echo_json, json_option, runs_dir_option


@click.command("export")
@click.argument("run")
@click.argument("candidate", required=False)
@click.option("--refined", is_flag=True, help="What `evo refine` made of the run, not a candidate.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File, or folder that is there [<run>/export/]; a file's folder is made if need be.",
)
@click.option(
    "--test", "tried", is_flag=True,
    help="Import the module in a fresh interpreter without this project, and run its self_test() if it has one.",
)  # fmt: skip
@runs_dir_option
@json_option
def command(
    run: str, candidate: str | None, refined: bool, output: Path | None, tried: bool, runs_dir: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Write a candidate (the best by default) as a Python module of its own."""
    from evo.cli.exporting import export_candidate, try_module
    from evo.cli.spaces_of import space_of
    from evo.errors import UsageError
    from evo.run.folder import resolve_run
    from evo.run.reader import RunReader

    if refined and candidate is not None:
        raise UsageError(f"--refined and candidate {candidate} exclude each other", "leave one of them out")
    made = first_missing(output.parent) if output is not None else None
    with RunReader(resolve_run(run, runs_dir)) as reader:
        space = space_of(reader.config(), reader.path)
        if refined:
            from evo.refining import export_result

            chosen, path = export_result(reader.path, space, output)
        else:
            chosen = reader.resolve(candidate or "best")
            path = export_candidate(reader, space, chosen, output)
    verdict = try_module(path) if tried else None
    if as_json:
        folder = str(made) if made else None
        echo_json({"candidate": chosen, "refined": refined, "path": str(path), "created": folder, "test": verdict})
    else:
        what = f"what was refined from #{chosen}" if refined else f"#{chosen}"
        click.echo(f"exported {what} to {path}" + (f": {verdict}" if verdict else ""))
        if made is not None:
            click.echo(f"created the folder {made}")


def first_missing(folder: Path) -> Path | None:
    """The outermost folder that has to be made for this one; None where it is there."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    return missing[-1] if missing else None
