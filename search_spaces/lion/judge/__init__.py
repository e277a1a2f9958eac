"""Judging optimizers as AlgoPerf would (Dahl et al. 2023, arXiv:2306.07179): held-out tasks, tuned baselines, targets.

`session` runs a judgement from tuning to verdict; `tasks` are the held-out tasks, `subjects` who is judged, `training`
one run, `runs` the store of runs, `statistics` the measures, `results` what is made of them.
"""
