"""Bit configurations: by name, immutable, with errors that name the layers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies.errors import BitConfigError
from proxies.quantization import BitConfig, config_table, expand

CONFIGS = st.dictionaries(st.text(min_size=1, max_size=5), st.integers(2, 16), min_size=1, max_size=8)

QUICK = settings(deadline=None, max_examples=40)


@given(CONFIGS, st.randoms(use_true_random=False))
@QUICK
def test_a_row_goes_by_name_whatever_the_order(bits, random):
    names = list(bits)
    random.shuffle(names)
    config = BitConfig(bits)
    assert config == bits
    assert config.row(names).tolist() == [bits[name] for name in names]
    assert BitConfig.from_row(config.row(names), names) == config
    assert hash(BitConfig.from_row(config.row(names), names)) == hash(config)


def test_missing_and_unknown_layers_are_named():
    with pytest.raises(BitConfigError, match=r"no bits for layer 'b'; bits for an unknown layer 'x'") as caught:
        BitConfig({"a": 4, "x": 4}).of(["a", "b"])
    assert caught.value.missing == ("b",)
    assert caught.value.unknown == ("x",)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.missing, again.unknown, str(again)) == (("b",), ("x",), str(caught.value))


@pytest.mark.parametrize("bits", [{"a": 1}, {"a": 17}, {"a": 4.0}, {"a": True}, {"a": "4"}, {3: 4}, {}, [4, 4], None])
def test_bits_that_are_none_are_refused(bits):
    with pytest.raises(BitConfigError):
        BitConfig(bits)


def test_a_configuration_cannot_be_changed():
    config = BitConfig({"a": 4})
    with pytest.raises(TypeError):
        config["a"] = 2


def test_tables_have_a_column_for_each_name():
    table = config_table([{"a": 2, "b": 3}, {"b": 8, "a": 4}], ["b", "a"])
    assert table.tolist() == [[3, 2], [8, 4]]
    assert table.dtype == np.int64
    assert config_table([], ["b", "a"]).shape == (0, 2)
    with pytest.raises(BitConfigError, match="unknown"):
        config_table([{"a": 2, "b": 3, "c": 4}], ["b", "a"])


@pytest.mark.parametrize(
    ("row", "names", "says"),
    [
        ([4, 4], ["a", "b", "c"], "shape"),
        ([4, 4], ["a", "a"], "twice"),
        ([4, 2.5], ["a", "b"], "whole"),
        ([4, 1], ["a", "b"], "configuration 0 gives b 1 bits"),
    ],
)
def test_rows_that_do_not_fit_are_refused(row, names, says):
    with pytest.raises(BitConfigError, match=says):
        BitConfig.from_row(row, names)


def test_groups_share_bits():
    groups = {"stem": ["conv1"], "block": ["conv2", "down"]}
    names = ["conv2", "conv1", "down"]
    assert expand([[2, 8], [3, 4]], groups, names).tolist() == [[8, 2, 8], [4, 3, 4]]
    assert BitConfig.from_groups({"block": 8, "stem": 2}, groups).row(names).tolist() == [8, 2, 8]
    with pytest.raises(BitConfigError, match="more than one group: conv1"):
        expand([[2, 8]], {"a": ["conv1"], "b": ["conv1"]}, ["conv1"])
    with pytest.raises(BitConfigError, match="no bits for layer 'fc'"):
        expand([[2, 8]], groups, [*names, "fc"])
    with pytest.raises(BitConfigError, match="unknown group 'head'"):
        BitConfig.from_groups({"stem": 2, "block": 2, "head": 2}, groups)
