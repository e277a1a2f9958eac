"""What the searches found and we ship computes what the evidence beside it says."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch

from evo.program import Program
from search_spaces.lion import discovered
from tests.search_spaces.lion.helpers import same, steps

MODULES = sorted(path.stem for path in Path(discovered.__file__).parent.glob("*.py") if path.stem != "__init__")
SHAPES = [(6, 4), (4, 1), (4, 3)]
SEGMENTS = [0, 24, 28, 40]


def test_there_is_one_and_each_has_its_evidence() -> None:
    assert MODULES
    for name in MODULES:
        evidence = Path(discovered.__file__).with_name(f"{name}.json")
        assert json.loads(evidence.read_text())["space"] == "lion"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_computes_its_program(name: str) -> None:
    evidence = json.loads(Path(discovered.__file__).with_name(f"{name}.json").read_text())
    module = importlib.import_module(f"search_spaces.lion.discovered.{name}")
    generator = torch.Generator().manual_seed(5)
    weights = torch.randn(40, dtype=torch.float64, generator=generator)
    gradients = [torch.randn(40, dtype=torch.float64, generator=generator) for _ in range(4)]
    expected = steps(Program.from_json(evidence["genome"]), weights, gradients, [1.0] * 4, SEGMENTS, SHAPES)
    parts = [torch.nn.Parameter(w.clone()) for w in split(weights)]
    optimizer = module.Discovered(parts)
    for gradient, after in zip(gradients, expected, strict=True):
        for parameter, part in zip(parts, split(gradient), strict=True):
            parameter.grad = part.clone()
        optimizer.step()
        for parameter, part in zip(parts, split(after), strict=True):
            assert same(parameter.detach(), part)


def split(flat: torch.Tensor) -> list[torch.Tensor]:
    """Tensors of `SHAPES`; those of one column are vectors."""
    tensors = []
    for (rows, columns), start, end in zip(SHAPES, SEGMENTS, SEGMENTS[1:], strict=False):
        tensors.append(flat[start:end].reshape(rows, columns) if columns > 1 else flat[start:end])
    return tensors
