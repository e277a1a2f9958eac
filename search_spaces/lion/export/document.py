"""Prose of an exported module: origin, the program, what the learning rate is, warnings, arguments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evo.program import Program, live
from search_spaces.lion.export.rule import Rule
from search_spaces.lion.language import LION

WIDTH = 116

LEGEND = {
    "interp": "interp(x, y, a) = (1 - a) x + a y",
    "div": "div(x, y) = x / (y + eps), or x / (y - eps) for negative y",
    "reciprocal": "reciprocal(x) = div(1, x)",
    "sqrt": "sqrt(x) is of |x|",
    "log": "log(x) is of |x|",
    "log2": "log2(x) is of |x|",
    "log10": "log10(x) is of |x|",
    "log1p": "log1p(x) = log |1 + x|",
    "invert": "invert(x) = 1 - x",
    "norm": "norm(x): Euclidean, one number a tensor",
    "global_norm": "global_norm(x): Euclidean, over all tensors",
    "dot": "dot(x, y): sum of products over all tensors",
    "cosine_sim": "cosine_sim(x, y): over all tensors",
    "clip_by_global_norm": "clip_by_global_norm(x, s): x, shrunk to a global norm of s where it is longer",
    "orthogonalize": "orthogonalize(x): Muon's Newton-Schulz steps on matrices",
}


def escaped(text: str) -> str:
    """Text that can stand in a docstring."""
    return text.replace("\\", "\\\\").replace('"""', "'''")


def origin_text(origin: Mapping[str, Any]) -> str:
    """One entry a line, wrapped; entries that are None are left out."""

    def shown(value: Any) -> str:
        if isinstance(value, Mapping):
            return ", ".join(f"{key} {shown(inner)}" for key, inner in value.items())
        if isinstance(value, float):
            return f"{value:.6g}"
        if isinstance(value, Sequence) and not isinstance(value, str):
            return "[" + ", ".join(map(shown, value)) + "]"
        return str(value)

    def lines() -> Iterator[str]:
        for key, value in origin.items():
            if value is not None:
                text = " ".join(f"{key}: {shown(value)}".split())
                yield from textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="        ")

    return escaped("\n".join(lines())) or "    not recorded"


def found_text(program: Program) -> str:
    """The program, statement by statement, in the form that `Program.parse` reads; dead statements are marked."""
    left = list(live(LION, program).instructions)
    lines = []
    for step in program.instructions:
        alive = step in left
        if alive:
            left.remove(step)
        lines.append(f"    {step}" + ("" if alive else "  # takes no part"))
    return "\n".join(lines)


def legend(program: Program) -> str:
    """What the operators that need words mean, those of live statements."""
    used = {step.operator for step in live(LION, program).instructions}
    rows = [f"    {meaning}" for name, meaning in LEGEND.items() if name in used]
    return "\nwhere\n\n" + "\n".join(rows) + "\n" if rows else ""


def paragraph(text: str, indent: int = 4) -> str:
    """Filled to the width of the module."""
    return textwrap.fill(" ".join(text.split()), WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent)


def about(rule: Rule) -> str:
    """The paragraphs of the class."""
    parts = [_lr_text(rule)]
    if rule.rate.moved:
        parts.append(
            "The rate stood among other factors of the update and was moved to the end, so the last bits differ from "
            "those of the program as it was searched."
        )
    if not rule.decays:
        parts.append(
            "The rule has no weight decay of its own. `weight_decay` adds that of AdamW (weights times "
            "1 - lr * weight_decay) and is off by default."
        )
    if rule.slots:
        parts.append(
            "State has the parameters' dtype, but float32 for float16 and bfloat16 ones, whose arithmetic is done in "
            "float32 too. Complex parameters count as pairs of real numbers."
        )
    else:
        parts.append("There is no state. Arithmetic of float16 and bfloat16 parameters is done in float32.")
    if "momentum" not in [c.name for c in rule.constants]:
        parts.append("`OneCycleLR` and `CyclicLR` need `cycle_momentum=False`: no option is called momentum or betas.")
    if rule.sums:
        parts.append(
            "Warning: the rule sums over all tensors of all parameter groups. It must see whole gradients, so it does "
            "not suit sharded parameters (FSDP, ZeRO), and a step over some of the parameters is another step."
        )
    if rule.per_tensor:
        looks = f"{' and '.join(rule.per_tensor)} look{'' if len(rule.per_tensor) > 1 else 's'}"
        parts.append(
            f"Note: {looks} at whole tensors, one at a time. Sharded or flattened parameters (FSDP, ZeRO) would change "
            "what is computed."
        )
    return "\n\n".join(paragraph(part) for part in parts)


