"""An exported architecture builds the network that was trained; a user's own is built by the user's class."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch

from evo.errors import EvoError, UsageError
from search_spaces.robot import Robot, RobotOptions
from search_spaces.robot.architectures.base import architecture_space
from search_spaces.robot.export.architecture import architecture_source
from tests.search_spaces.robot.live.tiny import HERE, options
from tests.search_spaces.robot.tiny import folder_of, strings

CELL = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"
MICRO = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|none~1|nor_conv_3x3~2|"


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "cell"), [("nb201-small", CELL), ("nb201", CELL), ("tnb101-micro", MICRO)])
def test_a_cell_is_built_as_the_search_builds_it(name, cell, tmp_path):
    given = {"cells": 1, "channels": 4} if name == "nb201" else {}
    space = Robot(options(architectures=name, architecture_options=given))
    module = loaded(space.export(cell, tmp_path / "cell.py", {"run": "r", "candidate": 3}))
    module.self_test()
    own = space.recipe.space()
    ours, theirs = own.build(own.decode(cell), seed=4), module.build(seed=4)
    image = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours.eval()(image), theirs.eval()(image))
    assert "search_spaces" not in (tmp_path / "cell.py").read_text()


def test_a_cell_of_the_shipped_table_is_the_network_that_was_measured(tmp_path):
    space = Robot(RobotOptions(tables="shipped"))
    cell = space.problem.pool.architectures[0]
    module = loaded(space.export(cell, tmp_path / "shipped.py", {}))
    module.self_test()
    small = architecture_space("nb201-small")
    ours, theirs = small.build(small.decode(cell), seed=4), module.build(seed=4)
    image = torch.randn(2, 1, 14, 14, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours.eval()(image), theirs.eval()(image))


def test_the_curve_stands_in_the_docstring():
    text = architecture_source(Robot(options()), CELL, {"curve": [[1.5, 40.0, 50.25], [None, 10.0, 9.5]]}, "", {})
    assert "        1  1.500  40.00       50.25" in text
    assert "        2   -     10.00        9.50" in text


def test_a_users_class_is_imported_by_name(tmp_path):
    space = Robot(options(architectures=f"{HERE}:Widths"))
    text = space.recipe.space().encode(space.recipe.space().sample(torch_free_rng()))
    module = loaded(space.export(text, tmp_path / "own.py", {}))
    own = space.recipe.space()
    ours, theirs = own.build(own.decode(text), seed=2), module.build(seed=2)
    assert [torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_a_table_of_other_architectures_has_none_to_build(tmp_path):
    space = Robot(RobotOptions(tables=str(folder_of(tmp_path)), benchmark="tiny", dataset="c10"))
    with pytest.raises(UsageError, match="cannot be built here"):
        space.export(strings()[0], tmp_path / "x.py", {})


def test_weights_without_their_pool_are_an_error(tmp_path):
    with pytest.raises(EvoError, match="are not here"):
        Robot(options()).export((1.0, 0.0, 0.0, 0.0), tmp_path / "x.py", {})


def torch_free_rng():
    import numpy as np

    return np.random.Generator(np.random.Philox(key=5))
