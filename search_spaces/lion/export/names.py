"""Names of the variables in an exported rule."""

from __future__ import annotations

from collections.abc import Collection

from search_spaces.lion.export.flow import Flow

TREES = ("w", "g", "v1", "v2")


def variables(flow: Flow, taken: Collection[str]) -> list[str]:
    """A name for every statement: the program's own where that is free, so that the export reads like the program.

    Args:
        taken: what no variable may hide. Names of the tensors that the rule is given may be assigned again once they
            are not read any more.
    """
    end = len(flow.statements)
    last: dict[int | str, int] = {}
    for number, statement in enumerate(flow.statements):
        last.update({a: number for a in statement.arguments if not isinstance(a, float)})
    last.update(dict.fromkeys(flow.roots.values(), end))
    holder: dict[str, int | str] = {name: name for name in TREES}
    names = []
    for number, statement in enumerate(flow.statements):
        name = statement.target
        while name in taken or (name in holder and last.get(holder[name], -1) > number):
            name += "_"
        holder[name] = number
        names.append(name)
    return names
