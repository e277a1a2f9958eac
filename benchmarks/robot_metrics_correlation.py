"""How metrics rank the cells of the shipped benchmark: `python -m benchmarks.robot_metrics_correlation`.

Spearman correlation of each training-free metric with trained validation accuracy, mean over batches and seeds, with
bootstrap intervals over cells, on the short and the long schedule; beside it the noise (how one training ranks as
another does), the correlation of one batch's value, agreement between batches, and the processor time. Cells are of
different functions, one of each drawn class, so that no metric gains by telling redundant cells from others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.common import environment, write
from search_spaces.robot.benchmark.names import DATA
from search_spaces.robot.benchmark.summary import summarised


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=DATA, help="a build's folder [the shipped one]")
    parser.add_argument("--output", default="robot_metrics_correlation", help="name of the result")
    given = parser.parse_args()
    found = summarised(given.folder)
    print(found.text)
    assert isinstance(found.data, dict)
    data = {name: value for name, value in found.data.items() if name != "folder"}
    print(write(given.output, {**environment(["torch", "numpy"]), **data}))


if __name__ == "__main__":
    main()
