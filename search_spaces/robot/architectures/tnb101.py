"""TransNAS-Bench-101's micro space: NAS-Bench-201's cells without pooling.

Duan et al., "TransNAS-Bench-101" (CVPR 2021), section 3.1. Its string is "64-41414-A_BC_DEF", each letter the place of
an edge's operation in `NAMES`; edges in the order of that string, which is also the order of NASLib's tuples of it.
"""

from __future__ import annotations

from search_spaces.robot.architectures.cells import CellCode
from search_spaces.robot.architectures.networks import EDGES

NAMES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")
"""The operations by their digit."""

CODE = CellCode("tnb101-micro", NAMES, NAMES, naslib_edges=EDGES)
"""4,096 cells."""
