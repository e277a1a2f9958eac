"""Statements of a rule as Python on one tensor."""

from __future__ import annotations

from typing import NamedTuple

PLAIN = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "square": "{0} * {0}",
    "cube": "{0} * {0} * {0}",
    "invert": "1.0 - {0}",
    "negative": "-{0}",
    "interp": "(1.0 - {2}) * {0} + {2} * {1}",
}
"""Operators that read alike for tensors and numbers."""

TORCH = {
    "abs": "abs", "cos": "cos", "sin": "sin", "tan": "tan", "arcsin": "asin", "arccos": "acos", "arctan": "atan",
    "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
    "exp": "exp", "exp2": "exp2", "expm1": "expm1", "sign": "sign",
}  # fmt: skip
"""Operators that are a function of torch."""

PROTECTED = {"log": "log", "log10": "log10", "log2": "log2", "sqrt": "sqrt"}
"""Functions of torch that are given the absolute value."""

HELPED = {"exp10": "exp10", "cbrt": "cube_root", "power": "power"}
"""Operators that are a helper function of the exported module."""


class Value(NamedTuple):
    """An argument as it stands in the source.

    Attributes:
        text: a name; literals have become names of options.
        kind: tree, leaf or scalar. A scalar is a number, or a tensor without dimensions.
        positive: whether it is known not to be negative.
        number: whether it is known to be a plain number.
    """

    text: str
    kind: str
    positive: bool = False
    number: bool = False


def single(operator: str, arguments: list[Value]) -> str:
    """The right side of the assignment, on tensors."""
    texts = [a.text for a in arguments]
    if operator in PLAIN:
        return PLAIN[operator].format(*texts)
    if operator in ("div", "reciprocal"):
        x, y = (Value("1.0", "scalar", number=True), *arguments)[-2:]
        return divided(x, y)
    if operator in ("max", "min"):
        return _bounded(operator, *arguments)
    if operator in TORCH:
        return f"torch.{TORCH[operator]}({tensor(arguments[0])})"
    if operator in PROTECTED:
        inner = tensor(arguments[0])
        return f"torch.{PROTECTED[operator]}({inner if arguments[0].positive else f'torch.abs({inner})'})"
    if operator == "log1p":
        return f"torch.log(torch.abs({tensor(Value(f'1.0 + {texts[0]}', arguments[0].kind))}))"
    if operator in HELPED:
        return f"{HELPED[operator]}({', '.join(texts)})"
    if operator == "norm":
        return f"norm({texts[0]})" if arguments[0].kind == "tree" else f"torch.abs({tensor(arguments[0])})"
    if operator == "orthogonalize":
        if arguments[0].kind == "tree":
            return f"orthogonalize({texts[0]}, eps)"
        return f"{texts[0]} / (abs({texts[0]}) + eps)"
    return coupled(operator, arguments, [f"[{text}]" for text in texts])


def tensor(value: Value) -> str:
    """A value where torch wants a tensor."""
    return f"scalar({value.text})" if value.kind == "scalar" else value.text


def divided(x: Value, y: Value) -> str:
    """x / y with the divisor kept from zero."""
    if x.kind == "scalar" and y.kind != "scalar":
        return f"divide({x.text}, {y.text}, eps)"
    if y.positive:
        return f"{x.text} / ({y.text} + eps)"
    return f"{x.text} / guarded({y.text}, eps)"


def _bounded(operator: str, x: Value, y: Value) -> str:
    if x.number and y.kind != "scalar":
        x, y = y, x
    if y.number and x.kind != "scalar":
        return f"{x.text}.clamp({'min' if operator == 'max' else 'max'}={y.text})"
    return f"torch.{operator}imum({tensor(x)}, {tensor(y)})"


def sums(operator: str, kinds: list[str]) -> int:
    """How many sums over all tensors an operator takes on arguments of these kinds."""
    if all(kind == "scalar" for kind in kinds):
        return 0
    return {"global_norm": 1, "dot": 1, "cosine_sim": 3, "clip_by_global_norm": 1}.get(operator, 0)


def coupled(operator: str, arguments: list[Value], lists: list[str]) -> str:
    """Sums over all tensors: the rule yields its tensors' shares and is sent the sum. `lists` are the arguments as
    lists with one entry a tensor. Of scalars alone there is nothing to add up."""
    local = not sums(operator, [a.kind for a in arguments])
    texts = [tensor(a) for a in arguments]
    if operator == "clip_by_global_norm":
        if local:
            return f"{texts[0]} * torch.clamp({texts[1]} / (torch.sqrt({texts[0]} * {texts[0]}) + eps), max=1.0)"
        return f"{arguments[0].text} * (yield from shrinkage({lists[0]}, {arguments[1].text}, eps))"
    if not local:
        name = {"global_norm": "global_norm", "dot": "dot", "cosine_sim": "cosine_similarity"}[operator]
        return f"yield from {name}({', '.join(lists)}{', eps' if operator == 'cosine_sim' else ''})"
    x, y = (texts * 2)[:2]
    if operator == "global_norm":
        return f"torch.sqrt({x} * {x})"
    if operator == "dot":
        return f"{x} * {y}"
    return f"{x} * {y} / (torch.sqrt({x} * {x}) * torch.sqrt({y} * {y}) + eps)"
