"""Writes the report: gathers, draws, and fills the template."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

from evo.cli.spaces_of import Describer
from evo.cli.state import failures_of, hits_of, reason_in_words, searched, state_of
from evo.cli.summary import LUCKY, closing_words, error_words, few_words, seeded, unconfirmed
from evo.cli.text import clip, duration, number, told_apart
from evo.errors import EvoError
from evo.report import charts, gather
from evo.report.heldout import grids
from evo.run.reader import RunReader
from evo.space import Figure

LEADERS = 15
SUMMARY = 72
"""Characters of a leader's one line."""
PLOTLY_SETTINGS = {"displayModeBar": False, "responsive": True}


def write_report(run: RunReader, path: Path | None = None) -> Path:
    """Write a run's report as one HTML file that needs no network; returns the file.

    Args:
        run: the run; it may be alive.
        path: where; None: `<run>/report.html`.

    Raises:
        EvoError: the file cannot be written.
    """
    target = run.path / "report.html" if path is None else path
    html = render(run)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(target.name + ".part")
        temporary.write_text(html, "utf-8")
        temporary.replace(target)
    except OSError as error:
        raise EvoError(f"cannot write {target}: {error.strerror or error}", "give another file with -o") from error
    return target


def render(run: RunReader) -> str:
    """The page as text."""
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("evo.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {
        "duration": duration, "number": number, "clip": clip, "share": _share, "json": _script_json,
        "clock": lambda seconds: time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)),
    }  # fmt: skip
    return environment.get_template("page.html.j2").render(
        **content(run), plotly_js=get_plotlyjs(), plotly=PLOTLY_SETTINGS
    )


def content(run: RunReader) -> dict[str, Any]:
    """Everything the template shows."""
    status, meta, objectives = run.status(), run.meta(), run.objectives()
    config: dict[str, Any] = meta.get("config") or {}
    counts, seconds = Counter(status.get("counts") or {}), Counter(status.get("seconds") or {})
    objective = objectives[0]["name"] if objectives else "value"
    maximise = bool(objectives) and objectives[0]["direction"] == "maximise"
    describer = Describer(config, run.genome, run.path)
    stored = run.leaders(LEADERS)
    sources = [describer.describe(run.genome(int(leader["id"]))) for leader in stored]
    summaries = told_apart(
        [leader.get("summary") or source for leader, source in zip(stored, sources, strict=True)], SUMMARY
    )
    leaders = [
        {**leader, "source_text": source, "shown": summary, "lucky": lucky, "error": error_words(leader)}
        for leader, source, summary, lucky in zip(stored, sources, summaries, unconfirmed(stored), strict=True)
    ]
    steps: list[dict[str, Any]] = []
    ancestors = 0
    if leaders:
        found = run.lineage(int(leaders[0]["id"]))
        ancestors = len(found) - 1
        line = gather.main_line(found, maximise)
        steps = gather.lineage_steps(line, maximise, lambda candidate: describer.describe(run.genome(candidate)))
    operators = gather.operators(run, maximise)
    curve = run.curve()
    elapsed = float(status.get("elapsed_s") or 0.0)
    drawn = [
        *charts.best_so_far(curve, objective, int(counts.get("evaluations", 0)), elapsed),
        charts.hits_over_proposals(run.sources()),
        charts.seconds_over_time(run.timeline()),
        charts.pareto(run.leaders(50), objectives),
        charts.lineage_values(steps, objective),
    ]
    figures, figures_problem = _figures(describer, run)
    hits = hits_of(counts)
    held_out = grids(run.reports())
    return {
        "name": run.path.name,
        "state": state_of(status),
        "reason": reason_in_words(status.get("reason")),
        "status": status,
        "config": config,
        "config_text": yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        "meta": {"commit": None, "versions": {}, **meta},
        "created": meta.get("created"),
        "written": time.time(),
        "counts": counts,
        "seconds": seconds,
        "hits": hits,
        "searched": searched(counts),
        "hit_share": _share(sum(hits.values()), searched(counts)),
        "saved_times": seconds["saved"] / seconds["hashed"] if seconds.get("hashed") and seconds.get("saved") else None,
        "failures": failures_of(counts),
        "errors": run.errors(limit=25),
        "audits": run.audits(),
        "objectives": objectives,
        "objective": objective,
        "rungs": run.rungs(),
        "leaders": leaders,
        "charts": {chart["id"]: chart for chart in drawn if chart is not None},
        "steps": steps,
        "descent": gather.folded(steps),
        "ancestors": ancestors,
        "operators": operators,
        "best_share": max((o.improved / o.compared for o in operators if o.improved), default=1.0),
        "workers": gather.workers(run),
        "events": gather.incidents(run.events(limit=30)),
        "held_out": held_out,
        "few_seeds": "; ".join(few_words(held_out)),
        "seeded": seeded(stored),
        "lucky": LUCKY.removeprefix("* ") if any(leader["lucky"] for leader in leaders) else "",
        "confirmed": closing_words(status["closing"]) if status.get("closing") else "",
        "refined": refined_of(run),
        "figures": figures,
        "figures_problem": figures_problem,
        "space_problem": describer.problem,
        "command": " ".join(map(str, meta.get("command") or [])),
    }


def refined_of(run: RunReader) -> dict[str, Any] | None:
    """What `evo refine` made of the run: its result, with the table of its evidence or None; None without one."""
    from evo.refining import read_result

    result = read_result(run.path)
    if result is None:
        return None
    evidence = result.get("evidence")
    return {**result, "table": evidence.get("table") if isinstance(evidence, Mapping) else None}


def _figures(describer: Describer, run: RunReader) -> tuple[list[Figure], str]:
    if describer.space is None:
        return [], ""
    try:
        return list(describer.space.figures(run)), ""
    except Exception as error:  # a space's picture must not cost the whole report
        return [], f"{type(error).__name__}: {error}"


def _share(part: float, whole: float, digits: int = 0) -> str:
    return f"{100 * part / whole:.{digits}f} %" if whole else "-"


def _script_json(value: Any) -> str:
    """JSON that may stand inside a script element: no closing tag, no NaN."""

    def clean(item: Any) -> Any:
        if isinstance(item, float) and not math.isfinite(item):
            return None
        if isinstance(item, Mapping):
            return {str(k): clean(v) for k, v in item.items()}
        if isinstance(item, list | tuple):
            return [clean(v) for v in item]
        return item

    text = json.dumps(clean(value), separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
