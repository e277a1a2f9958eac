"""What the terminal shows of an allocation: layers and their bits, sizes and accuracies, and what is proven."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from evo.cli.text import number, table

KIB = 1024
WIDTH = 100
"""Columns: what a page shows without scrolling, and most terminals without wrapping."""


def text_of(data: Mapping[str, Any]) -> str:
    """Tables of `session`'s data."""
    result = data["allocation"]
    rows = [
        (layer["name"], number(layer["parameters"]), f"{layer['bits']}{' (fixed)' if layer['fixed'] else ''}",
         f"{layer['share']:.1%}", "#" * layer["bits"])
        for layer in data["layers"]
    ]  # fmt: skip
    parts = [
        f"{data['model']}: bits by {result['proxy']} within {_limits(result['budget'])}",
        table(("layer", "parameters", "bits", "share of size", ""), rows, right=(1, 2, 3)),
        table(("", "accuracy", "size", "bits a weight", "GBOPs"), list(_results(data)), right=(1, 2, 3, 4)),
        wrapped(
            f"accuracy on {data['samples']['test']:,} samples that nothing here was fitted on, "
            f"+-{_error(data):.2%} (two standard errors)",
            f"{data['data']}: {data['samples']['use']}",
            *_gains(data),
        ),
        wrapped(_proof(result)),
    ]
    return "\n\n".join(parts)


def wrapped(*sentences: str) -> str:
    """One or more lines a sentence, none wider than the page."""
    return "\n".join(textwrap.fill(sentence, WIDTH, subsequent_indent="  ") for sentence in sentences)


def _gains(data: Mapping[str, Any]) -> Iterator[str]:
    """What the allocated bits have over uniform ones, and whether those are a fair rival."""
    accuracy, uniform, filled = data["accuracy"], data["uniform"], data["filled"]
    if uniform is None:
        return

    def over(name: str) -> str:
        return f"{accuracy[f'over_{name}']:+.2%} +-{accuracy[f'over_{name}_error']:.2%}"

    if filled == uniform:
        yield f"allocated over uniform bits, sample by sample: {over('uniform')}"
        return
    yield f"allocated over uniform, filled up, sample by sample: {over('filled')}"
    spent = _spent(data["allocation"]["budget"], uniform)
    yield f"over uniform bits alone {over('uniform')}; but those leave {1 - spent:.0%} of the budget unused"


def _spent(budget: Mapping[str, float], costs: Mapping[str, Any]) -> float:
    """Share of the tightest limit."""
    return max(costs[name] / limit for name, limit in budget.items())


def size(mib: float) -> str:
    """A size as people read it."""
    return f"{mib * KIB:.1f} KiB" if mib < 1 else f"{mib:.3f} MiB"


def _results(data: Mapping[str, Any]) -> Any:
    found, uniform = data["accuracy"], data["uniform"]
    yield "float", _percent(found["float"]), size(data["float_size_mib"]), "32", ""
    result = data["allocation"]
    yield "allocated", _percent(found["allocated"]), *_costs(result)
    if uniform is None:
        yield "uniform", "-", "none fits", "", ""
        return
    yield "uniform", _percent(found["uniform"]), *_costs(uniform)
    if data["filled"] != uniform:
        yield "uniform, filled up", _percent(found["filled"]), *_costs(data["filled"])


def _costs(value: Mapping[str, Any]) -> tuple[str, str, str]:
    return size(value["size_mib"]), f"{value['mean_bits']:.2f}", number(value["giga_bops"], 4)


def _percent(share: float) -> str:
    return f"{share:.2%}"


def _error(data: Mapping[str, Any]) -> float:
    share, count = data["accuracy"]["allocated"], data["samples"]["test"]
    return 2 * (max(share * (1 - share), 1 / (4 * count)) / count) ** 0.5


def _limits(budget: Mapping[str, float]) -> str:
    units = {"size_mib": "", "giga_bops": " GBOPs", "mean_bits": " bits a weight"}
    return ", ".join(size(v) if k == "size_mib" else f"{v:.6g}{units[k]}" for k, v in budget.items())


def _proof(result: Mapping[str, Any]) -> str:
    if result["optimal"]:
        return f"proven: no bits within the budget score above {number(result['score'])} (integer program)"
    if result["method"] == "milp":
        return f"the integer program ran out of time: {number(result['score'])}, at most {number(result['bound'])}"
    return (
        f"the best of {result['evaluations']:,} configurations by evolution, {number(result['score'])}: "
        "the proxy is no sum over layers, so nothing is proven"
    )
