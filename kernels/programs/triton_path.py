"""The Triton path: one register machine for all programs, a launch for each phase.

Grid (program, block): an instance runs a phase's tree code over one block of one tensor. Eight registers of a block
are kept in the processor's registers, read and written by selection on the (uniform) register number; values beyond
them, and values that outlive their phase, are kept in device memory. Opcodes are uniform over an instance, so that
dispatch is a branch, not a mask. Sums leave as one float64 a block and are folded, block by block, by the small kernel
that runs the scalar code before the next phase. What needs whole tensors has a kernel of its own between the two
(triton_matrix.py), launched only where a program calls for it. Nothing depends on which programs share a call.

Division, square roots and elementary functions are computed in float64 and rounded: Triton's own float32 versions are
approximate.

Runs on CUDA tensors, and on CPU arrays under Triton's interpreter (TRITON_INTERPRET=1 before this module is imported).
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import pairwise, zip_longest
from typing import Any, NamedTuple

import numpy as np
import torch
import triton

from kernels.errors import KernelError
from kernels.programs.packing import PackedPrograms
from kernels.programs.plan import COPY, LEAVES, SCALARS, SUM_PRODUCT, Plan, index, plan_program, space
from kernels.programs.triton_kernels import scalar_kernel, tree_kernel
from kernels.programs.triton_matrix import whole_kernel

# Four elements a thread: 128 registers and no spills for sm_90; 1024 takes 255 and spills (compiled, not run there).
BLOCK_SIZE = 512
_TILE = 32
_MAX_SLOTS = 4
_REGISTERS = 8


class _Encoded(NamedTuple):
    """Programs for the kernels: header (n, 7 + n_slots), phases (n, 4), code (n, 5) int32, constants float64. wholes:
    most whole-tensor instructions in each phase."""

    header: torch.Tensor
    phases: torch.Tensor
    code: torch.Tensor
    constants: torch.Tensor
    n_phases: int
    wholes: tuple[int, ...]
    n_full: int
    n_values: int
    n_sums: int


_encoded: weakref.WeakKeyDictionary[PackedPrograms, dict[str, _Encoded]] = weakref.WeakKeyDictionary()


def _encode(packed: PackedPrograms, device: torch.device) -> _Encoded:
    """Scalars and leaves become one space of numbers: the leaves follow the scalars."""
    cached = _encoded.setdefault(packed, {})
    if str(device) in cached:
        return cached[str(device)]
    header: list[list[int]] = []
    phases: list[tuple[int, ...]] = []
    code: list[tuple[int, ...]] = []
    constants: list[float] = []
    distinct = {id(program): program for program in packed.programs}
    planned = {key: plan_program(program, in_place=False, max_block=_REGISTERS) for key, program in distinct.items()}
    plans: list[Plan] = [planned[id(program)] for program in packed.programs]
    for plan in plans:

        def place(operand: int, scalars: int = plan.n_scalars) -> int:
            return SCALARS << 16 | (scalars + index(operand)) if operand >= 0 and space(operand) == LEAVES else operand

        outputs = [place(operand) for operand in (plan.update, *plan.slots)]
        sizes = [len(plan.phases), len(phases), plan.n_full, plan.n_scalars, len(constants), len(plan.constants)]
        header.append([*sizes, *outputs])
        constants.extend(plan.constants)
        for phase in plan.phases:
            bounds = [len(code)]
            for lines in (phase.scalar, phase.whole, phase.tree):
                for opcode, destination, a, b, c in lines:
                    number = c if opcode == SUM_PRODUCT else place(c)
                    code.append((opcode, place(destination), place(a), place(b), number))
                bounds.append(len(code))
            phases.append(tuple(bounds))

    wholes = {tuple(len(phase.whole) for phase in plan.phases) for plan in planned.values()}

    def array(rows: Any, width: int) -> torch.Tensor:
        return torch.from_numpy(np.array(rows, np.int32).reshape(-1, width)).to(device)

    cached[str(device)] = _Encoded(
        array(header, 7 + packed.n_slots),
        array(phases, 4),
        array(code or [(COPY, -1, -1, -1, -1)], 5),
        torch.tensor(constants or [0.0], dtype=torch.float64, device=device),
        max(len(plan.phases) for plan in plans),
        tuple(max(counts) for counts in zip_longest(*wholes, fillvalue=0)),
        max(plan.n_full for plan in plans),
        max(plan.n_scalars + plan.n_leaves for plan in plans),
        max(plan.n_sums for plan in plans),
    )
    return cached[str(device)]


def _blocks(segments: np.ndarray, device: torch.device) -> list[torch.Tensor]:
    """Start, end and tensor of every block, int32; a block never crosses a tensor's border."""
    rows = [
        (start, min(start + BLOCK_SIZE, int(high)), tensor)
        for tensor, (low, high) in enumerate(pairwise(segments))
        for start in range(int(low), int(high), BLOCK_SIZE)
    ]
    return list(torch.tensor(rows, dtype=torch.int32, device=device).T.contiguous())


