"""Lowering: a program as plain integers and floats, for kernels that know nothing of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from evo.errors import ConfigError
from evo.program.graph import Graph
from evo.program.ir import Program
from evo.program.language import Language

MAX_OPERANDS = 3


class Lowered(NamedTuple):
    """A program in single-assignment form: live statements only, equal sub-expressions computed once.

    Attributes:
        code: one (opcode, destination, a, b, c) a statement, in order; operands are registers, -1 where unused; every
            statement writes a fresh register.
        kinds: the type of every register, as an index into the language's `type_order`.
        constants: registers `n_inputs` to `n_inputs + len(constants) - 1` hold them.
        n_inputs: registers 0 to `n_inputs - 1` are the signature's inputs in order.
        outputs: registers of the signature's outputs in order; an input's register where a value is passed through. A
            dead slot passes through the input that it feeds, so that it keeps the value it started with.
    """

    code: tuple[tuple[int, int, int, int, int], ...]
    kinds: tuple[int, ...]
    constants: tuple[float, ...]
    n_inputs: int
    outputs: tuple[int, ...]


def lower(language: Language, program: Program, opcodes: Mapping[str, int]) -> Lowered:
    """Nothing is folded or rewritten: every operation is one that the program spells out. Lower `simplify`'s result
    for the shortest code.

    Args:
        program: a valid program.
        opcodes: the kernel's numbers by `Operator.opcode` (or name).

    Raises:
        ConfigError: an operator has no opcode, or more operands than an instruction holds.
        InvalidGenomeError: a live statement is not valid.
    """
    graph = Graph(language, program, None)
    n_inputs = len(language.signature.inputs)
    kind_of = {type_: index for index, type_ in enumerate(language.type_order)}
    heads, calls = graph.heads, graph.calls
    literals = [node for node in graph.reached if node >= n_inputs and not calls[node]]
    statements = [node for node in graph.reached if calls[node]]
    register = {node: node for node in range(n_inputs)}
    for node in (*literals, *statements):
        register[node] = len(register)
    code = []
    for node in statements:
        operator = language.operators[heads[node]]  # type: ignore[index]
        name = operator.opcode or operator.name
        operands = [register[a] for a in graph.written[node]]
        if name not in opcodes:
            raise ConfigError(f"the kernel has no opcode {name!r}, which the operator {operator.name!r} asks for")
        if len(operands) > MAX_OPERANDS:
            raise ConfigError(f"the operator {operator.name!r} has {len(operands)} operands; code holds {MAX_OPERANDS}")
        a, b, c = [*operands, -1, -1, -1][:MAX_OPERANDS]
        code.append((opcodes[name], register[node], a, b, c))
    return Lowered(
        code=tuple(code),
        kinds=tuple([kind_of[graph.types[node]] for node in register]),
        constants=tuple([heads[node] for node in literals]),  # type: ignore[misc]
        n_inputs=n_inputs,
        outputs=tuple([register[graph.roots[name]] for name, _ in language.signature.outputs]),
    )
