"""Finding a proxy by its name, by the path of a file, or by "module:attr". Imports neither torch nor numpy until then.

A proxy is an object with `name`, `needs` (the groups of statistics it reads) and
`scores(statistics, configs) -> (n,) float64`, larger for the configuration with the better predicted accuracy; or a
plain function `score(model, bits, batch) -> float`. A file that `evo export` wrote becomes an `ExportedProxy`; those
in the folder `proxies/discovered` are known by their names. Further names come from the entry point group
`evo.proxies`.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
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

DISCOVERED = Path(__file__).parent / "discovered"
"""Files that `evo export` wrote, found by our own searches; each is a proxy of the file's name."""


@dataclass(frozen=True, slots=True)
class ExportedProxy:
    """A Python file with `score(model, bits, batch)`, as a proxy; call it as that function.

    Attributes:
        name: the file's, without its ending.
        path: of the file.
        score: (model, bits, batch) or (model, bits, batch, labels) -> a number, larger is better.
        table: (model, batch, choices, layers) or (..., labels) -> {layer: {bits: part of the score}}, whose sum over
            layers is the score; None where the file has none: the proxy is not additive.
        score_all: (model, configurations, batch) or (..., labels) -> numbers: many at the price of one; None where the
            file has none.
    """

    name: str
    path: Path
    score: Callable[..., float]
    table: Callable[..., Mapping[str, Mapping[int, float]]] | None
    score_all: Callable[..., Sequence[float]] | None = None

    def __call__(self, model: Any, bits: Mapping[str, int], batch: Any, *labels: Any) -> float:
        """The score of one configuration of a model on a batch; without labels, of the model's own predictions."""
        return self.score(model, bits, batch, *labels)


def proxy_names() -> tuple[str, ...]:
    """Names of the proxies that are there: hand-made, discovered and installed, sorted."""
    return tuple(sorted({*BUILT_IN, *discovered_names(), *_installed()}))


def discovered_names() -> tuple[str, ...]:
    """Names of the files in `proxies/discovered`, sorted."""
    return tuple(sorted(path.stem for path in DISCOVERED.glob("*.py") if not path.stem.startswith("_")))


def load_proxy(spec: str) -> Any:
    """The proxy of a name.

    Args:
        spec: one of `proxy_names()`, the path of an exported file ("found.py"), or "module:attr".

    Returns:
        an object with `name`, `needs` and `scores`, an `ExportedProxy`, or a function `score(model, bits, batch)`.

    Raises:
        UnknownProxyError: nothing answers to the name, it cannot be imported, or what it names is none of these.
    """
    if spec.endswith(".py"):
        return _of_file(spec, Path(spec).expanduser())
    if spec not in BUILT_IN and spec in discovered_names():
        return _of_file(spec, DISCOVERED / f"{spec}.py")
    target = BUILT_IN.get(spec) or _installed().get(spec) or spec
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        names = proxy_names()
        close = difflib.get_close_matches(spec, names, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}; or give module:attr, or a file"
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


def _of_file(spec: str, path: Path) -> ExportedProxy:
    if not path.is_file():
        raise UnknownProxyError(f"there is no file {path}", "`evo export RUN CANDIDATE -o FILE` writes one")
    # one module a file and content: a file that was written anew is another proxy
    digest = hashlib.sha256(path.resolve().as_posix().encode() + b"\n" + path.read_bytes()).hexdigest()
    name = f"proxies._file_{digest[:32]}"
    module = sys.modules.get(name) or _executed(spec, name, path)
    score, table = getattr(module, "score", None), getattr(module, "table", None)
    if not callable(score) or not (table is None or callable(table)):
        raise UnknownProxyError(
            f"{path} has no function score(model, bits, batch)", "give a file that `evo export` wrote"
        )
    score_all = getattr(module, "score_all", None)
    return ExportedProxy(path.stem, path, score, table, score_all if callable(score_all) else None)


def _executed(spec: str, name: str, path: Path) -> ModuleType:
    source = importlib.util.spec_from_file_location(name, path)
    if source is None or source.loader is None:
        raise UnknownProxyError(f"{path} is no Python file", "give a file that `evo export` wrote")
    module = importlib.util.module_from_spec(source)
    sys.modules[name] = module  # dataclasses look their module up while it is executed
    try:
        source.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UnknownProxyError(f"proxy {spec!r}: running {path} failed: {type(error).__name__}: {error}") from error
    return module


def _installed() -> dict[str, str]:
    return {point.name: point.value for point in importlib.metadata.entry_points(group=GROUP)}
