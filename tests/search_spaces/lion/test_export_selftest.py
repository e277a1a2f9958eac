"""The self-test of exported modules: it passes where they compute their program, and can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.program import Program
from kernels.programs import reference_step
from search_spaces.lion.evaluator import lowered
from search_spaces.lion.export import export, source
from search_spaces.lion.export.selftest import FRACTIONS, SIZE, fixed, recorded
from search_spaces.lion.programs import adamw, muon
from tests.search_spaces.lion.exporting import module_of
from tests.search_spaces.lion.helpers import KNOWN, random_program, same


@pytest.mark.parametrize("program", KNOWN)
def test_known_programs_pass(program: Program) -> None:
    module_of(program).self_test()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_programs_pass(seed: int) -> None:
    module_of(random_program(seed)).self_test()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("lr: float | Tensor = 0.001", "lr: float | Tensor = 0.0010001"),
        ("beta1: float = 0.95", "beta1: float = 0.951"),
        ("3.4445 * y", "3.4446 * y"),
        ("torch._foreach_sub_(weights, updates)", "torch._foreach_add_(weights, updates)"),
        ("weights[0].sub_(updates[0])", "weights[0].add_(updates[0])"),
    ],
)
def test_it_fails_where_a_module_computes_something_else(right: str, wrong: str) -> None:
    text = source(muon(), {})
    assert right in text
    names: dict[str, object] = {"__name__": "changed"}
    exec(compile(text.replace(right, wrong), "changed.py", "exec"), names)
    with pytest.raises(AssertionError):
        names["self_test"]()  # type: ignore[operator]


def test_what_is_recorded_is_the_reference_on_numbers_that_differ_by_step() -> None:
    found = recorded(adamw())
    assert len({tuple(fixed(step)) for step in range(len(FRACTIONS) + 1)}) == len(FRACTIONS) + 1
    weights = torch.tensor(fixed(0), dtype=torch.float64)
    assert len(weights) == SIZE
    gradient = torch.tensor(fixed(1), dtype=torch.float64)
    slots = [torch.zeros_like(weights)] * 2
    first = reference_step(lowered(adamw()), weights, gradient, slots, 1.0, (0, 6, 8), shapes=((2, 3), (2, 1)))
    assert same(torch.tensor(found[0], dtype=torch.float64), first.weights)
    assert len({tuple(row) for row in found}) == len(FRACTIONS)


def test_it_needs_torch_alone(tmp_path: Path) -> None:
    path = export(random_program(3), tmp_path / "found.py", {})
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import found; found.self_test();"
        "print({name.partition('.')[0] for name in sys.modules} & {'evo', 'kernels', 'search_spaces'})"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code, str(path.parent)], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
