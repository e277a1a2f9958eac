"""Which cells compute the same function: four definitions, from the published count to the largest provable classes.

A cell's function is written as a sum of terms: "x" is the cell's input, "3(a+b)" operation 3 of the sum of a and b.
What the definitions make of the 15,625 cells of NAS-Bench-201 and the 4,096 of TransNAS-Bench-101's micro space:

| definition | contracts | cells of 201 | of 101 |
|---|---|---|---|
| `contracted` | identities; the order of a node's incoming edges is forgotten | 12,751 | 3,131 |
| `published` | also zeros, but not as summands: "#+x" is not "x", and "#+#" is not "#" | 6,466 | 1,236 |
| `strict` | zeros everywhere; sums are flattened | 4,930 | 871 |
| `linear` | also knows that pooling is linear: pool(a+b) = pool(a)+pool(b) | 4,660 | 871 |

`published` is the number of Dong and Yang (ICLR 2020, section 3) and merges too little; `strict` and `linear` are what
a behavioural hash finds (`behaviour.py`). An operation on zero is zero: for a convolution with batch normalisation that
is exact at initialisation, and up to a constant for each channel after training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Literal

from evo.errors import ConfigError
from evo.options import did_you_mean
from search_spaces.robot.architectures.networks import EDGES, NODES

Definition = Literal["contracted", "published", "strict", "linear"]
DEFINITIONS: tuple[Definition, ...] = ("contracted", "published", "strict", "linear")

_SYMBOLS: Mapping[str, str] = {"nor_conv_1x1": "1", "nor_conv_3x3": "3", "avg_pool_3x3": "p"}
_POOL = "p"
_NONE, _SKIP = "none", "skip_connect"
_ZERO = "#"


def canonical_form(operations: Sequence[str], definition: Definition = "strict") -> str:
    """The function of a cell; equal for cells of one class.

    Args:
        operations: names on `EDGES`.
        definition: of `DEFINITIONS`.

    Returns:
        For example "3(x)+x"; "#" (with `strict` and `linear`) where the cell is dead.

    Raises:
        ConfigError: no definition has this name.
    """
    if definition not in DEFINITIONS:
        known = ", ".join(DEFINITIONS)
        raise ConfigError(f"no definition is called {definition!r}", did_you_mean(definition, DEFINITIONS) or known)
    if definition in ("contracted", "published"):
        return _by_strings(operations, zeros=definition == "published")
    return _by_terms(operations, linear=definition == "linear")


def dead(operations: Sequence[str]) -> bool:
    """Whether no path leads from the cell's input to its output."""
    return canonical_form(operations) == _ZERO


def classes(names: Sequence[str], definition: Definition = "strict") -> dict[str, list[tuple[str, ...]]]:
    """All cells over some operations, by canonical form.

    Args:
        names: the operations that an edge may have.
        definition: of `DEFINITIONS`.

    Returns:
        Each class's cells, simplest first: fewest edges that are not "none", then fewest that are no identity, then in
        the order of `names`. Classes are in the order of their simplest cells.
    """

    def effort(cell: tuple[str, ...]) -> tuple[int, int, tuple[int, ...]]:
        used = [name for name in cell if name != _NONE]
        return len(used), sum(name != _SKIP for name in used), tuple(map(names.index, cell))

    found: dict[str, list[tuple[str, ...]]] = {}
    for cell in sorted(product(names, repeat=len(EDGES)), key=effort):
        found.setdefault(canonical_form(cell, definition), []).append(cell)
    return found


def _by_strings(operations: Sequence[str], zeros: bool) -> str:
    # A sum under an identity stays one summand while its node is sorted, then its text merges with the others'. Which
    # sums come out alike so depends on how terms are spelled: this spelling is the one of the published count.
    nodes = ["0"]
    for node in range(1, NODES):
        summands = []
        for (start, end), name in zip(EDGES, operations, strict=True):
            if end != node:
                continue
            if zeros and (name == _NONE or nodes[start] == _ZERO):
                summands.append(_ZERO)
            elif name == _SKIP:
                summands.append(nodes[start])
            else:
                summands.append(f"({nodes[start]})@{name}")
        nodes.append("+".join(sorted(summands)))
    return nodes[-1]


def _by_terms(operations: Sequence[str], linear: bool) -> str:
    nodes: list[list[str]] = [["x"]]
    for node in range(1, NODES):
        terms: list[str] = []
        for (start, end), name in zip(EDGES, operations, strict=True):
            if end != node or name == _NONE or not nodes[start]:
                continue
            if name == _SKIP:
                terms += nodes[start]
            elif linear and _SYMBOLS[name] == _POOL:
                terms += [f"{_POOL}({term})" for term in nodes[start]]
            else:
                terms.append(f"{_SYMBOLS[name]}({'+'.join(nodes[start])})")
        nodes.append(sorted(terms))
    return "+".join(nodes[-1]) or _ZERO
