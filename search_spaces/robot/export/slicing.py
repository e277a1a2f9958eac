"""Parts of our own modules as source of one file: what some names need, word for word, and nothing else.

An exported module so computes what the package computes, because it is the package's text. What is cut away: modules'
other definitions, statements under conditions that are known to be false, methods and fields that nothing uses.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from evo.errors import EvoError

PROJECT = ("evo", "kernels", "proxies", "search_spaces")
Known = Callable[[ast.expr], bool | None]
"""What a condition comes to, where that is known beforehand."""


@dataclass(slots=True)
class Definition:
    """One statement at the top of a module: the names it binds, its text, where it stands."""

    names: tuple[str, ...]
    text: str
    module: str
    order: tuple[int, int]


@dataclass(slots=True)
class Library:
    """Definitions of several modules by name, and what they import from outside the project.

    Attributes:
        definitions: by name.
        imports: by module and the name that an import binds there, its text.
    """

    definitions: dict[str, Definition] = field(default_factory=dict)
    imports: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, module: str, known: Known = lambda test: None, only: Iterable[str] | None = None) -> None:
        """Read a module.

        Args:
            module: its name.
            known: of a condition whether it holds, so that statements that never run are left out.
            only: definitions of these names alone; None: all.

        Raises:
            EvoError: another module has a definition of the same name.
        """
        text = _without(source_of(module), known)
        lines = text.splitlines()
        imports: dict[str, str] = {}
        packages = _aliases(text)
        body = ast.parse(text).body
        for place, node in enumerate(body):
            if isinstance(node, ast.Import | ast.ImportFrom):
                imports.update(_bound(node))
                continue
            names = _names(node)
            if not names or (only is not None and not set(only) & set(names)):
                continue
            last = node.end_lineno or node.lineno
            following = body[place + 1] if place + 1 < len(body) else None
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                last = following.end_lineno or last  # the words below a constant
            own = "\n".join(lines[_first_line(node, lines) - 1 : last])
            for alias in packages:
                own = re.sub(rf"(?<![.\w]){alias}\.(?=[A-Za-z_])", "", own)
            found = Definition(names, own, module, (len(self.imports), place))
            for name in names:
                if name in self.definitions:
                    raise EvoError(
                        f"{module} and {self.definitions[name].module} both define {name}", "rename one of them"
                    )
                self.definitions[name] = found
        self.imports[module] = imports

    def slice(self, users: str) -> list[Definition]:
        """The definitions that some source needs, in order; classes less what neither it nor they use."""
        wanted: dict[str, Definition] = {}
        waiting = sorted(_used(users))
        while waiting:
            name = waiting.pop()
            if name in self.definitions and name not in wanted:
                wanted[name] = self.definitions[name]
                waiting += sorted(_used(self.definitions[name].text))
        kept = sorted({id(d): d for d in wanted.values()}.values(), key=lambda d: d.order)
        trimmed = _trimmed(kept, users)
        if [d.text for d in trimmed] != [d.text for d in kept]:
            # what a method or a field alone needed goes with it
            smaller = Library({name: d for d in trimmed for name in d.names}, self.imports)
            return smaller.slice(users)
        return kept

    def imports_of(self, definitions: Sequence[Definition]) -> list[str]:
        """Import statements of one name each, for what these use; see `merged`.

        Raises:
            EvoError: two of them bind one name to different things.
        """
        found: dict[str, str] = {}
        for definition in definitions:
            for name in _used(definition.text) & set(self.imports[definition.module]):
                text = self.imports[definition.module][name]
                if found.setdefault(name, text) != text:
                    raise EvoError(f"{name} is {found[name]!r} in one module and {text!r} in another", "rename one")
        return list(found.values())


def merged(statements: Iterable[str]) -> list[str]:
    """Import statements of single names as few lines: the standard library, a blank line, torch and numpy."""
    plain, by_module = set(), dict[str, set[str]]()
    for text in statements:
        match = re.fullmatch(r"from (\S+) import (.+)", text)
        if match:
            by_module.setdefault(match[1], set()).add(match[2])
        else:
            plain.add(text)
    lines = sorted(plain)
    lines += [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(by_module.items())]
    foreign = [line for line in lines if re.match(r"(import|from) (torch|numpy)", line)]
    return [line for line in lines if line not in foreign] + [""] + foreign


def source_of(module: str) -> str:
    """A module's text; nothing is imported but the packages above it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise EvoError(f"the source of {module} is not here", "export where the project is installed as files")
    return Path(spec.origin).read_text("utf-8")


def undefined(text: str) -> set[str]:
    """Names that a module's text reads and nobody binds: empty for one that stands alone."""
    tree = ast.parse(text)
    bound = set(dir(builtins)) | {"__file__", "__name__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return set(_used(text) - bound)


def _names(node: ast.stmt) -> tuple[str, ...]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return (node.name,)
    if isinstance(node, ast.Assign):
        return tuple(n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name))
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return (node.target.id,)
    return ()


def _first_line(node: ast.stmt, lines: Sequence[str]) -> int:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
    while first > 1 and lines[first - 2].startswith("#"):
        first -= 1
    return first


