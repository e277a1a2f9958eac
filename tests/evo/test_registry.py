"""Finding spaces, building them from options, and digests of code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.errors import ConfigError, UnknownSpaceError
from evo.options import from_json
from evo.registry import (
    build_space,
    code_digest,
    import_roots_of,
    load_space_class,
    resolve_space,
    space_names,
    worker_fingerprint,
)
from evo.testing.misbehaving import MisbehavingSpace

SPEC = "evo.testing.misbehaving:MisbehavingSpace"


@dataclass(frozen=True, slots=True)
class Inner:
    width: int
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    kind: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = ()
    pair: tuple[int, str] = (0, "")
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    table: Mapping[str, float] = field(default_factory=dict)
    either: int | str = 0
    flag: bool = False
    anything: Any = None


class NotASpace:
    pass


a_function = len


def test_a_space_is_found_by_name_and_by_module():
    assert load_space_class(SPEC) is MisbehavingSpace
    assert "lion" in space_names()
    assert resolve_space("lion") == "search_spaces.lion:Lion"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("lyon", "did you mean 'lion'"),
        ("nothing_like_it_at_all", "known: "),
        ("no_such_module:Space", "no module 'no_such_module'"),
        ("evo.testing.misbehaving:MisbehavingSpac", "did you mean 'MisbehavingSpace'"),
        ("tests.evo.test_registry:NotASpace", "lacks sample"),
        ("tests.evo.test_registry:a_function", "not a class"),
        (":Space", "module:attr"),
    ],
)
def test_an_unknown_space_is_an_error_with_a_hint(spec, text):
    with pytest.raises(UnknownSpaceError) as caught:
        load_space_class(spec)
    assert text in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_module_that_fails_to_import_is_told_from_one_that_is_missing(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import a_library_that_is_absent\n")
    (tmp_path / "broken_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UnknownSpaceError, match="a_library_that_is_absent"):
        load_space_class("half_installed:Space")
    with pytest.raises(UnknownSpaceError, match="ZeroDivisionError"):
        load_space_class("broken_module:Space")


def test_options_are_coerced_to_the_types_of_the_dataclass():
    options = from_json(
        Options,
        {
            "kind": "b",
            "sizes": [1, 2],
            "pair": [3, "x"],
            "inner": {"width": 4, "scale": 2},
            "many": [{"width": 1}],
            "table": {"k": 1},
            "either": "s",
            "flag": True,
            "anything": [1],
        },
    )
    assert options == Options("b", (1, 2), (3, "x"), Inner(4, 2.0), (Inner(1),), {"k": 1.0}, "s", True, [1])
    assert isinstance(options.inner.scale, float)
    assert from_json(Options, {"inner": None}) == Options()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"knid": "a"}, "unknown key o.knid"),
        ({"kind": "c"}, "o.kind is 'c', not one of 'a', 'b'"),
        ({"sizes": 3}, "o.sizes is 3, not a list"),
        ({"sizes": [1, "2"]}, "o.sizes[1] is '2', not int"),
        ({"sizes": [True]}, "o.sizes[0] is True, not int"),
        ({"pair": [1]}, "o.pair has 1 items, not 2"),
        ({"inner": {}}, "o.inner.width is missing"),
        ({"inner": {"width": 1, "depth": 2}}, "unknown key o.inner.depth"),
        ({"many": [{"width": 1.5}]}, "o.many[0].width is 1.5, not int"),
        ({"table": {"k": "x"}}, "o.table.k is 'x', not float"),
        ({"either": [1]}, "o.either fits none of its types"),
        ({"flag": 1}, "o.flag is 1, not bool"),
        ([], "o is [], not a mapping"),
    ],
)
def test_options_that_do_not_fit_are_named_by_their_path(value, text):
    with pytest.raises(ConfigError) as caught:
        from_json(Options, value, "o")
    assert text in caught.value.message


def test_a_misspelt_option_is_an_error_with_a_hint():
    with pytest.raises(ConfigError, match=r"space\.options\.slep_s") as caught:
        build_space(SPEC, {"slep_s": 1.0})
    assert "sleep_s" in caught.value.hint
    space = build_space(SPEC, {"acts": ["ok", "nan"], "sleep_s": 1})
    assert space.options.acts == ("ok", "nan")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c, max_size=3)))
def test_any_json_either_fits_or_is_refused_by_a_typed_error(value):
    for key in ("kind", "sizes", "pair", "inner", "many", "table", "either", "flag"):
        try:
            options = from_json(Options, {key: value})
        except ConfigError:
            continue
        hash(options.sizes)


def test_the_code_digest_depends_on_contents_and_not_on_where_they_lie(tmp_path):
    roots = []
    for name in ("a", "b"):
        package = tmp_path / name / "plug"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("x = 1\n")
        (package / "data.txt").write_text(name)
        (tmp_path / name / ".venv").mkdir()
        roots.append(str(tmp_path / name))
    a, b = (code_digest(SPEC, (root,)) for root in roots)
    assert a == b != code_digest(SPEC, ())
    (tmp_path / "b" / "plug" / "__init__.py").write_text("x = 2\n")
    assert code_digest(SPEC, (roots[1],)) != a
    assert code_digest(build_space(SPEC, {}), ()) == code_digest(SPEC, ())


def test_the_fingerprint_is_readable_pairs():
    pairs = dict(part.split("=", 1) for part in worker_fingerprint(SPEC, ()).split())
    assert pairs["code"] == code_digest(SPEC, ())
    assert {"python", "cpu", "numpy", "torch"} <= pairs.keys()


def test_import_roots_are_needed_by_plug_ins_alone(tmp_path, monkeypatch):
    (tmp_path / "my_plugin.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert import_roots_of("my_plugin:Space") == (str(tmp_path),)
    assert import_roots_of(SPEC) == ()
    assert import_roots_of("numpy:ndarray") == ()


def test_the_registry_imports_no_heavy_library():
    code = (
        "import sys, evo.registry as r\nr.load_space_class('evo.space:BaseSpace')\n"
        "r.worker_fingerprint('evo.space:BaseSpace', ())\n"
        "print([m for m in ('torch', 'ray', 'numpy', 'pydantic') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
