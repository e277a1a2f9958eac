"""Entry point of `evo`: finds the verb, and turns errors into one message, a hint and an exit code."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence

import click

from evo.errors import EvoError

VERBS = {
    "run": "Start a search.",
    "resume": "Go on with a run, or extend a finished one.",
    "list": "List the runs.",
    "show": "Show a run, or one of its candidates.",
    "watch": "Watch a run that another process owns.",
    "compare": "Show runs side by side.",
    "report": "Write a run's report: one HTML file.",
    "refine": "Turn a run's leaders into one result: selection, tuning, simplification.",
    "judge": "Judge exported modules on held-out work, beside tuned baselines.",
    "allocate": "Apply a space's results to a model of one's own: bits of each layer under a budget.",
    "bench": "Make the benchmark that a space's candidates are judged on.",
    "export": "Write a candidate as a Python module of its own.",
    "replay": "Evaluate one candidate again, in this process.",
    "spaces": "List the installed search spaces.",
    "validate": "Check a configuration.",
    "doctor": "Check this installation and machine.",
}
INTERRUPTED = 130


class LazyGroup(click.Group):
    """Imports `evo.cli.<verb>` when the verb is called, so that each pays for its own imports alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command = importlib.import_module(f"evo.cli.{name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f"did you mean `evo {close[0]}`?" if close else f"the verbs are: {', '.join(VERBS)}"
            raise click.UsageError(f"there is no verb {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="evo-search", prog_name="evo")
def cli() -> None:
    """Evolutionary search that recognises what it has already evaluated.

    RUN is a path, a name, a unique prefix of one, or `latest`; CANDIDATE is an id, or `best`.
    """


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code: 0 done, 1 failed, 2 wrong request, 130 interrupted."""
    try:
        with cli.make_context("evo", list(arguments)) as context:
            result = cli.invoke(context)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        error.show()
        return 2 if isinstance(error, click.UsageError) else error.exit_code
    except EvoError as error:
        report_error(error.message, error.hint)
        if os.environ.get("EVO_DEBUG"):
            traceback.print_exc()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:  # `evo list | head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the interpreter flushes it on exit
        return 0
    except Exception as error:
        return _unexpected(error)


def report_error(message: str, hint: str = "") -> None:
    """An error as people see it, on stderr."""
    click.echo(click.style("error: ", fg="red", bold=True) + message, err=True)
    if hint:
        click.echo(click.style("hint: ", fg="cyan") + hint, err=True)


def _unexpected(error: Exception) -> int:
    report_error(f"unexpected {type(error).__name__}: {str(error).partition(chr(10))[0]}")
    if os.environ.get("EVO_DEBUG"):
        traceback.print_exc()
        return 1
    with tempfile.NamedTemporaryFile("w", prefix="evo-traceback-", suffix=".txt", delete=False) as file:
        traceback.print_exc(file=file)
    click.echo(click.style("hint: ", fg="cyan") + f"the traceback is in {file.name}; EVO_DEBUG=1 prints it", err=True)
    return 1


def main() -> None:
    """The `evo` script."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(
            os.getcwd()
        )  # so that "module:attr" of the folder one works in is found; last, to shadow nothing
    sys.exit(invoke(sys.argv[1:]))
