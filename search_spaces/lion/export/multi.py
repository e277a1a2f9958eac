"""Statements of a rule as Python on lists of tensors, by the kernels of torch that work on whole lists.

The results are those of `single`, to the bit where a list's kernel is as exact as the tensor's: no fused multiply-add
(`alpha=`), no `lerp`, no division by multiplication. What torch has no such kernel for is done tensor by tensor.
"""

from __future__ import annotations

from search_spaces.lion.export.single import HELPED, PROTECTED, TORCH, Value, coupled, divided, single

KERNELS = frozenset(
    "abs acos asin atan cos cosh exp expm1 log log10 log2 sign sin sinh sqrt tan tanh".split()  # noqa: SIM905
)
"""torch._foreach_* of one argument that programs use; asinh, acosh, atanh, exp2 have none."""


def multi(operator: str, arguments: list[Value]) -> str:
    """The right side of the assignment, on lists of tensors; scalars are as in `single`."""
    if operator in ("global_norm", "dot", "cosine_sim", "clip_by_global_norm"):
        return _coupled(operator, arguments)
    if all(a.kind == "scalar" for a in arguments):
        return single(operator, arguments)
    x, *others = arguments
    if operator in ("add", "sub", "mul"):
        return {"add": _add, "sub": _sub, "mul": _mul}[operator](x, others[0])
    if operator == "interp":
        return _interp(x, *others)
    if operator in ("div", "reciprocal"):
        return _div(*arguments) if others else _reciprocal(x)
    if operator in ("max", "min"):
        return _bounded(operator, x, others[0])
    if operator in TORCH or operator in PROTECTED:
        return _unary(operator, x)
    if operator == "log1p":
        return f"torch._foreach_log(torch._foreach_abs(torch._foreach_add({x.text}, 1.0)))"
    if operator == "square":
        return f"torch._foreach_mul({x.text}, {x.text})"
    if operator == "cube":
        return f"torch._foreach_mul(torch._foreach_mul({x.text}, {x.text}), {x.text})"
    if operator == "invert":
        return f"torch._foreach_add(torch._foreach_neg({x.text}), 1.0)"
    if operator == "negative":
        return f"torch._foreach_neg({x.text})"
    if operator == "norm" and x.kind == "leaf":
        return f"torch._foreach_abs({x.text})"
    assert operator in HELPED or operator in ("norm", "orthogonalize")
    return each(operator, arguments)


def each(operator: str, arguments: list[Value]) -> str:
    """Tensor by tensor: the single statement in a comprehension."""
    lists = [a for a in arguments if a.kind != "scalar"]
    distinct = list(dict.fromkeys(a.text for a in lists))
    letters = dict(zip(distinct, ("x", "y", "z"), strict=False))
    body = single(operator, [a._replace(text=letters.get(a.text, a.text)) for a in arguments])
    if len(distinct) == 1:
        return f"[{body} for x in {distinct[0]}]"
    return f"[{body} for {', '.join(letters.values())} in zip({', '.join(distinct)}, strict=True)]"


def _list(text: str) -> Value:
    return Value(text, "tree")


def _add(x: Value, y: Value) -> str:
    if x.kind == "scalar":
        x, y = y, x
    return f"torch._foreach_add({x.text}, {y.text})"


def _mul(x: Value, y: Value) -> str:
    if x.kind == "scalar":
        x, y = y, x
    return f"torch._foreach_mul({x.text}, {y.text})"


def _sub(x: Value, y: Value) -> str:
    if y.kind == "scalar":
        return f"torch._foreach_add({x.text}, -{y.text})"
    if x.kind == "scalar":
        return f"torch._foreach_add(torch._foreach_neg({y.text}), {x.text})"
    return f"torch._foreach_sub({x.text}, {y.text})"


def _interp(x: Value, y: Value, a: Value) -> str:
    if a.kind == "scalar":
        rest = Value(f"1.0 - {a.text}", "scalar")
    else:
        rest = _list(f"torch._foreach_add(torch._foreach_neg({a.text}), 1.0)")
    return _add(_product(rest, x), _product(a, y))


def _product(a: Value, b: Value) -> Value:
    if a.kind == b.kind == "scalar":
        left = f"({a.text})" if " " in a.text else a.text
        return Value(f"{left} * {b.text}", "scalar")
    return _list(_mul(a, b))


def _div(x: Value, y: Value) -> str:
    if x.kind == "scalar":
        return each("div", [x, y])
    if y.kind == "scalar":
        return f"torch._foreach_div({x.text}, {divided(x, y).split(' / ', 1)[1]})"
    return f"torch._foreach_div({x.text}, {_guarded(y)})"


def _reciprocal(x: Value) -> str:
    return each("reciprocal", [x])


def _guarded(y: Value) -> str:
    return f"torch._foreach_add({y.text}, eps)" if y.positive else f"[guarded(x, eps) for x in {y.text}]"


def _bounded(operator: str, x: Value, y: Value) -> str:
    if x.number:
        x, y = y, x
    if (y.kind == "scalar" and not y.number) or x.kind == "scalar":
        return each(operator, [x, y])
    return f"torch._foreach_{operator}imum({x.text}, {y.text})"


def _unary(operator: str, x: Value) -> str:
    if operator in PROTECTED:
        inner = x.text if x.positive else f"torch._foreach_abs({x.text})"
        return f"torch._foreach_{PROTECTED[operator]}({inner})"
    name = TORCH[operator]
    return f"torch._foreach_{name}({x.text})" if name in KERNELS else each(operator, [x])


def _coupled(operator: str, arguments: list[Value]) -> str:
    tensors = next((a.text for a in arguments if a.kind != "scalar"), "")
    lists = [f"[{a.text}] * len({tensors})" if a.kind == "scalar" else a.text for a in arguments]
    text = coupled(operator, arguments, lists)
    if operator == "clip_by_global_norm" and arguments[0].kind != "scalar":
        return f"torch._foreach_mul({arguments[0].text}, {text.split(' * ', 1)[1]})"
    return text
