"""The text of an exported module: docstring, parts, the term, and score, terms and table around it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evo.errors import InvalidGenomeError
from search_spaces.emq.export.formula import Term, term_of
from search_spaces.emq.export.parts import names_in, used
from search_spaces.emq.expression import Expression, expression, formula, nodes
from search_spaces.emq.language import Genome
from search_spaces.emq.operators import FLIPS, INPUTS

WIDTH = 116

_HEAD = '''"""A proxy of mixed-precision quantization, found by evolutionary search. It needs torch alone.

    score(model, bits, batch) = {formula}

{legend}

score(model, {{"conv1": 4, "fc": 8}}, images) ranks bit configurations of a trained classifier without training or
testing any of them: larger predicts the better accuracy. {additive}
The model is left as it is, and nothing is drawn but with fixed seeds.

Origin:

{origin}
"""

from __future__ import annotations

{imports}
import torch
from torch import Tensor, nn

SAMPLES: int | None = {samples}
"""Values of a tensor that are looked at, evenly strided."""
SEED = 0
{orientation}
'''
_ORIENTATION = '''FEWEST, MOST = 2, 8
"""The sign is the one that puts MOST bits everywhere above FEWEST bits everywhere."""
'''
_SCORE = '''
def score(model: nn.Module, bits: Mapping[str, int], batch: Any, labels: Tensor | None = None) -> float:
    """The score of one bit configuration, larger for the better predicted accuracy.

    Args:
        model: a classifier: gives logits (samples, classes) when called with the batch.
        bits: weight bits, 2 to 16, by the name of a Conv2d or Linear layer; {order}.
        batch: (samples, ...), or the several tensors that the model is called with.
        labels: (samples,) classes; None for the model's own predictions.

    Raises:
        ValueError: one of these does not fit the model.
    """
    return score_all(model, [bits], batch, labels)[0]


def score_all(
    model: nn.Module, configurations: Sequence[Mapping[str, int]], batch: Any, labels: Tensor | None = None
) -> list[float]:
    """Scores of many configurations of the same layers; the model is looked at once."""
    names = checked(configurations)
    choices = {choices}
    found = terms(model, batch, sorted(choices), names, labels)
{body}

'''
_MEAN = """    sign = orientation(found)
    return [sign * sum(found[name][bits[name]] for name in names) / len(names) for bits in configurations]"""
_MAX = """    sign = orientation(found)
    return [sign * max(found[name][bits[name]] for name in names) for bits in configurations]"""
_FLIPS = """    margins = sample(margins_of(model, batch))
    most, fewest = (kept(found, margins, dict.fromkeys(names, bits)) for bits in (MOST, FEWEST))
    if most == fewest:
        raise ValueError(f"the proxy does not tell {MOST} bits everywhere from {FEWEST}: {most}, {fewest}")
    sign = 1.0 if most > fewest else -1.0
    return [sign * kept(found, margins, bits) for bits in configurations]"""
_KEPT = '''
def kept(found: Mapping[str, Mapping[int, Tensor]], margins: Tensor, bits: Mapping[str, int]) -> float:
    """The share of samples that keep their class where the layers change margins independently, by these variances."""
    total = torch.zeros_like(margins)
    for name, of in found.items():
        total = total + of[bits[name]]
    return float(torch.special.ndtr(margins / (total + 1e-300).sqrt()).mean())

'''
_OF_SAMPLES = "variances, (samples, 1),"
_RELEASED = """    return [sum(found[name][bits[name]] for name in found) / len(found) for bits in configurations]"""
_SIGN = '''
def orientation(found: Mapping[str, Mapping[int, float]]) -> float:
    """1 or -1: more bits are better."""
    most, fewest = ({over}(of[bits] for of in found.values()) for bits in (MOST, FEWEST))
    if not abs(most - fewest) > 0 or abs(most - fewest) == float("inf"):
        raise ValueError(f"the proxy does not tell {{MOST}} bits everywhere from {{FEWEST}}: {{most}}, {{fewest}}")
    return 1.0 if most > fewest else -1.0

'''
_TABLE = '''
def table(
    model: nn.Module,
    batch: Any,
    choices: Sequence[int] = (2, 3, 4, 8),
    layers: Sequence[str] | None = None,
    labels: Tensor | None = None,
) -> dict[str, dict[int, float]]:
    """What each layer adds to the score at each bit-width: a score is the sum over its layers.

    For an exact allocation under a budget, by integer programming.
    """
    names = names_of(model, layers)
    checked([dict.fromkeys(names, bits) for bits in choices])
{body}
'''
_TABLE_MEAN = """    found = terms(model, batch, sorted({*choices, FEWEST, MOST}), names, labels)
    sign = orientation(found)
    return {name: {b: sign * found[name][b] / len(names) for b in choices} for name in names}"""
_TABLE_RELEASED = """    found = terms(model, batch, sorted(set(choices)), names, labels)
    none = dict.fromkeys(choices, 0.0)  # layers without a partner take no part
    return {name: {b: found.get(name, none)[b] / len(found) for b in choices} for name in names}"""
_TERMS = '''
def terms(
    model: nn.Module, batch: Any, choices: Sequence[int], layers: Sequence[str] | None, labels: Tensor | None
) -> dict[str, dict[int, {value}]]:
    """The {what} of each layer at each bit-width."""
    required(batch, labels)
    names = names_of(model, layers)
    found: dict[str, dict[int, float]] = {{}}
    with isolated():
{gathered}
    return found

'''


def source(genome: Genome, origin: Mapping[str, Any], samples: int | None) -> str:
    """The module's text. Arguments and errors as `export`."""
    found = expression(genome)
    if found.term is None:
        raise InvalidGenomeError(
            f"the proxy is {found.rejected}: there is nothing to export", "export one that was evaluated"
        )
    term = term_of(found)
    over = "max" if found.aggregation == "max" else "sum"
    flips = found.aggregation == FLIPS
    additive = not flips and found.aggregation != "max"
    body = _RELEASED if found.released else _FLIPS if flips else _MEAN if additive else _MAX
    code = [
        _function(found, term),
        _TERMS.format(
            value="Tensor" if flips else "float",
            what=_OF_SAMPLES if flips else "term",
            gathered=textwrap.indent("\n".join(_gathered(found, term)), " " * 8),
        ),
        "" if found.released else _KEPT if flips else _SIGN.format(over=over),
        _SCORE.format(
            body=body,
            choices="{b for bits in configurations for b in bits.values()}"
            if found.released
            else "{FEWEST, MOST, *(b for bits in configurations for b in bits.values())}",
            order="their order matters (as released)" if found.released else "others are not looked at",
        ),
        _TABLE.format(body=_TABLE_RELEASED if found.released else _TABLE_MEAN) if additive else "",
    ]
    written = "\n".join(code)
    parts = "\n\n\n".join(used(written))
    kind = _ADDITIVE if additive else _SATURATING if flips else _NOT_ADDITIVE
    head = _HEAD.format(
        formula=_formula(found), legend=_legend(found), additive=kind,
        origin=origin_text(origin), imports=_imports(parts + "\n" + written), samples=samples,
        orientation="" if found.released else _ORIENTATION,
    )  # fmt: skip
    return _tidy(f"{head}\n\n{parts}\n\n{written}")


