"""The package knows nothing of optimizers: a language with other types and no state, as a proxy search would bring."""

import numpy as np

from evo.program import (
    Language,
    Mutator,
    Operator,
    Program,
    Signature,
    canonical,
    live,
    lower,
    operator_table,
    simplify,
)

TYPES = ("weights", "layers", "score")


def reduce_type(types: tuple[str, ...]) -> str | None:
    return {"weights": "layers", "layers": "score"}.get(types[0])


def same_type(types: tuple[str, ...]) -> str | None:
    return types[0] if len(set(types)) == 1 else None


LANGUAGE = Language(
    Signature((("weight", "weights"), ("gradient", "weights"), ("bits", "layers")), (("score", "score"),)),
    operator_table(
        [
            Operator("mean", 1, reduce_type, "mean({0})"),
            Operator("log", 1, same_type, "log({0})"),
            Operator("product", 2, same_type, "{0} * {1}", commutative=True),
        ]
    ),
    constant_type="score",
    type_order=TYPES,
)
START = Program.parse("a = mean(weight); a = product(a, bits); score = mean(a)")


def test_a_walk_stays_valid_and_every_tool_works_on_it():
    mutator, rng, program = Mutator(LANGUAGE), np.random.default_rng(0), START
    keys = set()
    for _ in range(1000):
        program = mutator.mutate(program, rng).genome
        LANGUAGE.infer(program)
        key = canonical(LANGUAGE, program)
        assert canonical(LANGUAGE, live(LANGUAGE, program)) == key
        assert canonical(LANGUAGE, simplify(LANGUAGE, program)) == key
        code = lower(LANGUAGE, program, {"mean": 0, "log": 1, "product": 2})
        assert code.kinds[code.outputs[0]] == TYPES.index("score")
        keys.add(key)
    assert len(keys) > 50


def test_samples_are_valid():
    # no single call makes a score of weights, so the sample must have reduced something before, or use a literal
    mutator = Mutator(LANGUAGE)
    for seed in range(200):
        LANGUAGE.infer(mutator.sample(np.random.default_rng(seed)))


def test_inputs_are_known_by_position():
    other = Program.parse("a = mean(gradient); a = product(a, bits); score = mean(a)")
    assert canonical(LANGUAGE, other) != canonical(LANGUAGE, START)