def step(
    packed: PackedPrograms,
    weights: Any,
    gradients: Any,
    slots: Sequence[Any],
    schedule: np.ndarray,
    segments: np.ndarray,
    active: np.ndarray,
    shapes: np.ndarray | None,
) -> Any:
    """`kernels.programs.optimizer_step` for checked CUDA tensors, or CPU arrays under the interpreter."""
    if len(slots) > _MAX_SLOTS:
        raise KernelError(f"the Triton path takes at most {_MAX_SLOTS} slots, not {len(slots)}", "use 'torch'")
    on_host = isinstance(weights, np.ndarray)
    tensors = [torch.from_numpy(array) if on_host else array for array in (weights, gradients, *slots)]
    device = tensors[0].device
    n_programs, n_parameters = tensors[0].shape
    encoded = _encode(packed, device)
    n_tensors = len(segments) - 1
    offsets = torch.from_numpy(segments).to(device)
    start, end, tensor = _blocks(segments, device)
    n_blocks = len(start)

    def empty(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        return torch.empty([max(1, size) for size in shape], dtype=dtype, device=device)

    values = empty(n_programs, encoded.n_values, n_tensors)
    partial = empty(n_programs, encoded.n_sums, n_blocks)
    full = empty(encoded.n_full, n_programs, n_parameters, dtype=tensors[0].dtype)
    bad = torch.ones((n_programs, n_blocks), dtype=torch.int32, device=device)
    on = torch.from_numpy(active.astype(np.int32)).to(device)
    rate = torch.from_numpy(schedule).to(device)
    inputs = (tensors + [tensors[0]] * _MAX_SLOTS)[: 2 + _MAX_SLOTS]
    programs = (encoded.header, encoded.phases, encoded.code)
    width = encoded.header.shape[1]
    if any(encoded.wholes):
        sizes = np.ones((n_tensors, 2), np.int64) if shapes is None else shapes
        # Of each matrix two copies and two squares of its smaller side.
        needed = np.where(sizes.min(axis=1) > 1, 2 * (sizes.prod(axis=1) + sizes.min(axis=1) ** 2), 0)
        room = int(needed.sum())
        scratch = empty(n_programs, room, dtype=tensors[0].dtype)
        scratch_start = torch.from_numpy(needed.cumsum() - needed).to(device)
        sizes = torch.from_numpy(sizes).to(device)
    for phase in range(encoded.n_phases):
        scalar_kernel[(n_programs,)](
            *programs, encoded.constants, rate, on, values, partial, offsets, tensor,
            phase, n_tensors, n_blocks, encoded.n_values, max(1, encoded.n_sums),
            WIDTH=width, LANES=max(2, triton.next_power_of_2(n_tensors)),
        )  # fmt: skip
        for number in range(encoded.wholes[phase]):
            whole_kernel[(n_programs, n_tensors)](
                *programs, on, offsets, sizes, scratch, scratch_start, *inputs, full,
                phase, number, n_programs, n_parameters, room,
                WIDTH=width, CHUNK=BLOCK_SIZE, TILE=_TILE,
            )  # fmt: skip
        tree_kernel[(n_programs, n_blocks)](
            *programs, values, partial, on, bad, start, end, tensor, *inputs, full,
            phase, n_programs, n_parameters, n_tensors, n_blocks, encoded.n_values, max(1, encoded.n_sums),
            WIDTH=width, N_SLOTS=len(slots), BLOCK=BLOCK_SIZE,
        )  # fmt: skip
    finite = (bad == 0).all(dim=1)
    return finite.numpy() if on_host else finite


def compile_ahead(capability: int) -> dict[str, dict[str, int]]:
    """Compile the kernels for an NVIDIA device that is not there (e.g. 90 for an H100); sizes of PTX and binary.

    Raises whatever Triton's compiler raises. Does not work under the interpreter.
    """
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    pointers = {"values": "*fp64", "partial": "*fp64", "constants": "*fp64", "schedule": "*fp64", "segments": "*i64"}
    pointers |= dict.fromkeys(("header", "phases", "code", "active", "bad"), "*i32")
    pointers |= dict.fromkeys(("block_start", "block_end", "block_tensor"), "*i32")
    pointers |= dict.fromkeys(("shapes", "scratch_start"), "*i64")
    pointers |= dict.fromkeys(("w", "g", "s0", "s1", "s2", "s3", "full", "scratch"), "*fp32")
    numbers = {"phase", "number", "n_programs", "n_parameters", "n_tensors", "n_blocks", "n_values", "n_sums"}
    numbers.add("scratch_size")
    chosen = {"WIDTH": 9, "LANES": 8, "N_SLOTS": 2, "BLOCK": BLOCK_SIZE, "CHUNK": BLOCK_SIZE, "TILE": _TILE}
    sizes = {}
    double = dict.fromkeys(("w", "g", "s0", "s1", "s2", "s3", "full", "scratch"), "*fp64")
    for kernel, name, given in (
        (scalar_kernel, "scalar_kernel", pointers),
        (tree_kernel, "tree_kernel", pointers),
        (whole_kernel, "whole_kernel", pointers),
        (whole_kernel, "whole_kernel float64", pointers | double),
    ):
        signature = {key: given.get(key, "i32" if key in numbers else "constexpr") for key in kernel.arg_names}
        constants = {(place,): chosen[key] for place, key in enumerate(kernel.arg_names) if key in chosen}
        built = triton.compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", capability, 32))
        sizes[name] = {"ptx": len(built.asm["ptx"]), "binary": len(built.asm["cubin"])}
    return sizes
