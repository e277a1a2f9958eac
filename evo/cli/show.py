"""`evo show RUN [CANDIDATE]`: a run's summary and leaderboard, or everything about one candidate."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evo.cli.options import echo_json, json_option, runs_dir_option
from evo.cli.state import state_of
from evo.cli.summary import heading, held_out_table, leader_words, leaderboard, status_lines, value_words
from evo.cli.text import duration, indented, number, table, vector

if TYPE_CHECKING:
    from evo.run.reader import RunReader

LINEAGE_LINES = 15
CHILDREN_WITHIN = 50_000
"""Later candidates among which children are counted, so that showing one of a million stays quick."""
FAILURES_UP_TO = 200_000
"""Runs of more candidates show their failures by message in the report alone."""


@click.command("show")
@click.argument("run")
@click.argument("candidate", required=False)
@click.option(
    "-n", "--leaders", "n", type=click.IntRange(0), default=10, show_default=True, help="Lines of the leaderboard."
)
@click.option("--source", "source_only", is_flag=True, help="Print the candidate's source alone.")
@click.option("--lineage", "full_lineage", is_flag=True, help="Print the whole lineage of the candidate.")
@runs_dir_option
@json_option
def command(
    run: str, candidate: str | None, n: int, source_only: bool, full_lineage: bool, runs_dir: str | None, as_json: bool
) -> None:
    """Show a run, or one of its candidates (an id, or `best`)."""
    from evo.run.folder import resolve_run
    from evo.run.reader import RunReader

    if source_only and candidate is None:
        raise click.UsageError("--source needs a CANDIDATE")
    path = resolve_run(run, runs_dir)
    with RunReader(path) as reader:
        if candidate is None:
            show_run(reader, n, as_json)
        else:
            show_candidate(reader, reader.resolve(candidate), source_only, full_lineage, as_json)


def show_run(reader: RunReader, n: int, as_json: bool) -> None:
    status, meta = reader.status(), reader.meta()
    leaders, objectives, reports = reader.leaders(n), reader.objectives(), reader.reports()
    if as_json:
        echo_json(
            {
                "path": str(reader.path), "state": state_of(status),
                "status": {key: value for key, value in status.items() if key != "leaders"},
                "objectives": objectives, "leaders": leaders, "failures": reader.errors(), "held_out": reports,
                "config": meta.get("config"), "versions": meta.get("versions"), "commit": meta.get("commit"),
                "command": meta.get("command"), "created": meta.get("created"),
            }
        )  # fmt: skip
        return
    config = meta.get("config") or {}
    created = meta.get("created")
    when = time.strftime(", begun %Y-%m-%d %H:%M", time.localtime(created)) if created else ""
    strategy = (config.get("strategy") or {}).get("name", "?")
    click.echo(
        heading(f"{reader.path.name}")
        + f"  {config.get('space', '?')}, {strategy}, seed {config.get('seed', '?')}{when}"
    )
    for line in status_lines(status):
        click.echo("  " + line)
    click.echo()
    if leaders:
        click.echo(heading("leaderboard"))
        click.echo(leaderboard(leaders, objectives))
    else:
        click.echo("no candidate has finished with a value yet")
    errors = reader.errors(limit=6) if reader.proposals() <= FAILURES_UP_TO else []
    if errors:
        click.echo("\n" + heading("failures by message"))
        rows = [(e["status"], number(e["functions"]), f"#{e['example']}", e["message"]) for e in errors]
        click.echo(table(("status", "functions", "example", "message"), rows, right=(1, 2)))
    held = held_out_table(reports)
    if held:
        click.echo("\n" + heading("held-out evaluation") + " (never told to the search)")
        click.echo(held)
    click.echo("\n" + heading("next"))
    name = run_argument(reader.path)
    if leaders:
        click.echo(f"  evo show {name} best      evo export {name} best      evo report {name}")
    if state_of(status) in ("stopped", "killed", "failed"):
        click.echo(f"  evo resume {name}")


def run_argument(path: Path) -> str:
    """How to name a run in a command typed here: by name where `runs` is the default folder, else by path."""
    import shlex

    from evo.run.folder import default_runs_dir

    return shlex.quote(path.name if path.parent.absolute() == default_runs_dir().absolute() else str(path))


def show_candidate(reader: RunReader, candidate: int, source_only: bool, full_lineage: bool, as_json: bool) -> None:
    from evo.cli.spaces_of import Describer

    describer = Describer(reader.config(), reader.genome, reader.path)
    found = reader.candidate(candidate)
    source = describer.describe(found["genome"])
    if source_only:
        click.echo(source)
        return
    lineage = reader.lineage(candidate)
    children = reader.children(candidate, None if as_json else CHILDREN_WITHIN)
    reports = [row for row in reader.reports() if row.get("candidate") == candidate]
    if as_json:
        steps = [row._asdict() for row in lineage]
        echo_json({**found, "source_text": source, "lineage": steps, "children": children, "held_out": reports})
        return
    objectives, rungs = reader.objectives(), reader.rungs()
    _header(reader, found, objectives, rungs, children)
    click.echo()
    if describer.problem:
        click.echo(f"genome as stored ({describer.problem})")
    click.echo(indented(source))
    if found["observations"]:
        click.echo("\n" + heading("observations"))
        rows = [
            (o["rung"], o["seed"], o["status"], vector(o["values"]), _extra(o["extra"]) or o["message"])
            for o in found["observations"]
        ]
        click.echo(table(("rung", "seed", "status", "values", "details"), rows))
    held = (
        held_out_table([row for row in reader.reports() if row.get("candidate") in (candidate, None)])
        if reports
        else ""
    )
    if held:
        click.echo("\n" + heading("held-out evaluation"))
        click.echo(held)
    _lineage(lineage, objectives, full_lineage)
    error_file = reader.path / "errors" / f"{found['function']}.txt"
    if error_file.is_file():
        click.echo(f"\ntraceback    {error_file}")
    name = run_argument(reader.path)
    click.echo("\n" + heading("next"))
    click.echo(f"  evo export {name} {candidate}      evo replay {name} {candidate}")


def _header(
    reader: RunReader,
    found: dict[str, Any],
    objectives: list[dict[str, Any]],
    rungs: list[dict[str, Any]],
    children: list[int],
) -> None:
    rung = f" at rung {rungs[found['rung']]['name']!r}" if 0 <= found["rung"] < len(rungs) else ""
    status = found["status"] or "not finished yet"
    click.echo(
        heading(f"#{found['id']}")
        + f" of {reader.path.name}: {value_words(found['values'], objectives)} ({status}{rung})"
    )
    leader = found["leader"]
    if leader is not None and list(found["values"]) != list(leader["values"]):
        click.echo(f"  evaluated again since: {leader_words(leader, objectives)}")
    if found["reevaluates"] is not None:
        click.echo(f"  evaluates #{found['reevaluates']} again")
    else:
        parents = ", ".join(f"#{parent}" for parent in found["parents"]) or "none"
        click.echo(f"  made by {found['operator']!r} from {parents}; {_children_words(reader, found['id'], children)}")
    if found["function"] == found["id"]:
        click.echo(f"  the first of its function; its observations are its own ({found['source']})")
    elif found["function"] is not None:
        click.echo(f"  computes the function of #{found['function']} ({found['source']})")
    seconds = sum(item["seconds"] for item in found["evaluations"])
    if seconds:
        attempts = max(item["attempts"] for item in found["evaluations"])
        again = f", {attempts} attempts" if attempts > 1 else ""
        workers = ", ".join(sorted({item["worker"] for item in found["evaluations"]}))
        click.echo(f"  {duration(seconds)} of evaluation on {workers}{again}")


def _children_words(reader: RunReader, candidate: int, children: list[int]) -> str:
    words = f"{len(children)} {'child' if len(children) == 1 else 'children'}"
    beyond = reader.proposals() > candidate + CHILDREN_WITHIN + 1
    return f"{words} among the next {CHILDREN_WITHIN:,} candidates" if beyond else words


def _extra(extra: Any) -> str:
    if isinstance(extra, dict):
        return ", ".join(f"{key} {_extra(value)}" for key, value in extra.items())
    if isinstance(extra, list):
        return "[" + ", ".join(map(_extra, extra)) + "]"
    if isinstance(extra, int | float) and not isinstance(extra, bool):
        return number(extra)
    return "" if extra is None else str(extra)


def _lineage(lineage: list[Any], objectives: list[dict[str, Any]], full: bool) -> None:
    if len(lineage) < 2:
        return
    shown = lineage if full else lineage[-LINEAGE_LINES:]
    omitted = len(lineage) - len(shown)
    click.echo(
        "\n" + heading("lineage") + (f" (the {omitted} oldest are left out; --lineage shows all)" if omitted else "")
    )
    names = [objective["name"] for objective in objectives] or ["value"]
    rows = [
        (
            f"#{row.id}", ", ".join(f"#{p}" for p in row.parents), row.operator, row.source or "", row.status or "",
            *([number(float(v)) for v in row.values] + ["-"] * len(names))[: len(names)],
        )
        for row in shown
    ]  # fmt: skip
    right = (0, *range(5, 5 + len(names)))
    click.echo(table(("candidate", "parents", "operator", "source", "status", *names), rows, right=right, flexible=2))
