"""A program as two functions of an exported module: for one tensor, and for lists of tensors."""

from __future__ import annotations

import keyword
import textwrap
from typing import NamedTuple

from evo.program import Program
from search_spaces.lion.export.constants import Constant, constants_of
from search_spaces.lion.export.decay import Decay, decays
from search_spaces.lion.export.flow import Flow, Ref, Statement, flow_of, kind_of, nonnegative
from search_spaces.lion.export.helpers import HELPERS
from search_spaces.lion.export.multi import multi
from search_spaces.lion.export.names import TREES, variables
from search_spaces.lion.export.rate import Rate, separate
from search_spaces.lion.export.single import Value, single, sums

WIDTH = 110
OPTIONS = ("foreach", "maximize", "capturable", "differentiable")
GIVEN = ("lr", "fraction", "peak_lr", "eps")
"""What a rule may be given beside tensors and the program's constants."""
RESERVED = frozenset(
    {*TREES, *GIVEN, *OPTIONS, *HELPERS, *keyword.kwlist}
    | {"params", "initial_lr", "max_lr", "min_lr", "first_lr", "weight_decay", "update", "group", "self", "closure"}
    | {"torch", "math", "warnings", "Tensor", "Optimizer", "Sums", "Any", "rule", "rule_foreach", "real", "capturing"}
    | {"zip", "len", "abs", "list", "x", "y", "z"}
)
"""Names that constants and variables do not get; variables may have those of tensors, and `update`."""
TOLD = frozenset({"interp", "clip_by_global_norm", "cosine_sim", "log1p"})
"""Operators that the source does not name: the call is told in a comment."""
INPUTS = {"rate": "lr", "lr": "fraction", "peak": "peak_lr"}
"""Inputs of a flow as the exported rule calls them."""


class Rule(NamedTuple):
    """What the text of a module is made of.

    Attributes:
        single: statements on one tensor.
        foreach: statements on lists of tensors.
        inputs: tensors that it is given: w, g and the slots.
        slots: state that is kept, and returned after the update.
        given: which of lr, fraction, peak_lr, eps it reads.
        constants: options in order of appearance.
        results: the variables of the update and of the new state, in the order of `slots`.
        rate: the learning rate.
        decays: weight decay, in the order of the statements.
        sums: how many sums over all tensors of all groups it takes; 0: tensors are independent.
        per_tensor: operators that look at a whole tensor.
        flow: what was written.
    """

    single: tuple[str, ...]
    foreach: tuple[str, ...]
    inputs: tuple[str, ...]
    slots: tuple[str, ...]
    given: tuple[str, ...]
    constants: tuple[Constant, ...]
    results: tuple[str, ...]
    rate: Rate
    decays: tuple[Decay, ...]
    sums: int
    per_tensor: tuple[str, ...]
    flow: Flow


def rule_of(program: Program) -> Rule:
    """The simplified program with its learning rate, weight decay and constants named.

    Raises:
        InvalidGenomeError: the program is not valid.
    """
    flow, rate = separate(flow_of(program))
    flow, decay = decays(flow)
    constants, places = constants_of(flow, decay, RESERVED - {"weight_decay"}, rate.follows)
    names = variables(flow, (RESERVED - {*TREES, "update"}) | {c.name for c in constants})
    kinds, positive = flow.kinds(), nonnegative(flow)

    def value(number: int, place: int, ref: Ref) -> Value:
        if isinstance(ref, float):
            return Value(places[number, place], "scalar", number=True)
        text = names[ref] if isinstance(ref, int) else INPUTS.get(ref, ref)
        return Value(text, kind_of(ref, kinds), isinstance(ref, int) and ref in positive)

    one, many, total = [], [], 0
    for number, statement in enumerate(flow.statements):
        values = [value(number, place, ref) for place, ref in enumerate(statement.arguments)]
        line = f"{names[number]} = {single(statement.operator, values)}"
        one.append(_commented(line, _call(flow, names, statement)) if statement.operator in TOLD else line)
        many += _wrapped(f"{names[number]} = {multi(statement.operator, values)}")
        total += sums(statement.operator, [v.kind for v in values])
    text = "\n".join([*one, *many])
    given = tuple(name for name in GIVEN if _mentions(text, name))
    per_tensor = {
        statement.operator
        for statement in flow.statements
        if statement.operator in ("norm", "orthogonalize") and kind_of(statement.arguments[0], kinds) == "tree"
    }
    results = tuple(names[ref] if isinstance(ref, int) else ref for ref in flow.roots.values())
    return Rule(
        tuple(one), tuple(many), ("w", "g", *flow.slots), flow.slots, given, tuple(constants), results, rate,
        tuple(decay), total, tuple(sorted(per_tensor)), flow,
    )  # fmt: skip


def _mentions(text: str, name: str) -> bool:
    code = "\n".join(line.split("  # ")[0] for line in text.splitlines() if not line.startswith("#"))
    return any(word == name for word in _words(code))


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() or c in "_." else " " for c in text).split()


def _call(flow: Flow, names: list[str], statement: Statement) -> str:
    """The statement as the program has it, for a comment; literals with as many digits as people read."""
    parts = []
    for ref in statement.arguments:
        text = names[ref] if isinstance(ref, int) else INPUTS.get(ref, ref) if isinstance(ref, str) else f"{ref:.4g}"
        parts.append(text)
    return f"{statement.operator}({', '.join(parts)})"


def _commented(line: str, comment: str) -> str:
    whole = f"{line}  # {comment}"
    return whole if len(whole) <= WIDTH else f"# {comment}\n{line}"


def _wrapped(line: str) -> list[str]:
    """A line; one that is too long is broken at the commas of its outermost call."""
    if len(line) <= WIDTH or not line.endswith(")"):
        return [line]
    start = line.index("(")
    depth, cuts = 0, [start]
    for place in range(start, len(line)):
        depth += (line[place] in "([") - (line[place] in ")]")
        if depth == 1 and line[place] == ",":
            cuts.append(place)
        if depth == 0 and place < len(line) - 1:
            return [line]
    parts = [line[a + 1 : b].strip() for a, b in zip(cuts, [*cuts[1:], len(line) - 1], strict=True)]
    return [line[: start + 1], *(f"    {part}," for part in parts), ")"]


def signature(rule: Rule, kind: str) -> str:
    """Parameters of a rule on one line or one a line; `kind` is the type of what holds tensors."""
    tensors = [f"{name}: {kind}" for name in rule.inputs]
    scalars = [f"{n}: float | Tensor" if n != "eps" else "eps: float" for n in rule.given]
    scalars += [f"{c.name}: float" for c in rule.constants]
    parameters = [*tensors, *(["*", *scalars] if scalars else [])]
    return "\n" + textwrap.indent("".join(f"{parameter},\n" for parameter in parameters), "    ")
