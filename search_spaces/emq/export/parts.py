"""Picking from the modules of parts what an export uses: definitions, word for word, with all that they call."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

FILES = ("gathering.py", "arithmetic.py")


@lru_cache(1)
def _definitions() -> dict[str, tuple[str, frozenset[str]]]:
    """By name: source, and the names that it mentions; in the files' order."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for file in FILES:
        text = (Path(__file__).parent / file).read_text("utf-8")
        lines = text.splitlines()
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                source = "\n".join(lines[first - 1 : node.end_lineno])
                mentioned = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                found[node.name] = (source, frozenset(mentioned - {node.name}))
    return found


def names_in(code: str) -> set[str]:
    """Names that a piece of code mentions."""
    return {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}


def used(code: str) -> list[str]:
    """Sources of the parts that some code needs, directly or not, in the files' order."""
    known = _definitions()
    wanted: set[str] = set()
    left: Iterable[str] = names_in(code) & set(known)
    while left:
        wanted |= set(left)
        left = {name for taken in left for name in known[taken][1]} & set(known) - wanted
    return [source for name, (source, _) in known.items() if name in wanted]
