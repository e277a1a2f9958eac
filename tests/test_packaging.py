"""What is shipped is whole: the wheel, its data files, its entry points, the pinned versions."""

import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from evo.space import SearchSpace

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ("evo", "search_spaces", "proxies", "kernels")
SHIPPED = {"README.md", "LICENSE", "NOTICE", "pyproject.toml"}
LEFT_OUT = {".pyc", ".so", ".o"}
"""Suffixes of what a build leaves behind; everything else in a package is source or data, and ships."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the sources, so that nothing is left in the tree; its names and contents."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SHIPPED:
        shutil.copy(ROOT / name, source / name)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    code = f"from setuptools.build_meta import build_wheel; print(build_wheel({str(target)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, timeout=240,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return zipfile.ZipFile(next(target.glob("*.whl")))


def test_the_wheel_holds_every_source_and_data_file(wheel):
    names = set(wheel.namelist())
    expected = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in LEFT_OUT
    }
    assert "evo/py.typed" in expected
    assert expected - names == set(), "add the pattern to [tool.setuptools.package-data]"


def test_the_wheel_holds_nothing_but_the_packages(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {t for t in tops if not t.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_carries_licence_and_notices(wheel):
    names = [name.split("/")[-1] for name in wheel.namelist() if ".dist-info/" in name]
    assert {"LICENSE", "NOTICE"} <= set(names)
    metadata = read(wheel, "METADATA")
    assert "License-Expression: Apache-2.0" in metadata


def test_the_wheel_declares_the_entry_points(wheel):
    declared = read(wheel, "entry_points.txt")
    for group, names in {"console_scripts": PROJECT["scripts"], **PROJECT["entry-points"]}.items():
        assert f"[{group}]" in declared
        assert all(f"{name} = {target}" in declared for name, target in names.items())


def read(wheel, name):
    return wheel.read(next(n for n in wheel.namelist() if n.endswith(f".dist-info/{name}"))).decode()


def resolve(target):
    module, attribute = target.split(":")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("name", PROJECT["scripts"])
def test_the_command_resolves(name):
    assert callable(resolve(PROJECT["scripts"][name]))


@pytest.mark.parametrize("name", PROJECT["entry-points"]["evo.spaces"])
def test_a_space_resolves_under_its_own_name(name):
    space = resolve(PROJECT["entry-points"]["evo.spaces"][name])()
    assert isinstance(space, SearchSpace)
    assert space.name == name


def constraints():
    """{distribution: version} of constraints.txt."""
    lines = [line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pins = [Requirement(line) for line in lines if line]
    return {canonicalize_name(pin.name): next(iter(pin.specifier)) for pin in pins}


def requirements():
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    return [Requirement(line) for line in [*PROJECT["dependencies"], *extras]]


def test_constraints_are_exact_public_versions():
    text = (ROOT / "constraints.txt").read_text()
    assert not re.search(r"://|@ |--|-e ", text), "pins alone: no addresses, paths or options"
    for name, pin in constraints().items():
        assert pin.operator == "==", name
        assert Version(pin.version).local is None, f"{name}: a local version ties the pin to one build"


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.name)
def test_the_pinned_version_satisfies_the_declared_range(requirement):
    pin = constraints().get(canonicalize_name(requirement.name))
    assert pin is not None, f"{requirement.name} is not pinned in constraints.txt"
    assert requirement.specifier.contains(pin.version), f"{requirement} against {pin.version}"


def test_our_version_stays_out_of_the_way_of_hugging_face_kernels():
    """transformers reads the version of whatever distribution provides the import name `kernels`, and from 0.18 on
    imports names from it that ours does not have: above that, its models could not be imported beside this project."""
    assert Version(PROJECT["version"]) < Version("0.18")


def test_no_other_distribution_owns_our_import_names():
    owners = importlib.metadata.packages_distributions()
    for name in PACKAGES:
        assert set(owners.get(name, [])) <= {PROJECT["name"]}, f"{name} is owned by {owners[name]}"


def test_every_make_target_is_described():
    text = (ROOT / "Makefile").read_text()
    for target in ("search", "test", "slow", "bench", "check", "help"):
        assert re.search(rf"^{target}:.*## \w", text, re.M), f"`make help` must say what {target} does"


def test_the_ci_script_is_executable():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
