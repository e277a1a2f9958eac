"""The text of an exported module."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

from evo.program import Program
from search_spaces.lion.export import selftest, template
from search_spaces.lion.export.document import about, anneals, arguments, found_text, legend, origin_text
from search_spaces.lion.export.helpers import HELPERS, needed
from search_spaces.lion.export.rule import Rule, rule_of, signature

TITLE = "An optimizer found by evolutionary program search"


def source(program: Program, origin: Mapping[str, Any]) -> str:
    """The module's text.

    Args:
        program: what was found.
        origin: where it comes from, for the docstring; an entry "title" becomes its first line.

    Raises:
        InvalidGenomeError: the program is not valid.
    """
    rule = rule_of(program)
    body = "\n".join([*rule.single, *rule.foreach])
    helpers = needed(body, {"lockstep"} if rule.sums else set())
    tuple_ = f"tuple[{', '.join(['Tensor'] * len(rule.results))}]"
    lists = f"tuple[{', '.join(['list[Tensor]'] * len(rule.results))}]"
    fields = {
        "title": str(origin.get("title", TITLE)).rstrip(".") + ".",
        "origin": origin_text({key: value for key, value in origin.items() if key != "title"}),
        "found": found_text(program),
        "legend": legend(program),
        "imports": _imports(rule),
        "sums": template.SUMS if rule.sums else "",
        "helpers": "\n" + "\n\n".join([template.REAL, *(HELPERS[name] for name in helpers)]),
        "signature": signature(rule, "Tensor"),
        "signature_foreach": signature(rule, "list[Tensor]"),
        "returns": f"Sums[{tuple_}]" if rule.sums else tuple_,
        "returns_foreach": f"Sums[{lists}]" if rule.sums else lists,
        "then_state": ", then the new state" if rule.slots else "",
        "note": _note(rule),
        "fallback": "; tensor by tensor where torch has no such kernel" if " for x" in "\n".join(rule.foreach) else "",
        "single": _indented(rule.single),
        "foreach": _indented(rule.foreach),
        "leave": "yield" if rule.sums else "return",
        "results": ", ".join(rule.results) if rule.slots else f"({rule.results[0]},)",
        "about": about(rule),
        "arguments": arguments(rule),
        "slots": _tuple(rule.slots),
        "names": _tuple([name for name, _ in _numbers(rule)]),
        "lr": repr(rule.rate.default),
        "generator": ", or where it yields its shares" if rule.sums else "",
        "self_test": selftest.source(program, rule.rate.scheduled),
        **_class_fields(rule),
        **_state_fields(rule),
    }
    return Template(template.MODULE).substitute(fields)


def _numbers(rule: Rule) -> list[tuple[str, float]]:
    """Options that are plain numbers: the program's, weight decay, and the guard of divisions."""
    found = [(c.name, c.value) for c in rule.constants if c.name != "weight_decay"]
    decay = [(c.name, c.value) for c in rule.constants if c.name == "weight_decay"]
    found += decay or [("weight_decay", 0.0)]
    return [*found, ("eps", 1e-8)] if "eps" in rule.given else found


def _class_fields(rule: Rule) -> dict[str, str]:
    numbers = _numbers(rule)
    peak = rule.rate.fraction
    fields = {
        "parameters": "".join(f"        {name}: float = {value!r},\n" for name, value in numbers),
        "keywords": "        peak_lr: float | None = None,\n" if peak else "",
        "defaults": "".join(f'            "{name}": {name},\n' for name, _ in numbers)
        + ('            "peak_lr": peak_lr,\n' if peak else ""),
        "warning": _warnings(rule),
        "first_lr": template.FIRST_LR if peak else "",
        "checks": _peak_check() if peak else "",
        "signs": "".join(_sign_check(name) for name, _ in numbers if name.startswith(("weight_decay", "eps"))),
        "options": _options(rule),
        "step": Template(template.STEP_COUPLED).substitute(count=rule.sums) if rule.sums else template.STEP,
        "decay": "" if rule.decays else template.DECAY,
    }
    return fields


