"""The found architecture as a module of its own: `build()` makes the network with fresh weights."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evo.errors import EvoError
from search_spaces.robot.export.slicing import Library, merged
from search_spaces.robot.export.text import escaped, origin_text

if TYPE_CHECKING:
    from search_spaces.robot.space import Robot

NETWORKS = "search_spaces.robot.architectures.networks"
TOLERANCE = 1e-3

_HEAD = '''"""A network architecture, found by a search with training-free metrics. {needs}

    {architecture}

build() makes the network with fresh weights, which depend on its seed alone: images {images} to logits.{note}
{curve}
Origin:

{origin}
"""

from __future__ import annotations

{imports}

ARCHITECTURE = "{architecture}"
'''
_CELL = '''OPERATIONS_FOUND = {operations}
"""On the edges of the cell, in the order of EDGES."""
SKELETON = {skeleton}
LOGITS = {logits}
"""Of an image of ones, by the network of seed 0 in evaluation mode."""
'''
_BUILD_CELL = '''def build(*, seed: int = 0) -> CellNetwork:
    """The network, with torch's default initial weights drawn from `seed`; the global random state stays as it was."""
    return network(OPERATIONS_FOUND, SKELETON, seed=seed)


def self_test() -> None:
    """Raise ValueError unless the network computes what it computed where it was found."""
    with torch.no_grad():
        logits = build().eval()(torch.ones(1, SKELETON.inputs, {side}, {side}))[0].tolist()
    if any(abs(a - b) > {tolerance} for a, b in zip(logits, LOGITS, strict=True)):
        raise ValueError(f"logits are {{logits}}, not {{LOGITS}}: was the module edited, or is this another torch?")
'''
_BUILD_OWN = '''def build(*, seed: int = 0) -> nn.Module:
    """The network, with initial weights drawn from `seed`; the global random state stays as it was."""
    from {module} import {top}

    space = {attribute}({arguments})
    architecture = {decoded}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return space.build(architecture{seed})
'''


def buildable(space: Robot, architecture: str) -> bool:
    """Whether the architecture can be built here: in a live run; of a table, if it is one of the known cells."""
    return space.live or _cell_of_table(space, architecture) is not None


def architecture_source(
    space: Robot, architecture: str, observed: Mapping[str, Any], note: str, origin: Mapping[str, Any]
) -> str:
    """The module's text.

    Args:
        space: whose architecture it is.
        architecture: its text.
        observed: `Observation.extra`, where it is known; holds the training's curve.
        note: a sentence for the docstring, or "".
        origin: where it comes from.
    """
    from search_spaces.robot.architectures.cell_space import CellSpace

    found = space.recipe.space() if space.live else _cell_of_table(space, architecture)
    words = {
        "architecture": escaped(architecture).replace('"', '\\"'), "note": f"\n{note}" if note else "",
        "curve": curve_text(observed.get("curve")), "origin": origin_text(origin),
    }  # fmt: skip
    if isinstance(found, CellSpace):
        side = space.recipe.pictures().train.shape[-1] if space.live else _described(space).get("side", 32)
        return _cell(found, architecture, int(side), words)
    return _own(space, words)


def curve_text(curve: Any) -> str:
    """A training's curve as a table for a docstring; "" where there is none."""
    if not curve:
        return ""
    lines = ["", "How it was trained in the search (accuracies in percent):", "", "    epoch   loss  train  validation"]
    for number, (loss, train, validation) in enumerate(curve, 1):
        shown = "  -   " if loss is None else f"{loss:6.3f}"
        lines.append(f"    {number:5d} {shown} {train:6.2f} {validation:11.2f}")
    return "\n".join([*lines, ""])


def _cell_of_table(robot: Robot, architecture: str) -> Any:
    """The space of networks that a table's architecture is a cell of: those that the table was measured on, where it
    was built here, else full-size ones; None for what is no cell."""
    from evo.errors import InvalidGenomeError
    from search_spaces.robot.architectures.base import architecture_space

    skeleton = _described(robot).get("skeleton")
    if skeleton is not None:
        sizes = {name: skeleton[name] for name in ("channels", "cells", "inputs", "classes")}
        return architecture_space("nb201-small", **sizes)
    for name in ("nb201", "tnb101-micro"):
        space = architecture_space(name)
        try:
            space.decode(architecture)
        except InvalidGenomeError:
            continue
        return space
    return None


def _described(space: Robot) -> Mapping[str, Any]:
    from search_spaces.robot.problem import description_of

    return description_of(space.options)


def _cell(space: Any, architecture: str, side: int, words: Mapping[str, str]) -> str:
    import torch

    library = Library()
    library.add(NETWORKS)
    operations = space.code.operations(space.decode(architecture))
    with torch.no_grad():
        model = space.build(space.decode(architecture), seed=0).eval()
        logits = model(torch.ones(1, space.skeleton.inputs, side, side))[0].tolist()
    build = _BUILD_CELL.format(side=side, tolerance=TOLERANCE)
    kept = library.slice(f"{build}\nSkeleton")
    head = _HEAD.format(
        needs="It needs torch alone.", images=f"(n, {space.skeleton.inputs}, height, width)",
        imports="\n".join(merged(["import torch", *library.imports_of(kept)])), **words,
    )  # fmt: skip
    shown = "(\n" + "".join(f'    "{name}",\n' for name in operations) + ")"
    cell = _CELL.format(
        operations=shown, skeleton=repr(space.skeleton),
        logits="(\n" + "".join(f"    {value:.6f},\n" for value in logits) + ")",
    )  # fmt: skip
    return "\n\n\n".join([head.rstrip(), *(d.text for d in kept), cell.rstrip(), build])


def _own(space: Robot, words: Mapping[str, str]) -> str:
    import inspect
    import json

    from search_spaces.robot.architectures.base import OwnSpace

    spec, found = space.options.architectures, space.recipe.space()
    if not isinstance(found, OwnSpace):
        raise EvoError(f"{spec} cannot be exported", "give its class `sample`, `encode` and `build`")
    module, _, attribute = spec.partition(":")
    own, text = found.own, "ARCHITECTURE"
    arguments = ", ".join(f"{name}={value!r}" for name, value in json.loads(space.recipe.arguments).items())
    made = isinstance(_attribute(module, attribute), type) or inspect.isroutine(_attribute(module, attribute))
    decoded = f"space.decode({text})"
    imports = ["import torch", "from torch import nn"]
    if not callable(getattr(own, "decode", None)):
        # it is known by the seed that it was sampled with
        decoded = f'space.sample(np.random.Generator(np.random.Philox(int({text}.rpartition(" @")[2]))))'
        imports.append("import numpy as np")
    takes_seed = "seed" in inspect.signature(own.build).parameters
    build = _BUILD_OWN.format(
        module=module, top=attribute.partition(".")[0], attribute=attribute, decoded=decoded,
        arguments=arguments, seed=", seed=seed" if takes_seed else "",
    )  # fmt: skip
    if not made:
        build = build.replace(f"{attribute}({arguments})", attribute)
    head = _HEAD.format(
        needs=f"It needs torch and the module {module}.", images="(n, channels, height, width)",
        imports="\n".join(merged(imports)).strip(), **words,
    )  # fmt: skip
    return "\n\n".join([head, textwrap.dedent(build)])


def _attribute(module: str, attribute: str) -> Any:
    import importlib

    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found
