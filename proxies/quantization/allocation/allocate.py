"""Allocation: given a model, a budget and a proxy, the bits of each layer that score best within the budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from proxies.errors import ProxyError
from proxies.quantization.allocation.budget import Budget
from proxies.quantization.allocation.evolution import EvolutionOptions, evolve
from proxies.quantization.allocation.exact import Solution, solve
from proxies.quantization.allocation.front import evolved_front, exact_front
from proxies.quantization.allocation.problem import Problem, problem
from proxies.quantization.allocation.result import Allocation, finite_or_none
from proxies.quantization.allocation.scorer import Scorer, scorer
from proxies.quantization.bits import BitConfig
from proxies.quantization.costs import PLAIN, CostRule
from proxies.quantization.hessian import HessianOptions
from proxies.quantization.layers import Batch
from proxies.quantization.scoring import one_of
from proxies.quantization.statistics import Statistics
from proxies.quantization.uniform import WeightScheme

COSTLY_EVALUATIONS = 500
"""Of a proxy whose every score takes a pass of the model."""
Method = Literal["auto", "milp", "evolution"]


def allocate(
    subject: nn.Module | Statistics | Scorer,
    budget: Budget | str | dict[str, float],
    proxy: Any = "hawq_v2",
    *,
    batch: Batch | None = None,
    labels: Tensor | None = None,
    layers: Sequence[str] | None = None,
    choices: Sequence[int] = (2, 3, 4, 8),
    fixed: Mapping[str, int] | None = None,
    activation_bits: int | None = None,
    rule: CostRule = PLAIN,
    method: Method = "auto",
    evolution: EvolutionOptions | None = None,
    time_limit: float | None = None,
    scheme: WeightScheme = WeightScheme(),
    hessian: HessianOptions = HessianOptions(),
    seed: int = 0,
    targets: Tensor | None = None,
) -> Allocation:
    """The bits that score best within a budget.

        allocate(model, "0.12MiB", "hawq_v2", batch=images, fixed=ends(model)).bits

    Args:
        subject: a model, statistics that hold what the proxy needs, or a scorer (which has its proxy already).
        budget: a `Budget`, text such as "0.12MiB", "1.5GBOPs" or "3bits", or a mapping of a `Budget`'s fields.
        proxy: a name, a path of an exported file, "module:attr", a proxy, or a function score(model, bits, batch).
        batch: what a model is called with.
        labels: of the batch, (samples,); None for the model's own predictions.
        layers: the layers; None for all Conv2d and Linear.
        choices: bits that a layer may have.
        fixed: layer to bits that it has in any case.
        activation_bits: for counting operations; None for what the rule says.
        rule: what counts as parameters and operations.
        method: "milp" for additive proxies alone: exact; "evolution" for any; "auto": milp where it can.
        evolution: its effort and seed; None: 20,000 evaluations, or 500 where each takes a pass of the model.
        time_limit: seconds of the integer program; None: until it is proven.
        scheme, hessian, seed: as in `gather`.
        targets: another name of `labels`.

    Raises:
        InfeasibleBudgetError: no configuration fits; it states the smallest budget that one does.
        ProxyError: a budget that cannot be read, milp asked for a proxy that is no sum; see also `scorer`.
        BitConfigError: fixed bits of what is no layer, bits out of range.
    """
    limit = Budget.of(budget)
    found = _scorer(subject, proxy, batch, one_of(labels, targets), layers, choices, fixed, scheme, hessian, seed)
    posed = problem(found.shapes, limit, choices, fixed, _counted(rule, activation_bits))
    if _exact(found, method):
        assert found.table is not None
        solution, how = solve(posed, found.table(posed.bits), time_limit), "milp"
    else:
        solution, how = evolve(posed, found.scores, evolution or _effort(found, seed)), "evolution"
    return _allocation(posed, solution, how, found.name, choices, fixed)


def pareto_front(
    subject: nn.Module | Statistics | Scorer,
    proxy: Any = "hawq_v2",
    *,
    points: int = 25,
    by: Literal["size_mib", "giga_bops"] = "size_mib",
    batch: Batch | None = None,
    labels: Tensor | None = None,
    layers: Sequence[str] | None = None,
    choices: Sequence[int] = (2, 3, 4, 8),
    fixed: Mapping[str, int] | None = None,
    activation_bits: int | None = None,
    rule: CostRule = PLAIN,
    method: Method = "auto",
    evolution: EvolutionOptions | None = None,
    scheme: WeightScheme = WeightScheme(),
    hessian: HessianOptions = HessianOptions(),
    seed: int = 0,
    targets: Tensor | None = None,
) -> tuple[Allocation, ...]:
    """The proxy's best scores against the cost, by rising cost; no point beats another in both.

    Additive proxies by an integer program at each of `points` evenly spaced budgets (every point is exact), others by
    NSGA-II. Arguments and errors as `allocate`'s, and:

    Args:
        points: at most so many.
        by: the cost.
    """
    if points < 2:
        raise ProxyError(f"a front of {points} points is none", "give 2 or more")
    found = _scorer(subject, proxy, batch, one_of(labels, targets), layers, choices, fixed, scheme, hessian, seed)
    posed = problem(found.shapes, None, choices, fixed, _counted(rule, activation_bits))
    if _exact(found, method):
        assert found.table is not None
        solutions, how = exact_front(posed, found.table(posed.bits), points, by), "milp"
    else:
        solutions, how = evolved_front(posed, found.scores, points, by, evolution or _effort(found, seed)), "evolution"
    return tuple(_allocation(posed, solution, how, found.name, choices, fixed) for solution in solutions)


def uniform_bits(problem: Problem) -> BitConfig | None:
    """The most bits, of those to choose from, that all layers which are not fixed can have within the budget; None
    where not even the fewest fit."""
    free = problem.allowed.sum(1) > 1
    columns = np.flatnonzero(problem.allowed[free].all(0)) if free.any() else np.array([0])
    for column in columns[::-1]:
        places = np.where(free, column, problem.smallest())
        if bool(problem.fits(places[None])[0]):
            return problem.config(places)
    return None


def filled_uniform(problem: Problem) -> BitConfig | None:
    """The same, and what uniform bits leave of the budget spent: the layers that are not fixed, in the model's order,
    at the next higher bits where that still fits. What an allocation is fairly held against; None as `uniform_bits`."""
    start = uniform_bits(problem)
    if start is None:
        return None
    places = problem.places(start)
    for layer in np.flatnonzero(problem.allowed.sum(1) > 1):
        higher = np.flatnonzero(problem.allowed[layer, places[layer] + 1 :])
        if len(higher):
            raised = places.copy()
            raised[layer] += 1 + higher[0]
            places = raised if bool(problem.fits(raised[None])[0]) else places
    return problem.config(places)


def ends(names: Sequence[str], bits: int = 8) -> dict[str, int]:
    """The first and the last layer at these bits, for `fixed`: what most methods leave alone."""
    names = list(names)
    if not names:
        raise ProxyError("there is no layer to fix", "give the names of the layers")
    return {names[0]: bits, names[-1]: bits}


def _scorer(
    subject: nn.Module | Statistics | Scorer,
    proxy: Any,
    batch: Batch | None,
    labels: Tensor | None,
    layers: Sequence[str] | None,
    choices: Sequence[int],
    fixed: Mapping[str, int] | None,
    scheme: WeightScheme,
    hessian: HessianOptions,
    seed: int,
) -> Scorer:
    if isinstance(subject, Scorer):
        return subject
    return scorer(
        subject, proxy, batch, labels=labels, layers=layers, bits=sorted({*choices, *(fixed or {}).values()}),
        scheme=scheme, hessian=hessian, seed=seed,
    )  # fmt: skip


def _exact(found: Scorer, method: str) -> bool:
    if method not in ("auto", "milp", "evolution"):
        raise ProxyError(f"there is no method {method!r}", "auto, milp or evolution")
    if method == "milp" and found.table is None:
        raise ProxyError(
            f"proxy {found.name} is no sum over layers, which integer programming needs", "method='evolution'"
        )
    return method != "evolution" and found.table is not None


def _effort(found: Scorer, seed: int) -> EvolutionOptions:
    options = EvolutionOptions(seed=seed)
    return dataclasses.replace(options, evaluations=COSTLY_EVALUATIONS, population=16) if found.costly else options


def _counted(rule: CostRule, activation_bits: int | None) -> CostRule:
    return rule if activation_bits is None else dataclasses.replace(rule, activation_bits=activation_bits)


def _allocation(
    posed: Problem, solution: Solution, how: str, name: str, choices: Sequence[int], fixed: Mapping[str, int] | None
) -> Allocation:
    return Allocation(
        bits=posed.config(solution.places),
        score=solution.score,
        **posed.costs_of(solution.places),
        method=how,
        optimal=solution.optimal,
        bound=finite_or_none(solution.bound),
        evaluations=solution.evaluations,
        proxy=name,
        budget=posed.budget,
        choices=tuple(sorted({int(value) for value in choices})),
        fixed=BitConfig(fixed) if fixed else None,
    )
