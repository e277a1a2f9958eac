"""`evo run CONFIG|SPACE`: start a search."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evo.cli.options import echo_json, echo_notes, json_option, set_option

if TYPE_CHECKING:
    from evo.config import Config


@click.command("run")
@click.argument("source", metavar="CONFIG|SPACE")
@set_option
@click.option("--name", help="The run's name [<space>-<date>-<time>-<4 hex>].")
@click.option("--seed", type=int, help="Seed of every random stream.")
@click.option("--workers", help="Worker processes: a number, or auto.")
@click.option("--address", help="Join a Ray cluster: auto, or host:port.")
@click.option("--executor", type=click.Choice(["inline", "ray"]), help="Where evaluations run.")
@click.option("--budget", multiple=True, help="2h, 20m, 5000evals, 20000proposals; several are joined by commas.")
@click.option("--runs-dir", envvar="EVO_RUNS_DIR", help="Folder that the run lands in [$EVO_RUNS_DIR, or runs].")
@click.option("--print-config", is_flag=True, help="Print the resolved configuration and leave.")
@click.option(
    "--dry-run", is_flag=True, help="Check everything, tasks and data too, propose a few candidates, write nothing."
)
@click.option("-q", "--quiet", is_flag=True, help="No live view; print the run's path at the end.")
@json_option
def command(
    source: str, overrides: tuple[str, ...], name: str | None, seed: int | None, workers: str | None,
    address: str | None, executor: str | None, budget: tuple[str, ...], runs_dir: str | None, print_config: bool,
    dry_run: bool, quiet: bool, as_json: bool,
) -> int:  # fmt: skip
    """Start a search from a configuration file, or from an installed space's defaults.

    The first Ctrl-C waits for what is in flight and saves; the second kills. `evo resume` goes on.
    """
    from evo.config import load_config, parse_budget, to_yaml

    flags: dict[str, Any] = {
        "name": name, "seed": seed, "executor.workers": _number_or_text(workers), "executor.address": address,
        "executor.kind": executor, "runs_dir": runs_dir,
    }  # fmt: skip
    for text in budget:
        flags |= {f"budget.{key}": value for key, value in parse_budget(text).items()}
    given = [*overrides, *(f"{key}={json.dumps(value)}" for key, value in flags.items() if value is not None)]
    config = load_config(source, given)
    if print_config:
        if as_json:
            echo_json(config.model_dump(mode="json"))
        else:
            click.echo(to_yaml(config), nl=False)
        return 0
    if dry_run:
        _dry_run(config, as_json)
        return 0
    from evo.cli.drive import drive
    from evo.search import Search

    search = Search.from_config(config, given=_given_text(source, given), command=["evo", *sys.argv[1:]])
    return drive(search, quiet, as_json)


def _number_or_text(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdecimal() else text


def _given_text(source: str, overrides: list[str]) -> str:
    """What the user gave, as it is kept in the run: the file's text, or the space's name, and the overrides."""
    from evo.config.files import looks_like_file

    text = Path(source).read_text("utf-8") if looks_like_file(source) else f"space: {source}\n"
    return text + "".join(f"# --set {override}\n" for override in overrides)


def _dry_run(config: Config, as_json: bool) -> None:
    from evo.registry import build_space
    from evo.seeds import Streams
    from evo.space import Breed
    from evo.strategies import build_strategy

    space = build_space(config.space, config.options)
    space.namespace()  # what values depend on is looked up for it: tasks, data, backend
    echo_notes(space)
    strategy = build_strategy(config.strategy.name, space, config.strategy.options)
    proposals = [p for p in strategy.ask(0, 3, Streams(config.seed)) if isinstance(p, Breed)]
    facts: dict[str, Any] = {
        "space": config.space,
        "strategy": config.strategy.name,
        "objectives": [f"{o.name} ({o.direction})" for o in space.objectives],
        "rungs": [f"{r.name} x{r.replicates}" for r in space.rungs],
        "budget": {key: value for key, value in config.budget.model_dump().items() if value is not None},
        "executor": f"{config.executor.kind}, {config.executor.workers} workers",
        "folder": str(Path(config.runs_dir) / (config.name or "<space>-<date>-<time>-<4 hex>")),
        "first": [{"operator": p.operator, "summary": space.summary(p.genome)} for p in proposals],
    }
    if as_json:
        echo_json(facts)
        return
    from evo.cli.text import clip, width

    for key, value in facts.items():
        if key != "first":
            words = ", ".join(map(str, value)) if isinstance(value, list) else value
            words = ", ".join(f"{k} {v:,}" for k, v in value.items()) if isinstance(value, dict) else words
            click.echo(f"{key:<11} {words}")
    for proposal in facts["first"]:
        click.echo(f"{'proposal':<11} " + clip(f"{proposal['operator']}: {proposal['summary']}", width() - 12))
    click.echo("dry run: nothing was written")
