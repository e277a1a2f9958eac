"""Typed straight-line programs: representation, types, liveness, algebra, canonical form, mutation, source, lowering.

A search space brings an operator table and a signature (`Language`); everything else is here.
"""

from evo.program.algebra import Identity, Level
from evo.program.canonical import canonical
from evo.program.ir import Instruction, Program
from evo.program.language import Language, Operator, Signature, Type, operator_table
from evo.program.liveness import live, live_slots
from evo.program.lower import Lowered, lower
from evo.program.mutate import Mutator
from evo.program.options import MutationOptions
from evo.program.simplify import simplify
from evo.program.source import render, statements

__all__ = [
    "Identity",
    "Instruction",
    "Language",
    "Level",
    "Lowered",
    "MutationOptions",
    "Mutator",
    "Operator",
    "Program",
    "Signature",
    "Type",
    "canonical",
    "live",
    "live_slots",
    "lower",
    "operator_table",
    "render",
    "simplify",
    "statements",
]
