"""Simplification: a program's live, folded and rewritten data flow written out again as a program."""

from __future__ import annotations

import heapq
from typing import NamedTuple

from evo.program.algebra import Level
from evo.program.graph import Call, Graph
from evo.program.ir import Instruction, Program
from evo.program.language import Language
from evo.program.liveness import live


class Step(NamedTuple):
    """A statement to be: the call, the node that it computes (-1: a second copy of a value), the output that it must
    leave behind ("" for none)."""

    call: Call
    node: int
    output: str


def simplify(language: Language, program: Program, level: Level = "exact") -> Program:
    """The same function in a normal form that people can read: dead statements gone, constants folded, the language's
    identities applied, equal expressions computed once, variables named as before where that is possible.

    Programs have no plain copy `a = b`. An output that equals an input or another output keeps the call that assigned
    it. Where two slots would have to be exchanged by copies, or where rewriting a value that has several readers
    would make the program longer, it is returned with its dead statements removed and is not simplified further. The
    canonical bytes stay the same in any case.

    Args:
        program: a valid program.
        level: "real" also applies identities that may change rounding.

    Raises:
        InvalidGenomeError: a live statement is not valid.
    """
    graph = Graph(language, program, level, writable=True)
    steps = _steps(language, graph)
    order = _order(language, graph, steps)
    kept = live(language, program)
    if order is None or len(order) > len(kept):
        return kept
    return _named(language, program, graph, order)


def _steps(language: Language, graph: Graph) -> list[Step]:
    """What must be computed: every needed node once, and copies for outputs that share a node or equal an input."""
    claimed: dict[int, str] = {}
    copies = []
    inputs = [name for name, _ in language.signature.inputs]
    for output, node in graph.roots.items():
        if node < len(inputs) and inputs[node] == output:
            continue
        if output in language.signature.state and output not in graph.slots:
            continue
        if graph.calls[node] and node not in claimed:
            claimed[node] = output
        else:
            call = Call(str(graph.heads[node]), graph.written[node]) if graph.calls[node] else graph.assigned[output]
            copies.append(Step(call, -1, output))
    needed, stack = set(), [*claimed, *(a for copy in copies for a in copy.call.arguments)]
    while stack:
        node = stack.pop()
        if graph.calls[node] and node not in needed:
            needed.add(node)
            stack.extend(graph.arguments[node])
    return [
        Step(Call(str(graph.heads[node]), graph.written[node]), node, claimed.get(node, "")) for node in sorted(needed)
    ] + copies


def _order(language: Language, graph: Graph, steps: list[Step]) -> list[Step] | None:
    """The steps in an order in which arguments come first, and an input's last reader comes before the output that
    takes over its name. None if there is no such order."""
    inputs = {name: node for node, (name, _) in enumerate(language.signature.inputs)}
    maker = {step.node: index for index, step in enumerate(steps) if step.node >= 0}
    before: list[set[int]] = [{maker[a] for a in step.call.arguments if a in maker} for step in steps]
    for index, step in enumerate(steps):
        overwritten = inputs.get(step.output)
        for other, reader in enumerate(steps):
            if overwritten is not None and other != index and overwritten in reader.call.arguments:
                before[index].add(other)
    ready = [index for index, wanted in enumerate(before) if not wanted]
    ordered: list[Step] = []
    while ready:
        done = heapq.heappop(ready)
        ordered.append(steps[done])
        for index, wanted in enumerate(before):
            if done in wanted:
                wanted.discard(done)
                if not wanted:
                    heapq.heappush(ready, index)
    return ordered if len(ordered) == len(steps) else None


def _named(language: Language, program: Program, graph: Graph, steps: list[Step]) -> Program:
    """Variables for the steps' values: an output's own name, else the name from the program if nothing that is still
    to be read stands there, else a fresh one."""
    signature = language.signature
    last_use = {a: position for position, step in enumerate(steps) for a in step.call.arguments}
    final = {step.output: position for position, step in enumerate(steps) if step.output}
    holder = {name: node for node, (name, _) in enumerate(signature.inputs)}
    place: dict[int, str] = {node: name for name, node in holder.items()}
    # outputs that nothing assigns: passed through, or dead slots, whose names would only mislead
    kept = {name for name, _ in signature.outputs if name not in final}
    taken = {step.target for step in program.instructions} | set(holder) | {name for name, _ in signature.outputs}
    number = 0

    def free(name: str, step: Step, position: int) -> bool:
        if name in kept or (name in holder and last_use.get(holder[name], -1) > position):
            return False
        return name not in final or (position < final[name] and last_use.get(step.node, -1) <= final[name])

    written = []
    for position, step in enumerate(steps):
        arguments = tuple([place[a] if a in place else float(graph.heads[a]) for a in step.call.arguments])
        name = step.output
        if not name:
            name = graph.names.get(step.node, "")
            if not name or not free(name, step, position):
                while f"t{number}" in taken:
                    number += 1
                name = f"t{number}"
                taken.add(name)
        written.append(Instruction(name, step.call.operator, arguments))
        holder[name] = step.node
        if step.node >= 0:
            place[step.node] = name
            if step.output:
                last_use[step.node] = len(steps)
    return Program(tuple(written))
