"""Training-free metrics of the 871 distinct cells of TransNAS-Bench-101 micro, on live networks; makes its table.

    python -m benchmarks.robot_tnb101_metrics [OUT.csv]       # goes on where it was; 20 minutes on a quiet core

The public tables hold most metrics for some cells or tasks alone. These are of the cells as networks (`SKELETON`) on
64 images of Fashion-MNIST, once and for all tasks: nothing of a task enters them.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

DATA = Path(__file__).resolve().parent / "data"
OUT = DATA / "tnb101_micro_live.csv"
METRICS = (
    "params", "flops", "grad_norm", "snip", "grasp", "fisher", "synflow", "jacov", "naswot", "l2_norm", "plain",
    "epe_nas", "zen", "meco", "zico", "swap",
)  # fmt: skip
BATCH = 64
SEED = 0


def simplest() -> dict[str, tuple[str, ...]]:
    """By canonical form, the simplest cell's operations."""
    from search_spaces.robot.architectures.canonical import classes
    from search_spaces.robot.architectures.tnb101 import NAMES

    return {form: members[0] for form, members in classes(NAMES, "strict").items()}


def forms(architectures: Sequence[str]) -> list[str]:
    """Canonical forms of NASLib's tuples, as the table of this module names them."""
    from search_spaces.robot.architectures.canonical import canonical_form
    from search_spaces.robot.architectures.tnb101 import CODE

    return [canonical_form(CODE.operations(CODE.from_naslib(text)), "strict") for text in architectures]


def measure(operations: Sequence[str]) -> Mapping[str, float]:
    """The metrics of one cell, initial weights from `SEED`."""
    from proxies.network import score
    from search_spaces.robot.architectures.networks import Skeleton, network
    from search_spaces.robot.benchmark.images import images

    pictures = images("shipped", side=28, train=BATCH, validation=1, test=1)
    skeleton = Skeleton(channels=16, cells=2, stages=3, inputs=1, stem_stride=2)
    return score(network(operations, skeleton, seed=SEED), (pictures.train, pictures.train_labels), METRICS, seed=SEED)


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    out.parent.mkdir(parents=True, exist_ok=True)
    done: set[str] = set()
    if out.exists():
        whole = [line for line in out.read_text().splitlines(keepends=True) if line.endswith("\n")]
        out.write_text("".join(whole))
        done = {row["form"] for row in csv.DictReader(whole)}
    cells = simplest()
    with out.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not done:
            writer.writerow(["form", *METRICS])
        for number, (form, operations) in enumerate(cells.items(), 1):
            if form in done:
                continue
            found = measure(operations)
            writer.writerow([form, *("" if found[m] != found[m] else f"{found[m]:.9g}" for m in METRICS)])
            file.flush()
            print(f"{number} of {len(cells)}", end="\r", flush=True)
    print(f"{out}: {len(cells)} cells")


if __name__ == "__main__":
    main()
