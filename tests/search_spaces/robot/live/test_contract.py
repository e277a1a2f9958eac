"""The space `robot` without a table: the contract, in all three kinds of genome and architecture."""

from __future__ import annotations

import pytest

from evo.testing.spaces import SpaceContract
from search_spaces.robot import Robot
from tests.search_spaces.robot.live.tiny import HERE, options


class TestLiveCells(SpaceContract):
    n_genomes = 9
    n_evaluated = 2

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls):
        return Robot(options())


class TestLiveWeights(SpaceContract):
    """Weights stand for an architecture once the space is prepared, which the export and the evaluations need."""

    n_genomes = 9
    n_evaluated = 2

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls):
        return Robot(options(sample="weights", architectures=f"{HERE}:Widths", pool=4))

    @pytest.fixture(autouse=True)
    def _prepared(self, space, prepared):
        assert prepared is not None

    def test_canonical_is_the_same_in_another_process(self):
        pytest.skip("without a pool another process has none; tests of a run cover it")

    def test_export_imports_without_this_project(self):
        pytest.skip("it imports the user's class, which lies in this project here; see the tests of the export")
