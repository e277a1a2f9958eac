"""Programs and data for the tests: a small assembler, known programs, random ones, and a measure of conditioning."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from kernels.programs import OPCODES, reference_step
from kernels.programs.opcodes import ARITY, NAMES, SCALAR, TREE, result_kind

INPUTS = ("w", "g", "v1", "v2", "lr")
SEGMENTS = np.array([0, 33, 34, 50, 150])
SHAPES = np.array([(33, 1), (1, 1), (4, 4), (5, 20)])


class Lowered(NamedTuple):
    code: tuple[tuple[int, int, int, int, int], ...]
    kinds: tuple[int, ...]
    constants: tuple[float, ...]
    n_inputs: int
    outputs: tuple[int, ...]


def assemble(source: str, inputs=INPUTS) -> Lowered:
    """Lower "m = interp(g, v1, 0.9); return m, v1, v2": one operator a statement, variables may be assigned again."""
    *statements, last = [part.strip() for part in source.split(";") if part.strip()]
    parsed = []
    for statement in statements:
        target, call = (part.strip() for part in statement.split("=", 1))
        name, arguments = call.rstrip(")").split("(")
        parsed.append((target, name.strip(), [part.strip() for part in arguments.split(",") if part.strip()]))
    literals = []
    for _, _, arguments in parsed:
        for argument in arguments:
            if not argument[0].isalpha() and argument not in literals:
                literals.append(argument)
    place = {name: number for number, name in enumerate(inputs)}
    place |= {literal: len(inputs) + number for number, literal in enumerate(literals)}
    kinds = [TREE] * (len(inputs) - 1) + [SCALAR] * (1 + len(literals))
    code = []
    for target, name, arguments in parsed:
        operands = [place[argument] for argument in arguments]
        kinds.append(result_kind(OPCODES[name], [kinds[operand] for operand in operands]))
        code.append((OPCODES[name], len(kinds) - 1, *[*operands, -1, -1, -1][:3]))
        place[target] = len(kinds) - 1
    outputs = tuple(place[name.strip()] for name in last.removeprefix("return").split(","))
    return Lowered(tuple(code), tuple(kinds), tuple(float(literal) for literal in literals), len(inputs), outputs)


ADAMW = (
    "g2 = square(g); m = interp(g, v1, 0.9); v = interp(g2, v2, 0.999); s = sqrt(v); u = div(m, s); wd = mul(w, 0.01);"
    "u = add(u, wd); lr = mul(lr, 0.001); u = mul(u, lr); return u, m, v"
)
LION = (
    "g = clip_by_global_norm(g, lr); g = arcsin(g); m = interp(g, v1, 0.899); m2 = mul(m, m); v = interp(g, m, 1.109);"
    "a = sqrt(m2); u = div(m, a); wd = mul(w, 0.4602); u = add(u, wd); lr = mul(lr, 0.0002); m = cosh(u);"
    "u = mul(u, lr); return u, v, m"
)
KNOWN = {
    "adamw": ADAMW,
    "lion": LION,
    "slots swapped": "u = mul(g, 0.1); return u, v2, v1",
    "update is an old slot": "m = interp(g, v1, 0.9); return v1, m, v2",
    "update is a new slot": "m = interp(g, v1, 0.9); return m, m, m",
    "slot read after it was written": "m = mul(g, v1); u = add(m, v1); return u, m, g",
    "weights as a slot": "u = mul(w, 0.5); return u, w, g",
    "scalar outputs": "a = mul(lr, 0.5); n = norm(g); return a, n, lr",
    "nothing computed": "return g, v1, v2",
    "norms of tensors": "n = norm(g); u = div(g, n); k = norm(n); u = mul(u, k); return u, n, v2",
    "chain of reductions": (
        "a = dot(g, w); x = mul(g, a); b = cosine_sim(x, w); y = interp(x, w, b); c = global_norm(y); n = norm(y);"
        "z = div(y, c); z = mul(z, n); u = clip_by_global_norm(z, 0.5); return u, x, y"
    ),
    "sums of leaves": (
        "n = norm(g); m = norm(w); d = dot(n, m); c = cosine_sim(n, m); e = global_norm(n); f = cosine_sim(g, n);"
        "h = dot(n, w); i = dot(lr, g); j = cosine_sim(lr, g); k = cosine_sim(n, lr); l = clip_by_global_norm(n, lr);"
        "u = mul(l, g); u = mul(u, d); u = mul(u, c); u = mul(u, e); u = mul(u, f); x = mul(g, h); x = mul(x, i);"
        "y = mul(g, j); y = mul(y, k); return u, x, y"
    ),
    "cosine of broadcasts": "n = norm(g); d = dot(w, g); a = cosine_sim(n, d); b = cosine_sim(d, lr); u = mul(g, a);"
    "x = mul(g, b); return u, x, d",
    "interp of every kind": (
        "n = norm(g); a = interp(g, lr, n); b = interp(lr, g, w); c = interp(n, 0.3, lr); d = interp(g, w, v1);"
        "e = interp(g, c, 0.5); u = add(a, b); u = add(u, d); return u, e, c"
    ),
    "constants": (
        "p = pi(); e = e(); q = mul(g, p); r = add(q, e); s = eps(); t = add(p, s); x = mul(t, g); return r, x, v2"
    ),
    "kept across phases": (
        "x = sin(g); y = cos(w); n = dot(x, y); a = mul(x, n); b = mul(y, n); k = dot(a, b); u = mul(a, k);"
        "z = add(x, y); return u, z, b"
    ),
}

DISCONTINUOUS = ("sign",)
UNBOUNDED = ("exp", "exp2", "exp10", "sinh", "cosh", "power", "cube")


def random_program(rng: np.random.Generator, length: int, names=NAMES) -> Lowered:
    """A random well-formed program of the five inputs; every instruction may read any earlier result."""
    constants = tuple(rng.normal(size=3).round(3).tolist())
    kinds = [TREE] * 4 + [SCALAR] * 4
    code = []
    while len(code) < length:
        opcode = OPCODES[names[rng.integers(len(names))]]
        recent = rng.random() < 0.6  # chains are deeper where operands are recent
        low = max(0, len(kinds) - 5) if recent else 0
        operands = [int(rng.integers(low, len(kinds))) for _ in range(ARITY[opcode])]
        kind = result_kind(opcode, [kinds[operand] for operand in operands])
        if kind is None:
            continue
        kinds.append(kind)
        code.append((opcode, len(kinds) - 1, *[*operands, -1, -1, -1][:3]))
    outputs = tuple(int(rng.integers(max(0, len(kinds) - 8), len(kinds))) for _ in range(3))
    return Lowered(tuple(code), tuple(kinds), constants, 5, outputs)


def random_state(rng: np.random.Generator, programs: int, segments=SEGMENTS, dtype=np.float64) -> list[np.ndarray]:
    """weights, gradients, v1, v2 of moderate size, both signs; v2 positive as a second moment is."""
    shape = (programs, int(segments[-1]))
    arrays = [rng.normal(size=shape), rng.normal(size=shape), 0.5 * rng.normal(size=shape), rng.gamma(1.0, 0.5, shape)]
    return [np.ascontiguousarray(array, dtype) for array in arrays]


class Expected(NamedTuple):
    """float64 results (weights, v1, v2), how far rounding may move each element, and where that is known."""

    values: list[np.ndarray]
    tolerances: list[np.ndarray]
    checked: list[np.ndarray]


def expected(
    program: Lowered, state: list[np.ndarray], schedule: float, segments, epsilon: float, samples=8, shapes=None
) -> Expected:
    """The reference in float64 on the very same inputs, with a condition estimate.

    The reference is run again with every operand (also of matrix products) and every output disturbed by a relative
    error of up to 4 epsilon (the error bound of vector mathematics, in units of the dtype under test) and
    denormal-sized absolute noise. A path may differ by 8 times the largest change so seen, plus 8 epsilon of the value.
    An element whose disturbed values are not all finite or all alike non-finite, or that moves by more than a
    thousandth of itself, is ill-conditioned (near a jump of sign, a pole, an overflow): nothing can be said about it,
    and it is not compared.
    """
    tensors = [torch.from_numpy(np.asarray(array, np.float64)) for array in state]
    tiny = 1e-38 if epsilon > 1e-10 else 1e-300
    largest = 3e38 if epsilon > 1e-10 else 1.7e308

    def run(after):
        step = reference_step(program, tensors[0], tensors[1], tensors[2:], schedule, segments, after, shapes)
        return [tensor.numpy() for tensor in (step.weights, *step.slots)]

    values = run(None)
    generator = torch.Generator().manual_seed(0)
    spread = [np.zeros_like(value) for value in values]
    checked = [np.ones(value.shape, bool) for value in values]
    peak = 0.0

    def disturb(value, operator):
        nonlocal peak
        size = value.abs().nan_to_num(0, 0, 0).max().item() if value.numel() else 0.0
        peak = max(peak, size)
        noise = 2 * torch.rand(value.shape, generator=generator, dtype=torch.float64) - 1
        # log1p adds one first, which rounds by an amount that does not shrink with its operand
        return value * (1 + 4 * epsilon * noise) + (4 * epsilon if operator == "log1p" else tiny) * noise

    with np.errstate(all="ignore"):
        for _ in range(samples):
            for number, moved in enumerate(run(disturb)):
                same = (moved == values[number]) | (np.isnan(moved) & np.isnan(values[number]))
                change = np.where(same, 0, np.abs(moved - values[number]))
                checked[number] &= same | np.isfinite(change)
                spread[number] = np.maximum(spread[number], np.where(np.isfinite(change), change, 0))
        size = [np.abs(np.nan_to_num(value, nan=0, posinf=0, neginf=0)) for value in values]
        for number in range(len(values)):
            checked[number] &= spread[number] <= 1e-3 * size[number] + 1e-3 * (size[number] == 0)
            checked[number] &= size[number] < largest / 1e4
    if peak > largest / 1e6:  # an intermediate overflows the dtype under test though it does not in float64
        checked = [np.zeros_like(mask) for mask in checked]
    tolerances = [8 * s + 8 * epsilon * v + 100 * tiny for s, v in zip(spread, size, strict=True)]
    return Expected(values, tolerances, checked)


def worst(found: list[np.ndarray], wanted: Expected) -> tuple[float, float]:
    """Largest error in units of the tolerance over what can be compared, and the share that can."""
    ratio, compared, total = 0.0, 0, 0
    for value, expect, tolerance, checked in zip(found, *wanted, strict=True):
        with np.errstate(all="ignore"):
            alike = (np.isnan(value) & np.isnan(expect)) | (value == expect)
            error = np.where(alike, 0, np.abs(value.astype(np.float64) - expect) / tolerance)
        error = np.where(np.isnan(error), np.inf, error)
        ratio = max(ratio, float(error[checked].max(initial=0)))
        compared += int(checked.sum())
        total += checked.size
    return ratio, compared / total