@lru_cache(maxsize=4096)
def _used(text: str) -> frozenset[str]:
    """Names that a source reads from outside its functions."""
    return frozenset(_free(ast.parse(text)))


@lru_cache(maxsize=4096)
def _read(text: str) -> frozenset[str | None]:
    """Names of attributes and keyword arguments that a source mentions."""
    return frozenset(
        node.attr if isinstance(node, ast.Attribute) else node.arg
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute | ast.keyword)
    )


def _free(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Load) else set()
    found: set[str] = set().union(*map(_free, ast.iter_child_nodes(node)))
    if isinstance(node, ast.FunctionDef | ast.Lambda | ast.GeneratorExp | ast.ListComp | ast.SetComp | ast.DictComp):
        found -= _local(node)
    return found


def _local(function: ast.AST) -> set[str]:
    """What a function, or a comprehension, binds itself; inner functions count as its own."""
    bound: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef) and node is not function:
            bound.add(node.name)
    return bound


def _bound(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """By bound name, an import of it alone; of the project and `__future__` none."""
    module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
    if module.partition(".")[0] in (*PROJECT, "__future__"):
        return {}
    found = {}
    for alias in node.names:
        words = alias.name + (f" as {alias.asname}" if alias.asname else "")
        name = (alias.asname or alias.name).partition(".")[0]
        found[name] = f"from {module} import {words}" if isinstance(node, ast.ImportFrom) else f"import {words}"
    return found


def _aliases(text: str) -> list[str]:
    """Names that a module has for others of the project: `gradients` in `from proxies.network import gradients`."""
    found = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PROJECT:
            for alias in node.names:
                try:
                    inner = importlib.util.find_spec(f"{node.module}.{alias.name}")
                except ModuleNotFoundError:
                    inner = None
                if inner is not None:
                    found.append(alias.asname or alias.name)
    return found


def _without(text: str, known: Known) -> str:
    """Source less the statements under conditions that are known to be false; comments and layout stay."""
    lines = text.splitlines()
    gone: set[int] = set()
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            gone.update(_unreached(node, known))
        if not isinstance(node, ast.If):
            continue
        result = known(node.test)
        if result is None:
            continue
        first, last = node.lineno, node.body[-1].end_lineno or node.lineno
        if result and node.orelse:
            gone.update(range(last + 1, (node.orelse[-1].end_lineno or last) + 1))
        elif not result and node.orelse:
            # what follows takes its place
            other = node.orelse[0]
            if not (isinstance(other, ast.If) and lines[other.lineno - 1].lstrip().startswith("elif")):
                continue  # an else: kept as it is, it costs a comparison
            gone.update(range(first, last + 1))
            lines[other.lineno - 1] = lines[other.lineno - 1].replace("elif", "if", 1)
        elif not result:
            gone.update(range(first, last + 1))
    return "\n".join(line for number, line in enumerate(lines, 1) if number not in gone) + "\n"


def _unreached(function: ast.FunctionDef, known: Known) -> range:
    """Lines after an early return that is known to happen."""
    for node in function.body[:-1]:
        if isinstance(node, ast.If) and known(node.test) and isinstance(node.body[-1], ast.Return):
            return range((node.end_lineno or node.lineno) + 1, (function.end_lineno or node.lineno) + 1)
    return range(0)


def _trimmed(definitions: Sequence[Definition], users: str) -> list[Definition]:
    """Classes less the methods and fields whose names nothing reads, as far as one can see."""
    read = set[str | None]().union(_read(users), *(_read(definition.text) for definition in definitions))
    return [_trimmed_class(definition, read) for definition in definitions]


def _trimmed_class(definition: Definition, read: set[str | None]) -> Definition:
    node = ast.parse(definition.text).body[0]
    if not isinstance(node, ast.ClassDef):
        return definition
    lines = definition.text.splitlines()
    gone: set[int] = set()
    is_data = any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    for member in node.body:
        if isinstance(member, ast.FunctionDef):
            spare = not member.name.startswith("__") and not _overrides(member, node) and member.name not in read
        else:
            spare = (
                is_data and isinstance(member, ast.AnnAssign) and member.value is not None
                and isinstance(member.target, ast.Name) and member.target.id not in read
            )  # fmt: skip
        if spare:
            first = min([member.lineno, *(d.lineno for d in getattr(member, "decorator_list", ()))])
            gone.update(range(first, (member.end_lineno or first) + 1))
            if isinstance(member, ast.FunctionDef) and not lines[first - 2].strip():
                gone.add(first - 1)
    text = "\n".join(line for number, line in enumerate(lines, 1) if number not in gone)
    return Definition(definition.names, text, definition.module, definition.order)


def _overrides(method: ast.FunctionDef, owner: ast.ClassDef) -> bool:
    """Whether it may be called by a base class that nobody here reads: torch calls `forward`, say."""
    foreign: Mapping[str, tuple[str, ...]] = {"Module": ("forward",), "TorchFunctionMode": ("__torch_function__",)}
    bases = {ast.unparse(base).rpartition(".")[2] for base in owner.bases}
    return any(method.name in foreign.get(base, ()) for base in bases)
