"""NAS-Bench-201's cells: values, and the encodings that benchmarks write them in.

A cell is the tuple of its operations' places in `NAMES`, edges in the order of the benchmark's string:

    |avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|
      0->1             0->2           1->2              0->3           1->3           2->3

NASLib's tuples have the edges (01, 02, 03, 12, 13, 23) and the operations (skip, none, 3x3, 1x1, pool).
"""

from __future__ import annotations

from search_spaces.robot.architectures.cells import CellCode

NAMES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The operations, in the order of the authors' code."""
NASLIB = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
"""The operations in the order of NASLib's codes."""

CODE = CellCode("nb201", NAMES, NASLIB, naslib_edges=((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)))
"""15,625 cells."""
