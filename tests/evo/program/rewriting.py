"""Random programs, and random ways to write a program differently without changing what it computes."""

from __future__ import annotations

import numpy as np
from hypothesis import settings

from evo.program import Instruction, Mutator, Program
from tests.evo.program.table import KNOWN, LANGUAGE, SIGNATURE

MUTATOR = Mutator(LANGUAGE)
STEADY = settings(deadline=None, derandomize=True)
"""Property tests draw the same examples every time, and a slow machine is no failure."""


def random_program(seed: int) -> Program:
    """A valid program: a sample, or a descendant of a known one after up to 40 mutations."""
    rng = np.random.default_rng(seed)
    program = MUTATOR.sample(rng) if rng.random() < 0.3 else KNOWN[rng.integers(len(KNOWN))]
    for _ in range(rng.integers(40)):
        program = MUTATOR.mutate(program, rng).genome
    return program


def unused(rng: np.random.Generator, stem: str) -> str:
    """A name that no program uses yet."""
    return f"{stem}{int(rng.integers(10**15))}"


def independent(first: Instruction, second: Instruction) -> bool:
    return (
        first.target not in second.arguments and second.target not in first.arguments and first.target != second.target
    )


def reordered(program: Program, rng: np.random.Generator) -> Program:
    body = list(program.instructions)
    for _ in range(2 * len(body)):
        at = int(rng.integers(len(body)))
        if at + 1 < len(body) and independent(body[at], body[at + 1]):
            body[at], body[at + 1] = body[at + 1], body[at]
    return Program(tuple(body))


def renamed(program: Program, rng: np.random.Generator) -> Program:
    """Every value gets a name of its own, but for the last one of each output."""
    last = {step.target: index for index, step in enumerate(program.instructions)}
    outputs = {name for name, _ in SIGNATURE.outputs}
    current, body = {}, []
    for index, (target, operator, arguments) in enumerate(program.instructions):
        arguments = tuple(current.get(a, a) if isinstance(a, str) else a for a in arguments)
        keep = target in outputs and last[target] == index
        name = target if keep else unused(rng, "n")
        current[target] = name
        body.append(Instruction(name, operator, arguments))
    return Program(tuple(body))


def with_dead_code(program: Program, rng: np.random.Generator) -> Program:
    body = list(program.instructions)
    for _ in range(3):
        at = int(rng.integers(len(body) + 1))
        body.insert(at, Instruction(unused(rng, "dead"), "sin", ("w" if rng.random() < 0.5 else "lr",)))
    return Program(tuple(body))


def commuted(program: Program, rng: np.random.Generator) -> Program:
    return Program(
        tuple(
            step._replace(arguments=step.arguments[::-1])
            if LANGUAGE.operators[step.operator].commutative and rng.random() < 0.5
            else step
            for step in program.instructions
        )
    )


def duplicated(program: Program, rng: np.random.Generator) -> Program:
    """A statement is computed twice and the second copy is read by the next statement."""
    body = list(program.instructions)
    at = int(rng.integers(len(body)))
    step = body[at]
    if step.target in step.arguments:
        return program
    copy = unused(rng, "copy")
    body.insert(at + 1, step._replace(target=copy))
    if at + 2 < len(body):
        after = body[at + 2]
        body[at + 2] = after._replace(arguments=tuple(copy if a == step.target else a for a in after.arguments))
    return Program(tuple(body))


def exchanged_slots(program: Program, rng: np.random.Generator) -> Program:
    other = {"v1": "v2", "v2": "v1"}
    return Program(
        tuple(
            Instruction(other.get(target, target), operator, tuple(other.get(a, a) for a in arguments))
            for target, operator, arguments in program.instructions
        )
    )


def decorated(program: Program, rng: np.random.Generator) -> Program:
    """An argument is replaced by an exact identity of it, and a literal by a sum that folds to it."""
    body = list(program.instructions)
    at = int(rng.integers(len(body)))
    target, operator, arguments = body[at]
    if not arguments:
        return program
    place = int(rng.integers(len(arguments)))
    old = arguments[place]
    i1, i2 = unused(rng, "i"), unused(rng, "i")
    if isinstance(old, str):
        kind = rng.integers(3)
        if kind == 0:
            extra = [Instruction(i1, "negative", (old,)), Instruction(i2, "negative", (i1,))]
        elif kind == 1:
            extra = [Instruction(i2, "mul", (1.0, old))]
        else:
            extra = [Instruction(i2, "max", (old, old))]
    else:
        extra = [Instruction(i1, "sub", (old, old)), Instruction(i2, "add", (i1, old))]
    body[at] = Instruction(target, operator, (*arguments[:place], i2, *arguments[place + 1 :]))
    return Program((*body[:at], *extra, *body[at:]))


REWRITINGS = (reordered, renamed, with_dead_code, commuted, duplicated, exchanged_slots, decorated)
"""Each keeps the function, whatever the program."""
