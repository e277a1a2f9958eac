"""`evo compare RUN RUN ...`: runs side by side, and where their configurations differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from evo.cli.options import echo_json, json_option, runs_dir_option
from evo.cli.state import failures_of, hits_of, state_of
from evo.cli.text import duration, number, table

IGNORED = ("name", "runs_dir")


@click.command("compare")
@click.argument("runs", nargs=-1, required=True)
@runs_dir_option
@json_option
def command(runs: tuple[str, ...], runs_dir: str | None, as_json: bool) -> None:
    """Show runs side by side: results, costs, and the keys in which their configurations differ."""
    from evo.run.folder import resolve_run
    from evo.run.reader import RunReader

    if len(runs) < 2:
        raise click.UsageError("give at least two runs")
    columns: list[dict[str, Any]] = []
    configs: list[dict[str, Any]] = []
    for run in runs:
        with RunReader(resolve_run(run, runs_dir)) as reader:
            columns.append({"run": reader.path.name, **_facts(reader.status(), reader.objectives())})
            configs.append(_leaves(reader.config()))
    keys = dict.fromkeys(key for config in configs for key in config if key not in IGNORED)
    differing = {
        key: [c.get(key) for c in configs] for key in keys if any(c.get(key) != configs[0].get(key) for c in configs)
    }
    if as_json:
        echo_json({"runs": columns, "differing": differing})
        return
    names = dict.fromkeys(key for column in columns for key in column if key != "run")
    rows = [(key, *(_cell(key, column.get(key)) for column in columns)) for key in names]
    rows += [(f"config {key}", *map(_cell_of_config, values)) for key, values in differing.items()]
    click.echo(table(("", *(column["run"] for column in columns)), rows, right=range(1, len(columns) + 1), indent=""))


def _facts(status: Mapping[str, Any], objectives: list[dict[str, Any]]) -> dict[str, Any]:
    counts, seconds = status.get("counts") or {}, status.get("seconds") or {}
    leaders = status.get("leaders") or [{}]
    values = leaders[0].get("values") or []
    names = [objective["name"] for objective in objectives]
    return {
        "state": state_of(status),
        **{f"best {name}": value for name, value in zip(names, values, strict=False)},
        "best candidate": leaders[0].get("id"),
        "proposed": counts.get("proposals"),
        "evaluated": counts.get("evaluations"),
        **{f"{kind} hits": count for kind, count in hits_of(counts).items()},
        "failed": sum(failures_of(counts).values()),
        "elapsed s": status.get("elapsed_s"),
        "evaluating s": seconds.get("evaluated"),
        "saved s": seconds.get("saved"),
        "hashing s": seconds.get("hashed"),
    }


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        return {
            k: v for key, item in value.items() for k, v in _leaves(item, f"{path}.{key}" if path else str(key)).items()
        }
    return {path: value}


def _cell(key: str, value: Any) -> str:
    if key.endswith(" s"):
        return duration(value)
    return f"#{value}" if key == "best candidate" and value is not None else _cell_of_config(value)


def _cell_of_config(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-" if value is None else str(value)
    return number(value)
