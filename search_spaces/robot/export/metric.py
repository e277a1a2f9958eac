"""A vector of weights as a module of its own: the combined metric `score(model, batch)`."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from evo.errors import UsageError
from search_spaces.robot.export.slicing import Library, merged
from search_spaces.robot.export.text import WIDTH, float_text, origin_text, wrapped
from search_spaces.robot.stored import Scale, StoredPool

MODULES = (
    "proxies.errors", "proxies.network.settings", "proxies.network.watching",
    "proxies.network.working", "proxies.network.flops", "proxies.network.activations", "proxies.network.jacobian",
    "proxies.network.gradients", "proxies.network.kernel", "proxies.network.smoothness", "proxies.network.az",
    "proxies.network.passes", "search_spaces.robot.export.probe",
)  # fmt: skip
"""What a metric is made of, in the order in which they import each other."""
SCORING = "proxies.network.scoring"
TOLERANCE = 1e-3

_HEAD = '''"""A training-free metric of networks: a sum of {count}, found by a search. It needs torch alone.

    score(model, batch) = {formula}

score(model, (images, labels)) is larger for the network that is predicted to be the better one; nothing is trained,
the model is left as it is, and nothing is drawn but with a fixed seed. Each metric is brought to [0, 1] as it was over
the pool of the search: SCALES has the constants of
{pool}.
Scores compare networks on one batch; in the search it had {batch}.

{first}Origin:

{origin}
"""

from __future__ import annotations

{imports}

SEED = {seed}
"""Of random images, weights and directions."""
WEIGHTS = {weights}
"""By metric; those of weight 0 are left out."""


@dataclass(frozen=True)
class Scale:
    """How a metric's value becomes a number about [0, 1]; 0 for one that is not finite.

    Attributes:
        log: None, or s of sign(x) ln(1 + |x| / s), which is taken first.
        low, high: of the pool, after that.
        ranks: None, or the pool's values, ascending: then ranks among them are scaled.
    """

    log: float | None
    low: float
    high: float
    ranks: tuple[float, ...] | None = None


SCALES = {scales}
EXPECTED = {expected}
"""What the metrics of `probe_model` are, as the search's own code computes them."""
NEEDS = frozenset({needs})


'''
_TAIL = '''def score(model: nn.Module, batch: tuple[Tensor, Tensor], *, seed: int = SEED) -> float:
    """The combined metric of a network, larger for the better one.

    Args:
        model: a classifier: images (n, ...) to logits (n, classes).
        batch: images (n, ...) and labels (n,) whole numbers.
        seed: of what metrics draw.
    """
    total = 0.0
    for name, value in metrics(model, batch, seed=seed).items():
        total += WEIGHTS[name] * scaled(value, SCALES[name])
    return total


def metrics(model: nn.Module, batch: tuple[Tensor, Tensor], *, seed: int = SEED) -> dict[str, float]:
    """The metrics that are summed, by name, before they are scaled; NaN where one is not finite."""
    images, labels = checked_batch(batch)
    check_model(model, images)
    with isolated(model, seed):
        found = gather(model, images, labels, NEEDS, Settings(), RandomImages(images, seed), seed)
        values = {{name: float(formula(found, (images, labels), Settings())) for name, formula in FORMULAS.items()}}
    return {{name: value if math.isfinite(value) else math.nan for name, value in values.items()}}


def scaled(value: float, scale: Scale) -> float:
    """A metric's value as it was scaled over the pool."""
    if not math.isfinite(value):
        return 0.0
    if scale.log is not None:
        sign = (value > 0) - (value < 0)
        value = sign * math.log1p(abs(value) / scale.log)
    if scale.ranks is not None:
        below, upto = bisect.bisect_left(scale.ranks, value), bisect.bisect_right(scale.ranks, value)
        value = below + (upto - below + 1) / 2
    return (value - scale.low) / (scale.high - scale.low) if scale.high > scale.low else 0.0


def self_test() -> None:
    """Raise ValueError unless the metrics of a small network are what the search's own code gives."""
    for name, value in metrics(probe_model(), probe_batch(), seed=0).items():
        expected = EXPECTED[name]
        alike = math.isclose(value, expected, rel_tol={tolerance}, abs_tol=1e-6)
        if not alike and not (math.isnan(value) and math.isnan(expected)):
            raise ValueError(f"{{name}} is {{value}}, not {{expected}}: edited, or another torch?")
