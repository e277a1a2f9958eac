"""A proxy's term as a function in Python: one line an operator, on matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from search_spaces.emq.expression import Expression, Node, nodes
from search_spaces.emq.operators import INPUTS, SCALAR

UNARY: Mapping[str, str] = {
    "log": "log({x})",
    "abslog": "abslog({x})",
    "abs": "{x}.abs()",
    "pow": "{x}.square()",
    "exp": "{x}.exp()",
    "normalize": "normalize({x})",
    "relu": "{x}.clamp(min=0)",
    "invert": "invert({x})",
    "frobenius_norm": "frobenius_norm({x}, {elements})",
    "softmax": "softmax_rows({x})",
    "sigmoid": "sigmoid({x})",
    "logsoftmax": "logsoftmax_rows({x})",
    "sqrt": "sqrt({x})",
    "revert": "-{x}",
    "min_max_normalize": "min_max({x})",
    "mean": "mean({x})",
    "to_std_scalar": "variance({x}).sqrt()",
    "to_var_scalar": "variance({x})",
    "to_sum_scalar": "whole_sum({x}, {elements})",
    "row_sum": "row_sum({x}, {width})",
    "times_bits": "{x} * bits",
    "over_bits": "{x} / bits",
    "times_2^-bits": "{x} * 2.0**-bits",
    "quantize": "on_bits({x}, bits)",
    "quantize_error": "bits_error({x}, bits)",
    "sign": "{x}.sign()",
    "swish": "{x} * sigmoid({x})",
    "mish": "mish({x})",
    "leaky_relu": "torch.where({x} >= 0, {x}, 0.1 * {x})",
    "p_dist": "p_dist({x}, {width})",
    "gram_matrix": "products({x}, {x}, {width})",
    "slogdet": "slogdet({x})",
    "to_min_scalar": "{x}.min().reshape(1, 1)",
    "to_max_scalar": "{x}.max().reshape(1, 1)",
    "to_sqrt_scalar": "sqrt(mean({x}))",
}
RELEASED_UNARY: Mapping[str, str] = {
    **UNARY,
    "log": "({x} + 1e-9).log()",
    "invert": "1.0 / ({x} + 1e-9)",
    "normalize": "released_normalize({x})",
    "frobenius_norm": "total({x} * {x}).sqrt()",
    "normalized_sum": "released_mean({x})",
    "l1_norm": "released_mean({x}.abs())",
    "to_mean_scalar": "mean({x})",
    "to_std_scalar": "released_variance({x}).sqrt()",
    "to_var_scalar": "released_variance({x})",
    "to_sum_scalar": "total({x})",
    "min_max_normalize": "released_min_max({x})",
}
BINARY: Mapping[str, str] = {
    "sum": "{a} + {b}",
    "difference": "{a} - {b}",
    "product": "{a} * {b}",
    "mean": "({a} + {b}) / 2",
    "matmul": "products({a}, {b}, {width})",
    "lesser_than": "({a} < {b}).double()",
    "greater_than": "({a} > {b}).double()",
    "equal_to": "({a} == {b}).double()",
    "hamming_distance": "hamming_distance({a}, {b})",
    "pairwise_distance": "pairwise_distance({a}, {b}, {width})",
    "kl_divergence": "kl_divergence({a}, {b})",
    "cosine_similarity": "cosine_similarity({a}, {b})",
    "mse_loss": "mean(({a} - {b}).square())",
    "l1_loss": "mean(({a} - {b}).abs())",
}
SIZES = ("weight_height", "weight_width", "gradient_height", "gradient_width", "output_width", "input_width")
"""What the term may be told of whole tensors beside their samples."""


@dataclass(frozen=True, slots=True)
class Term:
    """The body of the function.

    Attributes:
        lines: of Python; the last returns.
        words: inputs that are read, in the order of `INPUTS`.
        sizes: of `SIZES`, those that are read.
    """

    lines: tuple[str, ...]
    words: tuple[str, ...]
    sizes: tuple[str, ...]


def term_of(expression: Expression) -> Term:
    """An expression that was not rejected, as code."""
    if expression.term is None:
        raise ValueError(f"a rejected expression has no code: {expression.rejected}")
    names: dict[Node, str] = {}
    lines: list[str] = []
    for node in nodes(expression.term):
        if node.op == "zero" and not _is_full(node):
            names[node] = "number(0.0)"
        elif node.op == "input":
            names[node] = "number(bits)" if node.text == "bits" else node.text
        else:
            code = _zeros(node.kind) if node.op == "zero" else _code(node, names, expression.released)
            names[node] = f"t{len(lines) + 1}"
            lines.append(f"{names[node]} = {code}")
    if lines:
        lines[-1] = "return " + lines[-1].partition(" = ")[2]
    else:
        lines = [f"return {names[expression.term]}"]
    text = "\n".join(lines)
    words = {node.text for node in nodes(expression.term) if node.op == "input"} - {"bits"}
    words |= {_EXAMPLES[node.kind.split("/")[0]] for node in nodes(expression.term) if _is_full(node)}
    return Term(tuple(lines), tuple(w for w in INPUTS if w in words), tuple(s for s in SIZES if s in text))


_EXAMPLES: Mapping[str, str] = {"weight": "weight", "output": "activation", "input": "layer_input", "sample": "margin"}
"""A word of each kind of tensor, where its shape alone matters."""


def _is_full(node: Node) -> bool:
    return node.op == "zero" and node.kind != SCALAR


def _zeros(kind: str) -> str:
    """A tensor of zeros in the sampled shape of this kind, as code."""
    base, *derived = kind.split("/")
    code = f"torch.zeros_like({_EXAMPLES[base]})"
    for step in derived:
        code = {"rows": "row_sum({x}, 1)", "gram": "products({x}, {x}, 1)", "pairs": "p_dist({x}, 1)"}[step].format(
            x=code
        )
    return code


def _code(node: Node, names: Mapping[Node, str], released: bool) -> str:
    first = node.args[0]
    x = names[first]
    if len(node.args) == 1:
        height, width = _dimensions(first.kind, x)
        elements = " * ".join(part for part in (height, width) if part != "1") or "1"
        return (RELEASED_UNARY if released else UNARY)[node.op].format(x=x, width=width, elements=elements)
    second = node.args[1]
    tensor = second if first.kind == SCALAR else first
    return BINARY[node.op].format(a=x, b=names[second], width=_dimensions(tensor.kind, names[tensor])[1])


def _dimensions(kind: str, x: str) -> tuple[str, str]:
    """Rows that a sum counts, and columns, of the whole matrix behind a value of this kind called x: as code."""
    base, *derived = kind.split("/")
    height, width = {
        "weight": ("weight_height", "weight_width"),
        "gradient": ("gradient_height", "gradient_width"),
        "output": ("1", "output_width"),
        "input": ("1", "input_width"),
        "sample": ("1", "1"),
        SCALAR: ("1", "1"),
    }[base]
    for step in derived:
        if step == "pairs":
            height, width = f"len({x})", "1"
        else:
            width = "1" if step == "rows" else f"len({x})"
    return height, width
