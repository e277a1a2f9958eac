"""Proxies as people read them."""

from __future__ import annotations

from search_spaces.emq.expression import expression, formula, nodes, size
from search_spaces.emq.language import Genome
from search_spaces.emq.operators import FLIPS, INPUTS

_OVER = {"mean": "mean over layers of", "max": "largest over layers of"}


def one_line(genome: Genome) -> str:
    """The simplified proxy: "mean_l mean(((dL/dz) dz)^2)", the mean over layers, as everywhere."""
    found = expression(genome)
    if found.term is None:
        return f"rejected, {found.rejected}: {' '.join(genome.genes)}"
    sign = "" if found.released else "+-"
    if found.aggregation == FLIPS:
        return f"{sign}mean_i Phi(m / sqrt(sum_l {_closed(formula(found.term, found.released))}))"
    return f"{sign}{'max' if found.aggregation == 'max' else 'mean'}_l {_closed(formula(found.term, found.released))}"


def described(genome: Genome) -> str:
    """The formula, its symbols, and the genes as they are written."""
    found = expression(genome)
    lines = []
    if found.term is None:
        lines.append(f"rejected before any cost: {found.rejected}")
    else:
        text = _closed(formula(found.term, found.released))
        if found.aggregation == FLIPS:
            lines.append(f"score = mean over samples of Phi(m / sqrt(sum over layers of {text}))")
            lines.append("        Phi: the normal distribution function; m: a sample's largest logit minus the next")
        else:
            lines.append(f"score = {_OVER[found.aggregation]} {text}")
        if not found.released:
            lines.append("        turned so that most bits everywhere scores above fewest bits everywhere")
        words = [node.text for node in nodes(found.term) if node.op == "input"]
        lines += [f"  {INPUTS[word].symbol}: {INPUTS[word].meaning}" for word in words]
        if found.released:
            lines.append(
                "  as released: every tensor is first multiplied by its bit-width b; layers and bits by position"
            )
        lines.append(f"  size {size(found.term)}")
    lines.append(f"genes: {genome.mode} {genome.structure}; inputs {', '.join(genome.inputs)}")
    lines.append(f"  unary {', '.join(genome.unary)}")
    if genome.binary:
        after = f"; then {', '.join(genome.post)}" if genome.post else ""
        lines.append(f"  binary {genome.binary[0]}{after}")
    lines.append(f"  over layers: {genome.aggregation}")
    return "\n".join(lines)


def _closed(text: str) -> str:
    return f"({text})" if " + " in text or " - " in text else text
