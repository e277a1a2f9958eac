"""The language as its docstrings say it, one layer, one bit-width, one number after the other: no rule, no cache."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from search_spaces.emq.language import Genome
from search_spaces.emq.operators import INPUTS
from search_spaces.emq.samples import Samples


class Value:
    """A matrix (rows, columns), or a scalar as (1, 1), with what it stands for."""

    def __init__(self, x: np.ndarray, kind: str, width: float, height: float) -> None:
        self.x, self.kind, self.width, self.height = np.asarray(x, float), kind, width, height

    def like(self, x: np.ndarray) -> Value:
        return Value(x, self.kind, self.width, self.height)

    @property
    def scale(self) -> float:
        return self.width / self.x.shape[1]


def scalar(x: float) -> Value:
    return Value(np.array([[x]]), "scalar", 1.0, 1.0)


def start(samples: Samples, word: str, layer: int, choice: int) -> Value:
    values = samples.values[word]
    row = values[choice if len(values) > 1 else 0]
    kind = INPUTS[word].kind
    if kind == "scalar":
        return scalar(float(row[layer]))
    layout = samples.layouts[kind]
    begin = int(sum(layout.rows[:layer] * layout.columns[:layer]))
    r, k = int(layout.rows[layer]), int(layout.columns[layer])
    return Value(
        row[begin : begin + r * k].reshape(r, k), kind, float(layout.width[layer]), float(layout.height[layer])
    )


def unary(op: str, v: Value, b: int) -> Value:
    x, n = v.x, v.x.size
    one = v.kind == "scalar"
    if op == "log":
        return v.like(np.array([[math.log(e + 1e-9) if e > 0 else 0.0 for e in row] for row in x]))
    if op == "abslog":
        return v.like(np.array([[math.log(abs(e)) if e != 0 else 0.0 for e in row] for row in x]))
    if op == "normalize":
        std = x.std(ddof=1) if n > 1 else 0.0
        return v.like((x - x.mean()) / std if std > 1e-12 * np.abs(x).max() else x * 0)
    if op == "frobenius_norm":
        return scalar(math.sqrt((x**2).mean() * (1.0 if one else v.height * v.width)))
    if op in ("normalized_sum", "to_mean_scalar"):
        return scalar(x.mean())
    if op == "l1_norm":
        return scalar(np.abs(x).mean())
    if op in ("softmax", "logsoftmax"):
        powers = np.exp(x - x.max(0))
        share = powers / powers.sum(0)
        return v.like(share if op == "softmax" else x - x.max(0) - np.log(powers.sum(0)))
    if op == "min_max_normalize":
        return v.like((x - x.min()) / (x.max() - x.min()) if x.max() - x.min() > 1e-12 * np.abs(x).max() else x * 0)
    if op in ("to_std_scalar", "to_var_scalar"):
        var = x.var(ddof=1) if n > 1 else 0.0
        var = 0.0 if math.sqrt(var) <= 1e-12 * np.abs(x).max() else var
        return scalar(var if op == "to_var_scalar" else math.sqrt(var))
    if op == "to_sum_scalar":
        return scalar(x.mean() * (1.0 if one else v.height * v.width))
    if op == "row_sum":
        return v if one else Value(x.sum(1, keepdims=True) * v.scale, v.kind + "/rows", 1.0, v.height)
    if op in ("quantize", "quantize_error"):
        if one:
            return v if op == "quantize" else v.like(x * 0)
        low, high = min(x.min(), 0.0), max(x.max(), 0.0)
        step = (high - low) / (2**b - 1)
        rounded = x
        if step > 0:
            zero = np.floor(-low / step + 0.5 + 1e-9)
            rounded = (np.clip(np.floor(x / step + 0.5 + 1e-9) + zero, 0, 2**b - 1) - zero) * step
        error = rounded - x
        error[np.abs(error) <= 1e-12 * np.abs(x).max()] = 0.0
        return v.like(rounded if op == "quantize" else error)
    if op == "p_dist":
        gaps = [np.linalg.norm(x[i] - x[j]) for i in range(len(x)) for j in range(i + 1, len(x))] or [0.0]
        return (
            scalar(0.0)
            if one
            else Value(np.array(gaps)[:, None] * math.sqrt(v.scale), v.kind + "/pairs", 1.0, len(gaps))
        )
    if op == "gram_matrix":
        return v.like(x * x) if one else Value(x @ x.T * v.scale, v.kind + "/gram", len(x), v.height)
    if op == "slogdet":
        return scalar(np.linalg.slogdet(x @ x.T / x.shape[1] + 1e-6 * np.eye(len(x)))[1])
    if op in ("to_min_scalar", "to_max_scalar"):
        return scalar(x.min() if op == "to_min_scalar" else x.max())
    if op == "to_sqrt_scalar":
        return scalar(math.sqrt(max(x.mean(), 0.0)))
    simple = {
        "abs": np.abs, "pow": lambda e: e * e, "exp": np.exp, "relu": lambda e: np.maximum(e, 0), "no_op": lambda e: e,
        "invert": lambda e: np.where(e < 0, -1.0, 1.0) / (np.abs(e) + 1e-9), "sigmoid": lambda e: 1 / (1 + np.exp(-e)),
        "sqrt": lambda e: np.sqrt(np.maximum(e, 0)), "revert": lambda e: -e, "times_bits": lambda e: e * b,
        "over_bits": lambda e: e / b, "times_2^-bits": lambda e: e / 2**b, "sign": np.sign,
        "swish": lambda e: e / (1 + np.exp(-e)), "mish": lambda e: e * np.tanh(np.log1p(np.exp(e))),
        "leaky_relu": lambda e: np.where(e >= 0, e, 0.1 * e),
    }  # fmt: skip
    return v.like(simple[op](x))


def mean(v: Value) -> Value:
    return scalar(v.x.mean())


def binary(op: str, a: Value, b: Value) -> Value:
    if a.kind != b.kind and "scalar" not in (a.kind, b.kind):
        a, b = mean(a), mean(b)
    wide = a if b.kind == "scalar" else b
    if op == "matmul":
        if "scalar" in (a.kind, b.kind):
            return wide.like(a.x * b.x)
        return Value(a.x @ b.x.T * a.scale, a.kind + "/gram", len(a.x), a.height)
    x, y = np.broadcast_arrays(a.x, b.x)
    elementwise = {
        "sum": np.add, "difference": np.subtract, "product": np.multiply, "mean": lambda p, q: (p + q) / 2,
        "lesser_than": np.less, "greater_than": np.greater, "equal_to": np.equal,
    }  # fmt: skip
    if op in elementwise:
        return wide.like(np.asarray(elementwise[op](x, y), float))
    if op == "hamming_distance":
        return scalar(float(np.mean(np.sign(x) != np.sign(y))))
    if op == "pairwise_distance":
        return scalar(np.mean([np.linalg.norm(p - q) for p, q in zip(x, y, strict=True)]) * math.sqrt(wide.scale))
    if op == "kl_divergence":

        def share(p: np.ndarray) -> np.ndarray:
            powers = np.exp(p - p.max())
            return powers / powers.sum()

        return scalar(np.mean([np.sum(share(p) * np.log(share(p) / share(q))) for p, q in zip(x, y, strict=True)]))
    if op == "cosine_similarity":
        return scalar(
            np.mean([p @ q / max(np.linalg.norm(p) * np.linalg.norm(q), 1e-9) for p, q in zip(x, y, strict=True)])
        )
    return scalar(float(np.mean((x - y) ** 2 if op == "mse_loss" else np.abs(x - y))))


def term(genome: Genome, samples: Samples, layer: int, choice: int) -> float:
    """What a layer adds at a bit-width."""
    b = samples.choices[choice]
    x = [start(samples, word, layer, choice) for word in genome.inputs]
    u = list(genome.unary)

    def chain(ops: Sequence[str], v: Value) -> Value:
        for op in ops:
            v = unary(op, v, b)
        return v

    if genome.structure == "linear":
        return float(chain(u, x[0]).x.mean())
    if genome.structure == "tree":
        joined = binary(genome.binary[0], chain(u[:2], x[0]), chain(u[2:], x[1]))
        return float(chain(genome.post, joined).x.mean())
    for _ in range(3):
        parts = [unary(u.pop(0), state, b) for state in x]
        total = parts[0]
        for part in parts[1:]:
            total = binary("sum", total, part)
        x = [*x, total]
    return float(sum(state.x.mean() for state in x[2:]))


def scores(genome: Genome, samples: Samples, places: np.ndarray) -> np.ndarray:
    """(m,) scores of configurations, the sign as it is."""
    layers, choices = len(samples.layers), len(samples.choices)
    with np.errstate(all="ignore"):
        table = np.array([[term(genome, samples, layer, c) for layer in range(layers)] for c in range(choices)])
        if genome.aggregation in ("parameters", "macs"):
            table = table * samples.values[genome.aggregation]
        terms = table[places, np.arange(layers)]
        return terms.max(1) if genome.aggregation == "max" else terms.mean(1)
