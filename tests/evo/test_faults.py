"""What a candidate, a space or a strategy does wrong costs what it should, and no more."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import evo.search
from evo.errors import ConfigError
from evo.executors.base import Completed
from evo.executors.inline import InlineExecutor
from evo.executors.worker import failure
from evo.run.journal import journal_parts
from evo.search import Search, replay
from evo.space import Breed, Proposal, Reevaluate
from evo.strategies.regularized import RegularizedEvolution
from evo.testing.noop import mix, unit
from tests.evo.engine import make, parts, query, run, stop_after
from tests.evo.odd_spaces import HERE

TWINS = {"alphabet": 2000, "functions": 200}


class Slow(InlineExecutor):
    """Finds one request in three guilty of a time-out, by id: the same in any block and session."""

    def poll(self, timeout: float) -> list[Completed]:
        return [
            done._replace(
                outcomes=tuple(
                    outcome._replace(observations=failure(request, "timeout", "did not finish"))
                    if times_out(request.id)
                    else outcome
                    for request, outcome in zip(done.block.requests, done.outcomes, strict=True)
                )
            )
            for done in super().poll(timeout)
        ]


def times_out(id: int) -> bool:
    return mix(id) % 3 == 0


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evo.search, "make_executor", lambda *_, **__: Slow())


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("rungs", [{}, {"rungs": 2, "hurdle": 0.3, "hurdle_after": 10}])
def test_a_time_out_is_shared_by_twins_in_any_blocks_and_sessions(tmp_path: Path, rungs: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"options": {**TWINS, **rungs}, "strategy": {"name": "random", "options": {}}}
    whole = run(tmp_path, "whole", **settings)
    assert whole.status["counts"]["timeout"] > 15
    for block in (1, 3, 16):
        loop = {"chunk": 16, "lag": 40, "block": block, "span": 40, "snapshot_every": 64}
        assert parts(run(tmp_path, f"blocks{block}", **{**settings, "loop": loop})) == parts(whole)
    cut = stop_after(make(tmp_path, "cut", **settings), 20)
    for stop in (36, 50, 70, 90, 150, 333):
        cut = stop_after(Search.open(cut.path), stop)
    cut = Search.open(cut.path).run()
    assert parts(cut) == parts(whole)
    assert cut.leaders == whole.leaders


@pytest.mark.usefixtures("slow")
def test_twins_share_a_time_out_and_later_candidates_try_afresh(tmp_path: Path) -> None:
    result = run(tmp_path, "run", options=TWINS, strategy={"name": "random", "options": {}})
    told = {}
    for first, n, until in query(result, "SELECT first_id, n, told FROM chunks"):
        told.update(dict.fromkeys(range(first, first + n), until))
    status: dict[int, tuple[int, str]] = {}
    shared = afresh = recovered = 0
    for id, function, found in query(
        result, "SELECT c.id, i.function, c.status FROM commits c JOIN identities i USING (id) ORDER BY c.id"
    ):
        tried, last = status.get(function, (-1, "none"))
        if last == "ok" or (last == "timeout" and tried >= told[id]):
            expected, shared = last, shared + (last == "timeout")
        else:
            expected = "timeout" if times_out(id) else "ok"
            status[function] = (id, expected)
            afresh += last == "timeout"
            recovered += last == "timeout" and expected == "ok"
        assert found == expected, id
    assert shared > 3
    assert afresh > 10
    assert recovered > 5
    assert query(result, "SELECT count(*) FROM observations WHERE status = 'timeout' AND request = 0") == [(0,)]


@pytest.mark.usefixtures("slow")
def test_a_function_whose_first_timed_out_can_lead(tmp_path: Path) -> None:
    loop = {"chunk": 4, "lag": 10, "block": 4}
    options = {**TWINS, "functions": 45}
    result = run(tmp_path, "run", options=options, loop=loop, strategy={"name": "random", "options": {}})
    rows = query(
        result,
        "SELECT i.function, c.vals, f.status FROM commits c JOIN identities i USING (id) JOIN commits f"
        " ON f.id = i.function WHERE c.status = 'ok'",
    )
    best = sorted({(struct.unpack("<d", vals)[0], function) for function, vals, _ in rows})
    assert len({function for function, _, first in rows if first == "timeout"}) > 4
    assert [(x["values"][0], x["function"]) for x in result.leaders] == best


def test_a_candidate_that_cannot_be_identified_is_invalid_and_that_one_only(tmp_path: Path) -> None:
    settings = {"space": f"{HERE}:Unidentifiable", "options": {"functions": 3000, "alphabet": 100_000}}
    whole = run(tmp_path, "whole", **settings)
    counts = {True: 0, False: 0}
    for genome, source, status in query(
        whole,
        "SELECT p.genome, i.source, c.status FROM proposals p JOIN identities i USING (id) JOIN commits c USING (id)",
    ):
        raises = int(genome) % 7 == 0 or int(genome) % 11 == 0
        counts[raises] += 1
        assert (source == "invalid") == (status == "invalid") == raises
    assert min(counts.values()) > 60
    assert counts[True] == whole.status["counts"]["invalid"]
    texts = [f.read_text() for f in (whole.path / "errors").glob("*.txt")]
    assert len(texts) == counts[True]
    assert {"canonical", "fingerprint"} == {
        word for text in texts for word in ("canonical", "fingerprint") if f"while it was identified: {word}" in text
    }
    cut = stop_after(make(tmp_path, "cut", **settings), 150)
    cut = stop_after(Search.open(cut.path), 333)
    assert parts(Search.open(cut.path).run()) == parts(whole)


def test_a_failure_above_the_first_rung_replays_where_it_failed(tmp_path: Path) -> None:
    result = run(tmp_path, "run", space=f"{HERE}:FailsAbove", options={"rungs": 3}, budget={"proposals": 60})
    rows = query(result, "SELECT c.id, c.status, c.rung, p.genome FROM commits c JOIN proposals p USING (id)")
    ids = {status: id for id, status, _, _ in rows}
    for _, status, rung, genome in rows:
        assert (status, rung) == (("failed", 0) if int(genome) % 3 == 0 else ("ok", 2))
    found = replay(result.path, ids["failed"])
    assert (found["rung"], found["status"], found["agrees"]) == ("rung1", "failed", True)
    assert "fails above" in found["traceback"]
    found = replay(result.path, ids["ok"])
    assert (found["rung"], found["status"], found["agrees"]) == ("rung2", "ok", True)
    assert found["stored"] == found["found"] == [[unit(mix(int(dict((i, g) for i, _, _, g in rows)[ids["ok"]])))]]


def test_a_replay_that_finds_another_value_disagrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evo.testing.noop import NoOpEvaluator

    result = run(tmp_path, "run", budget={"proposals": 60}, options={"noise": 0.1})
    true = NoOpEvaluator.observe
    monkeypatch.setattr(
        NoOpEvaluator, "observe", lambda self, g, s: (o := true(self, g, s))._replace(values=(o.values[0] + 1.0,))
    )
    assert replay(result.path, 5)["agrees"] is False


def test_a_space_that_can_neither_summarise_nor_report_ends_its_run_all_the_same(tmp_path: Path) -> None:
    plain = run(tmp_path, "plain")
    result = run(tmp_path, "mute", space=f"{HERE}:Speechless", report={"candidates": 2})
    assert result.state == "finished"
    assert parts(result) == parts(plain)
    assert result.best is not None
    assert result.best["summary"] == "(summary failed: LookupError: no words)"
    assert result.status["report_error"] == "RuntimeError: no report"
    (stored,) = [json.loads(row) for (row,) in query(result, "SELECT state FROM status")]
    assert stored["state"] == "finished"
    assert stored["report_error"] == "RuntimeError: no report"
    assert query(result, "SELECT count(*) FROM reports") == [(0,)]
    again = Search.open(result.path, ["budget.proposals=+40"]).run()
    assert again.state == "finished"
    assert again.status["counts"]["proposals"] == 640


class Breaks(RegularizedEvolution[int]):
    """Regularized evolution that breaks the contract from candidate 200 on, as `broken` says."""

    broken = ""

    def ask(self, first_id: int, n: int, streams: Any) -> Sequence[Proposal[int]]:
        made = list(super().ask(first_id, n, streams))
        if first_id < 200 or not self.broken:
            return made
        return {
            "too many": [*made, Breed(5)],
            "unknown": [*made[:-1], Reevaluate(99_999)],
            "itself": [*made[:-1], Reevaluate(first_id + len(made) - 1)],
            "no replicates": [*made[:-1], Reevaluate(3, None, ())],
            "no such rung": [*made[:-1], Reevaluate(3, "rung9")],
        }[self.broken]


@pytest.mark.parametrize("broken", ["too many", "unknown", "itself", "no replicates", "no such rung"])
def test_a_strategy_that_breaks_its_contract_leaves_a_run_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    strategy = {"name": f"{__name__}:Breaks", "options": {"population": 50, "tournament": 3}}
    whole = run(tmp_path, "whole", strategy=strategy)
    search = make(tmp_path, "broken", strategy=strategy)
    with monkeypatch.context() as patch:
        patch.setattr(Breaks, "broken", broken)
        with pytest.raises(ConfigError, match="the strategy"):
            search.run()
        with pytest.raises(ConfigError, match="the strategy"):
            Search.open(search.path).run()
    ((proposed,),) = query(search.path, "SELECT count(*) FROM proposals")
    assert 200 <= proposed < 216
    ((status,),) = query(search.path, "SELECT state FROM status")
    assert json.loads(status)["state"] == "failed"
    result = Search.open(search.path).run()
    assert journal_parts(result.path) == parts(whole)
