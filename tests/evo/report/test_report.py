"""The report: one complete file, whatever the run holds."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evo.report import charts, gather, write_report
from evo.report.page import content, render
from evo.run.reader import Committed, RunReader
from tests.evo.cli.fake_run import Rules, write_run

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Balance(HTMLParser):
    """Checks that elements close in order; collects attributes that load something, and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "src" or (name == "href" and not str(value).startswith("#")):
                self.loads.append(str(value))
            if name == "id":
                self.ids.append(str(value))

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunReader]:
    with RunReader(write_run(tmp_path_factory.mktemp("runs") / "rules", n=400)) as reader:
        yield reader


@pytest.fixture(scope="module")
def page(run: RunReader) -> str:
    return render(run)


def body_of(page: str) -> str:
    return page[page.index("<body>") :]


def test_the_page_is_well_formed_and_loads_nothing(page: str) -> None:
    parser = Balance()
    parser.feed(body_of(page).removesuffix("</html>"))
    assert parser.open == []
    assert parser.loads == []
    assert len(set(parser.ids)) == len(parser.ids)
    anchors = re.findall(r'href="#(\w+)"', body_of(page))
    assert set(anchors) <= set(parser.ids)
    head = page[: page.index("<body>")]
    assert "plotly.js" in head
    assert not re.search(r'<(script|link)[^>]+(src|href)="http', head)


def test_the_page_shows_all_parts(page: str, run: RunReader) -> None:
    text = body_of(page)
    best = run.leaders(1)[0]
    for words in (
        "Best so far against evaluations", "Best so far against time", "Where observations came from",
        "Leaderboard", "Held-out evaluation", "AdamW", "Lineage of the winner", "Equivalence", "Operators",
        "modify constant", "Failures",
        "evo replay rules", "Length of rules", "Run facts", "torch 2.13.0", "evo run rules.yaml", f"#{best['id']}",
    ):  # fmt: skip
        assert words in text


def test_every_chart_has_its_place_and_valid_json(page: str) -> None:
    found = re.search(r"const charts = (\{.*\});\n", page)
    assert found
    drawn = json.loads(found.group(1), parse_constant=pytest.fail)
    assert {"best-evaluations", "best-time", "hits", "seconds", "lineage"} <= set(drawn)
    for key in drawn:
        assert f'id="plot-{key}"' in page


def test_the_file_lands_beside_the_run_or_where_asked(run: RunReader, tmp_path: Path) -> None:
    assert write_report(run) == run.path / "report.html"
    target = tmp_path / "deep" / "r.html"
    assert write_report(run, target) == target
    assert target.read_text("utf-8").startswith("<!doctype html>")
    assert [item.name for item in target.parent.iterdir()] == ["r.html"]


def test_a_run_without_candidates_has_a_page(tmp_path: Path) -> None:
    with RunReader(write_run(tmp_path / "empty", n=0)) as reader:
        text = body_of(render(reader))
    assert "Empty so far" in text


def test_a_run_that_has_only_begun_has_a_page(tmp_path: Path) -> None:
    path = write_run(tmp_path / "begun", n=0)
    with sqlite3.connect(path / "run.db") as db:
        db.execute("DELETE FROM status")
        db.execute("DELETE FROM meta WHERE key NOT IN ('schema', 'config')")
        db.execute("DELETE FROM reports")
    with RunReader(path) as reader:
        assert "begun" in render(reader)


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    path = write_run(tmp_path / "hostile", n=60)
    evil = "</script><script>alert(1)</script>"
    with sqlite3.connect(path / "run.db") as db:
        status = json.loads(db.execute("SELECT state FROM status").fetchone()[0])
        status["leaders"][0]["summary"] = evil
        db.execute("UPDATE status SET state = ?", (json.dumps(status),))
        db.execute("UPDATE proposals SET operator = ?", (evil,))
    with RunReader(path) as reader:
        assert "<script>alert" not in render(reader)


