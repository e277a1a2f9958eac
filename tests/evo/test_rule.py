"""When results are told and which hurdles stand then, recomputed from the journal by other code than the loop's."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evo.executors.base import Block
from evo.executors.inline import InlineExecutor
from evo.search import RunResult, Search
from tests.evo.engine import make, parts, query, run, stop_after
from tests.evo.odd_spaces import HERE

RUNGS = {"rungs": 3, "hurdle": 0.4, "hurdle_after": 20}
REPEATS = {"alphabet": 900, "functions": 250}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "hits": {"options": {"alphabet": 4000, "functions": 1500}},
    "mostly hits": {"options": {"alphabet": 400, "functions": 90}},
    "hurdle": {"options": {**RUNGS, **REPEATS}},
    "drifting": {"options": {"rungs": 3, "hurdle": 0.4, "hurdle_after": 5, "alphabet": 9000, "functions": 400}},
    "replicates": {"options": {**RUNGS, **REPEATS, "noise": 0.7, "replicates": 3}},
    "maximise": {"space": f"{HERE}:Maximising", "options": {**RUNGS, **REPEATS, "noise": 0.7}},
    "infinite": {"options": {**RUNGS, **REPEATS, "hurdle": 0.1, "faults": {"inf": 3}}},
    "invalid": {"options": {**RUNGS, **REPEATS, "faults": {"invalid": 9, "nan": 9, "raises": 11}}},
    "two objectives": {
        "options": {**RUNGS, "objectives": 2, "functions": 400},
        "strategy": {"name": "random", "options": {}},
    },
}
HURDLES = [name for name in CASES if "rungs" in CASES[name].get("options", {})]


def worse(maximise: bool, a: float, b: float) -> bool:
    return a < b if maximise else a > b


def expected_misses(result: RunResult) -> dict[int, bool]:
    """A candidate is a miss where it is the first of its function, or where a hurdle is lower than all it met."""
    maximise = "Maximising" in result.status["space"]
    laxest: dict[int, list[float | None]] = {}
    misses = {}
    for id, function, source, thresholds in query(
        result, "SELECT i.id, i.function, i.source, p.thresholds FROM identities i JOIN proposals p USING (id)"
    ):
        limits = json.loads(thresholds) if thresholds else []
        if source == "invalid":
            misses[id] = False
            continue
        known = laxest.get(function)
        if known is None:
            misses[id] = True
            laxest[function] = limits
            continue
        lower = [a is not None and (b is None or worse(maximise, b, a)) for a, b in zip(known, limits, strict=True)]
        misses[id] = any(lower)
        laxest[function] = [b if low else a for low, a, b in zip(lower, known, limits, strict=True)]
    return misses


@pytest.mark.parametrize("name", list(CASES))
def test_windows_begin_when_just_so_many_misses_are_untold_as_the_lag_says(tmp_path: Path, name: str) -> None:
    result = run(tmp_path, "run", **CASES[name])
    misses = expected_misses(result)
    assert misses == {id: bool(miss) for id, miss in query(result, "SELECT id, miss FROM identities")}
    ends = 0
    full = 0
    for first, told, untold, window_end in query(
        result, "SELECT first_id, told, misses_untold, window_end FROM chunks ORDER BY first_id"
    ):
        assert first == ends, "no chunk was cut short"
        ends = window_end
        through = 0
        while through < first and (not misses[through] or sum(misses[i] for i in range(through, first)) > 40):
            through += 1
        assert told == through
        assert untold == sum(misses[i] for i in range(through, first)) <= 40
        full += untold == 40
    assert full >= (10 if name != "mostly hits" else 0)


def folded(result: RunResult, function: int, rung: int) -> float:
    """The mean of a function's observations at a rung."""
    name = f"rung{rung}"
    values = query(
        result, f"SELECT vals FROM observations WHERE function = {function} AND rung = '{name}' AND request = 0"
    )
    return math.fsum(struct.unpack_from("<d", value)[0] for (value,) in values) / len(values)


