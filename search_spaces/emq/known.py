"""Proxies that are known, as genomes: seeds for a search that asks for them, and proof that the language has them."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.emq.language import Genome, by_index


def _tree(a: str, of_a: tuple[str, str], b: str, of_b: tuple[str, str], binary: str, post: tuple[str, str],
          aggregation: str = "mean") -> Genome:  # fmt: skip
    return Genome("corrected", "tree", (a, b), (*of_a, *of_b), (binary,), post, aggregation)


def _linear(word: str, op: str, aggregation: str = "mean") -> Genome:
    return Genome("corrected", "linear", (word,), (op, "no_op", "no_op", "no_op"), (), (), aggregation)


_N = ("no_op", "no_op")

KNOWN: Mapping[str, Genome] = {
    "hawq_v2": _tree("hessian_trace", _N, "weight_error", ("pow", "no_op"), "product", _N),
    "fisher": _tree("output_gradient", _N, "output_error", _N, "product", ("pow", "to_sum_scalar")),
    "first_order": _tree("output_gradient", _N, "output_error", _N, "product", ("row_sum", "pow")),
    "output_error": _linear("output_error", "pow"),
    "margin_flips": _linear("margin_change", "pow", "flips"),
    "weight_error": Genome(
        "corrected", "linear", ("weight_error",), ("pow", "no_op", "no_op", "no_op"), (), (), "parameters"
    ),
    "sqrt_bits": Genome("corrected", "linear", ("bits",), ("sqrt", "no_op", "no_op", "no_op")),
    "size": Genome("corrected", "linear", ("bits",), ("no_op", "no_op", "no_op", "no_op"), (), (), "parameters"),
}
"""Mode "corrected".

hawq_v2: sum_l tr_l / n_l ||Q(W_l) - W_l||^2 (Dong et al., NeurIPS 2020). fisher: sum_l E[|dL/dz_l * dz_l|^2], the
output error weighted by the Fisher information's diagonal (BRECQ, ICLR 2021, equation 10). first_order:
sum_l E[(dL/dz_l . dz_l)^2], the squared change of the loss to first order. margin_flips, ours: the share of samples
that keep their class where each layer's change of the margin, to first order, is the deviation of an independent error.
"""

RELEASED: Mapping[str, Genome] = {
    "released_a": by_index(("virtual_gradient", "weight"), [[1, 11], [6, 14], 2]),
    "released_b": by_index(("weight", "weight"), [[14, 6], [4, 2], 1]),
    "released_c": by_index(("weight", "weight"), [[2, 14], [4, 14], 0]),
}
"""The genotypes in EMQ's repository, mode "as-released"."""
