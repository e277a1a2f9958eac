"""Programs for people: the source with what was removed, and one line."""

from __future__ import annotations

from collections import Counter

from evo.program import Instruction, Program, live, live_slots, render, simplify
from search_spaces.lion.language import LION
from search_spaces.lion.operators import COUPLING, OPERATORS


def described(program: Program) -> str:
    """Several lines: the simplified program as a function, its state, and the statements that took no part."""
    kept, short = live(LION, program), simplify(LION, program)
    slots = live_slots(LION, short)
    dead, folded = len(program) - len(kept), len(kept) - len(short)
    gone = [f"{dead} of them dead"] * (dead > 0) + [f"{folded} folded away by algebra"] * (folded > 0)
    facts = [f"{len(short)} statements" + (f"; {len(program)} as written, {', '.join(gone)}" if gone else "")]
    facts.append(f"state: {', '.join(slots) if slots else 'none'}")
    coupling = sorted({step.operator for step in short.instructions} & COUPLING)
    if coupling:
        facts.append(f"couples all tensors of the network: {', '.join(coupling)}")
    lines = [*(f"# {fact}" for fact in facts), render(LION, short, style="infix").rstrip()]
    removed = _without(program, kept)
    if removed:
        lines += ["# removed, because neither the update nor live state depends on it:"]
        lines += [f"#     {step}" for step in removed]
    return "\n".join(lines)


def one_line(program: Program, digits: int = 3, width: int = 200) -> str:
    """The simplified program in one line: values that are used once are written where they are used, literals with
    `digits` significant digits; cut to `width` characters."""
    steps = simplify(LION, program).instructions
    outputs = {name for name, _ in LION.signature.outputs}
    last = {step.target: index for index, step in enumerate(steps)}
    inlined: dict[str, tuple[str, bool]] = {}
    written = []
    for index, (target, operator, arguments) in enumerate(steps):
        parts = []
        for argument in arguments:
            if not isinstance(argument, str):
                parts.append((f"{argument:.{digits}g}", argument < 0))
            else:
                parts.append(inlined.get(argument, (argument, False)))
        text = _call(operator, parts)
        inlined.pop(target, None)
        if not (target in outputs and last[target] == index) and _used_once_in_time(steps, index):
            inlined[target] = text
        else:
            written.append(f"{target} = {text[0]}")
    line = "; ".join(written)
    return line if len(line) <= width else line[: width - 3] + "..."


def _call(operator: str, parts: list[tuple[str, bool]]) -> tuple[str, bool]:
    """Text of a call, and whether it needs brackets inside another infix expression."""
    infix = OPERATORS[operator].infix
    if infix:
        return infix.format(*(f"({text})" if loose else text for text, loose in parts)), True
    return f"{operator}({', '.join(text for text, _ in parts)})", False


def _used_once_in_time(steps: tuple[Instruction, ...], index: int) -> bool:
    """Whether the value of a statement is read just once, before anything that it is made of is assigned again. What it
    is made of includes what is written out in its place, so one statement of distance is looked at, transitively."""
    target = steps[index].target
    uses = []
    for later in range(index + 1, len(steps)):
        uses += [later] * steps[later].arguments.count(target)
        if steps[later].target == target:
            break
    if len(uses) != 1:
        return False
    sources, reached = set(), {index}
    for earlier in range(index, -1, -1):
        if earlier in reached:
            for argument in steps[earlier].arguments:
                if isinstance(argument, str):
                    sources.add(argument)
                    makers = [i for i in range(earlier) if steps[i].target == argument]
                    reached.update(makers[-1:])
    return not any(steps[between].target in sources for between in range(index + 1, uses[0]))


def _without(program: Program, kept: Program) -> list[Instruction]:
    """The statements of `program` that are not in `kept`, in order."""
    left = Counter(kept.instructions)
    removed = []
    for step in program.instructions:
        if left[step]:
            left[step] -= 1
        else:
            removed.append(step)
    return removed
