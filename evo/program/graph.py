"""Value numbering: a program's live data flow as a graph in which equal values are one node.

Nodes are integers in order of creation, so that arguments come before their users. The first nodes are the
signature's inputs. With a level, constants are folded and identities applied as nodes are made.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

import xxhash

from evo.errors import ConfigError, InvalidGenomeError
from evo.program.algebra import ANY_LITERAL, LITERALS, Head, Level, Pattern, Rewrite
from evo.program.ir import Program
from evo.program.language import Language, Type
from evo.program.liveness import liveness

_digest = xxhash.xxh3_128_digest

NAN = float("nan")
MAX_REWRITES = 50
"""Rewrites nested in one another before the identities are declared to run in circles."""


class Call(NamedTuple):
    """One application: an operator and its argument nodes."""

    operator: str
    arguments: tuple[int, ...]


class Graph:
    """Nodes of one program.

    Args:
        language: of the program.
        program: a valid program.
        level: None gives plain value numbering; otherwise constants are folded and identities up to it applied.
        writable: keep calls of literals that give NaN or an infinity, which no literal can say.

    Raises:
        InvalidGenomeError: a live statement is not valid.
        ConfigError: the identities rewrite without end.

    Attributes:
        heads: what the node looks like to patterns: an operator's name, a literal's value, "" for an input.
        arguments: argument nodes, a commutative operator's in canonical order; empty for inputs and literals.
        written: argument nodes in the order in which they were first written.
        types: the node's type.
        calls: True for operator nodes.
        roots: output name -> node; a dead slot maps to the input that it feeds, which stays as it is.
        slots: names of the live state outputs.
        assigned: output name -> the call that assigned it, before any rewriting.
        reached: nodes that a live output depends on, ascending.
        names: node -> the variable that first held it, for operator nodes.
    """

    def __init__(self, language: Language, program: Program, level: Level | None, writable: bool = False) -> None:
        self._writable = writable
        self._language = language
        self._operators = language.operators
        self._results = language.results
        self._rewrites = {} if level is None else language.rewrites(level)
        self._rewriting = level is not None
        signature = language.signature
        self.types: list[Type] = [type_ for _, type_ in signature.inputs]
        self.heads: list[Head] = [""] * len(self.types)
        self.arguments: list[tuple[int, ...]] = [()] * len(self.types)
        self.written: list[tuple[int, ...]] = [()] * len(self.types)
        self.calls: list[bool] = [False] * len(self.types)
        # Rewriting may depend on the order in which a commutative operator's arguments are matched, and that must not
        # depend on how the program is written: at a level, arguments are ordered by a digest of their structure.
        self._keys: list[bytes] = [b"input\0\0\0" + struct.pack("<q", node) for node in range(len(self.types))]
        self.names: dict[int, str] = {}
        self.assigned: dict[str, Call] = {}
        self._literals: dict[Head, int] = {}
        self._table: dict[tuple[str, tuple[int, ...]], int] = {}
        self._depth = 0

        instructions = program.instructions
        statements, slots = liveness(signature, instructions)
        variables: dict[str, int] = {name: node for node, (name, _) in enumerate(signature.inputs)}
        assigned: dict[str, Call] = {}
        names = self.names
        make, literal = self.make, self.literal
        for index in statements:
            target, operator, arguments = instructions[index]
            try:
                nodes = tuple([variables[a] if isinstance(a, str) else literal(a) for a in arguments])
            except KeyError as error:
                raise InvalidGenomeError(f"statement {index} reads {error.args[0]!r}, which is not defined") from None
            node = make(operator, nodes)
            variables[target] = node
            assigned[target] = Call(operator, nodes)
            if node not in names:
                names[node] = target
        # rewriting may have cut the last path from a slot, so liveness is asked again, of the graph
        self.slots = slots
        self.roots: dict[str, int] = {}
        for output, _ in signature.outputs:
            if output in slots or output not in signature.state:
                try:
                    self.roots[output] = variables[output]
                except KeyError:
                    raise InvalidGenomeError(f"the output {output!r} is never assigned") from None
                if output in assigned:
                    self.assigned[output] = assigned[output]
        self._reach(variables)

    def _reach(self, variables: dict[str, int]) -> None:
        signature = self._language.signature
        inputs = {name: node for node, (name, _) in enumerate(signature.inputs)}
        feeds = {inputs[source]: output for output, source in signature.state.items()}
        reached = bytearray(len(self.heads))
        stack = [node for output, node in self.roots.items() if output not in signature.state]
        arguments = self.arguments
        slots = set()
        while stack:
            node = stack.pop()
            if reached[node]:
                continue
            reached[node] = 1
            stack.extend(arguments[node])
            if node in feeds:
                output = feeds[node]
                slots.add(output)
                stack.append(variables[output])
        self.reached = [node for node, flag in enumerate(reached) if flag]
        self.slots = tuple(output for output in signature.state if output in slots)
        for output, source in signature.state.items():
            if output not in slots:
                self.roots[output] = inputs[source]
                self.assigned.pop(output, None)

    def literal(self, value: float) -> int:
        """The node of a literal."""
        if self._rewriting:
            if value == 0.0:
                value = 0.0  # identities hold up to the sign of a zero, so literals are compared up to it
            elif value != value:
                value = NAN
            key: Head = value
        else:
            key = value if value else repr(value)
        node = self._literals.get(key)
        if node is None:
            node = self._literals[key] = len(self.heads)
            self.heads.append(value)
            self.arguments.append(())
            self.written.append(())
            self._keys.append(b"literal\0" + struct.pack("<d", value))
            self.types.append(self._language.constant_type)
            self.calls.append(False)
        return node

    def make(self, operator: str, arguments: tuple[int, ...]) -> int:
        """The node of a call: an existing one where it was made before or is equal to one by the identities."""
        node = self._table.get((operator, arguments))
        if node is None:
            row = self._operators.get(operator)
            if row is None:
                raise InvalidGenomeError(f"no operator is called {operator!r}")
            written = arguments
            if row.commutative:
                a, b = arguments
                if self._keys[b] < self._keys[a] if self._rewriting else b < a:
                    arguments = (b, a)
                    node = self._table.get((operator, arguments))
            if node is None:
                node = self._table[operator, arguments] = self._new(operator, arguments, written)
            self._table[operator, written] = node
        return node

    def _new(self, operator: str, arguments: tuple[int, ...], written: tuple[int, ...]) -> int:
        all_types = self.types
        types = tuple([all_types[a] for a in arguments])
        result = self._results.get((operator, types))
        if result is None:
            result = self._language.result(operator, types)
            if result is None:
                raise InvalidGenomeError(f"{operator} does not accept ({', '.join(types)})")
        if self._rewriting:
            node = self._reduced(operator, arguments, result)
            if node is not None:
                return node
            keys = self._keys
            keys.append(_digest(operator.encode() + b"".join([keys[a] for a in arguments])))
        self.heads.append(operator)
        self.arguments.append(arguments)
        self.written.append(written)
        all_types.append(result)
        self.calls.append(True)
        return len(self.calls) - 1

    def _reduced(self, operator: str, arguments: tuple[int, ...], result: Type) -> int | None:
        heads = self.heads
        looks = [heads[a] for a in arguments]
        if result == self._language.constant_type:
            fold = self._operators[operator].fold
            if fold is not None and all([isinstance(look, float) for look in looks]):
                try:
                    value = float(fold(*looks))
                except (ArithmeticError, ValueError):
                    pass  # the operator's way to say that it is not folded here
                else:
                    if not self._writable or math.isfinite(value):
                        return self.literal(value)
        rewrites = self._rewrites.get(operator)
        if rewrites is None:
            return None
        always, by_head = rewrites
        for rewrite in always:
            node = self._rewritten(rewrite, arguments, result)
            if node is not None:
                return node
        if by_head:
            for place in enumerate(looks):
                for rewrite in by_head.get(place, ()):
                    node = self._rewritten(rewrite, arguments, result)
                    if node is not None:
                        return node
                if isinstance(place[1], float):
                    for rewrite in by_head.get((place[0], ANY_LITERAL), ()):
                        node = self._rewritten(rewrite, arguments, result)
                        if node is not None:
                            return node
        return None

    def _rewritten(self, rewrite: Rewrite, arguments: tuple[int, ...], result: Type) -> int | None:
        bound: dict[str, int] = {}
        for child, node in zip(rewrite.pattern.children, arguments, strict=True):
            if not self._matches(child, node, bound):
                return None
        if rewrite.where is not None and not rewrite.where(*[self.heads[bound[name]] for name in rewrite.literals]):
            return None
        self._depth += 1
        if self._depth > MAX_REWRITES:
            raise ConfigError(
                f"the identities of {rewrite.pattern.head!r} rewrite without end", "orient them towards a normal form"
            )
        node = self._built(rewrite.result, bound)
        self._depth -= 1
        return node if self.types[node] == result else None

    def _matches(self, pattern: Pattern, node: int, bound: dict[str, int]) -> bool:
        if pattern.is_call:
            return self.heads[node] == pattern.head and all(
                [
                    self._matches(child, a, bound)
                    for child, a in zip(pattern.children, self.arguments[node], strict=True)
                ]
            )
        head = self.heads[node]
        if pattern.value is not None:
            return head == pattern.value
        if pattern.head in LITERALS and not isinstance(head, float):
            return False
        return bound.setdefault(pattern.head, node) == node

    def _built(self, result: Pattern, bound: dict[str, int]) -> int:
        if result.is_call:
            return self.make(result.head, tuple([self._built(child, bound) for child in result.children]))
        return bound[result.head] if result.value is None else self.literal(result.value)
