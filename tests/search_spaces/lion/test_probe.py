"""The behavioural fingerprint: blind to how a program is written, awake to what it does."""

from __future__ import annotations

import numpy as np
import pytest

from evo.equivalence.digest import digests
from evo.program import Program
from evo.space import Fingerprints
from search_spaces.lion.evaluator import lowered
from search_spaces.lion.probe import fingerprint, fixtures
from search_spaces.lion.programs import adamw, lion, muon
from tests.search_spaces.lion.helpers import KNOWN, random_program


def prints(*programs: Program) -> Fingerprints:
    return fingerprint([lowered(program) for program in programs])


def merged(a: Program, b: Program) -> bool:
    """Whether the engine takes both for one function: either grid's keys agree."""
    return any(np.array_equal(keys[0], keys[1]) for keys in digests(prints(a, b)))


ADAMW = str(adamw())
REWRITTEN = {
    "the first average doubled, and halved where it is read": ADAMW.replace(
        "v1 = interp(g, v1, 0.9)", "gg = add(g, g)\nv1 = interp(gg, v1, 0.9)"
    ).replace("update = div(v1, s)", "half = mul(v1, 0.5)\nupdate = div(half, s)"),
    "the interpolation spelled out": ADAMW.replace(
        "v1 = interp(g, v1, 0.9)", "p = mul(g, 0.1)\nq = mul(v1, 0.9)\nv1 = add(p, q)"
    ),
    "decay and step multiplied out": ADAMW.replace(
        "wd = mul(w, 0.01)\nupdate = add(update, wd)\nlr = mul(lr, 0.001)\nupdate = mul(update, lr)",
        "lr = mul(lr, 0.001)\nwd = mul(w, lr)\nwd = mul(wd, 0.01)\nupdate = mul(update, lr)\nupdate = add(update, wd)",
    ),
    "a sum taken apart again": ADAMW + "\nupdate = add(update, w)\nupdate = sub(update, w)",
}


@pytest.mark.parametrize("how", REWRITTEN)
def test_programs_written_otherwise_are_merged(how: str) -> None:
    rewritten = Program.parse(REWRITTEN[how])
    assert rewritten != adamw()
    assert merged(adamw(), rewritten)


DIFFERENT = {
    "another rate": adamw(lr=0.00101),
    "another decay": adamw(weight_decay=0.0101),
    "another average": adamw(beta2=0.9991),
    "another average, hardly": adamw(beta1=0.90001),
    "no decay": adamw(weight_decay=0.0),
    "another guard": Program.parse(ADAMW.replace("update = div(v1, s)", "s = add(s, 1e-8)\nupdate = div(v1, s)")),
    "norms over all tensors": Program.parse(ADAMW.replace("g2 = square(g)", "n = global_norm(g)\ng2 = square(n)")),
    "a schedule read twice": Program.parse(
        ADAMW.replace("lr = mul(lr, 0.001)", "lr = mul(lr, lr)\nlr = mul(lr, 0.001)")
    ),
    "clipped": Program.parse("g = clip_by_global_norm(g, 1.0)\n" + ADAMW),
    "lion": lion(),
}


@pytest.mark.parametrize("how", DIFFERENT)
def test_programs_that_differ_are_told_apart(how: str) -> None:
    assert not merged(adamw(), DIFFERENT[how])


def test_norms_of_tensors_and_over_all_tensors_are_told_apart() -> None:
    a, b = (
        Program.parse(f"n = {name}(g)\nupdate = div(g, n)\nupdate = mul(update, lr)")
        for name in ("norm", "global_norm")
    )
    assert not merged(a, b)


def test_a_fingerprint_does_not_depend_on_its_company() -> None:
    programs = [*KNOWN, *(random_program(seed) for seed in range(12))]
    whole = prints(*programs)
    assert np.array_equal(prints(*programs).values, whole.values, equal_nan=True)
    order = np.random.default_rng(0).permutation(len(programs))
    permuted = prints(*(programs[i] for i in order))
    assert np.array_equal(permuted.values, whole.values[order], equal_nan=True)
    for row, program in enumerate(programs):
        assert np.array_equal(prints(program).values[0], whole.values[row], equal_nan=True)


