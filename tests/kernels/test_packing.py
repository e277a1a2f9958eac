"""Packing refuses what is malformed, and says where; plans hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.errors import KernelError
from kernels.programs import OPCODES, optimizer_step, pack
from kernels.programs.opcodes import ARITY, NAMES, result_kind
from kernels.programs.plan import BLOCK, FULL, IN, index, plan_program, space
from tests.kernels import cases

GOOD = cases.assemble("n = norm(g); u = mul(g, n); return u, v1, v2")


def test_there_are_the_papers_forty_five_operators_and_one_for_matrices():
    assert len(NAMES) == len(OPCODES) == len(ARITY) == 46
    assert sum(arity == 0 for arity in ARITY) == 3
    assert sum(arity == 1 for arity in ARITY) == 32  # thirty elementwise ones, global_norm and orthogonalize
    assert sum(arity == 3 for arity in ARITY) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"code": ((99, 5, 1, -1, -1), *GOOD.code[1:])}, "unknown opcode 99"),
        ({"code": ((OPCODES["norm"], 5, 6, -1, -1), *GOOD.code[1:])}, "instruction 0: norm takes 1 defined"),
        ({"code": ((OPCODES["norm"], 5, 1, 1, -1), *GOOD.code[1:])}, "norm takes 1 defined"),
        ({"code": ((OPCODES["norm"], 1, 1, -1, -1), *GOOD.code[1:])}, "no fresh register"),
        ({"code": (GOOD.code[0], (OPCODES["mul"], 9, 1, 5, -1))}, "no fresh register"),
        ({"kinds": (0, 0, 0, 0, 2, 0, 0)}, r"norm\(tree\) is a leaf, not a tree"),
        ({"kinds": (0, 0, 0, 0, 2, 1)}, "declares 6 registers but defines 7"),
        ({"kinds": (0, 0, 0, 0, 0, 1, 0)}, "the schedule and constants are scalars"),
        ({"kinds": (0, 0, 0, 0, 2, 1, 7)}, "register kinds are"),
        ({"outputs": (6, 2)}, "has 2 outputs"),
        ({"outputs": (6, 2, 77)}, "output register 77"),
        ({"n_inputs": 2}, "at least weights, gradients and the schedule"),
    ],
)
def test_malformed_programs_are_refused(change, message):
    with pytest.raises(KernelError, match=message):
        pack([GOOD._replace(**change)])


def test_programs_of_different_signatures_are_refused():
    other = cases.assemble("return g, v1", ("w", "g", "v1", "lr"))
    with pytest.raises(KernelError, match="program 1 has 4 inputs, the first one 5"):
        pack([GOOD, other])
    with pytest.raises(KernelError, match="no programs"):
        pack([])


def test_clipping_by_a_wider_bound_is_refused():
    assert result_kind(OPCODES["clip_by_global_norm"], [2, 0]) is None
    program = cases.Lowered(((OPCODES["clip_by_global_norm"], 5, 4, 1, -1),), (0, 0, 0, 0, 2, 2), (), 5, (1, 2, 3))
    with pytest.raises(KernelError, match=r"clip_by_global_norm\(scalar, tree\) is not defined"):
        pack([program])


def arrays():
    return {
        "packed": pack([GOOD] * 2),
        "weights": np.zeros((2, 6)),
        "gradients": np.zeros((2, 6)),
        "slots": [np.zeros((2, 6)), np.zeros((2, 6))],
        "schedule": 1.0,
        "segments": [0, 2, 6],
    }


SHARED = np.zeros((2, 6))
MATRIX = pack([GOOD, cases.assemble("u = orthogonalize(g); return u, v1, v2")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros((3, 6))}, r"weights must be \(2, n_parameters\)"),
        ({"weights": np.zeros((2, 6), np.int64)}, "float32 or float64"),
        ({"gradients": np.zeros((2, 6), np.float32)}, "gradients is"),
        ({"slots": [np.zeros((2, 6))]}, "2 slots, 1 were given"),
        ({"slots": [np.zeros((2, 5)), np.zeros((2, 6))]}, "slot 0 is"),
        ({"slots": [SHARED, SHARED]}, "must not share memory"),
        ({"weights": np.zeros((6, 2)).T}, "C-contiguous"),
        ({"segments": [0, 6, 5]}, "segments must run from 0 to 6"),
        ({"segments": [0, 3, 3, 6]}, "increase strictly"),
        ({"packed": MATRIX, "shapes": [(2, 1)]}, r"shapes must be \(2, 2\)"),
        ({"packed": MATRIX, "shapes": [(2, 1), (3, 2)]}, r"do not fit tensors of \[2, 4\] elements"),
        ({"packed": MATRIX, "shapes": [(2, 1), (-2, -2)]}, "do not fit"),
        ({"schedule": np.ones(3)}, "schedule must be one value or"),
        ({"active": np.ones(5, bool)}, "active must be one value or"),
        ({"backend": "fortran"}, "is no backend"),
    ],
)
def test_arrays_that_do_not_fit_are_named(change, message):
    with pytest.raises(KernelError, match=message):
        optimizer_step(**(arrays() | change))


def test_read_only_weights_are_refused():
    given = arrays()
    given["weights"].flags.writeable = False
    with pytest.raises(KernelError, match="writeable"):
        optimizer_step(**given)


def test_take_selects_repeats_and_keeps_what_was_encoded():
    first, second = cases.assemble(cases.ADAMW), GOOD
    packed = pack([first, second, first])
    taken = packed.take([2, 2, 1])
    assert taken.programs == (first, first, second)
    assert taken.code is packed.code
    np.testing.assert_array_equal(taken.header, packed.header[[2, 2, 1]])


def test_equal_programs_are_encoded_once():
    assert len(pack([GOOD] * 5).code) == len(pack([GOOD]).code)


def test_adamw_is_one_pass_in_place_with_two_registers():
    plan = plan_program(cases.assemble(cases.ADAMW))
    assert len(plan.phases) == 1
    assert not plan.phases[0].per_tensor
    assert plan.slots == (IN << 16 | 2, IN << 16 | 3)
    assert (plan.n_block, plan.n_full) == (2, 0)
    assert len(plan.phases[0].scalar) == 1, "lr * 0.001 is computed once, not for every element"


def test_clipping_the_gradient_takes_two_passes_and_keeps_nothing():
    plan = plan_program(cases.assemble(cases.LION))
    assert len(plan.phases) == 2
    assert plan.n_full == 0


def test_what_two_passes_need_is_kept_in_full_length():
    plan = plan_program(cases.assemble("x = sin(g); n = norm(x); u = mul(x, n); return u, v1, v2"))
    assert len(plan.phases) == 2
    assert plan.n_full == 1


def test_values_beyond_the_block_registers_go_to_full_length():
    lines = [f"x{k} = mul(g, {k + 1}.5)" for k in range(6)] + ["s = add(x0, x1)"]
    lines += [f"s = add(s, x{k})" for k in range(2, 6)]
    plan = plan_program(cases.assemble("; ".join(lines) + "; return s, v1, v2"), max_block=3)
    destinations = [line[1] for line in plan.phases[0].tree]
    assert plan.n_block == 3
    assert plan.n_full == 3
    assert {index(d) for d in destinations if space(d) == BLOCK} == {0, 1, 2}
    assert sum(space(d) == FULL for d in destinations) == 3


def test_a_slot_that_is_read_later_is_not_written_in_place():
    plan = plan_program(cases.assemble("m = mul(g, v1); u = add(m, v1); return u, m, v2"))
    assert space(plan.slots[0]) == BLOCK
    assert plan_program(cases.assemble(cases.ADAMW), in_place=False).slots[0] != IN << 16 | 2


def test_dead_instructions_are_not_run():
    plan = plan_program(cases.assemble("x = sin(g); n = norm(x); u = mul(g, 2.0); return u, v1, v2"))
    assert len(plan.phases) == 1
    assert len(plan.phases[0].tree) == 1


def test_whole_tensor_work_stands_between_passes_and_reads_and_writes_full_length():
    muon = cases.assemble("v1 = interp(g, v1, 0.9); u = orthogonalize(v1); u = mul(u, lr); return u, v1, v2")
    plan = plan_program(muon)
    assert [len(phase.whole) for phase in plan.phases] == [0, 1]
    assert [len(phase.tree) for phase in plan.phases] == [1, 1]
    (_, destination, operand, *_), *_ = plan.phases[1].whole
    assert space(destination) == space(operand) == FULL
    assert destination != operand, "the average is still to be written to its slot"


def test_whole_tensor_work_on_inputs_needs_no_pass_of_its_own():
    plan = plan_program(cases.assemble("u = orthogonalize(g); x = orthogonalize(u); u = add(u, x); return u, v1, v2"))
    assert [len(phase.whole) for phase in plan.phases] == [2]
    assert plan.phases[0].whole[0][2] == IN << 16 | 1


def test_of_numbers_it_is_spelled_out():
    plan = plan_program(cases.assemble("n = norm(g); x = orthogonalize(n); u = mul(g, x); return u, v1, v2"))
    assert not any(phase.whole for phase in plan.phases)
    assert not pack([GOOD]).reads_shapes
    assert MATRIX.reads_shapes
