"""What builders of benchmarks share.

`journal.py` (results kept line by line, through any kill), `workers.py` (tasks in processes), `session.py` (one process
a folder, one thread of torch), `files.py` (files written whole), `pictures.py` (images as networks take them),
`errors.py`.
"""
