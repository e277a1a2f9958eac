"""Accuracy under a budget, by who gives the layers their bits: `python -m benchmarks.emq_allocation`.

Contenders at each budget (bits a weight, on average): found proxies (`proxies/discovered`, or --found), HAWQ-V2, OMPQ,
each by integer programming on the same 64 training images; the most uniform bits that fit, as they are and filled up
(layer by layer the next higher bits while the budget lasts); and the best of 400 random configurations that fill the
budget, chosen by accuracy on selection images. Every contender is then measured on the other test images, with the same
calibration seeds, none of which chose anything. Weights are rounded to nearest; --norms estimates batch normalisations
anew, which lifts all and leaves less between them.

Intervals: 95 %, by a bootstrap over test images and calibration seeds together; differences from HAWQ-V2 and from
uniform bits are paired, image by image and seed by seed. A found proxy was searched on accuracies of the ResNet's test
images (other configurations, other calibration seeds): the MobileNet is the one that nothing was searched on.

With --work, what was measured is kept and a run that was stopped goes on. --reuse takes the random configurations
that an earlier result of the same settings had chosen, which is most of the work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import dataclasses  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.common import environment, table, write  # noqa: E402
from proxies import load_proxy  # noqa: E402
from proxies.quantization import layer_shapes  # noqa: E402
from proxies.quantization.allocation import (  # noqa: E402
    Budget,
    allocate,
    filled_uniform,
    problem,
    scorer,
    uniform_bits,
)
from proxies.quantization.allocation.variation import Variation  # noqa: E402
from proxies.registry import discovered_names  # noqa: E402
from search_spaces.emq.benchmark import batch, network  # noqa: E402
from search_spaces.emq.benchmark.images import Images, images  # noqa: E402
from search_spaces.emq.benchmark.measuring import Meter, Protocol, Weights, nearest_weights  # noqa: E402

CHOICES = (2, 3, 4, 8)
SELECTION_SEED, FIRST_SEED = 1_000, 2_000
"""Calibration seeds far from those of the shipped tables."""
CHUNK = 500


class Bench:
    """One network with its test images parted for selection and for the report.

    Args:
        name: of a shipped network.
        pictures: its images.
        selection: share of the test images that selection sees.
        norms: whether batch normalisations are estimated anew.
        work: folder where measurements are kept; None: nowhere.
    """

    def __init__(
        self, name: str, pictures: Images, selection: float, norms: bool = False, work: Path | None = None
    ) -> None:
        self._stated, self._work = f"{name} {pictures.source} {selection} {norms}", work
        order = np.random.default_rng(0).permutation(len(pictures.test_labels))
        cut = int(selection * len(order))
        protocol = Protocol(CHOICES, norms=norms)
        self.model = network(name)
        self.weights: Weights = nearest_weights(self.model, protocol)
        self.meters = {
            part: Meter(self.model, _part(pictures, rows), protocol)
            for part, rows in (("selection", order[:cut]), ("report", order[cut:]))
        }
        self.labels = {"selection": pictures.test_labels[order[:cut]], "report": pictures.test_labels[order[cut:]]}
        self.images = {"selection": pictures.test[order[:cut]], "report": pictures.test[order[cut:]]}

    def correct(self, bits: Mapping[str, int], part: str, seed: int) -> np.ndarray:
        """(images,) bool: which ones the quantized network gets right."""
        row = [bits[name] for name in self.meters[part].names]
        stated = hashlib.sha256(f"{self._stated} {part} {seed} {row}".encode()).hexdigest()[:32]
        kept = None if self._work is None else self._work / f"{stated}.npy"
        if kept is not None and kept.is_file():
            known: np.ndarray = np.load(kept)
            return known
        pictures = self.images[part].contiguous(memory_format=torch.channels_last)
        with self.meters[part].quantized(row, self.weights, seed) as model, torch.no_grad():
            found = torch.cat([model(chunk).argmax(1) for chunk in pictures.split(CHUNK)])
        right: np.ndarray = (found == self.labels[part]).numpy()
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            partial = kept.with_suffix(".partial.npy")
            np.save(partial, right)
            partial.replace(kept)
        return right


def _part(pictures: Images, rows: np.ndarray) -> Images:
    return dataclasses.replace(pictures, test=pictures.test[rows], test_labels=pictures.test_labels[rows])


def measured(name: str, given: argparse.Namespace, pictures: Images) -> list[dict[str, Any]]:
    """One line a budget and contender."""
    bench = Bench(name, pictures, given.selection, given.norms, given.work)
    inputs, labels = batch(name, 64)
    names = list(bench.meters["report"].names)
    shapes = layer_shapes(bench.model, inputs, names)
    scorers = {
        word: scorer(bench.model, load_proxy(word), inputs, targets=labels, layers=names, bits=CHOICES)
        for word in (*given.found, *given.proxies)
    }
    lines = []
    for mean_bits in given.budgets:
        budget = Budget(mean_bits=mean_bits)
        posed = problem(shapes, budget, CHOICES)
        chosen: dict[str, Any] = {"uniform": uniform_bits(posed), "uniform, filled up": filled_uniform(posed)}
        notes: dict[str, Any] = {}
        for word, found in scorers.items():
            result = allocate(found, budget, choices=CHOICES)
            chosen[word] = result.bits
            notes[word] = {"method": result.method, "optimal": result.optimal, "score": result.score}
        if given.reuse is not None:
            chosen |= reused(given, name, mean_bits)
        else:
            rng = np.random.default_rng(given.seed)
            drawn = np.unique(Variation(posed, filled=1.0).random(given.random, rng), axis=0)
            configs = [posed.config(row) for row in drawn]
            seen = np.array([bench.correct(row, "selection", SELECTION_SEED).mean() for row in configs])
            chosen[f"best of {given.random} random"] = configs[int(seen.argmax())]
            chosen["median random"] = configs[int(np.argsort(seen, kind="stable")[len(seen) // 2])]
        right = {
            contender: np.array([bench.correct(row, "report", FIRST_SEED + s) for s in range(given.seeds)])
            for contender, row in chosen.items()
            if row is not None  # not even the fewest bits fit
        }
        for contender, values in right.items():
            costs = posed.costs_of(posed.places(chosen[contender]))
            lines.append(
                {
                    "network": name, "budget": mean_bits, "contender": contender, "accuracy": float(values.mean()),
                    "interval": interval(values), "seeds": values.mean(1).tolist(), **costs,
                    "over_uniform": difference(values, right.get("uniform")),
                    "over_hawq_v2": difference(values, right.get("hawq_v2")) if contender != "hawq_v2" else None,
                    "bits": dict(chosen[contender]),
                    **notes.get(contender, {}),
                }
            )  # fmt: skip
            print(_shown(lines[-1]), flush=True)
    return lines


def reused(given: argparse.Namespace, network_name: str, mean_bits: float) -> dict[str, Any]:
    """The random configurations that an earlier result of the same settings had chosen.

    Raises:
        SystemExit: its settings are others.
    """
    earlier = json.loads(given.reuse.read_text())
    for key in ("random", "selection", "seed", "norms"):
        if earlier["settings"][key] != getattr(given, key):
            raise SystemExit(f"{given.reuse} is a result of --{key} {earlier['settings'][key]}")
    wanted = (f"best of {given.random} random", "median random")
    found = {
        line["contender"]: line["bits"]
        for line in earlier["lines"]
        if line["network"] == network_name and line["budget"] == mean_bits and line["contender"] in wanted
    }
    if set(found) != set(wanted):
        raise SystemExit(f"{given.reuse} has no random configurations of {network_name} at {mean_bits:g} bits")
    return found


def interval(values: np.ndarray, resamples: int = 2000) -> list[float]:
    """95 % of the mean of values (seeds, images), both resampled."""
    rng = np.random.default_rng(0)
    seeds, count = values.shape
    means = np.empty(resamples)
    for number in range(resamples):
        by_image = values[rng.integers(seeds, size=seeds)].mean(0)
        means[number] = by_image[rng.integers(count, size=count)].mean()
    return [float(x) for x in np.quantile(means, (0.025, 0.975))]


def difference(values: np.ndarray, base: np.ndarray | None) -> dict[str, Any] | None:
    """Mean of the paired difference, and its interval; None without a base."""
    if base is None:
        return None
    paired = values.astype(np.float64) - base
    return {"mean": float(paired.mean()), "interval": interval(paired)}


HEADER = ("network, bits a weight, bits by", "KiB", "accuracy %", "95 %", "over HAWQ-V2", "95 %")


def _shown(line: dict[str, Any]) -> tuple[str, ...]:
    over = line["over_hawq_v2"]
    return (
        f"{line['network']}, {line['budget']:g}, {line['contender']}", f"{line['size_mib'] * 1024:.1f}",
        f"{100 * line['accuracy']:.2f}", "{:.2f} to {:.2f}".format(*(100 * x for x in line["interval"])),
        "" if over is None else f"{100 * over['mean']:+.2f}",
        "" if over is None else "{:+.2f} to {:+.2f}".format(*(100 * x for x in over["interval"])),
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run it and write benchmarks/results/emq_allocation.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--found", nargs="*", default=list(discovered_names()), help="proxies: names or exported files")
    parser.add_argument("--proxies", nargs="*", default=["hawq_v2", "ompq"])
    parser.add_argument("--networks", nargs="+", default=["resnet", "mobilenet"])
    parser.add_argument("--budgets", nargs="+", type=float, default=[2.5, 3.0, 4.0], help="bits a weight")
    parser.add_argument("--random", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=5, help="calibration seeds of the report")
    parser.add_argument("--selection", type=float, default=0.2, help="share of the test images")
    parser.add_argument("--norms", action="store_true", help="estimate batch normalisations anew")
    parser.add_argument("--source", help="Fashion-MNIST: shipped, or where it is [the whole set if it is there]")
    parser.add_argument("--seed", type=int, default=0, help="of the random configurations")
    parser.add_argument("--reuse", type=Path, help="an earlier result, whose random configurations are taken")
    parser.add_argument("--work", type=Path, help="folder where measurements are kept, to go on with")
    parser.add_argument("--output", default="emq_allocation")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    pictures = images(given.source)
    lines = [line for name in given.networks for line in measured(name, given, pictures)]
    print(table(HEADER, [_shown(line) for line in lines]))
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(given).items()}
    result = {**environment(("numpy", "scipy", "torch")), "settings": settings, "data": pictures.source}
    print("written:", write(given.output, {**result, "lines": lines}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