def _state_fields(rule: Rule) -> dict[str, str]:
    if not rule.slots:
        return {"load": "", "state": "", "state_read": "", "keep": ""}
    return {
        "load": template.LOAD,
        "state": template.STATE,
        "state_read": ", *(state[slot] for slot in self.SLOTS)",
        "keep": template.KEEP,
    }


def _options(rule: Rule) -> str:
    """Body of `_options`."""
    rule_constants = {c.name for c in rule.constants}
    names = [name for name, _ in _numbers(rule) if name in rule_constants or name == "eps"]
    lines = template.PEAK if rule.rate.fraction else ""
    if rule.decays and len(rule.decays) > 1:
        lines += '        decayed = group["weight_decay"] != 0.0\n'
    items = []
    for name in rule.given:
        if name == "lr":
            items.append('"lr": group["lr"]')
        elif name == "fraction":
            items.append('"fraction": group["lr"] / peak')
        elif name == "peak_lr":
            items.append('"peak_lr": peak')
    for name in names:
        if name.startswith("weight_decay") and name != "weight_decay":
            items.append(f'"{name}": group["{name}"] if decayed else 0.0')
        else:
            items.append(f'"{name}": group["{name}"]')
    one = f"        return {{{', '.join(items)}}}\n"
    if len(one) <= 100:
        return lines + one
    return lines + "        return {\n" + "".join(f"            {item},\n" for item in items) + "        }\n"


def _peak_check() -> str:
    return (
        '        if group["peak_lr"] is None and lr == 0.0:\n'
        '            raise ValueError("lr is 0 at the start: give peak_lr, of which the rule reads a fraction")\n'
        '        if group["peak_lr"] is not None and not group["peak_lr"] > 0.0:\n'
        "            raise ValueError(f\"peak_lr is {group['peak_lr']}: it must be positive\")\n"
        '        if group["peak_lr"] is not None and lr > group["peak_lr"]:\n'
        '            warnings.warn("lr is above peak_lr: the rule reads a fraction above 1, never searched", '
        "stacklevel=3)\n"
    )


def _sign_check(name: str) -> str:
    return (
        f'        if group["{name}"] < 0.0:\n'
        f"            raise ValueError(f\"{name} is {{group['{name}']}}: it must not be negative\")\n"
    )


def _warnings(rule: Rule) -> str:
    text = ""
    if rule.sums:
        text += (
            "        warnings.warn(\n"
            '            "Discovered sums over all tensors of all groups: not for sharded parameters (FSDP, ZeRO)",\n'
            "            stacklevel=2,\n"
            "        )\n"
        )
    if not anneals(rule):
        text += (
            "        warnings.warn(\n"
            '            "Discovered reads the schedule inside the rule: steps need not shrink where lr falls",\n'
            "            stacklevel=2,\n"
            "        )\n"
        )
    if not rule.rate.found:
        text += (
            "        if lr < 0.01:\n"
            "            warnings.warn(\n"
            '                f"lr={lr} scales the found rule down: its rate is built in, and lr=1.0 is as found", '
            "stacklevel=2\n"
            "            )\n"
        )
    return text


def _imports(rule: Rule) -> str:
    lines = ["import math", "import warnings"]
    names = ["Callable", *(["Generator"] if rule.sums else []), "Iterable"]
    lines.append(f"from collections.abc import {', '.join(names)}")
    lines.append("from typing import Any, TypeVar" if rule.sums else "from typing import Any")
    return "\n".join(lines)


def _note(rule: Rule) -> str:
    if not rule.sums:
        return ""
    return "\n\n    Where it yields, it wants a sum over all tensors, see `Sums`; last it yields its results.\n    "


def _indented(lines: Sequence[str]) -> str:
    return textwrap.indent("".join(f"{line}\n" for line in lines), "    ")


def _tuple(names: Sequence[str]) -> str:
    return "(" + ", ".join(f'"{name}"' for name in names) + ("," if len(names) == 1 else "") + ")"
