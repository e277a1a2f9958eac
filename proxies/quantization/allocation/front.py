"""Trade-offs: the configurations that no other beats in both score and cost."""

from __future__ import annotations

import numpy as np

from proxies.errors import ProxyError
from proxies.quantization.allocation.budget import Budget
from proxies.quantization.allocation.evolution import EvolutionOptions, Score, Scores
from proxies.quantization.allocation.exact import Solution, solve
from proxies.quantization.allocation.problem import Problem, total
from proxies.quantization.allocation.variation import Variation
from proxies.quantization.costs import MIB


def exact_front(problem: Problem, table: np.ndarray, points: int, by: str) -> list[Solution]:
    """The best configurations of an additive proxy at evenly spaced budgets, dominated ones left out.

    Args:
        problem: its own budget is not looked at.
        table: (layers, columns), as in `solve`.
        points: budgets, from the least possible to the most.
        by: "size_mib" or "giga_bops": the cost.
    """
    costs = costs_by(problem, by)
    least = int(total(costs, problem.smallest()[None])[0])
    most = int(np.where(problem.allowed, costs, -1).max(1).sum())
    unit = MIB if by == "size_mib" else 10**9
    found = []
    for limit in np.linspace(least, most, points).round().astype(np.int64):
        bounded = Problem(problem.shapes, problem.bits, problem.allowed, problem.rule, Budget(**{by: limit / unit}))
        found.append(solve(bounded, table))
    kept = undominated(np.array([s.score for s in found]), np.array([total(costs, s.places[None])[0] for s in found]))
    return [found[place] for place in kept]


def evolved_front(
    problem: Problem, score: Score, points: int, by: str, options: EvolutionOptions = EvolutionOptions()
) -> list[Solution]:
    """The same for any proxy by NSGA-II (Deb et al., 2002): nothing is proven.

    Args:
        problem: its own budget is not looked at.
        score: as in `evolve`.
        points: of the front at most, spread over the costs; the ends are kept.
        by: the cost.
        options: effort and seed.
    """
    free = Problem(problem.shapes, problem.bits, problem.allowed, problem.rule, None)
    rng, costs = np.random.default_rng(options.seed), costs_by(problem, by)
    # without a budget, filling would make every child the largest configuration
    vary, scores = Variation(free, filled=0.0), Scores(free, score, options.evaluations)
    people, values = scores(np.concatenate([vary.first(options.population // 2, rng), _ladder(vary, rng, options)]))
    idle, size = 0, options.population
    best = _front_key(values, total(costs, people))
    while idle < options.patience and scores.left > 0:
        order = _by_rank(values, total(costs, people))
        people, values = people[order[:size]], values[order[:size]]
        pairs = rng.integers(len(people), size=(2, size, 2)).min(2)  # sorted best first: the smaller place wins
        before = scores.count
        children, found = scores(vary.children(people[pairs[0]], people[pairs[1]], rng))
        people, values = np.concatenate([people, children]), np.concatenate([values, found])
        first = np.sort(np.unique(people, axis=0, return_index=True)[1])
        people, values = people[first], values[first]
        now = _front_key(values, total(costs, people))
        idle, best = (idle + 1, best) if now == best else (0, now)
        if scores.count == before and not vary.many:
            break
    people, values = _explored(people, values, costs, vary, scores)
    spent = total(costs, people)
    kept = [place for place in undominated(values, spent) if values[place] > -np.inf]
    if not kept:
        raise ProxyError("the proxy scores no configuration with a number", "check the model and the batch")
    chosen = _spread(spent[kept], points)
    return [Solution(people[kept[i]], float(values[kept[i]]), False, float("nan"), scores.count) for i in chosen]


def _explored(
    people: np.ndarray, values: np.ndarray, costs: np.ndarray, vary: Variation, scores: Scores
) -> tuple[np.ndarray, np.ndarray]:
    """With what lies a change or an exchange from the front, until nothing there is new or evaluations run out."""
    explored: set[bytes] = set()
    while scores.left > 0:
        front = people[undominated(values, total(costs, people))]
        unseen = [place for place in front if place.tobytes() not in explored]
        if not unseen:
            break
        explored |= {place.tobytes() for place in unseen}
        for place in unseen:
            around, found = scores(vary.neighbours(place))
            people, values = np.concatenate([people, around]), np.concatenate([values, found])
        kept = undominated(values, total(costs, people))
        people, values = people[kept], values[kept]
    return people, values


def costs_by(problem: Problem, by: str) -> np.ndarray:
    """(layers, columns) int64: what "size_mib" or "giga_bops" counts, in bits or bit operations."""
    if by not in ("size_mib", "giga_bops"):
        raise ProxyError(f"there is no cost {by!r}", "size_mib or giga_bops")
    return problem.sizes() if by == "size_mib" else problem.operations()


def undominated(scores: np.ndarray, costs: np.ndarray) -> list[int]:
    """Places of the points (n,) that none beats (more score at no more cost), by rising cost; of equals the first."""
    kept: list[int] = []
    for place in np.lexsort((-scores, costs)).tolist():
        if not kept or scores[place] > scores[kept[-1]]:
            kept.append(place)
    return kept


def _by_rank(scores: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Order by front, and within a front by crowding distance, the lonely first."""
    left, order = np.arange(len(scores)), []
    while len(left):
        front = left[undominated(scores[left], costs[left])]
        order.append(front[np.argsort(-_crowding(scores[front], costs[front]), kind="stable")])
        left = np.setdiff1d(left, front)
    return np.concatenate(order)


def _crowding(scores: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Of points sorted by cost: the sides of the box between the neighbours; infinite at the ends."""
    found = np.full(len(scores), np.inf)
    if len(scores) > 2:
        with np.errstate(invalid="ignore"):
            score, cost = np.abs(scores[2:] - scores[:-2]), (costs[2:] - costs[:-2]).astype(np.float64)
            spread = abs(scores[-1] - scores[0]) or 1.0
            found[1:-1] = np.nan_to_num(score / spread, nan=0.0) + cost / max(float(costs[-1] - costs[0]), 1.0)
    return found


def _front_key(scores: np.ndarray, costs: np.ndarray) -> tuple:
    kept = undominated(scores, costs)
    return tuple(zip(costs[kept].tolist(), scores[kept].tolist(), strict=True))


def _spread(costs: np.ndarray, points: int) -> list[int]:
    """At most so many places of ascending costs: for evenly spaced costs the nearest."""
    if len(costs) <= points:
        return list(range(len(costs)))
    wanted = np.linspace(costs[0], costs[-1], points)
    return sorted({int(np.abs(costs - value).argmin()) for value in wanted})


def _ladder(vary: Variation, rng: np.random.Generator, options: EvolutionOptions) -> np.ndarray:
    """Random configurations of every size: the share of raised layers grows from row to row."""
    count, smallest = options.population // 2, vary.problem.smallest()
    drawn = np.stack([rng.choice(o, count) for o in vary.options], 1).reshape(count, len(vary.options))
    raised = rng.random(drawn.shape) < np.linspace(0, 1, count)[:, None]
    return np.where(raised, drawn, smallest)