def _lr_text(rule: Rule) -> str:
    rate = rule.rate
    if rate.follows:
        text = (
            "`lr` is the learning rate as in any torch optimizer: it multiplies the update, schedulers change it, and "
            "its default is the rate that was found."
        )
        if not rate.found:
            text = (
                "`lr` multiplies the update, and schedulers change it. The rule's own scale is built in, so 1.0 is the "
                "rule as found; 0.001 would be a thousandth of it."
            )
        if not rate.scheduled:
            text += " The program reads no schedule: it was found with a constant `lr`."
        if not rate.fraction:
            return text
        return text + " " + _fraction_text("The rule also reads")
    scale = f"{rate.default!r} is the rule as found"
    if not rate.found:
        scale = "the rule's own scale is built in, so 1.0 is the rule as found, and 0.001 a thousandth of it"
    start = f"`lr` scales the update; {scale}. The update is multiplied by the peak of `lr`, and a schedule acts where "
    return (
        start + _fraction_text("the rule reads") + " Warning: what it does there need not shrink the steps, so a "
        "scheduler that brings `lr` to zero may leave the weights moving; constructing it says so, too."
    )


def anneals(rule: Rule) -> bool:
    """Whether the update is multiplied by the current rate, so that a schedule that falls makes it vanish."""
    return rule.rate.follows or not rule.rate.fraction


def _fraction_text(start: str) -> str:
    return (
        f"{start} the schedule's fraction, `lr` / its peak. The peak is `peak_lr`; where that is None, it is the "
        "group's `max_lr` (set by OneCycleLR), else its `initial_lr` (set by other schedulers; of CyclicLR it is the "
        "low end, so give `peak_lr`), else the `lr` at construction. The search never saw a fraction above 1: an `lr` "
        "above the peak may make the rule explode."
    )


def arguments(rule: Rule) -> str:
    """The Args section."""
    constants = [c for c in rule.constants if c.name != "weight_decay"]
    decay = [c for c in rule.constants if c.name == "weight_decay"]
    rows = [("params", "parameters, (name, parameter) pairs, or groups; every option can be set by group.")]
    rows.append(
        (
            "lr",
            "see above; a number, or a tensor without dimensions, for steps that are compiled or captured.",
        )
    )
    rows += [(c.name, c.meaning + ".") for c in constants]
    rows += [(c.name, c.meaning + ".") for c in decay]
    if not decay:
        rows.append(("weight_decay", "decoupled, times `lr`; no part of the rule as found."))
    if "eps" in rule.given:
        rows.append(("eps", "keeps divisors from zero."))
    if rule.rate.fraction:
        rows.append(("peak_lr", "learning rate at the peak of the schedule, see above."))
    rows += [
        ("foreach", "step lists of tensors at once. None: if all are on a CUDA device."),
        ("maximize", "climb instead of descend."),
        ("capturable", "allow capture in a CUDA graph, which keeps lr for good unless it is a tensor."),
        ("differentiable", "let gradients pass through the step; excludes foreach."),
    ]
    return "\n".join(
        textwrap.fill(f"{name}: {text}", WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 12)
        for name, text in rows
    )
