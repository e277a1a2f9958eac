"""One allocation from request to result: proxy, bits, quantized models, their accuracies, the front."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from evo.errors import UsageError
from evo.space import Judgement
from proxies.errors import ProxyError
from proxies.quantization import PLAIN, BitConfig, CostRule, layer_shapes, quantizable
from proxies.quantization.allocation import (
    Allocation,
    Budget,
    Problem,
    QuantizeOptions,
    Scorer,
    correct,
    ends,
    filled_uniform,
    pareto_front,
    problem,
    quantize,
    scorer,
    uniform_bits,
)
from proxies.quantization.allocation import allocate as allocated
from search_spaces.emq.allocate.figures import figures
from search_spaces.emq.allocate.proxy import proxy_of
from search_spaces.emq.allocate.request import Request, request_of
from search_spaces.emq.allocate.subject import Subject, subject_of
from search_spaces.emq.allocate.text import text_of

FLOAT_BITS = 32
"""What inputs that stay float count for in bit operations."""
STEPS = 5


def allocate(settings: Mapping[str, Any], folder: Path, progress: Callable[[int, int, str], None]) -> Judgement:
    """Bits of each layer under a budget, and what they are worth.

    Args:
        settings: see `Request`.
        folder: where the exported file of a run's candidate goes.
        progress: called with (done, total, what).

    Raises:
        UsageError: the request, the model, the data or the proxy do not fit; the budget is below the least possible.
    """
    request = request_of(settings)
    try:
        return _allocate(request, folder, progress)
    except ProxyError as error:
        raise UsageError(error.message, error.hint) from error


def _allocate(request: Request, folder: Path, progress: Callable[[int, int, str], None]) -> Judgement:
    budget = Budget.parse(request.budget)
    proxy, name = proxy_of(request.proxy, folder, request.runs_dir)
    progress(0, STEPS, "model and data")
    subject = subject_of(request.model, request.data, request.calibration)
    batch, labels = subject.inputs[: request.batch], subject.labels[: request.batch]
    layers = list(quantizable(subject.model, request.layers))
    fixed = {**(ends(layers) if request.fix_ends else {}), **request.fixed}
    choices = tuple(sorted(set(request.choices)))
    common: dict[str, Any] = {"choices": choices, "fixed": fixed, "activation_bits": _counted(request)}
    # before anything dear: what cannot be satisfied is refused at once
    shapes = layer_shapes(subject.model, batch, layers)
    posed = problem(shapes, budget, choices, fixed, _rule(request))
    progress(1, STEPS, f"proxy {name} on {len(batch)} samples")
    found = scorer(
        subject.model, proxy, batch, labels=labels, layers=layers, bits=sorted({*choices, *fixed.values()}),
        seed=request.seed,
    )  # fmt: skip
    progress(2, STEPS, "allocation")
    result = allocated(found, budget, method=request.method, seed=request.seed, **common)
    rivals = {"uniform": uniform_bits(posed), "filled": filled_uniform(posed)}
    progress(3, STEPS, "accuracies")
    measured = _accuracies(subject, request, result.bits, rivals)
    progress(4, STEPS, "front")
    by = "giga_bops" if budget.size_mib is None and budget.mean_bits is None else "size_mib"
    front = (
        pareto_front(found, points=request.front, by=by, method=request.method, seed=request.seed, **common)  # type: ignore[arg-type]
        if request.front
        else ()
    )
    data = _data(request, subject, posed, found, result, rivals, measured, front, by)
    progress(STEPS, STEPS, "done")
    return Judgement(text_of(data), data, tuple(figures(data)))


def _rule(request: Request) -> CostRule:
    return replace(PLAIN, activation_bits=_counted(request))


def _counted(request: Request) -> int:
    return FLOAT_BITS if request.activation_bits is None else request.activation_bits


def _accuracies(
    subject: Subject, request: Request, bits: BitConfig, rivals: Mapping[str, BitConfig | None]
) -> dict[str, float | None]:
    """Of the float model, with the allocated bits, and with each rival's ("uniform": the most uniform bits within the
    budget; "filled": those, and the budget spent); and what the allocated ones have over each rival ("over_..."), with
    twice the standard error of the paired difference. None where a rival does not exist."""
    options = QuantizeOptions(
        activation_bits=request.activation_bits, adaround=request.adaround, finetune=request.finetune,
        batch_norm=request.batch_norm, seed=request.seed,
    )  # fmt: skip

    def right(config: Mapping[str, int] | None) -> torch.Tensor:
        made = subject.model
        if config is not None:
            made = quantize(subject.model, config, subject.inputs, subject.labels, options)
        return correct(made, subject.test_inputs, subject.test_labels).double()

    measured = {bits: right(bits)}
    allocated = measured[bits]
    found: dict[str, float | None] = {"float": float(right(None).mean()), "allocated": float(allocated.mean())}
    for name, rival in rivals.items():
        found |= {name: None, f"over_{name}": None, f"over_{name}_error": None}
        if rival is not None:
            if rival not in measured:
                measured[rival] = right(rival)
            gain = allocated - measured[rival]
            error = 2 * float(gain.std(correction=0)) / len(gain) ** 0.5
            found |= {
                name: float(measured[rival].mean()),
                f"over_{name}": float(gain.mean()),
                f"over_{name}_error": error,
            }
    return found


def _data(
    request: Request,
    subject: Subject,
    posed: Problem,
    found: Scorer,
    result: Allocation,
    rivals: Mapping[str, BitConfig | None],
    measured: Mapping[str, float | None],
    front: tuple[Allocation, ...],
    by: str,
) -> dict[str, Any]:
    weights = {shape.name: shape.weights for shape in posed.shapes}
    stored = {name: weights[name] * result.bits[name] for name in weights}
    total = sum(stored.values())
    level = {b: BitConfig({**BitConfig.uniform(found.names, b), **(result.fixed or {})}) for b in result.choices}
    scores = found.scores(posed.configs([posed.places(config) for config in level.values()]))  # type: ignore[arg-type]
    return {
        "allocation": result.to_json(),
        "layers": [
            {
                "name": shape.name,
                "kind": shape.kind,
                "parameters": shape.weights,
                "macs": shape.macs,
                "bits": result.bits[shape.name],
                "fixed": shape.name in (result.fixed or {}),
                "share": stored[shape.name] / total,
            }
            for shape in posed.shapes
        ],
        **{
            name: None if config is None else {"bits": dict(config), **_costs(posed, config)}
            for name, config in rivals.items()
        },
        "uniform_levels": [
            {"bits": b, "score": float(score), **_costs(posed, config)}
            for (b, config), score in zip(level.items(), scores, strict=True)
        ],
        "float_size_mib": sum(weights.values()) * FLOAT_BITS / 8 / 2**20,
        "accuracy": dict(measured),
        "front": [{"score": a.score, by: getattr(a, by), "bits": dict(a.bits), "optimal": a.optimal} for a in front],
        "front_by": by,
        "model": subject.name,
        "data": subject.source,
        "samples": {"calibration": len(subject.labels), "test": len(subject.test_labels), "use": subject.use},
        "request": asdict(request),
        "versions": {"torch": torch.__version__},
    }


def _costs(posed: Problem, config: BitConfig) -> dict[str, float]:
    return posed.costs_of(posed.places(config))
