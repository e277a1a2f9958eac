"""Finding a search space by name, building it from plain options, and telling whether two machines hold the same code.

A space is named by an entry point of the group `evo.spaces` ("lion") or by "module:attr". This module imports
neither torch, ray, numpy nor pydantic; a space's own module may.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from evo.codebase import PROJECT_PACKAGES, numeric_backend, package_folders, source_digest
from evo.errors import ConfigError, UnknownSpaceError
from evo.options import did_you_mean, from_json
from evo.space import SearchSpace

GROUP = "evo.spaces"

_REQUIRED = ("sample", "mutate", "canonical", "evaluator", "encode", "decode")


def space_names() -> tuple[str, ...]:
    """Names of the installed spaces, sorted."""
    return tuple(sorted({point.name for point in importlib.metadata.entry_points(group=GROUP)}))


def resolve_space(spec: str) -> str:
    """The "module:attr" form of a spec, which a machine without the entry points understands too.

    Raises:
        UnknownSpaceError: `spec` has no colon and no entry point of that name exists.
    """
    if ":" in spec:
        return spec
    found = sorted(point.value for point in importlib.metadata.entry_points(group=GROUP) if point.name == spec)
    if found:
        return found[0]
    names = space_names()
    hint = did_you_mean(spec, names) or f"known: {', '.join(names) or 'none'}; or give module:attr"
    raise UnknownSpaceError(f"no search space is called {spec!r}", hint)


def load_space_class(spec: str) -> type[Any]:
    """The class of a space.

    Args:
        spec: an entry point's name, or "module:attr".

    Raises:
        UnknownSpaceError: nothing answers to the name, it cannot be imported, or it is no search space.
    """
    target = resolve_space(spec)
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise UnknownSpaceError(f"{spec!r} is no space's name", "give an installed name, or module:attr")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(missing + "."):
            raise UnknownSpaceError(
                f"space {spec!r}: there is no module {missing!r}", "check the name and the import roots (PYTHONPATH)"
            ) from error
        raise UnknownSpaceError(f"space {spec!r}: importing {module_name} failed: {error}", "install it") from error
    except Exception as error:
        raise UnknownSpaceError(
            f"space {spec!r}: importing {module_name} failed: {type(error).__name__}: {error}",
            f"try `python -c 'import {module_name}'`",
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UnknownSpaceError(
                f"space {spec!r}: {module_name} has no attribute {attribute!r}", did_you_mean(part, dir(found))
            )
        found = getattr(found, part)
    if not isinstance(found, type):
        raise UnknownSpaceError(f"space {spec!r} is {found!r}, not a class", "name the space's class")
    lacking = [name for name in _REQUIRED if not callable(getattr(found, name, None))]
    if lacking:
        raise UnknownSpaceError(
            f"space {spec!r}: {found.__name__} lacks {', '.join(lacking)}", "derive it from evo.space.BaseSpace"
        )
    return found


def build_space(spec: str, options: Mapping[str, Any]) -> SearchSpace[Any]:
    """A space with its options: `load_space_class(spec)(Options(**options))`, lists and objects coerced to the
    tuples and nested dataclasses that the fields' annotations ask for.

    Raises:
        UnknownSpaceError: see `load_space_class`.
        ConfigError: an unknown key, a missing one, or a value of the wrong type; the message names its path.
    """
    space_class = load_space_class(spec)
    options_class = getattr(space_class, "Options", None)
    if options_class is None or not dataclasses.is_dataclass(options_class):
        raise ConfigError(f"space {spec!r}: {space_class.__name__}.Options is not a dataclass")
    return typing.cast("SearchSpace[Any]", space_class(from_json(options_class, options, "space.options")))


def import_roots_of(space: str) -> tuple[str, ...]:
    """The directories that a worker needs on `sys.path` to import a space beside the installed packages.

    Empty for an installed space and for the project's own; the directory that holds its top-level package otherwise.
    """
    top = resolve_space(space).partition(":")[0].partition(".")[0]
    folders = package_folders([top])
    if top not in folders:
        return ()
    parent = folders[top].parent
    installed = "site-packages" in parent.parts or "dist-packages" in parent.parts
    return () if installed or top in PROJECT_PACKAGES else (str(parent),)


def code_digest(space: str | SearchSpace[Any], import_roots: Sequence[str]) -> str:
    """Digest of the source that an evaluation of this space may run; see `evo.codebase.source_digest`.

    Args:
        space: the space, or its spec.
        import_roots: directories as in `EvaluatorRecipe.import_roots`.
    """
    module = resolve_space(space).partition(":")[0] if isinstance(space, str) else type(space).__module__
    return source_digest(module, import_roots)


def worker_fingerprint(space: str | SearchSpace[Any], import_roots: Sequence[str]) -> str:
    """What a worker must share with the driver, as readable "key=value" pairs: code digest and numeric backend.

    The driver puts it into `EvaluatorRecipe.fingerprint`; each worker computes its own and is refused if it differs.
    """
    entries = {"code": code_digest(space, import_roots), **dict(numeric_backend())}
    return " ".join(f"{key}={value}" for key, value in sorted(entries.items()))
