"""What a build says of a table, and what it takes for granted where it is short."""

from __future__ import annotations

import numpy as np
import pytest

from evo.errors import ConfigError
from search_spaces.emq.benchmark.settings import build_settings
from search_spaces.emq.benchmark.summary import summarised
from search_spaces.emq.benchmark.table import make_table


def said(accuracy, tmp_path):
    accuracy = np.array(accuracy, float)
    bits = np.array([[2, 2], [4, 4], [8, 8], [2, 8]])[: len(accuracy)]
    table = make_table(
        network="net", layers=("a", "b"), choices=(2, 4, 8), bits=bits, accuracy=accuracy,
        method=np.array(["nearest"] * len(bits)), activation_bits=8, parameters=np.ones(2), macs=np.ones(2),
        float_accuracy=0.9,
    )  # fmt: skip
    return summarised({"net": table}, tmp_path).text


def test_a_ceiling_that_is_not_known_has_its_own_reason(tmp_path):
    assert "ceiling unknown (one seed)" in said([[0.1], [0.2], [0.3]], tmp_path)
    assert "ceiling unknown (of 2 rows: give 3 or more)" in said([[0.1, 0.1], [0.2, 0.3]], tmp_path)
    assert "ceiling unknown (a seed's accuracies are all the same)" in said([[0.1, 0.1]] * 3, tmp_path)
    assert "ceiling 1.0000 [1.0000, 1.0000]" in said([[0.1, 0.1], [0.2, 0.2], [0.3, 0.4], [0.5, 0.6]], tmp_path)


@pytest.mark.parametrize(("rows", "learned"), [(400, 60), (61, 60), (60, 60), (6, 6), (2, 2)])
def test_by_default_as_many_rows_are_learned_as_there_are_up_to_sixty(rows, learned):
    assert build_settings({"rows": rows}).adaround_rows == learned
    assert build_settings({"rows": rows, "adaround_rows": 1}).adaround_rows == 1
    assert build_settings({"rows": rows, "adaround_rows": 0}).adaround_rows == 0
    with pytest.raises(ConfigError, match=f"adaround_rows is {rows + 1}, of {rows} rows"):
        build_settings({"rows": rows, "adaround_rows": rows + 1})