def test_a_space_whose_figures_fail_costs_only_its_figures(run: RunReader, monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(self: Rules, run: RunReader) -> None:
        raise ZeroDivisionError("no data")

    monkeypatch.setattr(Rules, "figures", burst)
    found = content(run)
    assert found["figures"] == []
    assert found["figures_problem"] == "ZeroDivisionError: no data"


def committed(
    id: int, value: float, parents: tuple[int, ...] = (), operator: str = "x", status: str = "ok", miss: bool = True
) -> Committed:
    return Committed(id, status, 0, (value,), None, None, operator, parents, id, "evaluated", miss, 0)


def test_the_main_line_follows_the_better_parent() -> None:
    ancestors = [committed(0, 5.0), committed(1, 3.0), committed(2, 4.0, (0, 1)), committed(3, 2.0, (2,))]
    assert [row.id for row in gather.main_line(ancestors, maximise=False)] == [1, 2, 3]
    assert [row.id for row in gather.main_line(ancestors, maximise=True)] == [0, 2, 3]


def test_steps_tell_gains_by_direction_and_what_changed() -> None:
    line = [committed(0, 5.0), committed(1, 3.0, (0,)), committed(2, 3.0, (1,)), committed(3, 4.0, (2,))]
    steps = gather.lineage_steps(line, False, lambda id: f"a\nline {id}")
    assert [(s["better"], s["worse"]) for s in steps] == [(False, False), (True, False), (False, False), (False, True)]
    assert steps[1]["diff"] == [("-", "line 0"), ("+", "line 1")]
    assert gather.lineage_steps(line, True, str)[1]["worse"]


def test_neutral_steps_are_folded_and_none_is_lost() -> None:
    line = [committed(i, v, (i - 1,) if i else ()) for i, v in enumerate([5.0, 5.0, 5.0, 5.0, 3.0, 3.0, 2.0, 2.0])]
    steps = gather.lineage_steps(line, False, str)
    groups = gather.folded(steps)
    assert [[s["id"] for s in group] for group in groups] == [[0], [1, 2, 3], [4], [5], [6], [7]]
    assert [s for group in gather.folded(steps[:4]) for s in group] == steps[:4]


def test_operators_count_children_improvements_and_records(tmp_path: Path, run: RunReader) -> None:
    found = gather.operators(run, maximise=False)
    assert sum(entry.made for entry in found) == run.proposals()
    assert sum(entry.new for entry in found) == run.counts()["evaluations"]
    assert all(entry.improved <= entry.compared <= entry.ok <= entry.made for entry in found)
    assert sum(entry.records for entry in found) == len(run.curve())
    assert min(entry.best for entry in found if entry.best is not None) == run.leaders(1)[0]["values"][0]


def test_charts_leave_out_what_is_not_finite() -> None:
    curve = [(1, 1, 0.1, (float("inf"),)), (2, 2, 0.2, (3.0,)), (5, 9, 0.5, (1.0,))]
    first = charts.best_so_far(curve, "loss", 10, 1.0)[0]["data"][0]
    assert first["x"] == [2, 5, 10]
    assert first["y"] == [3.0, 1.0, 1.0]
    assert charts.best_so_far([], "loss", 0, 0.0) == []


def test_values_over_many_decades_get_a_logarithmic_axis() -> None:
    curve = [(1, 1, 0.1, (100.0,)), (2, 2, 0.2, (0.1,))]
    assert charts.best_so_far(curve, "loss", 2, 1.0)[0]["layout"]["yaxis"]["type"] == "log"


def test_two_objectives_are_drawn_against_each_other() -> None:
    objectives = [{"name": "loss", "direction": "minimise"}, {"name": "size", "direction": "minimise"}]
    chart = charts.pareto([{"id": 1, "values": [0.5, 3.0], "summary": "s"}, {"id": 2, "values": [0.5]}], objectives)
    assert chart is not None
    assert chart["data"][0]["x"] == [3.0]
    assert charts.pareto([{"id": 1, "values": [0.5]}], objectives[:1]) is None


def test_the_refined_result_stands_at_the_top_and_in_the_navigation(tmp_path: Path) -> None:
    path = write_run(tmp_path / "refined", n=60)
    (path / "refined").mkdir()
    table = {"title": "beside <AdamW>", "headers": ["what", "loss"], "rows": [["refined", "0.91"]]}
    result = {
        "candidate": 7, "source": "update = <g>", "steps": ["chosen of 3"], "evidence": {"table": table},
        "module": "rules_refined.py",
    }  # fmt: skip
    (path / "refined" / "result.json").write_text(json.dumps(result))
    with RunReader(path) as reader:
        text = body_of(render(reader))
    assert text.index('href="#refined"') < text.index('href="#progress"')
    assert text.index('id="refined"') < text.index('id="progress"')
    for words in ("update = &lt;g&gt;", "chosen of 3", "beside &lt;AdamW&gt;", "0.91", "rules_refined.py", "#7"):
        assert words in text
    (path / "refined" / "result.json").write_text(json.dumps({**result, "module": None, "evidence": [1]}))
    with RunReader(path) as reader:
        assert "update = &lt;g&gt;" in render(reader)


def test_a_report_without_a_refinement_has_no_such_part(page: str) -> None:
    assert 'id="refined"' not in page


def test_leaders_show_seeds_errors_and_what_was_not_evaluated_again(tmp_path: Path) -> None:
    path = write_run(tmp_path / "board", n=60)
    with sqlite3.connect(path / "run.db") as db:
        (state,) = db.execute("SELECT state FROM status").fetchone()
        status = json.loads(state)
        first, second = status["leaders"][:2]
        common = "update = interp(g, v1, 0.9) * sqrt(v2) * " + "cosh(g) * " * 20
        first |= {"replicates": 12, "confirmed": True, "errors": [0.0123], "summary": common + "0.5"}
        second |= {"replicates": 4, "confirmed": False, "errors": [0.5], "summary": common + "0.75"}
        status["closing"] = {"lines": 1, "confirmed": 1, "functions": 3, "seeds": 8, "seconds": 2.0}
        status["counts"]["copies"] = 10
        db.execute("UPDATE status SET state = ?", (json.dumps(status),))
    with RunReader(path) as reader:
        text = body_of(render(reader))
    assert "0.012" in text
    assert "3 leaders evaluated again on 8 fresh seeds" in text
    assert "not evaluated again" in text
    assert re.search(r"<td class=\"n\">[-\d.e]+\*</td>", text)
    shown = re.findall(r"<summary>(update = .*)</summary>", text)
    assert [line[-3:] for line in shown[:2]] == ["0.5", ".75"], "lines that are alike are cut before they differ"
    assert "copies of known programs" in text


@pytest.mark.parametrize("directions", [("maximise", "minimise"), ("minimise", "minimise"), ("minimise", "maximise")])
def test_the_front_holds_what_none_surpasses_in_both(directions: tuple[str, str]) -> None:
    signs = [-1.0 if d == "maximise" else 1.0 for d in directions]
    values = [(a, (7.0 * a) % 5.0) for a in range(12)] + [(3.0, 1.0), (3.0, 1.0)]

    def surpassed(one: tuple[float, float]) -> bool:
        keys = [(signs[0] * a, signs[1] * b) for a, b in values]
        mine = (signs[0] * one[0], signs[1] * one[1])
        return any(k[0] <= mine[0] and k[1] <= mine[1] and k != mine for k in keys)

    assert sorted(charts.undominated(values, signs)) == sorted({v for v in values if not surpassed(v)})
