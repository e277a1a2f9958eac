"""`evo validate CONFIG`: check a configuration, or print the JSON schema for an editor."""

from __future__ import annotations

import click

from evo.cli.options import echo_json, echo_notes, json_option, set_option


@click.command("validate")
@click.argument("source", metavar="[CONFIG|SPACE]", required=False)
@click.option("--schema", is_flag=True, help="Print the JSON schema of configuration files.")
@set_option
@json_option
def command(source: str | None, schema: bool, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check a configuration, the options of its space and of its strategy, tasks and data; write nothing."""
    if schema:
        from evo.config import json_schema

        echo_json(json_schema())
        return
    if source is None:
        raise click.UsageError("give a CONFIG file or a space's name, or --schema")
    from evo.config import load_config
    from evo.registry import build_space
    from evo.strategies import build_strategy

    config = load_config(source, overrides)
    space = build_space(config.space, config.options)
    space.namespace()  # what values depend on is looked up for it: tasks, data, backend
    echo_notes(space)
    build_strategy(config.strategy.name, space, config.strategy.options)
    if as_json:
        echo_json({"valid": True, "config": config.model_dump(mode="json")})
        return
    objectives = ", ".join(f"{o.name} ({o.direction})" for o in space.objectives)
    click.echo(
        f"{source} is valid: space {config.space} [{objectives}], strategy {config.strategy.name}, seed {config.seed}"
    )