_ADDITIVE = "It is a sum over layers: see `table`."
_NOT_ADDITIVE = "It is the largest term of a layer, no sum over layers."
_SATURATING = "It adds within each sample before it saturates: no sum over layers."


def _function(found: Expression, term: Term) -> str:
    arguments = ", ".join([f"{word}: Tensor" for word in term.words] + [f"{size}: int" for size in term.sizes])
    head = f"def term(bits: int{', ' if arguments else ''}{arguments}) -> Tensor:"
    if len(head) > WIDTH:
        head = f"def term(\n    bits: int, {arguments}\n) -> Tensor:"
    assert found.term is not None
    words = escaped(formula(found.term, found.released))
    return f'\n{head}\n    """{words}"""\n' + textwrap.indent("\n".join(term.lines), "    ") + "\n\n"


def _gathered(found: Expression, term: Term) -> Iterator[str]:
    """Lines that gather what the term reads and call it, layer by layer and bit by bit."""
    words, sizes = set(term.words), set(term.sizes)
    if words & {"activation", "layer_input", "output_error", "margin_change", "loss_change", "macs"} or sizes & {
        "output_width",
        "input_width",
    }:
        yield "seen = ran(model, batch, names)"
    if words & {"weight_gradient", "hessian_trace", "hessian_eigenvalue"}:
        yield "gradients = weight_gradients(model, batch, labels, names)"
    if "virtual_gradient" in words:
        yield "virtual = virtual_gradients(model, batch, names)"
    if words & {"output_gradient", "loss_change"}:
        yield "of_loss = output_gradients(model, batch, labels, names)"
    if "logit_gradient" in words:
        yield "of_logits = logit_gradients(model, batch, names)"
    if "margin_change" in words:
        yield "of_margins = margin_gradients(model, batch, names)"
    if words & {"margin", "margin_change", "loss_change"}:
        yield "margins = margins_of(model, batch)"
    loop = list(_released_loop(term) if found.released else _loop(term, found.aggregation == FLIPS))
    if any("layers_of" in line for line in loop):
        yield "layers_of = dict(model.named_modules())"
    yield from loop


