"""Every backend computes what the reference defines, within the conditioned tolerance of cases.expected."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernels.programs import pack, reference_step
from kernels.programs.opcodes import ARITY, CONSTANT, MATRIX, NAMES, OTHER, UNARY
from tests.kernels import cases
from tests.kernels.running import run

DTYPES = [np.float32, np.float64]


def compare(programs, backend, dtype, segments=cases.SEGMENTS, seed=0, schedule=0.7, least=0.0, slack=1.0, shapes=None):
    """Run all programs in one call; returns the share of elements that could be compared."""
    rng = np.random.default_rng(seed)
    state = cases.random_state(rng, len(programs), segments, dtype)
    found, finite = run(list(programs.values()), state, schedule, segments, backend, shapes=shapes)
    epsilon = slack * float(np.finfo(dtype).eps)
    shares = []
    for row, (name, program) in enumerate(programs.items()):
        wanted = cases.expected(program, [array[row] for array in state], schedule, segments, epsilon, shapes=shapes)
        ratio, share = cases.worst([array[row] for array in found], wanted)
        assert ratio <= 1, f"{name} on {backend}: {ratio:.3g} times its tolerance"
        assert finite[row] == np.isfinite(found[0][row]).all(), f"{name} on {backend}: finite says {finite[row]}"
        shares.append(share)
    assert np.mean(shares) >= least
    return np.mean(shares)


@pytest.mark.parametrize("dtype", DTYPES)
def test_known_programs(backend, dtype):
    if backend == "triton" and dtype == np.float32 and not torch.cuda.is_available():
        pytest.skip("interpreted, float64 says it all: the random programs run in both")
    segments = np.array([0, 40, 100]) if backend == "triton" else cases.SEGMENTS
    compare({name: cases.assemble(source) for name, source in cases.KNOWN.items()}, backend, dtype, segments, least=0.9)


def single_operators(kinds, others):
    """Every operator on a tree, a leaf or a scalar (`kinds`), beside `others` where it takes more operands."""
    first = {"tree": "w", "leaf": "n", "scalar": "lr"}
    calls = []
    for name in (*NAMES[:6], *UNARY, *OTHER, *CONSTANT, *MATRIX):
        arity = ARITY[NAMES.index(name)]
        for kind in kinds if arity else kinds[:1]:
            for second, third in others if arity > 1 else [("", "")]:
                if name == "clip_by_global_norm" and (kind == "scalar" or second != "lr"):
                    continue
                calls.append(f"{name}({', '.join([first[kind], second, third][:arity])})")
    # Three calls a program: each of them becomes an output.
    programs = {}
    for start in range(0, len(calls), 3):
        three = calls[start : start + 3] + ["abs(w)"] * (3 - len(calls[start : start + 3]))
        lines = "; ".join(f"{target} = {call}" for target, call in zip(("x", "y", "z"), three, strict=True))
        programs[" ".join(three)] = cases.assemble(f"n = norm(g); {lines}; return x, y, z")
    return programs


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_operator_alone(backend, dtype):
    kinds, others, segments = ("tree", "leaf", "scalar"), [("g", "v2"), ("lr", "lr"), ("n", "lr")], cases.SEGMENTS
    if backend == "triton":  # interpreted, a program costs some 40 ms a tensor
        kinds, others, segments = ("tree",), [("g", "lr")], np.array([0, 40, 100])
    programs = single_operators(kinds, others)
    if backend == "triton" and dtype == np.float64:
        # There, power is exp(y log x): good to some hundred units in the last place.
        rough = {name: programs.pop(name) for name in list(programs) if "power" in name}
        compare(rough, backend, dtype, segments, least=0.85, slack=100.0)
    compare(programs, backend, dtype, segments, least=0.85)


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_programs(backend, dtype):
    rng = np.random.default_rng(7)
    count = 12 if backend == "triton" else 80
    programs = {f"random {k}": cases.random_program(rng, int(rng.integers(1, 18))) for k in range(count)}
    compare(programs, backend, dtype, least=0.9, shapes=cases.SHAPES)


@pytest.mark.parametrize("segments", [[0, 1], [0, 1, 2, 3], [0, 700], [0, 512, 1024], [0, 15, 31, 1600, 1616]])
def test_tensors_of_every_length(backend, segments):
    rng = np.random.default_rng(3)
    names = ("norms of tensors", "chain of reductions", "adamw") if backend != "triton" else ("chain of reductions",)
    programs = {name: cases.assemble(cases.KNOWN[name]) for name in names}
    programs["random"] = cases.random_program(rng, 6)
    compare(programs, backend, np.float32, np.array(segments))


def test_many_live_values_outgrow_the_block_registers(backend):
    lines = [f"x{k} = mul(g, {k + 1}.5)" for k in range(20)]
    lines += ["s = add(x0, x1)"] + [f"s = add(s, x{k})" for k in range(2, 20)]
    lines += (
        [f"t{k} = mul(x{k}, s)" for k in range(20)] + ["u = add(t0, t1)"] + [f"u = add(u, t{k})" for k in range(2, 20)]
    )
    compare({"wide": cases.assemble("; ".join(lines) + "; return u, s, x3")}, backend, np.float64)


@pytest.mark.parametrize("slots", [0, 1, 3])
def test_any_number_of_slots(backend, slots):
    inputs = ("w", "g", *(f"v{k}" for k in range(slots)), "lr")
    updates = [f"n{k} = interp(g, v{k}, 0.5)" for k in range(slots)]
    text = "; ".join([*updates, "u = mul(g, lr)", "return " + ", ".join(["u", *(f"n{k}" for k in range(slots))])])
    program = cases.assemble(text, inputs)
    rng = np.random.default_rng(0)
    state = [rng.normal(size=(2, 40)) for _ in range(2 + slots)]
    found, _ = run([program] * 2, state, 0.25, [0, 40], backend)
    np.testing.assert_allclose(found[0], state[0] - 0.25 * state[1], rtol=1e-14)
    for k in range(slots):
        np.testing.assert_allclose(found[1 + k], 0.5 * state[1] + 0.5 * state[2 + k], rtol=1e-14)


def test_a_schedule_for_each_program(backend):
    rng = np.random.default_rng(1)
    state = cases.random_state(rng, 3)
    program = cases.assemble("u = mul(g, lr); return u, v1, v2")
    schedule = np.array([0.0, 0.5, -2.0])
    found, _ = run([program] * 3, state, schedule, cases.SEGMENTS, backend)
    np.testing.assert_allclose(found[0], state[0] - schedule[:, None] * state[1], rtol=1e-14)


def test_rows_that_are_not_active_are_left_alone(backend):
    rng = np.random.default_rng(2)
    state = cases.random_state(rng, 4)
    active = np.array([True, False, True, False])
    found, finite = run([cases.assemble(cases.ADAMW)] * 4, state, 1.0, cases.SEGMENTS, backend, active)
    everything, _ = run([cases.assemble(cases.ADAMW)] * 4, state, 1.0, cases.SEGMENTS, backend)
    for number, array in enumerate(found):
        np.testing.assert_array_equal(array[~active], state[0 if number == 0 else number + 1][~active])
        np.testing.assert_array_equal(array[active], everything[number][active])
    np.testing.assert_array_equal(finite, active)


def test_arithmetic_is_the_same_to_the_bit_in_c_and_numpy(compiled):
    """No contraction, no reassociation: only elementary functions may round differently."""
    rng = np.random.default_rng(5)
    exact = ("add", "sub", "mul", "div", "max", "min", "abs", "square", "sqrt", "cube", "sign", "reciprocal", "invert")
    programs = [cases.random_program(rng, 12, (*exact, "negative", "interp")) for _ in range(40)]
    programs.append(cases.assemble(cases.ADAMW))
    for dtype in DTYPES:
        state = cases.random_state(rng, len(programs), dtype=dtype)
        compiled, _ = run(programs, state, 0.3, cases.SEGMENTS, "c")
        plain, _ = run(programs, state, 0.3, cases.SEGMENTS, "numpy")
        for one, other in zip(compiled, plain, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_reference_is_adamw():
    """The seed program against its textbook form, over several steps, in float64."""
    rng = np.random.default_rng(4)
    w, g, m, v = (torch.from_numpy(array[0]) for array in cases.random_state(rng, 1))
    program = cases.assemble(cases.ADAMW)
    state, plain = (w, m, v), (w.clone(), m.clone(), v.clone())
    for _ in range(5):
        step = reference_step(program, state[0], g, state[1:], 1.0, cases.SEGMENTS)
        state = step.weights, *step.slots
        pw, pm, pv = plain
        pm, pv = 0.1 * g + 0.9 * pm, (1 - 0.999) * g**2 + 0.999 * pv
        plain = pw - 0.001 * (pm / (pv.sqrt() + 1e-8) + 0.01 * pw), pm, pv
    for one, other in zip(state, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_torch_tensors_are_changed_in_place():
    rng = np.random.default_rng(6)
    state = cases.random_state(rng, 2, dtype=np.float32)
    expected, _ = run([cases.assemble(cases.LION)] * 2, state, 1.0, cases.SEGMENTS, None)
    tensors = [torch.from_numpy(array.copy()) for array in state]
    from kernels.programs import optimizer_step

    finite = optimizer_step(pack([cases.assemble(cases.LION)] * 2), *tensors[:2], tensors[2:], 1.0, cases.SEGMENTS)
    assert finite.dtype == np.bool_
    for tensor, array in zip((tensors[0], *tensors[2:]), expected, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), array)
