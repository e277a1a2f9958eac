"""Genomes to and from the journal, also where one is stored as its parent's id and a link (`SearchSpace.links`)."""

from __future__ import annotations

import json
from typing import Any

from evo.errors import DamagedRunError
from evo.run.store import RunStore
from evo.space import Json, SearchSpace


class Genomes:
    """The genomes of a run being written, by candidate id.

    Args:
        keep: decoded genomes kept, in each of two generations; a link is then decoded from its parent at once.
    """

    def __init__(self, space: SearchSpace[Any], store: RunStore, keep: int = 4096) -> None:
        self._space = space
        self._store = store
        self._keep = keep
        self._recent: dict[int, Any] = {}
        self._older: dict[int, Any] = {}

    def encode(self, genome: Any, parents: tuple[int, ...]) -> Json:
        """The value to store."""
        return self._space.encode_link(genome, parents) if self._space.links else self._space.encode(genome)

    def decode(self, candidate: int, text: str) -> Any:
        """The genome of a candidate from its stored JSON text."""
        if not self._space.links:
            return self._space.decode(json.loads(text))
        value = json.loads(text)
        chain: list[tuple[int, Json]] = []
        genome = None
        while True:
            chain.append((candidate, value))
            if not isinstance(value, dict) or value.get("parent") is None:
                break
            candidate = int(value["parent"])
            genome = self._recent.get(candidate) or self._older.get(candidate)
            if genome is not None:
                break
            value = json.loads(self._text(candidate))
        for candidate, value in reversed(chain):
            genome = self._space.decode_link(value, genome)
            self._remember(candidate, genome)
        return genome

    def _text(self, candidate: int) -> str:
        row = self._store.one("SELECT genome FROM proposals WHERE id = ? AND kind = 0", (candidate,))
        if row is None:
            raise DamagedRunError(f"{self._store.path}: a genome names candidate {candidate}, which is not there")
        return str(row[0])

    def _remember(self, candidate: int, genome: Any) -> None:
        if len(self._recent) >= self._keep:
            self._older, self._recent = self._recent, {}
        self._recent[candidate] = genome
