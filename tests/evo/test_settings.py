"""Settings that a space defines, as people read them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from evo.errors import ConfigError
from evo.settings import settings_of, unknown_setting


@dataclass(frozen=True)
class Example:
    """Settings of something.

    Some prose, with a colon: here.

    Attributes:
        first, second: two that
            share a text: with a colon.
        names: a list.

    More prose.
    """

    first: int
    second: float = 0.5
    names: tuple[str, ...] = field(default_factory=lambda: ("a",))
    silent: bool = False


def test_names_defaults_and_meanings_are_those_of_the_class() -> None:
    found = {setting.name: setting for setting in settings_of(Example)}
    assert list(found) == ["first", "second", "names", "silent"]
    assert found["first"].default is dataclasses.MISSING
    assert found["first"].meaning == found["second"].meaning == "two that share a text: with a colon."
    assert (found["names"].default, found["names"].type) == (("a",), "tuple[str, ...]")
    assert (found["names"].meaning, found["silent"].meaning) == ("a list.", "")


def test_an_unknown_key_is_told_all_that_there_are() -> None:
    unknown_setting({"first": 1, "silent": 2}, Example, "evo this")
    with pytest.raises(ConfigError, match="no setting is called 'secnd'") as told:
        unknown_setting({"secnd": 1}, Example, "evo this")
    assert told.value.hint == "did you mean 'second'? there are first, second, names, silent; `evo this` says more"
    with pytest.raises(ConfigError) as told:
        unknown_setting({"xyz": 1}, Example, "evo this")
    assert told.value.hint.startswith("there are first")


def test_every_setting_of_lions_refinement_has_a_meaning_and_listing_them_is_light() -> None:
    script = (
        "import sys; from evo.cli.main import invoke; code = invoke(['refine', 'lion', '--settings', '--json', "
        "'--runs-dir', '/nowhere']); heavy = {'ray', 'torch', 'numpy', 'pydantic', 'scipy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    import json

    rows = json.loads(done.stdout)
    assert {"final_seeds", "simplify_tests", "selection"} < {row["key"] for row in rows}
    assert all(len(row["meaning"]) > 10 for row in rows), rows
