"""Functional equivalence: which candidates compute the same function, and what is known of that function.

`digest` turns behaviour into keys, `index` holds millions of them, `identify` gives candidates their function ids,
`cache` shares observations between runs, `audit` compares stored values with re-evaluated ones.
"""

from evo.equivalence.audit import Audit, agrees, relative_difference
from evo.equivalence.cache import Added, Published, SharedCache, Stored
from evo.equivalence.digest import digests
from evo.equivalence.identify import INVALID_FUNCTION, Identifier, Identity, IdentityCounts
from evo.equivalence.index import FunctionIndex

__all__ = [
    "INVALID_FUNCTION",
    "Added",
    "Audit",
    "FunctionIndex",
    "Identifier",
    "Identity",
    "IdentityCounts",
    "Published",
    "SharedCache",
    "Stored",
    "agrees",
    "digests",
    "relative_difference",
]
