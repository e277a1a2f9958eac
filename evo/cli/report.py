"""`evo report RUN`: one HTML file that opens anywhere, with no server and no network."""

from __future__ import annotations

from pathlib import Path

import click

from evo.cli.options import echo_json, json_option, runs_dir_option


@click.command("report")
@click.argument("run", default="latest")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file [<run>/report.html].")
@runs_dir_option
@json_option
def command(run: str, output: Path | None, runs_dir: str | None, as_json: bool) -> None:
    """Write a run's report as one self-contained HTML file; works while the run goes on."""
    from evo.report import write_report
    from evo.run.folder import resolve_run
    from evo.run.reader import RunReader

    with RunReader(resolve_run(run, runs_dir)) as reader:
        path = write_report(reader, output)
    if as_json:
        echo_json({"path": str(path), "bytes": path.stat().st_size})
    else:
        click.echo(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