_ONCE = {
    "activation": "sample(seen[name][1])",
    "weight_gradient": "sample(gradients[name][0])",
    "weight": "sample(layer.weight)",
    "virtual_gradient": "sample(virtual[name])",
    "hessian_eigenvalue": "number(hessian_eigenvalue_of(*gradients[name]))",
    "hessian_trace": "number(hessian_trace_of(*gradients[name]))",
    "layer_input": "sample(seen[name][0])",
    "output_gradient": "sample(of_loss[name])",
    "logit_gradient": "sample(of_logits[name])",
    "margin": "sample(margins)",
    "parameters": "number(layer.weight.numel())",
    "macs": "number(layer.weight.numel() * seen[name][2])",
}
_EACH = {
    "weight_quantized": "sample(rounded)",
    "weight_error": "sample(rounded - layer.weight.detach())",
    "output_error": "sample(moved)",
    "margin_change": "sample(change_by_sample(of_margins[name], moved, len(margins)))",
    "loss_change": "sample(change_by_sample(of_loss[name], moved, len(margins)))",
}
_MOVED = "moved = output_change(layer, rounded - layer.weight.detach(), seen[name][0])"
_SIZES = {
    "weight_height": "len(layer.weight)",
    "weight_width": "columns_of(layer.weight)",
    "output_width": "columns_of(seen[name][1])",
    "input_width": "columns_of(seen[name][0])",
}


def _loop(term: Term, flips: bool) -> Iterator[str]:
    yield "for name in names:"
    once = [f"{word} = {_ONCE[word]}" for word in term.words if word in _ONCE]
    once += [f"{size} = {_SIZES[size]}" for size in term.sizes]
    each = [f"{word} = {_EACH[word]}" for word in term.words if word in _EACH]
    if each or any("layer." in line for line in once):
        once.insert(0, "layer = layers_of[name]")
    if any("moved" in line for line in each):
        each.insert(0, _MOVED)
    if each:
        each.insert(0, "rounded = quantized(layer.weight, bits)")
    yield from _indented([*once, "found[name] = {}", "for bits in choices:"], 1)
    given = "".join(f", {name}" for name in (*term.words, *term.sizes))
    value = f"term(bits{given})"
    yield from _indented([*each, f"found[name][bits] = {value if flips else f'float({value})'}"], 2)


