"""Gives each candidate its function id: structure first, then behaviour, the smallest id wins.

A function is known by its aliases: the key of the canonical form, and the behaviour's keys on both grids. All aliases
point to the first candidate that computes the function. Closeness is not transitive, so that a candidate can meet two
functions, one on each grid: the older one wins, and no alias is ever pointed elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NamedTuple

import numpy as np
import xxhash

from evo.equivalence.digest import FLOOR_EXPONENT, KEY_BYTES, digests
from evo.equivalence.index import ABSENT, FunctionIndex
from evo.errors import EvaluatorError
from evo.space import Fingerprints, SearchSpace

How = Literal["new", "structural", "functional", "invalid"]

INVALID_FUNCTION = -1
"""The function id of candidates that can never be valid."""

_INVALID_ENTRY = -2
"""What the index holds for canonical forms known to be invalid; -1 there means absent."""

_STRUCTURE_SEED = 0
_LATE_SEED = xxhash.xxh3_64_intdigest(b"late fingerprint/1")
_NO_KEY = bytes(KEY_BYTES)
_RESTORE_ROWS = 1 << 15


class Identity(NamedTuple):
    """What a candidate was identified as.

    Attributes:
        id: candidate id.
        function: the smallest candidate id that computes the same function; -1 if invalid.
        how: "new": the first of its function. "structural": same canonical form as an earlier candidate.
            "functional": other form, same behaviour. "invalid": no valid input exists.
        key: 16 bytes, the canonical form's key, where this candidate is the first to have it; else None.
        grid_a: 16 bytes, the behaviour's key on grid A, where new; else None.
        grid_b: the same for grid B.
    """

    id: int
    function: int
    how: How
    key: bytes | None
    grid_a: bytes | None
    grid_b: bytes | None


JournalRow = tuple[int, int, bytes | None, bytes | None, bytes | None]
"""(id, function, key, grid_a, grid_b) as journaled from `Identity`."""


@dataclass
class IdentityCounts:
    """What was identified by this object in this process.

    Attributes:
        candidates: identified so far; the sum of the four kinds.
        seconds: wall seconds spent on canonical forms, fingerprints, keys and the index; for statistics alone.
    """

    candidates: int = 0
    new: int = 0
    structural: int = 0
    functional: int = 0
    invalid: int = 0
    seconds: float = 0.0


class Identifier:
    """Identifies candidates of one run, in id order.

    Cutting a sequence of candidates into other batches changes nothing, provided that the space's fingerprint of a
    genome does not depend on its neighbours. One owner, one thread.

    Args:
        space: gives canonical forms and fingerprints.
        structural: whether equal canonical forms are taken for the same function.
        functional: whether equal behaviours are taken for the same function.
        floor_exponent: see `evo.equivalence.digest`.

    With a layer switched off it is neither computed nor looked up, except that a canonical form of None always means
    an invalid candidate.
    """

    def __init__(
        self,
        space: SearchSpace[Any],
        structural: bool = True,
        functional: bool = True,
        floor_exponent: int = FLOOR_EXPONENT,
    ) -> None:
        self.structural = structural
        self.functional = functional
        self.counts = IdentityCounts()
        self._space = space
        self._floor_exponent = floor_exponent
        self._index = FunctionIndex()

    def __len__(self) -> int:
        """The number of aliases known."""
        return len(self._index)

    @property
    def nbytes(self) -> int:
        """Bytes held by the index."""
        return self._index.nbytes

    def identify(self, ids: Sequence[int], genomes: Sequence[Any]) -> list[Identity]:
        """Identifies a batch of candidates and learns their aliases.

        Args:
            ids: ascending, non-negative, above all ids identified before.
            genomes: one a candidate.

        Returns:
            One identity a candidate, in order.

        Raises:
            EvaluatorError: the space's fingerprints do not fit the genomes asked for.
        """
        started = time.perf_counter()
        canonical = self._space.canonical
        forms = [canonical(genome) for genome in genomes]
        identities = self._by_structure(ids, genomes, forms)
        self._count(identities, time.perf_counter() - started)
        return identities

    def late(self, id: int, function: int, digest: bytes) -> int:
        """Identifies a candidate by what its evaluation yielded (`Observation.fingerprint`).

        To be called in id order at commit. Twins of the candidate keep the function id they were given when asked,
        and learn the older one by their own call. Nothing is merged where the functional layer is off.

        Args:
            id: the candidate's id; for messages.
            function: the function id that `identify` gave it.
            digest: the behaviour's digest, any number of bytes.

        Returns:
            The earlier function with this digest, or `function`, which is then known by it.

        Raises:
            EvaluatorError: the candidate was identified as invalid.
        """
        if function < 0:
            raise EvaluatorError(
                f"candidate {id} is invalid and has no behaviour", "call late() for candidates that have a function"
            )
        if not self.functional:
            return function
        started = time.perf_counter()
        key = _keys([xxhash.xxh3_128_digest(digest, _LATE_SEED)])
        known = int(self._index.lookup(key)[0])
        if known == ABSENT:
            self._index.insert(key, np.array([function]), distinct=True)
            known = function
        self.counts.seconds += time.perf_counter() - started
        return known

    def restore(self, rows: Iterable[JournalRow]) -> None:
        """Learns the aliases of a journal in bulk; afterwards `identify` answers as it would have in that run.

        Args:
            rows: in id order.
        """
        remaining = iter(rows)
        while chunk := list(islice(remaining, _RESTORE_ROWS)):
            pairs = [
                (alias, function if function != INVALID_FUNCTION else _INVALID_ENTRY)
                for _, function, *aliases in chunk
                for alias in aliases
                if alias is not None
            ]
            self._learn(pairs)

    def restore_late(self, rows: Iterable[tuple[int, bytes]]) -> None:
        """The same for `late`: (function, digest) pairs in the order of the calls."""
        if not self.functional:
            return
        remaining = iter(rows)
        while chunk := list(islice(remaining, _RESTORE_ROWS)):
            self._learn([(xxhash.xxh3_128_digest(digest, _LATE_SEED), function) for function, digest in chunk])

    def _learn(self, pairs: list[tuple[bytes, int]]) -> None:
        # Rows in id order name the first owner of an alias first; that is the one to keep, also where the journal
        # holds an alias twice.
        first: dict[bytes, int] = {}
        for alias, function in pairs:
            first.setdefault(alias, function)
        if first:
            self._index.insert(_keys(list(first)), np.fromiter(first.values(), np.int64, len(first)))

    def _by_structure(
        self, ids: Sequence[int], genomes: Sequence[Any], forms: Sequence[bytes | None]
    ) -> list[Identity]:
        """Known forms and repeats within the batch are settled here, the first of each other form by behaviour."""
        digest = xxhash.xxh3_128_digest
        if self.structural:
            keys = [_NO_KEY if form is None else digest(form, _STRUCTURE_SEED) for form in forms]
            entries = self._index.lookup(_keys(keys)).tolist()
        else:
            # Keys that stay inside this call: every candidate is the first of its form.
            keys = [number.to_bytes(KEY_BYTES, "little") for number in range(len(forms))]
            entries = [ABSENT] * len(forms)
        firsts: dict[bytes, int] = {}
        for position, (form, key, entry) in enumerate(zip(forms, keys, entries, strict=True)):
            if entry == ABSENT and form is not None:
                firsts.setdefault(key, position)
        settled = self._by_behaviour(ids, genomes, keys, list(firsts.values())) if firsts else {}

        identities: list[Identity] = []
        for position, (id, form, key, entry) in enumerate(zip(ids, forms, keys, entries, strict=True)):
            if form is None:
                identities.append(Identity(id, INVALID_FUNCTION, "invalid", None, None, None))
                continue
            if entry == ABSENT:
                if firsts[key] == position:
                    identities.append(settled[position])
                    continue
                entry = settled[firsts[key]].function
            if entry < 0:
                identities.append(Identity(id, INVALID_FUNCTION, "invalid", None, None, None))
            else:
                identities.append(Identity(id, entry, "structural", None, None, None))
        return identities

    def _by_behaviour(
        self, ids: Sequence[int], genomes: Sequence[Any], keys: Sequence[bytes], positions: list[int]
    ) -> dict[int, Identity]:
        """Identities of candidates whose form is new, by position; learns all their aliases."""
        fingerprints = self._fingerprints([genomes[position] for position in positions]) if self.functional else None
        structural = self.structural
        if fingerprints is None:
            if structural:
                first_ids = np.array([ids[position] for position in positions], np.int64)
                self._index.insert(_keys([keys[position] for position in positions]), first_ids, distinct=True)
            return {
                position: Identity(
                    ids[position], ids[position], "new", keys[position] if structural else None, None, None
                )
                for position in positions
            }

        keys_a, keys_b = digests(fingerprints, self._floor_exponent)
        entries_a, entries_b = self._index.lookup(keys_a).tolist(), self._index.lookup(keys_b).tolist()
        bytes_a, bytes_b = keys_a.tobytes(), keys_b.tobytes()
        valid = None if fingerprints.valid is None else np.asarray(fingerprints.valid, bool).tolist()
        learnt: dict[bytes, int] = {}
        settled: dict[int, Identity] = {}
        for row, position in enumerate(positions):
            id, key = ids[position], keys[position] if structural else None
            if valid is not None and not valid[row]:
                settled[position] = Identity(id, INVALID_FUNCTION, "invalid", key, None, None)
                if key is not None:
                    learnt[key] = _INVALID_ENTRY
                continue
            part = slice(row * KEY_BYTES, (row + 1) * KEY_BYTES)
            grid_a, grid_b = bytes_a[part], bytes_b[part]
            owner_a = entries_a[row] if entries_a[row] != ABSENT else learnt.get(grid_a, ABSENT)
            owner_b = entries_b[row] if entries_b[row] != ABSENT else learnt.get(grid_b, ABSENT)
            owners = [owner for owner in (owner_a, owner_b) if owner != ABSENT]
            function = min(owners) if owners else id
            if key is not None:
                learnt[key] = function
            if owner_a == ABSENT:
                learnt[grid_a] = function
            new_b = owner_b == ABSENT and grid_b not in learnt
            if new_b:
                learnt[grid_b] = function
            settled[position] = Identity(
                id,
                function,
                "functional" if owners else "new",
                key,
                grid_a if owner_a == ABSENT else None,
                grid_b if new_b else None,
            )
        self._index.insert(_keys(list(learnt)), np.fromiter(learnt.values(), np.int64, len(learnt)), distinct=True)
        return settled

    def _fingerprints(self, genomes: list[Any]) -> Fingerprints | None:
        fingerprints = self._space.fingerprint(genomes)
        if fingerprints is None:
            return None
        rows = len(fingerprints.values)
        flags = rows if fingerprints.valid is None else len(fingerprints.valid)
        if rows != len(genomes) or flags != rows:
            raise EvaluatorError(
                f"fingerprint of {len(genomes)} genomes has {rows} rows of values and {flags} of valid",
                "SearchSpace.fingerprint must return one row a genome, in order",
            )
        return fingerprints

    def _count(self, identities: list[Identity], seconds: float) -> None:
        counts = self.counts
        counts.seconds += seconds
        counts.candidates += len(identities)
        kinds = [identity.how for identity in identities]
        counts.structural += kinds.count("structural")
        counts.functional += kinds.count("functional")
        counts.invalid += kinds.count("invalid")
        counts.new += kinds.count("new")


def _keys(keys: Sequence[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(keys), np.uint64).reshape(-1, 2)
