"""evo: evolutionary AutoML search with functional-equivalence caching.

    from evo import Search
    result = Search("lion", budget={"wall": "3m"}).run()

Importing this package costs nothing: names load on use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evo.run.reader import RunReader as RunReader
    from evo.search import RunResult as RunResult
    from evo.search import Search as Search

__all__ = ["RunReader", "RunResult", "Search"]
_WHERE = {"RunReader": "evo.run.reader", "RunResult": "evo.search", "Search": "evo.search"}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        import importlib

        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'evo' has no attribute {name!r}")
