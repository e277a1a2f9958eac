"""Reading a run, also while another process writes it: the standard library alone, no trace left in the folder.

    with RunReader("runs/lion-...") as run:
        run.status()["counts"], run.leaders(10), run.candidate(4711), run.lineage(4711)

Values keep their natural direction. Vectors are tuples of floats (stored as little-endian float64).
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evo.errors import CandidateNotFoundError, DamagedRunError, RunLockedError, SchemaError
from evo.run.database import ReadOnlyDatabase
from evo.run.folder import DATABASE
from evo.run.schema import SCHEMA_VERSION

FAILURES = ("invalid", "failed", "nan", "timeout", "quarantined")
_JOINED = (
    "SELECT p.id, c.status, c.rung, c.vals, c.behaviour, c.extra, p.operator, p.parents,"
    " COALESCE(l.function, i.function), i.source, i.miss, p.kind FROM proposals p"
    " LEFT JOIN identities i ON i.id = p.id LEFT JOIN late_identities l ON l.id = p.id"
    " {join} JOIN commits c ON c.id = p.id"
)


class Committed(NamedTuple):
    """What became of one candidate.

    Attributes:
        status: see `evo.space.Status`; None while it is not committed.
        rung: index of the last rung that gave a value; -1 if none.
        values: one float an objective; empty if there is no value.
        function: the smallest candidate id known to compute the same function; None while not identified.
        source: where its observations came from, see `evo.space.Source`; None while not identified.
        miss: whether it was the first of its function in this run.
        kind: 0 a bred genome, 1 a re-evaluation of its parent.
    """

    id: int
    status: str | None
    rung: int
    values: tuple[float, ...]
    behaviour: tuple[float, ...] | None
    extra: Any
    operator: str
    parents: tuple[int, ...]
    function: int | None
    source: str | None
    miss: bool
    kind: int


class Evaluation(NamedTuple):
    """One evaluation's cost: seconds of wall time, attempts, the worker's name, unix time when it finished."""

    id: int
    rung: str
    seconds: float
    attempts: int
    worker: str
    finished: float


def floats(blob: bytes | None) -> tuple[float, ...]:
    """A stored vector; None gives the empty tuple."""
    return struct.unpack(f"<{len(blob) // 8}d", blob) if blob else ()


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


class RunReader(ReadOnlyDatabase):
    """Reads a run directory (see ARCHITECTURE.md for its tables). Every call sees what was written last.

    Args:
        path: the run's folder.

    Raises:
        DamagedRunError: run.db is missing, foreign or broken.
        SchemaError: another version of the schema wrote it.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file = self.path / DATABASE
        self._network_status = self.path / "status.json"
        if not self._file.is_file():
            raise DamagedRunError(f"{self._file} is missing", "the folder is no run, or its database was deleted")
        super().__init__(self._file)
        try:
            self._check_schema()
        except RunLockedError:
            if not self._network_status.exists():
                raise

    def _check_schema(self) -> None:
        found = self._meta("schema")
        if found != SCHEMA_VERSION:
            wrote = (self._meta("versions") or {}).get("evo-search")
            by = f" (evo {wrote})" if wrote else ""
            raise SchemaError(
                f"{self._file} has schema version {found}{by}; this version of evo reads {SCHEMA_VERSION}",
                "read it with the version of evo that wrote it, or start a new run",
            )

    # ------------------------------------------------------------------ the run as a whole

    def meta(self) -> dict[str, Any]:
        """What was fixed when the run was made: config, versions, commit, command, objectives, rungs, ..."""
        return {key: json.loads(value) for key, value in self.rows("SELECT key, value FROM meta ORDER BY key")}

    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        return dict(self._meta("config") or {})

    def _meta(self, key: str) -> Any:
        row = self._one("SELECT value FROM meta WHERE key = ?", (key,))
        return json.loads(row[0]) if row else None

    def objectives(self) -> list[dict[str, Any]]:
        """{"name", "direction", "cost"} of each objective, in order."""
        return [
            {"name": str(name), "direction": str(direction), "cost": bool(cost)}
            for name, direction, cost in self._meta("objectives") or []
        ]

    def rungs(self) -> list[dict[str, Any]]:
        """{"name", "replicates", "hurdle"} of each rung, in order."""
        return [
            {"name": str(name), "replicates": int(replicates), "hurdle": hurdle}
            for name, replicates, hurdle in self._meta("rungs") or []
        ]

    def status(self) -> dict[str, Any]:
        """The status as its writer last stored it (about once a second); empty before the first.

        On a network file system a live run's database lets nobody in; its writer then keeps status.json beside it.
        """
        try:
            row = self._one("SELECT state FROM status WHERE id = 1")
        except RunLockedError:
            if not self._network_status.exists():
                raise
            return dict(json.loads(self._network_status.read_text()))
        return dict(json.loads(row[0])) if row else {}

    def counts(self) -> dict[str, int]:
        """Counters of proposals, evaluations, hits by kind and failures by kind."""
        return dict(self.status().get("counts", {}))

    def seconds(self) -> dict[str, float]:
        """Seconds hashed, evaluated, saved, ..."""
        return dict(self.status().get("seconds", {}))

    def curve(self) -> list[tuple[int, int, float, tuple[float, ...]]]:
        """Change points of the best so far: (evaluations, proposals, elapsed seconds, values of the best)."""
        return [(int(e), int(p), float(t), tuple(v)) for e, p, t, v in self.status().get("curve", [])]

    def timeline(self) -> list[tuple[float, dict[str, int], dict[str, float]]]:
        """Thinned history: (elapsed seconds, counts, seconds)."""
        return [(float(t), dict(counts), dict(seconds)) for t, counts, seconds in self.status().get("timeline", [])]

    def leaders(self, n: int = 10) -> list[dict[str, Any]]:
        """The best candidates of distinct functions, best first.

        Each is {"id", "function", "values", "status", "rung", "operator", "parents", "summary"}; from the writer also
        "replicates", the number behind the values: a function that was evaluated again has its mean over all. The
        writer keeps up to 50; for more, or where it had no time to store any, commits are ranked by rung and first
        objective (then without a summary).
        """
        stored = self.status().get("leaders", [])
        if len(stored) >= min(n, 50) and n <= 50:
            return list(stored[:n])
        known = {leader["function"] for leader in stored}
        objectives = self.objectives()
        sign = -1.0 if objectives and objectives[0]["direction"] == "maximise" else 1.0
        best: dict[int | None, tuple[tuple[float, float, int], Committed]] = {}
        for row in self.commits():
            if row.kind == 1 or row.status != "ok" or not row.values or row.values[0] != row.values[0]:
                continue
            rank = (-float(row.rung), sign * row.values[0], row.id)
            if row.function not in best or rank < best[row.function][0]:
                best[row.function] = (rank, row)
        ranked = [row for _, row in sorted(best.values(), key=lambda pair: pair[0])]
        tail = [
            {
                "id": row.id, "function": row.function, "values": list(row.values), "status": row.status,
                "rung": row.rung, "operator": row.operator, "parents": list(row.parents), "summary": "",
            }
            for row in ranked if row.function not in known
        ]  # fmt: skip
        return [*stored, *tail][:n]

    # ------------------------------------------------------------------ candidates

    def proposals(self) -> int:
        """How many candidates were proposed; their ids run from 0 without a gap."""
        row = self._one("SELECT MAX(id) FROM proposals")
        return int(row[0]) + 1 if row and row[0] is not None else 0

    def genome(self, candidate: int) -> Any:
        """The encoded genome (JSON value); of a re-evaluation, that of the candidate re-evaluated."""
        seen = candidate
        while True:
            row = self._one("SELECT kind, genome, parents FROM proposals WHERE id = ?", (seen,))
            if row is None:
                raise self._missing(candidate)
            if row[0] == 0:
                return json.loads(row[1])
            seen = json.loads(row[2])[0]

    def _missing(self, candidate: int) -> CandidateNotFoundError:
        n = self.proposals()
        there = f"candidates 0 to {n - 1} are there" if n else "it holds none yet"
        return CandidateNotFoundError(
            f"run {self.path.name} holds no candidate {candidate}", f"{there}; `best` names the leader"
        )

    def resolve(self, candidate: str | int) -> int:
        """A candidate's id from what a person typed: a number, "#number" or "best".

        Raises:
            CandidateNotFoundError: it is none of these, or not there.
        """
        text = str(candidate).strip().lstrip("#")
        if text == "best":
            leaders = self.leaders(1)
            if not leaders:
                raise CandidateNotFoundError(
                    f"run {self.path.name} has no best candidate yet", "no candidate has finished with a value"
                )
            return int(leaders[0]["id"])
        if not text.isdecimal():
            raise CandidateNotFoundError(f"{candidate!r} names no candidate", "give its id (a number), or `best`")
        found = int(text)
        if found >= 2**63 or self._one("SELECT 1 FROM proposals WHERE id = ?", (found,)) is None:
            raise self._missing(found)
        return found

    def candidate(self, candidate: int) -> dict[str, Any]:
        """Everything about one candidate.

        Keys: those of `Committed`, and genome, salt, thresholds, reevaluates (an id or None), costs (by name),
        observations (of its function, and its own repeats), evaluations, leader (its row in `leaders`, or None).

        Raises:
            CandidateNotFoundError: the run holds no such candidate.
        """
        row = self._one(_JOINED.format(join="LEFT") + " WHERE p.id = ?", (candidate,))
        if row is None:
            raise self._missing(candidate)
        found = self._committed(row)
        salt, thresholds = self._one("SELECT salt, thresholds FROM proposals WHERE id = ?", (candidate,)) or (0, None)
        costs = {
            objective["name"]: value
            for objective, value in zip(self.objectives(), found.values, strict=False)
            if objective["cost"]
        }
        return {
            **found._asdict(),
            "genome": self.genome(candidate),
            "salt": salt,
            "thresholds": _json(thresholds),
            "reevaluates": found.parents[0] if found.kind == 1 else None,
            "costs": costs,
            "observations": self.observations(candidate, found.function),
            "evaluations": [item._asdict() for item in self.evaluations(candidate)],
            "leader": next((leader for leader in self.status().get("leaders", []) if leader["id"] == candidate), None),
        }

    def observations(self, candidate: int, function: int | None) -> list[dict[str, Any]]:
        """Raw observations of a function, and those that only this candidate asked for (`request` is its id)."""
        names = ("rung", "seed", "request", "status", "values", "behaviour", "extra", "message")
        query = (
            "SELECT rung, seed, request, status, vals, behaviour, extra, message FROM observations"
            " WHERE function = ? AND request IN (0, ?) ORDER BY request, rung, seed"
        )
        return [
            dict(
                zip(
                    names,
                    (*row[:4], list(floats(row[4])), list(floats(row[5])) or None, _json(row[6]), row[7] or ""),
                    strict=True,
                )
            )
            for row in self.rows(query, (function, candidate or -1))
        ]

    def evaluations(self, candidate: int | None = None) -> Iterator[Evaluation]:
        """Costs of evaluations in the order they finished; of one candidate, or of all."""
        where, parameters = (" WHERE id = ?", (candidate,)) if candidate is not None else ("", ())
        query = f"SELECT id, rung, seconds, attempts, worker, finished FROM evaluations{where} ORDER BY rowid"
        return (Evaluation(*row) for row in self.rows(query, parameters))

    def commits(self, after: int = -1, limit: int | None = None) -> Iterator[Committed]:
        """Committed candidates in id order, streamed.

        Args:
            after: only ids above this.
            limit: at most so many; None: all.
        """
        query = _JOINED.format(join="") + " WHERE p.id > ? ORDER BY p.id LIMIT ?"
        return (self._committed(row) for row in self.rows(query, (after, -1 if limit is None else limit)))

    @staticmethod
    def _committed(row: Sequence[Any]) -> Committed:
        candidate, status, rung, values, behaviour, extra, operator, parents, function, source, miss, kind = row
        return Committed(
            candidate, status, -1 if rung is None else rung, floats(values), floats(behaviour) or None, _json(extra),
            operator, tuple(json.loads(parents)), function, source, bool(miss), kind,
        )  # fmt: skip

    def lineage(self, candidate: int, limit: int = 1000) -> list[Committed]:
        """The candidate and its ancestors, oldest first; the nearest `limit` where there are more.

        Raises:
            CandidateNotFoundError: the run holds no such candidate.
        """
        query = _JOINED.format(join="LEFT") + " WHERE p.id = ?"
        found: dict[int, Committed] = {}
        frontier = [candidate]
        while frontier and len(found) < limit:
            current = max(frontier)  # parents have smaller ids: the nearest ancestors come first
            frontier.remove(current)
            row = self._one(query, (current,))
            if row is None:
                raise self._missing(current)
            found[current] = self._committed(row)
            frontier += [parent for parent in found[current].parents if parent not in found and parent not in frontier]
        return [found[key] for key in sorted(found)]

    def children(self, candidate: int, within: int | None = None) -> list[int]:
        """Ids of the candidates made from this one (re-evaluations of it among them), in id order.

        Args:
            within: look at so many later candidates; None: at all (a scan of the table).
        """
        last = candidate + within if within is not None else 2**62
        query = (
            "SELECT id FROM proposals WHERE id > ? AND id <= ? AND"
            " (parents = ? OR parents LIKE ? OR parents LIKE ? OR parents LIKE ?) ORDER BY id"
        )
        word = str(candidate)  # parents are compact JSON lists
        like = (f"[{word}]", f"[{word},%", f"%,{word}]", f"%,{word},%")
        return [row[0] for row in self.rows(query, (candidate, last, *like))]

    # ------------------------------------------------------------------ beside the journal

    def sources(self, bins: int = 100) -> list[tuple[int, dict[str, int]]]:
        """Where observations came from along the run: (first id, count by source) of `bins` equal spans of ids. What a
        warm start proposes over and over counts as "copies"; what its own evaluation showed to be known, as
        "functional"."""
        n = self.proposals()
        if not n:
            return []
        width = max(1, -(-n // bins))
        found: dict[int, dict[str, int]] = {}
        query = (
            f"SELECT i.id / {width}, CASE WHEN p.operator = 'seed' AND i.source IN ('structural', 'functional', 'twin')"
            " THEN 'copies' WHEN l.function != i.function AND i.function = i.id THEN 'functional' ELSE i.source END,"
            " COUNT(*) FROM identities i JOIN proposals p USING (id) LEFT JOIN late_identities l USING (id)"
            " GROUP BY 1, 2 ORDER BY 1"
        )
        for index, source, count in self.rows(query):
            found.setdefault(index * width, {})[source] = count
        return sorted(found.items())

    def errors(self, limit: int = 50) -> list[dict[str, Any]]:
        """Failures grouped by status and message, the most frequent first.

        Each is {"status", "message", "functions", "example"}; `example` is the smallest id that failed so;
        `<run>/errors/<id>.txt` may hold its traceback.
        """
        query = (
            "SELECT status, COALESCE(message, ''), COUNT(DISTINCT function), MIN(function) FROM observations"
            f" WHERE status IN ({', '.join('?' * len(FAILURES))}) GROUP BY 1, 2 ORDER BY 3 DESC, 4 LIMIT ?"
        )
        names = ("status", "message", "functions", "example")
        return [dict(zip(names, row, strict=True)) for row in self.rows(query, (*FAILURES, limit))]

    def failures(self) -> dict[str, int]:
        """Committed candidates by failure status."""
        query = f"SELECT status, COUNT(*) FROM commits WHERE status IN ({', '.join('?' * len(FAILURES))}) GROUP BY 1"
        found = Counter({status: int(count) for status, count in self.rows(query, FAILURES)})
        return {status: found[status] for status in FAILURES if found[status]}

    def reports(self) -> list[dict[str, Any]]:
        """Rows of the held-out evaluation: {"name", "task", "metric", "values", "genome_index", ...}."""
        return [dict(json.loads(row)) for (row,) in self.rows("SELECT row FROM reports ORDER BY rowid")]

    def audits(self) -> dict[str, int]:
        """How many hits were evaluated again, and how many of them disagreed."""
        row = self._one("SELECT COUNT(*), COALESCE(SUM(1 - agrees), 0) FROM audits") or (0, 0)
        return {"audits": int(row[0]), "disagreements": int(row[1])}

    def events(self, limit: int | None = None) -> list[dict[str, Any]]:
        """What happened, oldest first; the last `limit`: {"time", "kind", "payload"}."""
        query = "SELECT time, kind, payload FROM events ORDER BY rowid DESC LIMIT ?"
        found = [
            {"time": time, "kind": kind, "payload": _json(payload)}
            for time, kind, payload in self.rows(query, (-1 if limit is None else limit,))
        ]
        return found[::-1]
