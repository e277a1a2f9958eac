"""The text of exported modules: origin, program, hints, and cleanliness."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from evo.program import Program
from search_spaces.lion.export import export, source
from search_spaces.lion.programs import adamw, discovered, lion, momentum
from tests.search_spaces.lion.exporting import module_of
from tests.search_spaces.lion.helpers import KNOWN, random_program


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_docstring_tells_the_origin() -> None:
    module = module_of(
        discovered(), run="a-run", candidate=17, values={"fitness": 0.123456789}, interval=[0.11, 0.13], commit=None,
        note='quotes """ and \\ are harmless',
    )  # fmt: skip
    text = words(module.__doc__)
    assert "run: a-run" in text
    assert "candidate: 17" in text
    assert "values: fitness 0.123457" in text
    assert "interval: [0.11, 0.13]" in text
    assert "commit" not in text
    assert "harmless" in text


def test_the_first_line_may_be_given() -> None:
    assert module_of(lion(), title="Lion, found again").__doc__.startswith("Lion, found again.\n")


@pytest.mark.parametrize("seed", range(10))
def test_the_docstring_has_the_program_as_it_was_found(seed: int) -> None:
    """To be parsed again, with what takes no part marked."""
    program = random_program(seed)
    lines = module_of(program).__doc__.splitlines()
    start = next(number for number, line in enumerate(lines) if line.endswith("w <- w - update):")) + 2
    found = [line.partition("  #")[0] for line in lines[start : start + len(program)]]
    assert Program.parse("\n".join(found)) == program
    dead = [line for line in lines if line.endswith("# takes no part")]
    assert len(dead) <= len(program)


def test_dead_statements_are_marked() -> None:
    program = Program.parse("x = sin(g)\ny = cos(g)\nr = mul(lr, 0.1)\nupdate = mul(x, r)")
    assert "y = cos(g)  # takes no part" in module_of(program).__doc__


def test_coupling_and_whole_tensors_are_told() -> None:
    assert "sharded" in words(module_of(discovered()).Discovered.__doc__)
    per_tensor = Program.parse("n = norm(g)\nx = div(g, n)\nx = orthogonalize(x)\nupdate = mul(x, lr)")
    assert "norm and orthogonalize look at whole tensors" in words(module_of(per_tensor).Discovered.__doc__)
    assert "hard" not in words(module_of(lion()).Discovered.__doc__)


def test_decay_tells_how_it_scales() -> None:
    text = "u = sign(g)\nwd = mul(w, 0.1)\nr = mul(lr, 0.01)\nu = mul(u, r)\nupdate = add(u, wd)"
    assert "not multiplied by `lr`" in words(module_of(Program.parse(text)).Discovered.__doc__)
    assert "times `lr`, as in AdamW" in words(module_of(adamw()).Discovered.__doc__)
    assert "L2, not decoupled" in words(module_of(momentum()).Discovered.__doc__)
    bare = Program.parse("u = sign(g)\nr = mul(lr, 0.01)\nupdate = mul(u, r)")
    assert "no part of the rule as found" in words(module_of(bare).Discovered.__doc__)


def lint(path: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "ruff", *arguments, "--isolated", "--line-length=120", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("program", [*KNOWN, *(random_program(seed) for seed in range(6))])
def test_exported_source_is_clean_and_formatted(program: Program, tmp_path: Path) -> None:
    path = export(program, tmp_path / "folder" / "found.py", {"run": "x" * 200, "long": "word " * 100})
    assert not lint(path, "check", "--select=E,F,I,B,UP,SIM,D102,D103", "--ignore=UP046,UP047")
    assert not lint(path, "format", "--check", "--diff")


@pytest.mark.parametrize("seed", range(100, 130))
def test_any_program_gives_a_module_that_names_nothing_unknown(seed: int) -> None:
    text = source(random_program(seed), {})
    tree = ast.parse(text)
    rule = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "rule")
    given = {a.arg for a in (*rule.args.args, *rule.args.kwonlyargs)}
    read = {n.id for n in ast.walk(rule) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    # beside w, g and the slots, every argument is used
    assert given - {"w", "g", "v1", "v2"} <= read
