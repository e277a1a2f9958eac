"""What our own searches found: each module as `evo refine` exported it, and beside it the evidence that it wrote.

- `momentum_orthogonalized`: `configs/discovery.yaml` (seed 2026, 20,000 proposals), then `evo refine` with its
  defaults. Orthogonalised momentum, four statements, one state, no weight decay. The warm start held Muon, so this is
  a simplification of a known idea, found and tested automatically, not a new principle. How it does on held-out tasks
  beside tuned baselines stands in docs/lion.md.
"""
