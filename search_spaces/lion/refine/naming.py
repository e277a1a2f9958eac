"""Names and order for people: textbook names for what a statement computes, statements in the order of a paper."""

from __future__ import annotations

from collections.abc import Mapping

from evo.program import Instruction, Program, canonical
from search_spaces.lion.language import LION
from search_spaces.lion.refine import flow as flows
from search_spaces.lion.refine.flow import INPUTS, OUTPUTS, STATE, Flow, Ref

UPDATE = OUTPUTS[0]
BY_OPERATOR: Mapping[str, str] = {
    "clip_by_global_norm": "clipped",
    "sqrt": "root",
    "abs": "size",
    "sign": "direction",
    "div": "ratio",
    "reciprocal": "inverse",
    "interp": "m",
    "norm": "norm",
    "global_norm": "norm",
    "dot": "product",
    "cosine_sim": "similarity",
    "max": "larger",
    "min": "smaller",
    "orthogonalize": "direction",
}
"""Names by what makes the value; the rest is named after the gradient, the weights or the schedule it is made of."""


def named(program: Program) -> Program:
    """The same function under textbook names: `update` along the way to the update, `decay` for what is proportional to
    the weights, `rate` for what the schedule becomes, `m` for averages of gradients; v1 is the first slot in use.

    Bit for bit the same where slots are not exchanged; in any case the same canonical form. A program whose statements
    cannot be ordered (two slots that would have to be exchanged) is returned as it is.
    """
    flow = _first_slot(flows.read(program))
    order = _order(flow)
    if order is None or any(
        value == other for output, value in flow.outputs.items() for other in INPUTS if other != output
    ):
        return program
    holders: dict[int, list[str]] = {}
    for output, value in flow.outputs.items():
        if isinstance(value, int):
            holders.setdefault(value, []).append(output)
    if any(len(outputs) > 1 for outputs in holders.values()):
        return program  # a value that two outputs share needs two statements
    finals = {node: outputs[0] for node, outputs in holders.items()}
    found = _written(flow, order, finals)
    return found if LION.is_valid(found) and canonical(LION, found) == canonical(LION, program) else program


def _first_slot(flow: Flow) -> Flow:
    """The flow with the slots exchanged where only the second is in use."""
    (one, first), (two, second) = STATE.items()
    if flow.outputs[one] != first or flow.outputs[two] == second:
        return flow
    if any(first in node.arguments for node in flow.nodes):
        return flow
    moved = flows.reading(flow, {second: first})
    return moved._replace(outputs={**moved.outputs, one: flow.outputs[two], two: second})


def _order(flow: Flow) -> list[int] | None:
    """Nodes in the order in which the update needs them, then what the slots need; an input's readers come before
    the statement that takes over its name. None where there is no such order."""
    wanted: list[int] = []
    seen: set[int] = set()

    def visit(value: Ref) -> None:
        if isinstance(value, int) and value not in seen:
            seen.add(value)
            for argument in flow.nodes[value].arguments:
                visit(argument)
            wanted.append(value)

    for output in OUTPUTS:
        visit(flow.outputs[output])
    before = {node: {a for a in flow.nodes[node].arguments if isinstance(a, int)} for node in wanted}
    for output, source in STATE.items():
        writer = flow.outputs[output]
        if isinstance(writer, int):
            before[writer] |= {node for node in wanted if node != writer and source in flow.nodes[node].arguments}
    ordered: list[int] = []
    while wanted:
        ready = next((node for node in wanted if before[node] <= set(ordered)), None)
        if ready is None:
            return None
        wanted.remove(ready)
        ordered.append(ready)
    return ordered


def _written(flow: Flow, order: list[int], finals: Mapping[int, str]) -> Program:
    spine = _spine(flow)
    names: dict[int, str] = {}
    taken = {*INPUTS, *OUTPUTS}
    body = []
    for node in order:
        operator, arguments, _ = flow.nodes[node]
        if node in finals:
            name = finals[node]
        elif node in spine:
            name = UPDATE
        else:
            name = _unused(_role(flow, node), taken)
            taken.add(name)
        names[node] = name
        body.append(Instruction(name, operator, tuple(names[a] if isinstance(a, int) else a for a in arguments)))
    return Program(tuple(body))


def _unused(stem: str, taken: set[str]) -> str:
    if stem not in taken:
        return stem
    return next(f"{stem}{number}" for number in range(2, len(taken) + 3) if f"{stem}{number}" not in taken)


def _spine(flow: Flow) -> set[int]:
    """Nodes on the way to the update that nothing else reads: each is the update so far."""
    count, kinds = flows.readers(flow), flows.types(flow)
    slots = {flow.outputs[output] for output in STATE}
    found: set[int] = set()
    value = flow.outputs[UPDATE]
    while isinstance(value, int) and (value == flow.outputs[UPDATE] or (count[value] == 1 and value not in slots)):
        if flow.nodes[value].operator == "interp" and found:
            break
        found.add(value)
        trees = [
            a
            for a in flow.nodes[value].arguments
            if isinstance(a, int) and kinds[a] == "tree" and "g" in _made_of(flow, a) | _slots_of(flow, a)
        ]
        if len(trees) != 1:
            break
        value = trees[0]
    return found


def _made_of(flow: Flow, node: int) -> set[str]:
    """Inputs that a node is made of; slots count as what they are."""
    found: set[str] = set()
    stack: list[Ref] = [node]
    seen: set[int] = set()
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, int) and value not in seen:
            seen.add(value)
            stack.extend(flow.nodes[value].arguments)
    return found


def _slots_of(flow: Flow, node: int) -> set[str]:
    """{"g"} if the node reads a slot: state is what gradients left."""
    return {"g"} if _made_of(flow, node) & set(STATE.values()) else set()


def _role(flow: Flow, node: int) -> str:
    operator = flow.nodes[node].operator
    made_of = _made_of(flow, node)
    if operator in BY_OPERATOR:
        return BY_OPERATOR[operator]
    if made_of <= {"lr"}:
        return "rate"
    if made_of == {"w"} or made_of == {"w", "lr"}:
        return "decay"
    if operator in ("square", "cube") and flow.nodes[node].arguments == ("g",):
        return "g2" if operator == "square" else "g3"
    return "m" if made_of & set(STATE.values()) else "u"
