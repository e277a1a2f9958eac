"""Optimizer programs, run in batches: each program on its own networks, thousands of parameters at a time.

`pack` checks and encodes lowered programs once; `optimizer_step` runs one step of all of them, in place;
`reference_step` is the definition of what they compute. `OPCODES` numbers the operators (`kernels.programs.opcodes`).
"""

from kernels.programs.opcodes import OPCODES
from kernels.programs.packing import Lowered, PackedPrograms, pack
from kernels.programs.reference import Step, reference_step
from kernels.programs.step import optimizer_step

__all__ = ["OPCODES", "Lowered", "PackedPrograms", "Step", "optimizer_step", "pack", "reference_step"]
