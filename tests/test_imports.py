"""Imports go one way, and what must answer at once imports nothing heavy."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {"evo", "search_spaces", "proxies", "kernels", "benchmarks", "tests"}
MAY_IMPORT = {
    "evo": {"evo"},
    "kernels": {"kernels"},
    "proxies": {"proxies", "kernels"},
    "search_spaces": {"search_spaces", "proxies", "kernels", "evo"},
}
"""Of our own packages, which a package may import."""

KERNELS_NEED = {"numpy", "torch", "triton"}
HEAVY = ("torch", "ray", "numpy", "pydantic")
EXTRAS_OF = {"evo/testing/": "dev", "kernels/": "triton"}
"""Files that may import what an extra declares."""


def modules(package):
    return sorted((ROOT / package).rglob("*.py"))


def imported(tree, package):
    """(module name, line, whether at module level) of every import in a syntax tree, those by constant name included.

    `package` is the dotted package that relative imports start from.
    """
    top = {id(node) for node in module_level(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            found = [".".join([*base, *([node.module] if node.module else [])])]
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__") and node.args:
            name = node.args[0]
            found = [name.value] if isinstance(name, ast.Constant) and isinstance(name.value, str) else []
        else:
            continue
        for name in found:
            yield name, node.lineno, id(node) in top


def module_level(tree):
    """The statements that run when a module is imported: not those in functions, nor under TYPE_CHECKING."""
    stack = list(tree.body)
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            stack.extend(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            stack.extend(ast.iter_child_nodes(node))


def called(node):
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def imports_of(path):
    package = ".".join(path.relative_to(ROOT).parent.parts)
    return list(imported(ast.parse(path.read_text(), str(path)), package))


def wrong_direction(package, found):
    """The imports of a package that go against the direction."""
    return [
        (name, line) for name, line, _ in found if (top := name.split(".")[0]) in OURS - MAY_IMPORT[package] and top
    ]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_those_below_it(package):
    assert modules(package), f"{package} holds no modules"
    wrong = {str(p.relative_to(ROOT)): w for p in modules(package) if (w := wrong_direction(package, imports_of(p)))}
    assert not wrong, "imports go search_spaces -> proxies -> kernels and search_spaces -> evo, never back"


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("evo", "def f():\n    from kernels.dispatch import run"),
        ("evo", "if TYPE_CHECKING:\n    import search_spaces.lion"),
        ("evo", "import importlib\nimportlib.import_module('search_spaces.lion')"),
        ("kernels", "from evo.errors import KernelError"),
        ("proxies", "import evo.space as s"),
        ("search_spaces", "from benchmarks import overhead"),
    ],
)
def test_the_rule_catches_each_way_to_break_it(package, source):
    assert wrong_direction(package, imported(ast.parse(source), package))


def test_relative_imports_are_resolved():
    tree = ast.parse("from . import a\nfrom .. import b\nfrom ..c import d")
    assert [n for n, _, _ in imported(tree, "search_spaces.lion")] == [
        "search_spaces.lion",
        "search_spaces",
        "search_spaces.c",
    ]


def test_kernels_need_numpy_and_torch_alone():
    """A GPU machine may hold nothing else. Triton is found, not required: a function, or a module of its own that
    is named after it and that nothing imports at module level, imports it."""
    wrong = []
    for path in modules("kernels"):
        lazy = "triton" in path.stem
        for name, line, top in imports_of(path):
            first = name.split(".")[0]
            where = f"{path.relative_to(ROOT)}:{line} imports {name}"
            if first not in KERNELS_NEED | {"kernels"} | sys.stdlib_module_names:
                wrong.append(where)
            if top and not lazy and (first == "triton" or (first == "kernels" and "triton" in name)):
                wrong.append(f"{where} at module level")
    assert not wrong


def declared(extra=None):
    """Distribution names that pyproject.toml lists as dependencies, in lower case."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return {re.match(r"[\w.-]+", line).group().lower().replace("_", "-") for line in lines}


def test_every_import_is_a_declared_dependency():
    owners = importlib.metadata.packages_distributions()
    wrong = []
    for path in (p for package in MAY_IMPORT for p in modules(package)):
        where = str(path.relative_to(ROOT))
        known = declared().union(*(declared(extra) for start, extra in EXTRAS_OF.items() if where.startswith(start)))
        for name, line, _ in imports_of(path):
            first = name.split(".")[0]
            if first in OURS or first in sys.stdlib_module_names:
                continue
            names = {d.lower().replace("_", "-") for d in owners.get(first, [first])}
            if not names & known:
                wrong.append(f"{where}:{line} imports {name}")
    assert not wrong, "add it to pyproject.toml and constraints.txt, or do without"


def python(code):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["evo", "evo.space", "evo.errors", "evo.executors.base", "evo.run", "evo.cli.main"])
def test_what_read_verbs_import_is_light(module):
    code = f"import sys, {module}; print(*[m for m in {HEAVY} if m in sys.modules])"
    assert python(code) == "", f"{module} pulls these in at import: list and show must answer within 0.3 s"


def test_spaces_import_without_torch_or_ray():
    spaces = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["evo.spaces"]
    names = sorted({target.split(":")[0] for target in spaces.values()})
    code = f"import sys, {', '.join(names)}; print(*[m for m in ('torch', 'ray') if m in sys.modules])"
    assert python(code) == ""


def test_kernels_import_where_there_is_nothing_but_numpy_and_torch():
    """Everything else that is installed here is hidden before the import."""
    allowed = {"kernels", "numpy", "torch", *torch_needs()}
    code = (
        "import pkgutil, importlib, sys\n"
        f"allowed = set({sorted(allowed)!r}) | set(sys.stdlib_module_names)\n"
        "class Only:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] not in allowed: raise ModuleNotFoundError(name)\n"
        "import torch, numpy; sys.meta_path.insert(0, Only())\n"
        "import kernels\n"
        "names = [m.name for m in pkgutil.walk_packages(kernels.__path__, 'kernels.') if 'triton' not in m.name]\n"
        "for name in names: importlib.import_module(name)\n"
        "print(len(names))"
    )
    assert int(python(code)) >= 0


def torch_needs():
    """What torch itself imports lazily: its own requirements are its own affair."""
    needs = importlib.metadata.requires("torch") or []
    names = {re.match(r"[\w.-]+", line).group().lower().replace("-", "_") for line in needs if "extra ==" not in line}
    return names | {"mpmath", "markupsafe"}
