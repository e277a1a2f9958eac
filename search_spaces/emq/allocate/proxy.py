"""The proxy that a user names: one of this package's, a file, module:attr, or a candidate of a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from evo.errors import RunNotFoundError, UsageError
from proxies import UnknownProxyError, load_proxy, proxy_names

_CANDIDATE = re.compile(r"(.+?)(?::(\d+|best))?")


def proxy_of(spec: str, folder: Path, runs_dir: str | None = None) -> tuple[Any, str]:
    """A proxy and what it is called.

    Args:
        spec: a name, an exported file, "module:attr", RUN or RUN:CANDIDATE.
        folder: where a candidate's exported file is kept.
        runs_dir: where runs are looked for.

    Raises:
        UsageError: nothing answers to it.
    """
    if spec.endswith(".py") or spec in proxy_names() or (":" in spec and not re.search(r":(\d+|best)$", spec)):
        try:
            found = load_proxy(spec)
        except UnknownProxyError as error:
            raise UsageError(error.message, error.hint) from error
        return found, str(getattr(found, "name", spec))
    match = _CANDIDATE.fullmatch(spec)
    run, candidate = (match.group(1), match.group(2) or "best") if match else (spec, "best")
    try:
        return _of_run(run, candidate, folder, runs_dir)
    except RunNotFoundError as error:
        names = ", ".join(proxy_names())
        raise UsageError(
            f"no proxy and no run is called {run!r}",
            f"proxies: {names}; or an exported file, module:attr, RUN, RUN:CANDIDATE",
        ) from error


def _of_run(run: str, candidate: str, folder: Path, runs_dir: str | None) -> tuple[Any, str]:
    from evo.cli.exporting import export_candidate
    from evo.cli.spaces_of import space_of
    from evo.run.folder import resolve_run
    from evo.run.reader import RunReader

    with RunReader(resolve_run(run, runs_dir)) as reader:
        chosen = reader.resolve(candidate)
        name = f"{reader.path.name}_{chosen}"
        target = folder / "proxies" / f"{re.sub(r'[^0-9A-Za-z]+', '_', name)}.py"
        path = export_candidate(reader, space_of(reader.config()), chosen, target)
    try:
        return load_proxy(str(path)), f"{run}:{chosen}"
    except UnknownProxyError as error:
        raise UsageError(
            f"candidate {chosen} of {run} is no proxy: {error.message}", "give a run of space emq"
        ) from error