_RELEASED_INPUTS = {
    "activation": "sample(seen[ahead][1])",
    "weight_gradient": "sample(gradients[behind][0])",
    "weight": "sample(layers_of[ahead].weight)",
    "virtual_gradient": "sample(virtual[behind])",
}
_RELEASED_SIZES = {
    "weight_height": "len(layers_of[ahead].weight)",
    "weight_width": "columns_of(layers_of[ahead].weight)",
    "gradient_height": "len(layers_of[behind].weight)",
    "gradient_width": "columns_of(layers_of[behind].weight)",
    "output_width": "columns_of(seen[ahead][1])",
}


def _released_loop(term: Term) -> Iterator[str]:
    yield "# as released: convolutions alone, gradients from the last to the first, paired with columns by position"
    yield "convolutions = [name for name in layers_of if name in names and isinstance(layers_of[name], nn.Conv2d)]"
    yield "for name, place in zip(names, range(len(convolutions)), strict=False):"
    ends = [f"{at} = convolutions[{index}]" for at, index in (("ahead", "place"), ("behind", "-1 - place"))
            if any(at in _RELEASED_INPUTS[word] for word in term.words)]  # fmt: skip
    yield from _indented([*ends, "found[name] = {}", "for bits in choices:"], 1)
    given = "".join([f", bits * {word}" for word in term.words] + [f", {size}" for size in term.sizes])
    lines = [f"{word} = {_RELEASED_INPUTS[word]}" for word in term.words]
    lines += [f"{size} = {_RELEASED_SIZES[size]}" for size in term.sizes]
    yield from _indented([*lines, f"found[name][bits] = float(term(bits{given}))"], 2)


def _indented(lines: Sequence[str], level: int) -> Iterator[str]:
    for line in lines:
        yield "    " * level + line


def _formula(found: Expression) -> str:
    assert found.term is not None
    text = formula(found.term, found.released)
    sign = "" if found.released else "+- "
    if found.aggregation == FLIPS:
        return escaped(f"{sign}mean over samples of Phi(m / sqrt(sum over layers of [ {text} ]))")
    over = "largest over layers of" if found.aggregation == "max" else "mean over layers of"
    return escaped(f"{sign}{over} [ {text} ]")


def _legend(found: Expression) -> str:
    assert found.term is not None
    words = [node.text for node in nodes(found.term) if node.op == "input"]
    lines = [f"    {INPUTS[word].symbol}: {INPUTS[word].meaning}" for word in INPUTS if word in words]
    if found.released:
        lines.append("    b: the bit-width, by which each tensor is multiplied first (as EMQ's released code does)")
    return escaped("where\n\n" + "\n".join(lines))


def _imports(code: str) -> str:
    """Of the standard library, what the code uses."""
    names = names_in(code)
    lines = [f"import {module}" for module in ("contextlib", "copy", "math") if module in names]
    abstract = [name for name in ("Iterator", "Mapping", "Sequence") if name in names]
    return "\n".join([*lines, f"from collections.abc import {', '.join(abstract)}", "from typing import Any", ""])


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

    lines = [
        line
        for key, value in origin.items()
        if value is not None
        for line in textwrap.wrap(
            " ".join(f"{key}: {shown(value)}".split()), WIDTH, initial_indent="    ", subsequent_indent="        "
        )
    ]
    return escaped("\n".join(lines)) or "    not recorded"


def escaped(text: str) -> str:
    """Text that can stand in a docstring."""
    return text.replace("\\", "\\\\").replace('"""', "'''")


def _tidy(text: str) -> str:
    """Two empty lines between definitions, one at most elsewhere, none at the end."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(("def ", "@")) and not (lines and lines[-1].startswith("@")):
            while lines and not lines[-1]:
                lines.pop()
            lines += ["", ""]
        if not line and lines and not lines[-1]:
            continue
        lines.append(line.rstrip())
    return "\n".join(lines).rstrip() + "\n"
