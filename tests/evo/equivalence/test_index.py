"""The function index behaves as a dict that never forgets and never changes an entry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.equivalence.index import ABSENT, SLOTS, FunctionIndex
from evo.errors import EvaluatorError

# Few distinct words, so that keys repeat, agree in one half only, crowd one bucket and include the all-zero key.
WORD = st.sampled_from([0, 1, 2, 2**57 - 1, 2**63, 2**64 - 1])
KEY = st.tuples(WORD, WORD)
BATCH = st.lists(st.tuples(KEY, st.integers(0, 50)), max_size=40)


def arrays(pairs):
    keys = np.array([key for key, _ in pairs], np.uint64).reshape(-1, 2)
    return keys, np.array([id for _, id in pairs], np.int64)


def random_keys(n, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, (n, 2), dtype=np.uint64)


@settings(max_examples=150, deadline=None)
@given(st.lists(BATCH, max_size=5), st.lists(KEY, max_size=20))
def test_it_answers_as_a_dict_in_which_the_smallest_id_of_a_batch_and_the_first_batch_win(batches, queries):
    index, model = FunctionIndex(), {}
    for batch in batches:
        keys, ids = arrays(batch)
        added = index.insert(keys, ids)
        news = {}
        for key, id in batch:
            if key not in model:
                news[key] = min(id, news.get(key, id))
        assert added.sum() == len(news)
        assert {batch[i][0]: batch[i][1] for i in np.flatnonzero(added)} == news
        model.update(news)
    asked = [(key, 0) for key in [*queries, *model]]
    assert index.lookup(arrays(asked)[0]).tolist() == [model.get(key, ABSENT) for key, _ in asked]
    assert len(index) == len(model)


@pytest.mark.parametrize("batch", [1, 64, 4096])
def test_growth_keeps_every_entry_whatever_the_batches(batch):
    keys = random_keys(12_000)
    index = FunctionIndex()
    for start in range(0, 6_000 if batch == 1 else 12_000, batch):
        part = slice(start, start + batch)
        index.insert(keys[part], np.arange(len(keys))[part], distinct=True)
    np.testing.assert_array_equal(index.lookup(keys[: len(index)]), np.arange(len(index)))
    assert (index.lookup(random_keys(1000, seed=1)) == ABSENT).all()


def test_keys_of_one_bucket_overflow_into_the_next_and_around_the_end():
    keys = random_keys(10 * SLOTS)
    keys[:, 0] |= np.uint64(0xFFFF_0000_0000_0000)  # the last bucket
    index = FunctionIndex()
    for part in np.split(np.arange(len(keys)), 4):
        index.insert(keys[part], part)
    np.testing.assert_array_equal(index.lookup(keys), np.arange(len(keys)))
    assert index.lookup(keys ^ np.uint64(1)).max() == ABSENT


def test_a_room_made_at_the_start_is_not_outgrown():
    index = FunctionIndex(capacity=20_000)
    before = index.nbytes
    index.insert(random_keys(20_000), np.arange(20_000))
    assert index.nbytes == before


def test_a_key_costs_at_most_68_bytes_once_there_are_many():
    index = FunctionIndex()
    keys = random_keys(100_000)
    for part in np.split(np.arange(len(keys)), 100):
        index.insert(keys[part], part, distinct=True)
        if len(index) > 1000:
            assert index.nbytes <= 68 * len(index)


def test_all_entries_are_listed_once():
    index, keys = FunctionIndex(), random_keys(5000)
    index.insert(keys, np.arange(5000))
    listed = [(key.tobytes(), id) for chunk, ids in index.items() for key, id in zip(chunk, ids.tolist(), strict=True)]
    assert sorted(listed) == sorted((key.tobytes(), id) for id, key in enumerate(keys))


def test_empty_batches_change_nothing():
    index, nothing = FunctionIndex(), np.zeros((0, 2), np.uint64)
    assert index.insert(nothing, np.zeros(0, np.int64)).shape == (0,)
    assert index.lookup(nothing).shape == (0,)
    assert len(index) == 0


def test_the_absent_marker_is_refused_as_an_id():
    with pytest.raises(EvaluatorError):
        FunctionIndex().insert(random_keys(2), np.array([0, ABSENT]))
