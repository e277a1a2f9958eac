"""A compact map from 128-bit keys to function ids, made for millions of keys looked up and inserted in batches.

Open addressing in numpy arrays: buckets of eight slots that fill from the left; a key's home is given by its leading
bits and a full bucket overflows into the next. A batch costs a few numpy calls however large it is. 24 bytes a slot at
a load between 3/8 and 3/4: 32 to 64 bytes a key, where a dict of bytes takes about 200.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from evo.errors import EvaluatorError

ABSENT = -1
"""What `lookup` gives for a key that is not there; no function id may be that."""

SLOTS = 8
_MAXIMAL_LOAD = 0.75
_REHASH_BUCKETS = 1 << 15

KeyArray = NDArray[np.uint64]
IdArray = NDArray[np.int64]


class FunctionIndex:
    """Maps keys to function ids. Entries are never removed and never changed: what is there wins.

    Args:
        capacity: the number of keys to make room for at the start; it grows by doubling.
    """

    def __init__(self, capacity: int = 0) -> None:
        self._size = 0
        self._allocate(_bucket_count(capacity))

    def __len__(self) -> int:
        return self._size

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays."""
        return self._high.nbytes + self._low.nbytes + self._ids.nbytes + self._filled.nbytes

    def lookup(self, keys: KeyArray) -> IdArray:
        """Function ids of keys, `ABSENT` (-1) for those not there.

        Args:
            keys: (n, 2) uint64; evenly distributed, such as digests are.

        Returns:
            (n,) int64.
        """
        found = np.full(len(keys), ABSENT, np.int64)
        high, low = keys[:, 0], keys[:, 1]
        bucket = self._home(high)
        pending: NDArray[np.intp] | None = None
        while bucket.size:
            match = self._high.take(bucket, axis=0) == high[:, None]
            match &= self._low.take(bucket, axis=0) == low[:, None]
            slot = match.argmax(axis=1)
            # A key of zeros also "matches" a free slot; free slots hold ABSENT, and stand behind the filled ones.
            ids = np.where(match.any(axis=1), self._ids.ravel().take(bucket * SLOTS + slot), ABSENT)
            if pending is None:
                found = ids
            else:
                found[pending] = ids
            further = np.flatnonzero((ids == ABSENT) & (self._filled.take(bucket) == SLOTS))
            pending = further if pending is None else pending[further]
            high, low = high[further], low[further]
            bucket = (bucket[further] + 1) & self._mask
        return found

    def insert(self, keys: KeyArray, ids: IdArray, distinct: bool = False) -> NDArray[np.bool_]:
        """Adds keys; a key that is there keeps its id, and of equal keys in the batch the smallest id wins.

        Args:
            keys: (n, 2) uint64.
            ids: (n,) int64, none of them `ABSENT`.
            distinct: a promise that the keys are distinct and absent, which saves looking.

        Returns:
            (n,) bool: True where the entry was added.

        Raises:
            EvaluatorError: an id is `ABSENT`.
        """
        if (ids == ABSENT).any():
            raise EvaluatorError(f"{ABSENT} is no function id", "it stands for keys that are not in the index")
        if distinct:
            self._place(keys, ids)
            return np.ones(len(keys), bool)
        added = np.zeros(len(keys), bool)
        absent = np.flatnonzero(self.lookup(keys) == ABSENT)
        absent = absent[np.lexsort((ids[absent], keys[absent, 1], keys[absent, 0]))]
        ordered = keys[absent]
        first = np.ones(len(absent), bool)
        first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        absent = absent[first]
        self._place(keys[absent], ids[absent])
        added[absent] = True
        return added

    def items(self) -> Iterator[tuple[KeyArray, IdArray]]:
        """All entries in chunks of (m, 2) keys and (m,) ids, in the order of the table."""
        return _entries(self._high, self._low, self._ids)

    def _allocate(self, buckets: int) -> None:
        self._mask = buckets - 1
        self._shift = np.uint64(64 - (buckets.bit_length() - 1))
        self._high = np.zeros((buckets, SLOTS), np.uint64)
        self._low = np.zeros((buckets, SLOTS), np.uint64)
        self._ids = np.full((buckets, SLOTS), ABSENT, np.int64)
        self._filled = np.zeros(buckets, np.uint8)

    def _home(self, high: NDArray[np.uint64]) -> NDArray[np.int64]:
        return (high >> self._shift).astype(np.int64)

    def _place(self, keys: KeyArray, ids: IdArray) -> None:
        """Puts distinct absent keys into free slots."""
        if self._size + len(keys) > _MAXIMAL_LOAD * SLOTS * len(self._filled):
            old = self.items()
            self._allocate(_bucket_count(self._size + len(keys)))
            for old_keys, old_ids in old:
                self._fill(old_keys, old_ids)
        self._fill(keys, ids)
        self._size += len(keys)

    def _fill(self, keys: KeyArray, ids: IdArray) -> None:
        bucket = self._home(keys[:, 0])
        while bucket.size:
            order = np.argsort(bucket, kind="stable")
            bucket, keys, ids = bucket[order], keys[order], ids[order]
            rank = np.arange(len(bucket)) - np.searchsorted(bucket, bucket)
            slot = self._filled.take(bucket) + rank
            fits = slot < SLOTS
            place = bucket[fits] * SLOTS + slot[fits]
            self._high.ravel()[place] = keys[fits, 0]
            self._low.ravel()[place] = keys[fits, 1]
            self._ids.ravel()[place] = ids[fits]
            # Repeated buckets: numpy keeps the last assignment, which has the highest slot.
            self._filled[bucket[fits]] = slot[fits] + 1
            over = ~fits
            bucket, keys, ids = (bucket[over] + 1) & self._mask, keys[over], ids[over]


def _entries(high: KeyArray, low: KeyArray, ids: IdArray) -> Iterator[tuple[KeyArray, IdArray]]:
    """In chunks, so that growing needs little more than the old and the new table; bound to the arrays given."""
    for start in range(0, len(ids), _REHASH_BUCKETS):
        part = slice(start, start + _REHASH_BUCKETS)
        taken = ids[part] != ABSENT
        yield np.stack((high[part][taken], low[part][taken]), axis=1), ids[part][taken]


def _bucket_count(keys: int) -> int:
    """The power of two, at least 128, that holds so many keys below the maximal load."""
    buckets = 128
    while keys > _MAXIMAL_LOAD * SLOTS * buckets:
        buckets *= 2
    return buckets
