"""`evo replay RUN CANDIDATE`: evaluate one candidate again, in this process, where a debugger can reach it."""

from __future__ import annotations

import click

from evo.cli.options import echo_json, json_option, runs_dir_option


@click.command("replay")
@click.argument("run")
@click.argument("candidate", default="best")
@runs_dir_option
@json_option
def command(run: str, candidate: str, runs_dir: str | None, as_json: bool) -> int:
    """Evaluate one candidate again, in this process, and compare with what is stored.

    Nothing is written. A candidate that hangs or crashes does so here too: run it under a debugger. The exit code is 1
    where stored and found values disagree.
    """
    from evo.cli.text import duration, table, vector
    from evo.run.folder import resolve_run
    from evo.run.reader import RunReader

    path = resolve_run(run, runs_dir)
    with RunReader(path) as reader:
        chosen = reader.resolve(candidate)
        status = reader.candidate(chosen)["status"]
    from evo.search import replay

    if status in ("timeout", "quarantined"):
        click.echo(f"#{chosen} was recorded as {status}: it may hang, or end this process without a word", err=True)
    found = replay(path, chosen)
    agrees = found["agrees"]
    if as_json:
        echo_json(found)
        return 1 if agrees is False else 0
    digits = 17 if agrees is False else 7
    stored = found["stored"] or [None] * len(found["found"])
    click.echo(f"#{chosen} at rung {found['rung']!r}: {found.get('status', 'done')} in {duration(found['seconds'])}")
    rows = [
        (seed, vector(before, digits) if before is not None else "-", vector(now, digits))
        for seed, before, now in zip(found["seeds"], stored, found["found"], strict=True)
    ]
    click.echo(table(("seed", "stored", "found now"), rows))
    if found["traceback"]:
        click.echo(found["traceback"].rstrip())
    if agrees is None:
        click.echo("nothing is stored to compare with")
    else:
        doubt = ": code, libraries or machine differ from the run's, or the evaluator is not deterministic"
        click.echo("they agree" if agrees else click.style("they DISAGREE", fg="red", bold=True) + doubt)
    return 1 if agrees is False else 0
