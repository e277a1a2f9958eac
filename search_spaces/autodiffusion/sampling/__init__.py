"""Sampling from a diffusion model with many schedules at once.

`solvers.py` (a solver as numbers), `noise.py` (common random numbers), `masks.py` (blocks that are skipped), `trie.py`
(a population whose schedules share their beginnings).
"""
