"""Export: a program as one readable file with a `torch.optim.Optimizer` that needs torch alone."""

from __future__ import annotations

import keyword
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evo.program import Program, live_slots, simplify
from search_spaces.lion.language import LION
from search_spaces.lion.operators import COUPLING, OPERATORS
from search_spaces.lion.template import HELPERS, MODULE, STEP_COUPLED, STEP_PLAIN
from search_spaces.lion.text import one_line

SLOTS = ("v1", "v2")
RESERVED = frozenset({"torch", "math", "Tensor", "Optimizer", *HELPERS, *keyword.kwlist})
LOCAL = {
    "global_norm": "torch.sqrt({0} * {0})",
    "dot": "{0} * {1}",
    "cosine_sim": "divide({0} * {1}, torch.sqrt({0} * {0}) * torch.sqrt({1} * {1}))",
    "clip_by_global_norm": "{0} * torch.clamp_max(divide({1}, torch.sqrt({0} * {0})), 1.0)",
    "norm": "torch.abs({0})",
}
"""Source of the reductions where their arguments are no more than one number: nothing is left to reduce."""


class Constant(NamedTuple):
    """A literal of the program as a hyperparameter of the optimizer."""

    name: str
    value: float


class Rule(NamedTuple):
    """The program as the body of a function of one tensor.

    Attributes:
        lines: statements.
        inputs: which of w, g, v1, v2, lr it reads.
        slots: state that is kept, and returned after the update.
        constants: hyperparameters in order of appearance.
        update: the variable that holds what is subtracted from the weights.
        states: the variables that hold the new state, in the order of `slots`.
        coupled: whether tensors exchange sums.
        per_tensor: whether the rule takes the norm of whole tensors.
    """

    lines: tuple[str, ...]
    inputs: tuple[str, ...]
    slots: tuple[str, ...]
    constants: tuple[Constant, ...]
    update: str
    states: tuple[str, ...]
    coupled: bool
    per_tensor: bool


def export(program: Program, path: Path, origin: Mapping[str, Any]) -> Path:
    """Write the module.

    Args:
        program: what was found; its simplified form is what the search evaluated.
        path: of the file; its folder is made.
        origin: where it comes from (run, candidate, values, ...), for the docstring.

    Returns:
        `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source(program, origin), encoding="utf-8")
    return path


def source(program: Program, origin: Mapping[str, Any]) -> str:
    """The module's text."""
    rule = rule_of(program)
    body = list(rule.lines)
    used = _helpers("\n".join(body), rule.coupled)
    fields = {
        "origin": _origin(origin),
        "rule_text": textwrap.fill(
            one_line(program, width=10_000), 100, initial_indent="    ", subsequent_indent="        "
        ),
        "warning": _warning(rule),
        "math": "import math\n" if "math." in "\n".join(body) else "",
        "generator": "Generator, " if rule.coupled else "",
        "helpers": "".join(f"\n\n{HELPERS[name]}" for name in used),
        "parameters": "".join(f"        {c.name}: float = {c.value!r},\n" for c in rule.constants),
        "defaults": "".join(f'            "{c.name}": {c.name},\n' for c in rule.constants),
        "meanings": "".join(f"        {c.name}: {_meaning(c.name)}\n" for c in rule.constants),
        "names": _tuple([c.name for c in rule.constants]),
        "slots": _tuple(rule.slots),
        "signature": _signature(rule),
        "returns": "Generator[Tensor, Tensor, tuple[Tensor, ...]]" if rule.coupled else "tuple[Tensor, ...]",
        "body": "".join(f"    {line}\n" for line in body),
        "result": ", ".join([rule.update, *rule.states]) + ("" if rule.states else ","),
        "step": STEP_COUPLED if rule.coupled else STEP_PLAIN,
    }
    return MODULE.format(**fields)


def _tuple(names: Sequence[str]) -> str:
    return "(" + ", ".join(f'"{name}"' for name in names) + ("," if len(names) == 1 else "") + ")"


def _signature(rule: Rule) -> str:
    """Parameters of the rule, on one line or one a line."""
    parameters = [*(f"{name}: Tensor" for name in ("w", "g", *rule.slots)), "lr: Any"]
    if rule.constants:
        parameters += ["*", *(f"{c.name}: float" for c in rule.constants)]
    line = ", ".join(parameters)
    return line if len(line) <= 50 else "\n" + "".join(f"    {parameter},\n" for parameter in parameters)


def rule_of(program: Program) -> Rule:
    """The simplified program with its literals named and its reductions written out."""
    short = simplify(LION, program)
    slots = live_slots(LION, short)
    kinds: dict[str, str] = dict(LION.signature.inputs)
    constants = _named(short)
    taken = RESERVED | {name for row in constants for name in row if name}
    places: dict[str, str] = {}
    lines, read, coupled, per_tensor = [], set(), False, False
    for step, names, result in zip(short.instructions, constants, LION.infer(short), strict=True):
        arguments = []
        for argument, name in zip(step.arguments, names, strict=True):
            if not isinstance(argument, str):
                arguments.append((name, "scalar"))
            else:
                if argument not in places:
                    read.add(argument)
                arguments.append((places.get(argument, argument), kinds[argument]))
        text, couples = _call(step.operator, arguments)
        coupled |= couples
        per_tensor |= step.operator == "norm" and arguments[0][1] == "tree"
        target = step.target
        while target in taken:
            target += "_"
        kinds[step.target], places[step.target] = result, target
        lines.append(f"{target} = {text}")
    found = [
        Constant(name, float(argument))
        for step, names in zip(short.instructions, constants, strict=True)
        for argument, name in zip(step.arguments, names, strict=True)
        if not isinstance(argument, str)
    ]
    inputs = tuple(name for name, _ in LION.signature.inputs if name in read)
    states = tuple(places.get(slot, slot) for slot in slots)
    return Rule(tuple(lines), inputs, slots, tuple(found), places["update"], states, coupled, per_tensor)


