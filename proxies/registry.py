"""Finding a proxy by its name or by "module:attr". Imports neither torch nor numpy until a proxy is loaded.

A proxy is an object with `name`, `needs` (the groups of statistics it reads) and
`scores(statistics, configs) -> (n,) float64`, larger for the configuration with the better predicted accuracy; or a
plain function `score(model, bits, batch) -> float`, which is what an exported proxy is. Further names come
from the entry point group `evo.proxies`.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
from typing import Any

from proxies.errors import UnknownProxyError

GROUP = "evo.proxies"

_HANDMADE = "proxies.quantization.handmade"
BUILT_IN = {
    "bit_sum": f"{_HANDMADE}:BIT_SUM",
    "sqrt_bits": f"{_HANDMADE}:SQRT_BITS",
    "bparams": f"{_HANDMADE}:BPARAMS",
    "bops": f"{_HANDMADE}:BOPS",
    "hawq": f"{_HANDMADE}:HAWQ",
    "hawq_v2": f"{_HANDMADE}:HAWQ_V2",
    "hawq_v2_released": f"{_HANDMADE}:HAWQ_V2_RELEASED",
    "ompq": f"{_HANDMADE}:OMPQ",
    "qe": f"{_HANDMADE}:QE",
    "snip": f"{_HANDMADE}:SNIP",
    "synflow": f"{_HANDMADE}:SYNFLOW",
}
"""Name to "module:attr" of the hand-made proxies."""


def proxy_names() -> tuple[str, ...]:
    """Names of the proxies that are there: built in and installed, sorted."""
    return tuple(sorted({*BUILT_IN, *_installed()}))


def load_proxy(spec: str) -> Any:
    """The proxy of a name.

    Args:
        spec: one of `proxy_names()`, or "module:attr".

    Returns:
        an object with `name`, `needs` and `scores`, or a function `score(model, bits, batch)`.

    Raises:
        UnknownProxyError: nothing answers to the name, it cannot be imported, or what it names is neither.
    """
    target = BUILT_IN.get(spec) or _installed().get(spec) or spec
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        names = proxy_names()
        close = difflib.get_close_matches(spec, names, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}; or give module:attr"
        raise UnknownProxyError(f"no proxy is called {spec!r}", hint)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise UnknownProxyError(
            f"proxy {spec!r}: importing {module_name} failed: {type(error).__name__}: {error}",
            "check the name and the import roots (PYTHONPATH)",
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UnknownProxyError(f"proxy {spec!r}: {module_name} has no attribute {attribute!r}")
        found = getattr(found, part)
    if isinstance(found, type) or not (callable(getattr(found, "scores", None)) or callable(found)):
        raise UnknownProxyError(
            f"proxy {spec!r} is {found!r}, which is no proxy",
            "name an object with scores(statistics, configs), or a function score(model, bits, batch)",
        )
    return found


def _installed() -> dict[str, str]:
    return {point.name: point.value for point in importlib.metadata.entry_points(group=GROUP)}
