"""Straight-line programs: a tuple of statements `target = operator(arguments)`, immutable, JSON and text round trip."""

from __future__ import annotations

import ast
import keyword
import math
from dataclasses import dataclass
from typing import NamedTuple

from evo.errors import InvalidGenomeError
from evo.space import Json


class Instruction(NamedTuple):
    """One statement, `target = operator(*arguments)`.

    Attributes:
        target: the variable assigned; inputs and earlier variables may be assigned again.
        operator: the operator's name in its language.
        arguments: a `str` names a variable, a `float` is a literal constant.
    """

    target: str
    operator: str
    arguments: tuple[str | float, ...]

    def __str__(self) -> str:
        arguments = ", ".join(a if isinstance(a, str) else repr(a) for a in self.arguments)
        return f"{self.target} = {self.operator}({arguments})"


@dataclass(frozen=True, slots=True)
class Program:
    """Statements in order of execution. What they mean is their language's matter (`evo.program.language`)."""

    instructions: tuple[Instruction, ...]

    def __len__(self) -> int:
        return len(self.instructions)

    def __str__(self) -> str:
        """One statement a line, in the form that `parse` reads."""
        return "\n".join(map(str, self.instructions))

    def to_json(self) -> Json:
        """A list of `[target, operator, *arguments]`: variables are strings, literals are numbers."""
        return [[target, operator, *arguments] for target, operator, arguments in self.instructions]

    @classmethod
    def from_json(cls, value: Json) -> Program:
        """The inverse of `to_json`.

        Raises:
            InvalidGenomeError: the value has another form, a name is no Python identifier, or a literal is not finite.
        """
        if not isinstance(value, list | tuple):
            raise InvalidGenomeError(f"a program is a list of statements, not {type(value).__name__}", _FORM)
        return cls(tuple(_instruction(row, index) for index, row in enumerate(value)))

    @classmethod
    def parse(cls, text: str) -> Program:
        """Read lines (or `;`-separated statements) of the form `target = operator(argument, ...)`.

        Raises:
            InvalidGenomeError: the text has another form.
        """
        try:
            statements = ast.parse("\n".join(line.strip() for line in text.splitlines())).body
        except SyntaxError as error:
            raise InvalidGenomeError(f"line {error.lineno} of the program cannot be read: {error.msg}", _TEXT) from None
        return cls(tuple(_instruction(_row(statement), index) for index, statement in enumerate(statements)))


_FORM = 'a statement is ["target", "operator", argument, ...]: strings name variables, finite numbers are literals'
_TEXT = "a statement is `target = operator(argument, ...)` with names and numbers as arguments"


def _is_name(value: object) -> bool:
    # names reach generated Python source, so nothing but plain identifiers may pass
    return isinstance(value, str) and value.isidentifier() and not keyword.iskeyword(value)


def _instruction(row: Json, index: int) -> Instruction:
    if not isinstance(row, list | tuple) or len(row) < 2 or not _is_name(row[0]) or not _is_name(row[1]):
        raise InvalidGenomeError(f"statement {index} is not well formed: {row!r}", _FORM)
    return Instruction(row[0], row[1], tuple(_argument(a, index) for a in row[2:]))


def _argument(value: Json, index: int) -> str | float:
    if _is_name(value):
        return str(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise InvalidGenomeError(
        f"statement {index} has an argument that is neither a name nor a finite number: {value!r}", _FORM
    )


def _row(statement: ast.stmt) -> Json:
    if (
        isinstance(statement, ast.Assign)
        and len(statement.targets) == 1
        and isinstance(statement.targets[0], ast.Name)
        and isinstance(statement.value, ast.Call)
        and isinstance(statement.value.func, ast.Name)
        and not statement.value.keywords
    ):
        return [statement.targets[0].id, statement.value.func.id, *map(atom, statement.value.args)]
    raise InvalidGenomeError(f"not a statement of a program: {ast.unparse(statement)}", _TEXT)


def atom(node: ast.expr) -> str | float:
    """A name or a signed number of parsed Python text."""
    if isinstance(node, ast.Name):
        return node.id
    sign = 1.0
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1.0, node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return sign * float(node.value)
    raise InvalidGenomeError(f"neither a name nor a number: {ast.unparse(node)}", _TEXT)
