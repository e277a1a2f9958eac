"""The command line `evo`: one file a verb, imported when that verb is called.

Verbs that only read (`list`, `show`, `watch`, `spaces`, `compare`) import neither ray, torch, numpy nor pydantic.
"""
