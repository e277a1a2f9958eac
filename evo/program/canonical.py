"""Canonical form: equal bytes mean equal function, however the program is written.

Blind to names of variables, to the order of independent statements, to dead statements and dead slots, to duplicates,
to the order of commutative arguments, to constants that can be folded, to the language's identities, and to which of
two slots of one type holds what.
"""

from __future__ import annotations

import struct

import xxhash

from evo.program.algebra import Level
from evo.program.graph import Graph
from evo.program.ir import Program
from evo.program.language import Language

_digest = xxhash.xxh3_128_digest


def canonical(language: Language, program: Program, level: Level = "exact") -> bytes:
    """A 16-byte digest of what the program computes.

    Every node of the data-flow graph gets the digest of its operator and its arguments' digests, sorted where the
    operator commutes; inputs are known by position. Slots start alike, so they are told apart only by what fills
    them: all of one type begin in one class, and a class is split by its members' digests until nothing changes.
    Slots that stay in one class hold equal values at every step, so the result does not depend on their order.

    Args:
        program: a valid program.
        level: "real" also applies identities that may change rounding: equal bytes then mean equal in real numbers.

    Raises:
        InvalidGenomeError: a live statement is not valid.
    """
    graph = Graph(language, program, level)
    signature = language.signature
    heads, arguments, operators = graph.heads, graph.arguments, language.operators
    digests: list[bytes] = [b""] * len(heads)
    calls: list[tuple[int, bytes, tuple[int, ...], bool]] = []
    inputs = {name: node for node, (name, _) in enumerate(signature.inputs)}
    slots = [(inputs[signature.state[output]], graph.roots[output]) for output in graph.slots]
    for node in graph.reached:
        head = heads[node]
        if graph.calls[node]:
            assert isinstance(head, str)
            calls.append((node, head.encode(), arguments[node], operators[head].commutative))
        elif isinstance(head, float):
            digests[node] = b"literal\0" + struct.pack("<d", head)
        else:
            digests[node] = b"input\0\0\0" + struct.pack("<q", node)
    order = {type_: index for index, type_ in enumerate(language.type_order)}
    classes = [order[graph.types[source]] for source, _ in slots]
    while True:
        for (source, _), number in zip(slots, classes, strict=True):
            digests[source] = b"slot\0\0\0\0" + struct.pack("<q", number)
        for node, name, operands, commutative in calls:
            if len(operands) == 1:
                digests[node] = _digest(name + digests[operands[0]])
            elif len(operands) == 2:
                a, b = digests[operands[0]], digests[operands[1]]
                digests[node] = _digest(name + b + a if commutative and b < a else name + a + b)
            else:
                digests[node] = _digest(name + b"".join([digests[a] for a in operands]))
        marks = [(number, digests[root]) for number, (_, root) in zip(classes, slots, strict=True)]
        distinct = sorted(set(marks))
        if len(distinct) == len(set(classes)):
            break
        number_of = {mark: number for number, mark in enumerate(distinct)}
        classes = [number_of[mark] for mark in marks]
    kept = [b"program\0"]
    kept += [digests[graph.roots[output]] for output, _ in signature.outputs if output not in signature.state]
    kept += [struct.pack("<q", number) + filling for number, filling in distinct]
    return _digest(b"".join(kept))
