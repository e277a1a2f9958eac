"""Finding a search space by name, building it from plain options, and telling whether two machines hold the same code.

A space is named by an entry point of the group `evo.spaces` ("lion") or by "module:attr". This module imports
neither torch, ray, numpy nor pydantic; a space's own module may.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from evo.errors import ConfigError, UnknownSpaceError
from evo.space import SearchSpace

GROUP = "evo.spaces"

PROJECT_PACKAGES = ("evo", "search_spaces", "proxies", "kernels")
"""First-party packages: their code reaches every worker and counts in `code_digest`."""

_ENGINE_PARTS = ("space.py", "seeds.py", "registry.py", "executors", "program")
"""The parts of `evo` that a worker runs; a change in the report or the command line leaves a run's workers alone."""

_CODE_SUFFIXES = frozenset({".py", ".pyx", ".c", ".h", ".cc", ".cpp", ".cu"})
_SKIPPED = frozenset({"__pycache__", "node_modules"})
_NO_MODULES = _SKIPPED | {"build", "dist", "runs"}
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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names the closest of `known`, or the empty string."""
    close = difflib.get_close_matches(name, [k for k in known if not k.startswith("__")], n=1)
    return f"did you mean {close[0]!r}?" if close else ""


# Options: JSON to dataclasses -----------------------------------------------------------------------------------


def from_json(annotation: Any, value: Any, where: str = "value") -> Any:
    """`value`, made of JSON types, as an instance of `annotation`.

    Handles dataclasses, tuples, lists, mappings, literals, unions and the scalars; an int passes for a float.

    Args:
        annotation: a type annotation, evaluated.
        value: JSON data; instances of the wanted dataclass pass through.
        where: the path for messages.

    Raises:
        ConfigError: it does not fit.
    """
    if annotation is Any:
        return value
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
        hint = did_you_mean(value, [a for a in arguments if isinstance(a, str)]) if isinstance(value, str) else ""
        choices = ", ".join(map(repr, arguments))
        raise ConfigError(f"{where} is {value!r}, not one of {choices}", hint)
    if origin in (Union, types.UnionType):
        return _from_union(arguments, value, where)
    if origin is typing.Annotated:
        return from_json(arguments[0], value, where)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return _from_object(annotation, value, where)
    container = origin or annotation
    if container is tuple:
        return _from_sequence(arguments, value, where)
    if isinstance(container, type) and container not in (str, bytes) and issubclass(container, (list, Sequence)):
        items = _items(value, where)
        inner = arguments[0] if arguments else Any
        return [from_json(inner, item, f"{where}[{i}]") for i, item in enumerate(items)]
    if isinstance(container, type) and issubclass(container, (dict, Mapping)):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} is {value!r}, not a mapping")
        inner = arguments[1] if len(arguments) == 2 else Any
        return {key: from_json(inner, item, f"{where}.{key}") for key, item in value.items()}
    return _from_scalar(annotation, value, where)


def _from_scalar(annotation: Any, value: Any, where: str) -> Any:
    if annotation is None or annotation is types.NoneType:
        if value is None:
            return None
    elif annotation is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif annotation is int and isinstance(value, bool):
        pass  # True is an int to Python, not to a person who writes a configuration.
    elif isinstance(annotation, type) and isinstance(value, annotation):
        return value
    wanted = "null" if annotation in (None, types.NoneType) else getattr(annotation, "__name__", str(annotation))
    raise ConfigError(f"{where} is {value!r}, not {wanted}")


def _from_union(members: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and types.NoneType in members:
        return None
    failures = []
    for member in members:
        if member is types.NoneType:
            continue
        try:
            return from_json(member, value, where)
        except ConfigError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    raise ConfigError(f"{where} fits none of its types: {'; '.join(error.message for error in failures)}")


def _items(value: Any, where: str) -> Sequence[Any]:
    if isinstance(value, (list, tuple)):
        return value
    raise ConfigError(f"{where} is {value!r}, not a list")


def _from_sequence(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    items = _items(value, where)
    if not arguments:
        return tuple(items)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(from_json(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(items))
    if len(items) != len(arguments):
        raise ConfigError(f"{where} has {len(items)} items, not {len(arguments)}")
    pairs = zip(arguments, items, strict=True)
    return tuple(from_json(inner, item, f"{where}[{i}]") for i, (inner, item) in enumerate(pairs))


def _from_object(cls: type[Any], value: Any, where: str) -> Any:
    if isinstance(value, cls):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} is {value!r}, not a mapping")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in value:
        if key not in fields:
            hint = did_you_mean(str(key), fields) or f"known: {', '.join(fields) or 'none'}"
            raise ConfigError(f"unknown key {where}.{key}", hint)
    hints = typing.get_type_hints(cls)
    arguments = {key: from_json(hints[key], item, f"{where}.{key}") for key, item in value.items()}
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in arguments:
            raise ConfigError(f"{where}.{name} is missing")
    try:
        return cls(**arguments)
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{where}: {error}") from error


# Code: which files, and their digest ----------------------------------------------------------------------------


def package_folders(module_names: Iterable[str]) -> dict[str, Path]:
    """Where the top-level modules live, by name: a package's folder or a module's file; what is absent is left out.

    Nothing is imported.
    """
    found: dict[str, Path] = {}
    for name in sorted({module.partition(".")[0] for module in module_names}):
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            continue
        if spec is None:
            continue
        if spec.submodule_search_locations:
            found[name] = Path(next(iter(spec.submodule_search_locations)))
        elif spec.origin and spec.origin.endswith(".py"):
            found[name] = Path(spec.origin)
    return found


def files_below(path: Path, code_only: bool) -> Iterator[Path]:
    """Files of a package's folder (or the one file), sorted; hidden folders, caches and virtual environments are
    left out.

    Args:
        path: a folder or a file.
        code_only: source files alone; otherwise data files too.
    """
    if path.is_file():
        yield path
        return
    for folder, folders, names in os.walk(path):
        if "pyvenv.cfg" in names:
            folders.clear()
            continue
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _SKIPPED)
        for name in sorted(names):
            suffix = os.path.splitext(name)[1]
            if not name.startswith(".") and (suffix in _CODE_SUFFIXES if code_only else suffix != ".pyc"):
                yield Path(folder, name)


def root_modules(root: Path) -> dict[str, Path]:
    """The modules and packages that lie directly in an import root, by file name."""
    found: dict[str, Path] = {}
    if not root.is_dir():
        return found
    for entry in sorted(root.iterdir()):
        if entry.name.startswith(".") or entry.name in _NO_MODULES:
            continue
        if (entry.is_dir() and (entry / "__init__.py").is_file()) or (entry.is_file() and entry.suffix == ".py"):
            found[entry.name] = entry
    return found


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


def local_paths() -> list[str]:
    """This process's `sys.path` less the interpreter's own directories: what a worker on this machine needs too."""
    own = [os.path.realpath(path) for path in (sys.prefix, sys.base_prefix)]
    return [
        path
        for path in (os.path.realpath(entry or os.getcwd()) for entry in sys.path)
        if os.path.isdir(path) and not any(path == root or path.startswith(root + os.sep) for root in own)
    ]


def code_digest(space: str | SearchSpace[Any], import_roots: Sequence[str]) -> str:
    """Digest of the source that an evaluation may run: the space's own package, `kernels`, `proxies`, the part of
    `evo` that workers use, and the modules directly in the import roots. It depends on names below each root and on
    contents, not on where the roots lie.

    Args:
        space: the space, or its spec.
        import_roots: directories as in `EvaluatorRecipe.import_roots`.

    Returns:
        32 hexadecimal digits.
    """
    module = resolve_space(space).partition(":")[0] if isinstance(space, str) else type(space).__module__
    parts = module.split(".")
    folders = package_folders([parts[0], *PROJECT_PACKAGES])
    digest = hashlib.blake2b(digest_size=16)
    for name, folder in folders.items():
        if name == "evo":
            for part in (*_ENGINE_PARTS, *(parts[1:2] if parts[0] == "evo" else ())):
                _add(digest, folder / part, f"evo/{part}")
        elif name == "search_spaces":
            # Only this space's folder: editing one space leaves the runs of another alone.
            if parts[0] == name and len(parts) > 1:
                _add(digest, folder / parts[1], parts[1])
                _add(digest, folder / f"{parts[1]}.py", parts[1])
        else:
            _add(digest, folder, name)
    for number, root in enumerate(import_roots):
        for name, entry in root_modules(Path(root)).items():
            if name.removesuffix(".py") not in folders:
                _add(digest, entry, f"{number}/{name}")
    return digest.hexdigest()


def _add(digest: Any, path: Path, label: str) -> None:
    if not path.exists():
        return
    for file in files_below(path, code_only=True):
        relative = file.name if file == path else file.relative_to(path).as_posix()
        content = file.read_bytes()
        digest.update(f"{label}\0{relative}\0{len(content)}\0".encode())
        digest.update(content)


@functools.cache
def numeric_backend() -> tuple[tuple[str, str], ...]:
    """What decides a float's last bits: interpreter, libraries, instruction set; found without importing them."""
    entries = {"python": ".".join(map(str, sys.version_info[:2])), "cpu": _instruction_set()}
    for name in ("numpy", "scipy", "torch"):
        try:
            entries[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            entries[name] = "absent"
    for variable in ("ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES", "TRITON_INTERPRET"):
        if os.environ.get(variable):
            entries[variable] = os.environ[variable]
    return tuple(sorted(entries.items()))


def _instruction_set() -> str:
    machine = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return machine
    flags = set(next((line for line in lines if line.startswith("flags")), "").split())
    levels = (("avx512f", "v4"), ("avx2", "v3"), ("sse4_2", "v2"))
    return next((f"{machine}-{level}" for flag, level in levels if flag in flags), machine)


def worker_fingerprint(space: str | SearchSpace[Any], import_roots: Sequence[str]) -> str:
    """What a worker must share with the driver, as readable "key=value" pairs: code digest and numeric backend.

    The driver puts it into `EvaluatorRecipe.fingerprint`; each worker computes its own and is refused if it differs.
    """
    entries = {"code": code_digest(space, import_roots), **dict(numeric_backend())}
    return " ".join(f"{key}={value}" for key, value in sorted(entries.items()))
