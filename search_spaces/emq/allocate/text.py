"""What the terminal shows of an allocation: layers and their bits, sizes and accuracies, and what is proven."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evo.cli.text import number, table

KIB = 1024


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
        f"accuracy on {data['samples']['test']:,} samples that nothing was fitted on, "
        f"+-{_error(data):.2%} (two standard errors); {data['data']}",
        _proof(result),
    ]
    over, error = data["accuracy"]["over_uniform"], data["accuracy"]["over_uniform_error"]
    if over is not None:
        parts[3] += f"\nallocated over uniform bits, sample by sample: {over:+.2%} +-{error:.2%}"
    return "\n\n".join(parts)


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
    else:
        yield "uniform", _percent(found["uniform"]), *_costs(uniform)


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
