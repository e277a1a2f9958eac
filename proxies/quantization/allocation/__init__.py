"""Bits for each layer under a budget: exact for additive proxies, by evolution for others; applied and measured.

found = allocate(model, "0.12MiB", "hawq_v2", batch=images, fixed=ends(["conv1", ..., "fc"]))
small = quantize(model, found.bits, images)
accuracy(small, test_images, test_labels)
front = pareto_front(model, "hawq_v2", batch=images)
"""

from proxies.quantization.allocation.allocate import allocate, ends, filled_uniform, pareto_front, uniform_bits
from proxies.quantization.allocation.apply import QuantizeOptions, accuracy, correct, quantize, with_estimated_norms
from proxies.quantization.allocation.budget import Budget
from proxies.quantization.allocation.evolution import EvolutionOptions, evolve
from proxies.quantization.allocation.exact import Solution, solve
from proxies.quantization.allocation.problem import InfeasibleBudgetError, Problem, problem
from proxies.quantization.allocation.result import Allocation
from proxies.quantization.allocation.scorer import Scorer, scorer

__all__ = [
    "Allocation",
    "Budget",
    "EvolutionOptions",
    "InfeasibleBudgetError",
    "Problem",
    "QuantizeOptions",
    "Scorer",
    "Solution",
    "accuracy",
    "allocate",
    "correct",
    "ends",
    "evolve",
    "filled_uniform",
    "pareto_front",
    "problem",
    "quantize",
    "scorer",
    "solve",
    "uniform_bits",
    "with_estimated_norms",
]