'''


def metric_source(
    pool: StoredPool, weights: Sequence[float], seed: int, batch: str, first: str, origin: Mapping[str, Any]
) -> str:
    """The module's text.

    Args:
        pool: whose metrics are weighted, with the constants of their scaling.
        weights: one a metric.
        seed: that the pool's metrics were computed with.
        batch: of what, in words.
        first: a sentence about the architecture that ranks first, or "".
        origin: where the weights come from.

    Raises:
        UsageError: the weights are all 0, do not fit the pool, or one of its metrics is not computed here.
    """
    from proxies.network import METRICS

    if len(weights) != len(pool.metrics):
        raise UsageError(f"{len(weights)} weights do not fit the pool's {len(pool.metrics)} metrics")
    used = {name: weight for name, weight in zip(pool.metrics, weights, strict=True) if weight}
    if not used:
        raise UsageError("all weights are 0: there is no metric to export", "export another candidate")
    foreign = [name for name in used if name not in METRICS]
    if foreign:
        raise UsageError(
            f"the table's {', '.join(foreign)} cannot be computed here, so that the sum has no module",
            f"known: {', '.join(METRICS)}",
        )
    needs = frozenset().union(*(METRICS[name].needs for name in used))
    library = Library()
    library.add("proxies.quantization.layers", only=("isolated",))
    for module in MODULES:
        library.add(module, _needed(needs))
    formulas = _formulas(used)
    tail = _TAIL.format(tolerance=TOLERANCE)
    kept = library.slice(f"{formulas}\n{tail}")
    scales = {name: scale for name, scale in zip(pool.metrics, pool.scales, strict=True) if name in used}
    own = [
        "import math", "import bisect", "from dataclasses import dataclass", "from torch import Tensor",
        "from torch import nn", "import torch",
    ]  # fmt: skip
    head = _HEAD.format(
        count=f"{len(used)} metrics" if len(used) > 1 else "one metric", formula=_formula(used), pool=pool.name,
        batch=batch, first=first, origin=origin_text(origin), seed=seed, weights=wrapped(used), scales=_scales(scales),
        expected=wrapped(_expected(tuple(used))), needs=_needs(needs),
        imports="\n".join(merged([*own, *library.imports_of(kept)])),
    )  # fmt: skip
    return head + "\n\n\n".join(d.text for d in kept) + "\n\n\n" + formulas + "\n\n\n" + tail


def _needed(needs: frozenset[str]) -> Any:
    """Conditions of the passes that are known once it is known what is needed."""

    from proxies.network.passes import _BATCH

    values = {"needs": needs, "_BATCH": _BATCH}

    def known(test: ast.expr) -> bool | None:
        names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
        if "needs" not in names or names - set(values) or any(isinstance(n, ast.Call) for n in ast.walk(test)):
            return None
        return bool(eval(compile(ast.Expression(test), "needs", "eval"), {}, values))

    return known


def _formulas(names: Mapping[str, float]) -> str:
    """FORMULAS of these metrics as text."""
    library = Library()
    library.add(SCORING)
    text = library.definitions["FORMULAS"].text
    table = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Dict))
    lines = ["FORMULAS = {"]
    before = []
    for key, value in zip(table.keys, table.values, strict=True):
        assert isinstance(key, ast.Constant)
        if key.value in names:
            if isinstance(value, ast.Name):
                before.append(library.definitions[value.id].text)
            lines.append(textwrap.indent(f'"{key.value}": {ast.get_source_segment(text, value)},', "    "))
    lines.append("}")
    return "\n\n\n".join([*before, "\n".join(lines)])


def _expected(names: Sequence[str]) -> dict[str, float]:
    from proxies.network import score
    from search_spaces.robot.export.probe import probe_batch, probe_model

    found = score(probe_model(), probe_batch(), names, seed=0)
    return {name: found[name] for name in names}


def _needs(needs: frozenset[str]) -> str:
    text = "{" + ", ".join(f'"{need}"' for need in sorted(needs)) + "}"
    return "\n".join(textwrap.wrap(text, WIDTH - 20, subsequent_indent=" " * 19, break_on_hyphens=False))


def _formula(used: Mapping[str, float]) -> str:
    text = " ".join(f"{weight:+.3f} {name}" for name, weight in sorted(used.items(), key=lambda pair: -abs(pair[1])))
    return "\n        ".join(textwrap.wrap(text.removeprefix("+"), WIDTH - 30))


def _scales(scales: Mapping[str, Scale]) -> str:
    lines = ["{"]
    for name, scale in scales.items():
        ranks = "" if scale.ranks is None else ", (" + ", ".join(map(float_text, scale.ranks)) + ",)"
        log = "None" if scale.log is None else float_text(scale.log)
        whole = f'"{name}": Scale({log}, {float_text(scale.low)}, {float_text(scale.high)}{ranks}),'
        lines += textwrap.wrap(whole, WIDTH, initial_indent="    ", subsequent_indent="        ")
    return "\n".join([*lines, "}"])
