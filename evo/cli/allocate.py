"""`evo allocate SPACE`: what a space's results are for, on a model of one's own; `emq`: bits under a budget."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from evo.cli.options import echo_json, json_option, plain_json, runs_dir_option
from evo.errors import UsageError

OUT = "allocations"
EXAMPLE = """
\b
Examples:
  evo allocate emq --budget 24KiB
  evo allocate emq --model mobilenet --budget 3bits --proxy found.py
  evo allocate emq --model mine:net --data mine:samples --budget 1.2MiB --fix-ends --adaround 500
  evo allocate emq --model resnet --bops 0.05GBOPs --proxy emq-20260101:best
"""


@click.command("allocate", epilog=EXAMPLE)
@click.argument("space")
@click.option("--budget", metavar="SIZE", help="0.12MiB, 120KB, or 3bits: a weight, on average.")
@click.option("--bops", metavar="OPERATIONS", help="Bit operations of a sample: 1.5GBOPs. With --budget both hold.")
@click.option(
    "--model",
    default="resnet",
    show_default=True,
    help="resnet or mobilenet, which ship; or module:attr, a module or a function that makes one.",
)
@click.option(
    "--data",
    metavar="MODULE:ATTR",
    help="(training, test), each (inputs, labels), a data set or a loader; or one set alone, cut after --calibration.",
)
@click.option(
    "--proxy",
    default="hawq_v2",
    show_default=True,
    help="A proxy's name, an exported file, module:attr, RUN or RUN:CANDIDATE.",
)
@click.option("--choices", default="2,3,4,8", show_default=True, help="Bits that a layer may have.")
@click.option("--fix", metavar="LAYER=BITS", multiple=True, help="A layer that has these bits in any case.")
@click.option("--fix-ends", is_flag=True, help="The first and the last layer have 8 bits.")
@click.option("--layers", metavar="NAME,...", help="The layers to quantize [all Conv2d and Linear].")
@click.option("--activation-bits", default="8", show_default=True, help="Of each layer's input; none: float.")
@click.option(
    "--method",
    type=click.Choice(["auto", "milp", "evolution"]),
    default="auto",
    show_default=True,
    help="auto: integer programming where the proxy is a sum over layers.",
)
@click.option("--batch", type=click.IntRange(min=2), help="Samples that the proxy looks at [64].")
@click.option("--calibration", type=click.IntRange(min=2), help="Samples to fit scales and roundings on [512].")
@click.option("--adaround", type=click.IntRange(min=0), help="Steps of the rounding optimisation, a layer [0].")
@click.option("--finetune", type=click.IntRange(min=0), help="Epochs of fine-tuning on the calibration samples [0].")
@click.option("--no-batch-norm", is_flag=True, help="Keep the float model's batch normalisation statistics.")
@click.option("--front", type=click.IntRange(min=0), help="Points of the Pareto front; 0: none [25].")
@click.option("--seed", type=click.IntRange(min=0), help="Of everything that draws [0].")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=OUT,
    show_default=True,
    help="Where the bits (JSON) and the page go; results of other settings are numbered, none is overwritten.",
)
@runs_dir_option
@json_option
def command(
    space: str,
    budget: str | None,
    bops: str | None,
    model: str,
    data: str | None,
    proxy: str,
    choices: str,
    fix: tuple[str, ...],
    fix_ends: bool,
    layers: str | None,
    activation_bits: str,
    method: str,
    batch: int | None,
    calibration: int | None,
    adaround: int | None,
    finetune: int | None,
    no_batch_norm: bool,
    front: int | None,
    seed: int | None,
    out: Path,
    runs_dir: str | None,
    as_json: bool,
) -> None:
    """Give each layer of a model its bits, so that a proxy is best within a budget; quantize, and measure.

    Exact by integer programming where the proxy is a sum over layers, by evolution elsewhere. Prints the layers with
    their bits, and the accuracy before, after, and with uniform bits of the same budget; writes JSON that holds
    everything and a page with pictures.
    """
    from evo.cli.judge import Progress
    from evo.cli.judging import write_judgement
    from evo.registry import build_space
    from evo.space import BaseSpace

    limits = ([budget] if budget else []) + ([_with_unit(bops)] if bops else [])
    if not limits:
        raise UsageError("an allocation needs a budget", "--budget 0.12MiB, --budget 3bits or --bops 1.5GBOPs")
    settings: dict[str, Any] = {
        "budget": ",".join(limits),
        "model": model,
        "data": data,
        "proxy": proxy,
        "method": method,
        "choices": [_whole(word, "--choices") for word in choices.split(",")],
        "fixed": _fixed(fix),
        "fix_ends": fix_ends,
        "batch_norm": not no_batch_norm,
        "runs_dir": runs_dir,
        "layers": None if layers is None else [name.strip() for name in layers.split(",") if name.strip()],
        "activation_bits": None if activation_bits == "none" else _whole(activation_bits, "--activation-bits"),
    }
    given = {
        "batch": batch,
        "calibration": calibration,
        "adaround": adaround,
        "finetune": finetune,
        "front": front,
        "seed": seed,
    }
    settings |= {key: value for key, value in given.items() if value is not None}
    built: Any = build_space(space, {})
    if getattr(type(built), "allocate", BaseSpace.allocate) is BaseSpace.allocate:
        raise UsageError(f"space {space} allocates nothing", "spaces that do override `allocate`")
    folder = out / built.name
    with Progress() as progress:
        judgement = built.allocate(settings, folder, progress)
    wanted = re.sub(r"[^0-9A-Za-z.]+", "-", f"{model.rpartition(':')[2]}_{Path(proxy).stem}_{'_'.join(limits)}").lower()
    name = _name_of(judgement.data, folder, wanted)
    files = write_judgement(judgement, folder, name, f"Bits of {model} by {proxy} within {', '.join(limits)}")
    if as_json:
        echo_json({"data": judgement.data, "files": {"json": str(files[0]), "html": str(files[1])}})
    else:
        click.echo(judgement.text)
        click.echo(f"\nbits     {files[0]}\nfigures  {files[1]}")
        if name != wanted:
            click.echo(f"numbered: {wanted} holds the result of other settings", err=True)


def _name_of(data: Mapping[str, Any], folder: Path, wanted: str) -> str:
    """The file name of a result: the wanted one, or numbered, where that belongs to a result of other settings.

    A result of the same settings is replaced: it is the same one.
    """
    request = json.loads(json.dumps(plain_json(data.get("request"))))
    for number in itertools.count(1):
        name = wanted if number == 1 else f"{wanted}-{number}"
        path = folder / f"{name}.json"
        if not path.exists():
            return name
        try:
            kept = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(kept, dict) and kept.get("request") == request:
            return name
    raise AssertionError("numbers do not end")


def _with_unit(bops: str) -> str:
    """1.5G means 1.5GBOPs here."""
    return bops if bops.lower().rstrip().endswith("bops") else f"{bops.strip()}BOPs"


def _whole(word: str, option: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise UsageError(f"{option}: {word.strip()!r} is no whole number", f"{option} 4") from None


def _fixed(given: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for item in given:
        name, equals, bits = item.rpartition("=")
        if not equals or not name:
            raise UsageError(f"--fix {item}: give LAYER=BITS", "--fix conv1=8")
        found[name.strip()] = _whole(bits, "--fix")
    return found
