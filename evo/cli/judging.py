"""Writing a judgement: its data as JSON, and a page with its tables and figures that needs no network."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from evo.cli.options import plain_json
from evo.errors import EvoError
from evo.space import Judgement

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}
</style>
<script>{plotly}</script>
<script>Plotly.setPlotConfig({{"displayModeBar": false, "responsive": true}});</script>
</head>
<body><main>
<h1>{title}</h1>
<div class="scroll"><pre>{text}</pre></div>
{figures}
<footer>The data behind this page are in <code>{data}</code>. This file is complete: it loads nothing from anywhere.
</footer>
</main></body>
</html>
"""
_FIGURE = '<section><h2>{title}</h2><p class="caption">{caption}</p><div class="scroll">{html}</div></section>'


def write_judgement(judgement: Judgement, folder: Path, name: str, title: str = "") -> tuple[Path, Path]:
    """Write `name`.json and `name`.html into the folder; returns both paths.

    Args:
        title: of the page; empty: that of a judgement.

    Raises:
        EvoError: they cannot be written.
    """
    data, page = folder / f"{name}.json", folder / f"{name}.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(data, json.dumps(plain_json(judgement.data), indent=1, allow_nan=False) + "\n")
        _write(page, _html(judgement, title or f"Judgement of {name}", data.name))
    except OSError as error:
        raise EvoError(
            f"cannot write {error.filename or folder}: {error.strerror or error}", "give another --out"
        ) from error
    return data, page


def _html(judgement: Judgement, title: str, data: str) -> str:
    from plotly.offline import get_plotlyjs

    style = Path(__file__).parent.parent / "report" / "style.css.j2"
    figures = "\n".join(
        _FIGURE.format(title=escape(f.title), caption=escape(f.caption), html=f.html) for f in judgement.figures
    )
    return _PAGE.format(
        title=escape(title), style=style.read_text("utf-8"), plotly=get_plotlyjs(), text=escape(judgement.text),
        figures=figures, data=escape(data),
    )  # fmt: skip


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, "utf-8")
    partial.replace(path)