@pytest.mark.parametrize("name", HURDLES)
def test_hurdles_are_quantiles_of_the_distinct_functions_told_when_asked(tmp_path: Path, name: str) -> None:
    result = run(tmp_path, "run", **CASES[name])
    maximise = name == "maximise"
    hurdle = CASES[name]["options"]["hurdle"]
    reached = [
        (id, [folded(result, id, r) for r in range(min(rung, 1) + 1)])
        for id, rung in query(
            result, "SELECT c.id, c.rung FROM commits c JOIN identities i USING (id) WHERE i.function = c.id"
        )
    ]
    stood = 0
    for first, n, told in query(result, "SELECT first_id, n, told FROM chunks"):
        expected: list[float | None] = []
        for rung in (0, 1):
            worst_first = sorted((v[rung] for id, v in reached if id < told and len(v) > rung), reverse=not maximise)
            enough = len(worst_first) >= CASES[name]["options"]["hurdle_after"]
            expected.append(worst_first[int(hurdle * len(worst_first))] if enough else None)
        for (thresholds,) in query(
            result, f"SELECT thresholds FROM proposals WHERE id >= {first} AND id < {first + n}"
        ):
            assert json.loads(thresholds) == [pytest.approx(expected[0]), pytest.approx(expected[1]), None]
        stood += expected[0] is not None
        if name == "infinite" and expected[0] is not None:
            assert expected[0] == math.inf
    assert stood > 20


@pytest.mark.parametrize("name", HURDLES)
def test_who_exceeds_a_hurdle_goes_on_and_nobody_else(tmp_path: Path, name: str) -> None:
    result = run(tmp_path, "run", **CASES[name])
    maximise = name == "maximise"
    seen = {"ok": 0, "stopped": 0}
    for function, thresholds, status, rung in query(
        result,
        "SELECT i.function, p.thresholds, c.status, c.rung FROM commits c JOIN proposals p USING (id)"
        " JOIN identities i USING (id)",
    ):
        if status not in seen:
            continue
        seen[status] += 1
        for r in range(rung + 1):
            limit = json.loads(thresholds)[r]
            clears = limit is None or worse(maximise, limit, folded(result, function, r))
            assert clears == (r < rung or status == "ok")
        assert (rung == 2) == (status == "ok")
    assert min(seen.values()) > 30


@pytest.mark.parametrize("name", HURDLES)
def test_hurdles_survive_stops_and_other_blocks(tmp_path: Path, name: str) -> None:
    whole = run(tmp_path, "whole", **CASES[name])
    loop = {"chunk": 16, "lag": 40, "block": 3, "snapshot_every": 64}
    assert parts(run(tmp_path, "blocks", **{**CASES[name], "loop": loop})) == parts(whole)
    cut = stop_after(make(tmp_path, "cut", **CASES[name]), 170)
    cut = stop_after(Search.open(cut.path), 400)
    cut = Search.open(cut.path).run()
    assert parts(cut) == parts(whole)
    assert cut.leaders == whole.leaders


def test_a_repeat_that_clears_a_lower_hurdle_goes_where_its_first_did_not_and_leads(tmp_path: Path) -> None:
    options = {"rungs": 2, "hurdle": 0.5, "hurdle_after": 5, "functions": 60, "alphabet": 1000}
    result = run(tmp_path, "run", options=options)
    further = query(
        result,
        "SELECT DISTINCT i.function FROM commits c JOIN identities i USING (id) JOIN commits f ON f.id = i.function"
        " WHERE f.status = 'stopped' AND c.status = 'ok'",
    )
    assert len(further) > 1
    for (function,) in further:
        observed = query(result, f"SELECT rung FROM observations WHERE function = {function} ORDER BY rung")
        assert observed == [("rung0",), ("rung1",)]
    rows = query(result, "SELECT i.function, c.vals FROM commits c JOIN identities i USING (id) WHERE c.status = 'ok'")
    best = sorted({(struct.unpack("<d", vals)[0], function) for function, vals in rows})
    assert [(x["values"][0], x["function"]) for x in result.leaders] == best[:50]
    assert {function for (function,) in further} & {x["function"] for x in result.leaders}


@pytest.mark.parametrize("name", ["hits", "hurdle"])
def test_blocks_close_when_full_and_at_every_multiple_of_the_span(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    blocks: list[list[tuple[str, int]]] = []
    submit = InlineExecutor.submit

    def watch(self: InlineExecutor, given: Sequence[Block]) -> None:
        blocks.extend([(r.rung, r.id) for r in block.requests] for block in given)
        submit(self, given)

    monkeypatch.setattr(InlineExecutor, "submit", watch)
    loop = {"chunk": 16, "lag": 40, "block": 7, "span": 24, "snapshot_every": 100}
    result = run(tmp_path, "run", **{**CASES[name], "loop": loop})
    assert {len(block) for block in blocks} >= {7, 1}
    assert max(len(block) for block in blocks) == 7
    assert all(len({(rung, id // 24) for rung, id in block}) == 1 for block in blocks)
    for rung in {block[0][0] for block in blocks}:
        ids = [id for block in blocks if block[0][0] == rung for _, id in block]
        assert ids == sorted(ids)
    assert sum(map(len, blocks)) == query(result, "SELECT count(*) FROM evaluations")[0][0]
