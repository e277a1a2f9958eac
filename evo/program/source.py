"""Programs as readable Python source."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from evo.program.ir import Program
from evo.program.language import Language, Operator

Style = Literal["source", "infix", "calls"]
"""source: `Operator.source`, executable where its names are imported. infix: `Operator.infix` where there is one, else
a call by name, for people. calls: calls by name alone, which `Program.parse` reads again."""


def statements(language: Language, program: Program, style: Style = "source", digits: int | None = None) -> list[str]:
    """One line of Python a statement.

    Args:
        digits: significant digits of literals; None: as many as give the same float again.

    Raises:
        InvalidGenomeError: by `Language.infer`, if the program is not valid.
    """
    language.infer(program)
    lines = []
    for target, name, arguments in program.instructions:
        template = _template(language.operators[name], style)
        written = [a if isinstance(a, str) else _number(a, digits) for a in arguments]
        fitted = [
            f"({text})" if text.startswith("-") and not bracketed else text
            for text, bracketed in zip(written, _bracketed(template, len(written)), strict=True)
        ]
        lines.append(f"{target} = {template.format(*fitted)}")
    return lines


def render(
    language: Language, program: Program, name: str = "train", style: Style = "source", digits: int | None = None
) -> str:
    """A Python function: the signature's inputs as parameters, one statement a line, the outputs returned in order.

    Args:
        name: of the function.
        style: see `Style`.
        digits: see `statements`.
    """
    parameters = ", ".join(n for n, _ in language.signature.inputs)
    results = ", ".join(n for n, _ in language.signature.outputs)
    body = [*statements(language, program, style, digits), f"return {results}"]
    return f"def {name}({parameters}):\n" + "".join(f"    {line}\n" for line in body)


def _template(operator: Operator, style: Style) -> str:
    if style == "source":
        return operator.source
    if style == "infix" and operator.infix:
        return operator.infix
    return operator.name + "(" + ", ".join(f"{{{i}}}" for i in range(operator.arity)) + ")"


def _number(value: float, digits: int | None) -> str:
    return repr(value) if digits is None else f"{value:.{digits}g}"


@lru_cache(maxsize=1024)
def _bracketed(template: str, arity: int) -> tuple[bool, ...]:
    """For each argument, whether every place of it stands between brackets or commas, where a minus sign is safe."""
    safe = [True] * arity
    for place in re.finditer(r"\{(\d+)\}", template):
        before, after = template[: place.start()].rstrip(), template[place.end() :].lstrip()
        if not (before.endswith(("(", ",")) and after.startswith((")", ","))):
            safe[int(place[1])] = False
    return tuple(safe)
