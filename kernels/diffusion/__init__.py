"""One step of many diffusion samplers at once: each row of a batch has its own solver, noise level and history.

A deterministic solver in data prediction is linear in what it has seen. With x the network's input, e its output and
h_1 .. h_s what the solver remembers (earlier predictions, an earlier sample):

    m = clip(p x + q e)                          the predicted image
    (x', h'_1 .. h'_s) = C (x, m, h_1 .. h_s)    the next input and the next memory

`advance` does that for every row in one pass, with p, q and C of each row. The paths: advance.c over c_path.py,
reference.py (torch, any device, the definition), triton_path.py. Sums run in the order above, in float32, so that the
paths on a CPU agree to the bit and a row's result cannot depend on its company.
"""

from kernels.diffusion.advancing import advance

__all__ = ["advance"]
