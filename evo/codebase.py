"""The code and the numerics that two machines must share: which files, their digest, and what rounds a float.

Nothing of what is looked at is imported.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

PROJECT_PACKAGES = ("evo", "search_spaces", "proxies", "kernels")
"""First-party packages: their code reaches every worker and counts in the digest."""

_ENGINE_PARTS = ("space.py", "seeds.py", "registry.py", "options.py", "codebase.py", "executors", "program")
"""The parts of `evo` that a worker runs; a change in the report or the command line leaves a run's workers alone."""

_CODE_SUFFIXES = frozenset({".py", ".pyx", ".c", ".h", ".cc", ".cpp", ".cu"})
_SKIPPED = frozenset({"__pycache__", "node_modules"})
_NO_MODULES = _SKIPPED | {"build", "dist", "runs"}


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


def local_paths() -> list[str]:
    """This process's `sys.path` less the interpreter's own directories: what a worker on this machine needs too."""
    own = [os.path.realpath(path) for path in (sys.prefix, sys.base_prefix)]
    return [
        path
        for path in (os.path.realpath(entry or os.getcwd()) for entry in sys.path)
        if os.path.isdir(path) and not any(path == root or path.startswith(root + os.sep) for root in own)
    ]


def source_digest(module: str, import_roots: Sequence[str]) -> str:
    """Digest of the source that an evaluation may run: the space's own package, `kernels`, `proxies`, the part of
    `evo` that workers use, and the modules directly in the import roots. It depends on names below each root and on
    contents, not on where the roots lie.

    Args:
        module: the module that defines the space.
        import_roots: directories as in `EvaluatorRecipe.import_roots`.

    Returns:
        32 hexadecimal digits.
    """
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
