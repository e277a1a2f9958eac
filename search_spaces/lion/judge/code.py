"""The digest of Python code: what computes counts, comments, docstrings and layout do not."""

from __future__ import annotations

import ast
import hashlib
import inspect
from types import ModuleType


def source_digest(source: str) -> str:
    """Hexadecimal SHA-256 of a source's syntax tree without docstrings.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body[0] = ast.Pass()
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def code_digest(module: ModuleType) -> str:
    """`source_digest` of an imported module's source."""
    return source_digest(inspect.getsource(module))
