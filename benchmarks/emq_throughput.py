"""Proxies scored a second: ours beside the loop of EMQ's released code, on the same statistics, in one run.

    python -m benchmarks.emq_throughput                  # 100,000 proxies, the loop on a few: a few minutes
    python -m benchmarks.emq_throughput --proxies 2000   # quick

Random trees of mode "as-released" on the shipped residual network (whole tensors, nothing sampled) score all
configurations of its table. The loop does what the released code does, statistics given: for each configuration, each
layer, each operator one torch call. Ours evaluates each sub-program once. Both give the same scores; the largest
relative difference is printed. Ours is also timed with nothing remembered before, and for mode "corrected".
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

from benchmarks.common import environment, table, write
from proxies.quantization import gather
from search_spaces.emq.benchmark.loading import load
from search_spaces.emq.benchmark.pretrained import batch, network
from search_spaces.emq.evaluator import scored
from search_spaces.emq.expression import Expression, expression
from search_spaces.emq.known import RELEASED
from search_spaces.emq.language import Genome
from search_spaces.emq.operators import BINARY, UNARY
from search_spaces.emq.scoring import places_of, raw_scores
from search_spaces.emq.statistics import gather_samples
from search_spaces.emq.tables import Tables
from search_spaces.emq.variation import Variation
from tests.search_spaces.emq import released_loop

BLOCK = 64
"""Proxies a call, as in a search."""
CHECKED = 2
"""Configurations on which the scores of both are compared."""


def tensor_lists(model: Any, images: Any, labels: Any) -> dict[str, list[torch.Tensor]]:
    """What the released code lists: convolutions in the model's order, gradients reversed."""
    found = gather(model, images, labels, collect=("activations", "gradients", "virtual_gradients"))
    layers = [layer for layer in found if layer.shape.kind == "conv2d"]
    return {
        "activation": [layer.output for layer in layers],
        "weight": [layer.weight for layer in layers],
        "weight_gradient": [layer.gradient for layer in layers][::-1],
        "virtual_gradient": [layer.virtual_gradient for layer in layers][::-1],
    }


def drawn(mode: str, count: int, seed: int) -> list[Genome]:
    """Trees that are not rejected unseen."""
    draws, rng, found = Variation(mode, "base", ("tree",), 0.25), np.random.default_rng(seed), []  # type: ignore[arg-type]
    while len(found) < count:
        genome = draws.sample(rng)
        if expression(genome).term is not None:
            found.append(genome)
    return found


def ours(tables: Tables, genomes: list[Genome], places: np.ndarray) -> float:
    """Processor seconds a proxy, from genomes to screened and rounded scores."""
    began = time.process_time()
    for first in range(0, len(genomes), BLOCK):
        part: list[Expression] = [expression(genome) for genome in genomes[first : first + BLOCK]]
        scored(tables, part, places)
    return (time.process_time() - began) / len(genomes)


def loop(lists: dict[str, list[torch.Tensor]], genomes: list[Genome], bits: np.ndarray) -> tuple[float, np.ndarray]:
    """Processor seconds a proxy, scaled to all configurations, and the scores (proxies, rows given)."""
    scores = np.empty((len(genomes), len(bits)))
    began = time.process_time()
    for row, genome in enumerate(genomes):
        u = [UNARY.index(word) for word in genome.unary]
        genotype = [u[:2], u[2:], BINARY.index(genome.binary[0])]
        inputs = [lists[word] for word in genome.inputs]
        for column, config in enumerate(bits.tolist()):
            scores[row, column] = released_loop.tree_score(inputs, genotype, config)
    return (time.process_time() - began) / len(genomes), scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--proxies", type=int, default=100_000, help="proxies that ours scores; of mode corrected a fifth"
    )
    parser.add_argument("--loop-proxies", type=int, default=12, help="proxies that the loop scores")
    parser.add_argument("--loop-rows", type=int, default=8, help="configurations of each that the loop really does")
    parser.add_argument("--table", default="resnet", help="whose configurations; of the residual network")
    parser.add_argument("--output", default="emq_throughput", help="name of the file under benchmarks/results")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = load(given.table)
    model, (images, labels) = network("resnet"), batch("resnet")
    gathered = gather_samples(model, images, labels, data.layers, data.choices, None)
    sampled = gather_samples(model, images, labels, data.layers, data.choices, 2048)
    places, bits = places_of(data.bits, data.choices), np.asarray(data.bits, np.int64)
    lists = tensor_lists(model, images, labels)

    some = [RELEASED["released_a"], *drawn("as-released", given.loop_proxies - 1, 1)]
    seconds, _ = loop(lists, some, bits[: given.loop_rows])
    slow = seconds * len(bits) / given.loop_rows
    # the released code sums in float32, which ours does not: the same loop in float64 says whether the two agree
    _, expected = loop({word: [t.double() for t in found] for word, found in lists.items()}, some, bits[:CHECKED])
    tables = Tables(gathered)
    found = np.stack([raw_scores(tables.table(expression(g))[None], places[:CHECKED], ["mean"])[0] for g in some])
    found /= tables.pairs(True)
    both = np.isfinite(found) & np.isfinite(expected)
    apart = float((np.abs(found - expected)[both] / np.maximum(np.abs(expected[both]), 1e-6)).max())

    many = drawn("as-released", given.proxies, 2)
    lines = [["loop of torch operators", f"{len(some)}", f"{1e6 * slow:,.0f}", f"{1 / slow:,.2f}", "1"]]
    results: dict[str, Any] = {"loop": slow, "difference": apart, "rows": len(bits)}
    fresh = Tables(gathered)
    for name, where, genomes in (
        ("ours, as released, whole tensors", fresh, many),
        ("the same, sub-programs known", fresh, many),
        ("ours, corrected, samples of 2048", Tables(sampled), drawn("corrected", given.proxies // 5, 3)),
    ):
        fast = ours(where, genomes, places)
        lines.append([name, f"{len(genomes):,}", f"{1e6 * fast:,.1f}", f"{1 / fast:,.0f}", f"{slow / fast:,.0f}"])
        results[name] = fast
    header = ["contender", "proxies", "cpu us a proxy", "proxies a cpu s", "times the loop"]
    print(table(header, lines))
    print(f"{len(bits)} configurations each. The loop did {given.loop_rows} of them and is scaled up.")
    print(f"Largest relative difference between its scores, in float64, and ours: {apart:.1e}")
    path = write(given.output, {**environment(("numpy", "torch")), "settings": vars(given), "results": results})
    print(f"written to {path}")


if __name__ == "__main__":
    main()
