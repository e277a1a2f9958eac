"""A program's data flow as plain values: what the simplifier edits, and the way back to a program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from evo.errors import InvalidGenomeError
from evo.program import Instruction, Program, live
from search_spaces.lion.language import LION

Ref = int | str | float
"""What an argument is: the number of a node, the name of an input, or a literal."""

STATE: Mapping[str, str] = LION.signature.state
INPUTS = tuple(name for name, _ in LION.signature.inputs)
OUTPUTS = tuple(name for name, _ in LION.signature.outputs)


class Node(NamedTuple):
    """One value: an operator and its arguments; `name` is the variable that held it ("" for none)."""

    operator: str
    arguments: tuple[Ref, ...]
    name: str = ""


class Flow(NamedTuple):
    """A program in single-assignment form.

    Attributes:
        nodes: arguments come before their readers.
        outputs: output name -> what it is at the end of a step; a slot that nothing assigns is its own input.
    """

    nodes: tuple[Node, ...]
    outputs: dict[str, Ref]


def read(program: Program) -> Flow:
    """The data flow of a valid program's live statements.

    Raises:
        InvalidGenomeError: the update is never assigned.
    """
    current: dict[str, Ref] = {name: name for name in INPUTS}
    nodes: list[Node] = []
    for target, operator, arguments in live(LION, program).instructions:
        read_from = tuple(current[a] if isinstance(a, str) else a for a in arguments)
        current[target] = len(nodes)
        nodes.append(Node(operator, read_from, target))
    if OUTPUTS[0] not in current:
        raise InvalidGenomeError(f"the output {OUTPUTS[0]!r} is never assigned")
    return Flow(tuple(nodes), {name: current[name] for name in OUTPUTS})


def write(flow: Flow) -> Program:
    """A program of that data flow, every value under a name of its own; valid where the flow's types are.

    Outputs are copied at the end by `mul(x, 1.0)`, which `simplify` takes away again: it finds the order in which
    slots can be overwritten.
    """
    body = [
        Instruction(f"n{index}", node.operator, tuple(_written(a) for a in node.arguments))
        for index, node in enumerate(flow.nodes)
    ]
    last = []
    for output, value in flow.outputs.items():
        if value == output:
            continue
        source = _written(value)
        if isinstance(source, str) and source in INPUTS:
            body.append(Instruction(f"copy_{output}", "mul", (source, 1.0)))
            source = f"copy_{output}"
        last.append(Instruction(output, "mul", (source, 1.0)))
    return Program((*body, *last))


def _written(value: Ref) -> str | float:
    return f"n{value}" if isinstance(value, int) else value


def replaced(flow: Flow, values: Mapping[int, Ref]) -> Flow:
    """The flow in which readers of some nodes read other values, each of which must come before those readers."""

    def resolved(value: Ref) -> Ref:
        while isinstance(value, int) and value in values:
            value = values[value]
        return value

    nodes = tuple(node._replace(arguments=tuple(map(resolved, node.arguments))) for node in flow.nodes)
    return Flow(nodes, {name: resolved(value) for name, value in flow.outputs.items()})


def reading(flow: Flow, inputs: Mapping[str, Ref]) -> Flow:
    """The flow in which readers of some inputs read other values; what passes an input through is left alone."""

    def changed(value: Ref) -> Ref:
        return inputs.get(value, value) if isinstance(value, str) else value

    return flow._replace(
        nodes=tuple(node._replace(arguments=tuple(map(changed, node.arguments))) for node in flow.nodes)
    )


def with_argument(flow: Flow, node: int, place: int, value: Ref) -> Flow:
    """The flow with one argument of one node changed."""
    arguments = list(flow.nodes[node].arguments)
    arguments[place] = value
    changed = flow.nodes[node]._replace(arguments=tuple(arguments))
    return flow._replace(nodes=(*flow.nodes[:node], changed, *flow.nodes[node + 1 :]))


def inserted(flow: Flow, before: int, nodes: list[Node]) -> tuple[Flow, int]:
    """The flow with nodes put in at an index; the new nodes' integers count as in the result.

    Returns:
        the flow, and by how much the indices from `before` on have moved.
    """
    count = len(nodes)

    def moved(value: Ref) -> Ref:
        return value + count if isinstance(value, int) and value >= before else value

    shift = [node._replace(arguments=tuple(map(moved, node.arguments))) for node in flow.nodes]
    everything = (*shift[:before], *nodes, *shift[before:])
    return Flow(everything, {name: moved(value) for name, value in flow.outputs.items()}), count


def types(flow: Flow) -> list[str | None]:
    """The type of every node; None where its arguments do not fit."""
    given = dict(LION.signature.inputs)
    found: list[str | None] = []
    for node in flow.nodes:
        kinds = tuple(
            found[a] if isinstance(a, int) else given[a] if isinstance(a, str) else LION.constant_type
            for a in node.arguments
        )
        found.append(LION.result(node.operator, kinds))
    return found


def type_of(flow: Flow, value: Ref) -> str | None:
    """The type of a value; None where the arguments of what makes it do not fit."""
    if isinstance(value, int):
        return types(flow)[value]
    return dict(LION.signature.inputs)[value] if isinstance(value, str) else LION.constant_type


def readers(flow: Flow) -> list[int]:
    """How often each node is read, by nodes and by outputs."""
    count = [0] * len(flow.nodes)
    for node in flow.nodes:
        for argument in node.arguments:
            if isinstance(argument, int):
                count[argument] += 1
    for value in flow.outputs.values():
        if isinstance(value, int):
            count[value] += 1
    return count


def heights(flow: Flow) -> list[int]:
    """The longest way from an input to each node, in statements."""
    found: list[int] = []
    for node in flow.nodes:
        found.append(1 + max((found[a] for a in node.arguments if isinstance(a, int)), default=0))
    return found


def size(flow: Flow) -> int:
    """How many nodes the outputs that are no dead slots need."""
    live_outputs, waiting = [flow.outputs[OUTPUTS[0]]], dict(STATE)
    needed: set[Ref] = set()
    while live_outputs:
        stack = [live_outputs.pop()]
        while stack:
            value = stack.pop()
            if not isinstance(value, float) and value not in needed:
                needed.add(value)
                if isinstance(value, int):
                    stack.extend(flow.nodes[value].arguments)
        for output, source in list(waiting.items()):
            if source in needed:
                live_outputs.append(flow.outputs[output])
                del waiting[output]
    return sum(isinstance(value, int) for value in needed)


def uses_gradient(program: Program) -> bool:
    """Whether the update depends on the gradient at all, at this step or by way of a slot."""
    flow = read(program)
    needed: set[Ref] = set()
    stack: list[Ref] = [flow.outputs[OUTPUTS[0]]]
    feeds = {source: output for output, source in STATE.items()}
    while stack:
        value = stack.pop()
        if value in needed:
            continue
        needed.add(value)
        if isinstance(value, int):
            node = flow.nodes[value]
            if not (node.operator == "mul" and any(isinstance(a, float) and a == 0.0 for a in node.arguments)):
                stack.extend(a for a in node.arguments if not isinstance(a, float))
        elif value in feeds:
            stack.append(flow.outputs[feeds[value]])
    return "g" in needed