def _call(operator: str, arguments: list[tuple[str, str]]) -> tuple[str, bool]:
    """Source of a call on (text, kind) arguments, and whether it exchanges sums with the other tensors."""
    kinds = [kind for _, kind in arguments]
    template, couples = OPERATORS[operator].source, False
    if operator in LOCAL and ("tree" not in kinds if operator == "norm" else set(kinds) == {"scalar"}):
        return _filled(LOCAL[operator], arguments), False
    if operator in COUPLING:
        template, couples = f"yield from {template}", True
    return _filled(template, arguments), couples


def _filled(template: str, arguments: list[tuple[str, str]]) -> str:
    # torch's functions take no plain numbers; operators and our helpers do
    tensors_wanted = "torch." in template
    return template.format(
        *(f"scalar({text})" if tensors_wanted and kind == "scalar" else text for text, kind in arguments)
    )


def _named(program: Program) -> list[tuple[str, ...]]:
    """For each statement a name for each literal argument ("" for variables), by the part it plays."""
    kinds: dict[str, str] = dict(LION.signature.inputs)
    fresh = set(kinds)
    roles: list[list[str]] = []
    for step, result in zip(program.instructions, LION.infer(program), strict=True):
        row = []
        for place, argument in enumerate(step.arguments):
            row.append("" if isinstance(argument, str) else _role(step.operator, place, step.arguments, kinds, fresh))
        roles.append(row)
        kinds[step.target] = result
        fresh.discard(step.target)
    total = Counter(role for row in roles for role in row)
    variables = set(kinds) | {step.target for step in program.instructions}
    seen: Counter[str] = Counter()
    named = []
    for row in roles:
        names = []
        for role in row:
            if role:
                seen[role] += 1
                role = (
                    f"{role}{seen[role]}"
                    if total[role] > 1 and not (role == "weight_decay" and seen[role] == 1)
                    else role
                )
                while role in variables:
                    role += "_"
            names.append(role)
        named.append(tuple(names))
    return named


def _role(
    operator: str, place: int, arguments: tuple[str | float, ...], kinds: Mapping[str, str], fresh: set[str]
) -> str:
    others = [argument for argument in arguments if isinstance(argument, str)]
    if operator == "interp" and place == 2:
        return "beta"
    if operator == "mul" and others == ["w"] and "w" in fresh:
        return "weight_decay"
    if operator == "mul" and others and kinds[others[0]] == "scalar":
        return "base_lr"
    if operator == "clip_by_global_norm":
        return "max_norm"
    if operator == "power" and place == 1:
        return "exponent"
    return "scale" if operator == "mul" else "constant"


def _meaning(name: str) -> str:
    stem = re.sub(r"[\d_]+$", "", name)
    return {
        "beta": "weight of the second value in an interpolation; outside [0, 1] it extrapolates.",
        "weight_decay": "factor of the weights before the step.",
        "base_lr": "the base learning rate: factor of the schedule's fraction.",
        "max_norm": "bound of a norm over all tensors of all groups.",
        "exponent": "exponent of a power.",
        "scale": "a factor.",
    }.get(stem, "a constant of the rule.")


def _helpers(body: str, coupled: bool) -> list[str]:
    """Names of the helper functions that the body needs, with those that they need, in the order of the template."""
    wanted = {"lockstep"} if coupled else set()
    text = body
    while True:
        more = {name for name in HELPERS if re.search(rf"\b{name}\(", text)} | wanted
        if more == wanted:
            return [name for name in HELPERS if name in wanted]
        wanted = more
        text = "\n".join([body, *(HELPERS[name] for name in wanted)])


def _origin(origin: Mapping[str, Any]) -> str:
    def lines() -> Iterator[str]:
        for key, value in origin.items():
            yield from textwrap.wrap(f"{key}: {value}", 110, initial_indent="    ", subsequent_indent="        ")

    # the text becomes a docstring
    return "\n".join(lines()).replace("\\", "\\\\").replace('"""', "'''") or "    not recorded"


def _warning(rule: Rule) -> str:
    if rule.coupled:
        return (
            "\n    Warning: the rule couples all tensors of all parameter groups (it sums over them). It must see the\n"
            "    whole, unsharded gradient, so it does not suit sharded parameters (FSDP, ZeRO) as it stands.\n"
        )
    if rule.per_tensor:
        return (
            "\n    Warning: the rule takes norms of whole tensors. It must see each tensor whole, so it does not suit\n"
            "    sharded parameters (FSDP, ZeRO) as it stands.\n"
        )
    return ""
