"""Admission: programs that diverge at once are one function, worth +inf, whatever the seed or the rung."""

from __future__ import annotations

import numpy as np
import pytest

from evo.equivalence.digest import digests
from evo.errors import ConfigError
from evo.program import Instruction, Program
from evo.space import Request
from search_spaces.lion import Lion, LionOptions
from search_spaces.lion.admission import admitted
from search_spaces.lion.evaluator import LionEvaluator, course_digest, lowered, references
from search_spaces.lion.programs import adamw, lion, muon

OPTIONS = LionOptions(tasks=("digits_mlp",), steps=12, batch=16, probe_steps=4, screen_hurdle=None, replicates=2)


def program(*steps: tuple) -> Program:
    return Program(tuple(Instruction(target, operator, arguments) for target, operator, arguments in steps))


ASCENT = program(("update", "mul", ("g", -3.0)), ("update", "add", ("update", "update")))
GROWTH = program(
    ("update", "mul", ("w", -2.0)),
)
NOTHING = program(("t0", "sub", ("lr", "lr")), ("update", "mul", ("g", "t0")))
REST = (adamw(), lion(), muon(), NOTHING)


def test_known_optimizers_are_admitted_and_what_explodes_is_not():
    found = admitted(OPTIONS, [lowered(p) for p in (*REST, ASCENT, GROWTH)])
    assert found.tolist() == [True] * 4 + [False] * 2


def test_admission_does_not_depend_on_the_company():
    programs = [lowered(p) for p in (ASCENT, *REST, GROWTH)]
    together = admitted(OPTIONS, programs)
    assert [bool(admitted(OPTIONS, [p])[0]) for p in programs] == together.tolist()


def test_those_turned_away_are_one_function_and_nobody_else_is():
    space = Lion(OPTIONS)
    keys = [key.tobytes() for key in digests(space.fingerprint([ASCENT, GROWTH, *REST]))[0]]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 5
    without = [key.tobytes() for key in digests(Lion(LionOptions(admission_steps=0)).fingerprint([ASCENT, GROWTH]))[0]]
    assert without[0] != without[1]


@pytest.mark.parametrize("rung", ["probe", "search"])
def test_whoever_is_turned_away_is_worth_infinity_on_every_seed(rung: str):
    evaluator = LionEvaluator(OPTIONS, references(OPTIONS))
    requests = [Request(0, GROWTH, rung, (1, 2)), Request(1, adamw(), rung, (1, 2)), Request(2, ASCENT, rung, (3,))]
    growth, good, ascent = evaluator.evaluate(requests)
    assert [o.values for o in (*growth, *ascent)] == [(np.inf,)] * 3
    assert all(o.extra["turned_away"] and o.status == "ok" for o in (*growth, *ascent))
    assert all(np.isfinite(o.values[0]) and "turned_away" not in o.extra for o in good)
    assert evaluator.evaluate([requests[0]])[0] == growth  # alone, too


def test_results_under_another_admission_are_not_shared():
    base = {"tasks": ("digits_mlp", "digits_conv"), "steps": 12, "probe_task": None}
    others = ({}, {"admission_steps": 0}, {"admission_steps": 21}, {"tasks": ("digits_conv", "digits_mlp")})
    assert len({course_digest(LionOptions(**{**base, **other})) for other in others}) == 4


def test_a_negative_number_of_steps_is_refused():
    with pytest.raises(ConfigError, match="admission_steps"):
        LionOptions(admission_steps=-1)