def test_a_failure_on_harsh_gradients_is_told_from_one_on_all() -> None:
    """arcsin is NaN beyond 1, and a norm spreads it: the mild fixtures still see what the program does."""
    spread = "a = arcsin(g)\nn = global_norm(a)\nupdate = {}(g, n)\nupdate = mul(update, lr)"
    a, b = (Program.parse(spread.format(operator)) for operator in ("div", "mul"))
    values = prints(a, b).values
    assert np.isnan(values).any(axis=1).all()
    assert not merged(a, b)


def test_columns_are_laid_out_as_the_fixtures_say() -> None:
    found = prints(adamw())
    columns = sum(len(f.fractions) * (f.segments[-1]) for f in fixtures())
    assert found.values.shape == (1, columns)
    assert np.shape(found.bits) == np.shape(found.groups) == (columns,)
    assert np.isfinite(found.values).all()
    assert found.bits.min() >= 12
    assert found.bits.max() == 32


def test_a_program_is_judged_by_its_weights_not_by_what_its_state_overflows_to() -> None:
    """Programs of one weight trajectory share a value, so their state may not decide which of them has diverged."""
    from search_spaces.lion.tasks import load
    from search_spaces.lion.training import Course, Programs, train

    plain = Program.parse("update = mul(g, 0.05)")
    clipped = Program.parse(
        "t = add(v1, 4.0)\nv1 = mul(t, t)\nt = reciprocal(t)\nt = min(t, 1.0)\nt = sign(t)\nt = max(t, 1.0)\n"
        "update = mul(g, 0.05)\nupdate = mul(update, t)"
    )
    assert merged(plain, clipped)
    trained = train(
        load("digits_mlp"), Programs([lowered(plain), lowered(clipped)], None), 5, Course(20, 32, "constant")
    )
    assert trained.diverged_at.tolist() == [-1, -1]
    assert trained.loss[0] == trained.loss[1]


def test_programs_that_part_at_the_end_of_a_schedule_alone_are_told_apart() -> None:
    switch = ADAMW.replace("lr = mul(lr, 0.001)", "lr = max(lr, 0.004)\nlr = mul(lr, 0.001)")
    assert not merged(adamw(), Program.parse(switch))


DIRECTIONS = {
    "orthogonalised": "u = orthogonalize(g)",
    "over the norm of everything": "n = global_norm(g)\nu = div(g, n)",
    "over the norm of its tensor": "n = norm(g)\nu = div(g, n)",
    "over the fourth root of its fourth powers": "s = square(g)\nk = norm(s)\nk = sqrt(k)\nu = div(g, k)",
    "over its size": "a = abs(g)\nu = div(g, a)",
    "orthogonalised twice": "u = orthogonalize(g)\nu = orthogonalize(u)",
    "orthogonalised, where small": "h = mul(g, 1e-6)\nu = orthogonalize(h)",
}


def test_directions_are_told_apart() -> None:
    """Also orthogonalize and any normalisation: fixtures have matrices."""
    programs = [Program.parse(f"{text}\nlr = mul(lr, 0.01)\nupdate = mul(u, lr)") for text in DIRECTIONS.values()]
    for keys in digests(prints(*programs)):
        assert len({key.tobytes() for key in keys}) == len(programs)


def test_fixtures_have_matrices_of_both_orientations_and_other_tensors() -> None:
    shapes = np.concatenate([fixture.shapes for fixture in fixtures()])
    assert (shapes.min(axis=1) > 1).sum() >= 4
    assert (shapes.min(axis=1) == 1).any()
    for fixture in fixtures():
        assert np.array_equal(fixture.shapes.prod(axis=1), np.diff(fixture.segments))


def test_muon_written_otherwise_is_merged() -> None:
    spelled = str(muon()).replace("m = interp(g, v1, 0.95)", "a = mul(v1, 0.95)\nb = mul(g, 0.05)\nm = add(a, b)")
    assert spelled != str(muon())
    assert merged(muon(), Program.parse(spelled))
    assert not merged(muon(), muon(beta=0.9501))
