"""The self-test of an exported module: the steps that the searched program itself takes on fixed numbers, recorded."""

from __future__ import annotations

import torch

from evo.program import Program, lower, simplify
from kernels.programs import OPCODES, reference_step
from search_spaces.lion.language import LION

ROWS, COLUMNS, LONE = 2, 3, 2
SIZE = ROWS * COLUMNS + LONE
"""Numbers: a matrix and a vector."""
FRACTIONS = (1.0, 0.75, 0.5, 0.25)


def fixed(step: int) -> list[float]:
    """Numbers between -1 and 1 that are the same everywhere: the weights at step 0, the gradients of step 1 and on."""
    return [(31 * k + 17 * step * step + 43 * step) % 97 / 48.0 - 1.0 for k in range(SIZE)]


def recorded(program: Program) -> list[list[float]]:
    """The weights after each step of the program in float64, by `kernels.programs.reference_step`."""
    code = lower(LION, simplify(LION, program), OPCODES)
    weights = torch.tensor(fixed(0), dtype=torch.float64)
    slots = [torch.zeros_like(weights), torch.zeros_like(weights)]
    found = []
    for step, fraction in enumerate(FRACTIONS, 1):
        gradient = torch.tensor(fixed(step), dtype=torch.float64)
        result = reference_step(
            code, weights, gradient, slots, fraction, (0, ROWS * COLUMNS, SIZE), shapes=((ROWS, COLUMNS), (LONE, 1))
        )
        weights, slots = result.weights, result.slots
        found.append(weights.tolist())
    return found


def source(program: Program, scheduled: bool) -> str:
    """The test as a function of the module.

    Args:
        program: what was searched.
        scheduled: whether it reads the schedule; else `lr` stays at its default.
    """
    numbers = [repr(number) for weights in recorded(program) for number in weights]
    rows = "\n".join(" ".join(numbers[start : start + 4]) for start in range(0, len(numbers), 4))
    rate = "peak * fraction" if scheduled else "peak"
    fraction = "fraction" if scheduled else "_"
    return f'''

RECORDED = """
{rows}
"""


def self_test() -> None:
    """Take the steps that the program itself took when this was exported, on fixed numbers in float64.

    Raises:
        AssertionError: the weights are not those that it had.
    """
    recorded = torch.tensor([float(number) for number in RECORDED.split()], dtype=torch.float64).view(-1, {SIZE})
    for foreach in (False, True):
        flat = torch.tensor([31 * k % 97 / 48.0 - 1.0 for k in range({SIZE})], dtype=torch.float64)
        parts = (flat[:{ROWS * COLUMNS}].reshape({ROWS}, {COLUMNS}), flat[{ROWS * COLUMNS}:])
        params = [torch.nn.Parameter(part.clone()) for part in parts]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimizer = Discovered(params, foreach=foreach)
        peak = optimizer.param_groups[0]["lr"]
        for step, ({fraction}, expected) in enumerate(zip({FRACTIONS}, recorded, strict=True), 1):
            numbers = [(31 * k + 17 * step * step + 43 * step) % 97 / 48.0 - 1.0 for k in range({SIZE})]
            gradient = torch.tensor(numbers, dtype=torch.float64)
            params[0].grad = gradient[:{ROWS * COLUMNS}].reshape({ROWS}, {COLUMNS})
            params[1].grad = gradient[{ROWS * COLUMNS}:]
            optimizer.param_groups[0]["lr"] = {rate}
            optimizer.step()
            found = torch.cat([p.detach().flatten() for p in params])
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12, equal_nan=True)
'''
