"""Writing a candidate as a module of its own, and trying that module in a fresh interpreter."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evo.errors import EvoError, UsageError
from evo.space import BaseSpace, SearchSpace, decode_genome

if TYPE_CHECKING:
    from evo.run.reader import RunReader

TRY_TIMEOUT_S = 300
_TRY = """
import importlib.util, sys
sys.path[:] = [entry for entry in sys.path if entry]
spec = importlib.util.spec_from_file_location(sys.argv[2], sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules[sys.argv[2]] = module
spec.loader.exec_module(module)
ours = sorted({name.partition(".")[0] for name in sys.modules} & {"evo", "kernels", "proxies", "search_spaces"})
if ours:
    sys.exit("it imports this project: " + ", ".join(ours))
if callable(getattr(module, "self_test", None)):
    try:
        module.self_test()
    except Exception as error:
        sys.exit("SELF-TEST " + type(error).__name__ + ": " + " ".join(str(error).split()))
    print("imported alone; its self-test passed")
else:
    print("imported alone")
"""


def can_export(space: SearchSpace[Any]) -> bool:
    """Whether the space has an export of its own."""
    return getattr(type(space), "export", BaseSpace.export) is not BaseSpace.export


def export_candidate(reader: RunReader, space: SearchSpace[Any], candidate: int, path: Path | None = None) -> Path:
    """Write a candidate as a Python module; returns the file.

    Args:
        path: a file, or a folder that the file goes into; None: `<run>/export/<space>_<id>.py`.

    Raises:
        UsageError: the space has no export. EvoError: it failed.
    """
    config = reader.config()
    spec = str(config.get("space"))
    if not can_export(space):
        raise UsageError(
            f"space {spec} has no export", f"`evo show {reader.path} {candidate} --source` prints the candidate"
        )
    stem = re.sub(r"\W+", "_", spec.rpartition(":")[2].rpartition(".")[2].lower())
    name = f"{stem}_{candidate}.py"
    if path is None:
        target = reader.path / "export" / name
    else:
        target = path / name if path.is_dir() else path
    found = reader.candidate(candidate)
    # As the board has it: what was evaluated again is not as good as the score that it was picked for.
    leader = found["leader"] or {"values": found["values"]}
    origin = {
        "run": reader.path.name,
        "candidate": candidate,
        "space": spec,
        "seed": config.get("seed"),
        "values": {o["name"]: v for o, v in zip(reader.objectives(), leader["values"], strict=False)},
        "mean over seeds": leader.get("replicates"),
        "standard error": next(iter(leader.get("errors") or ()), None),
        "status": found["status"],
        "versions": reader.meta().get("versions"),
        "commit": reader.meta().get("commit"),
    }
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return space.export(decode_genome(space, found["genome"], reader.genome), target, origin)
    except EvoError:
        raise
    except NotImplementedError as error:
        raise UsageError(f"space {spec} has no export: {error}") from error
    except OSError as error:
        raise EvoError(f"cannot write {target}: {error.strerror or error}", "give another file with -o") from error
    except Exception as error:
        raise EvoError(
            f"exporting candidate {candidate} failed: {type(error).__name__}: {error}",
            "this is a fault of the space's export",
        ) from error


def try_module(path: Path) -> str:
    """Import an exported module in a fresh interpreter, and run its `self_test()` if it has one; returns what it said.

    Raises:
        EvoError: it does not import, imports this project, or its test fails.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _TRY, str(path), path.stem],
            capture_output=True,
            text=True,
            timeout=TRY_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise EvoError(
            f"{path} did not import within {TRY_TIMEOUT_S} s", f"try `python -c 'import {path.stem}'` there"
        ) from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        if last.startswith("SELF-TEST"):
            raise EvoError(
                f"{path} fails its self-test: {last.removeprefix('SELF-TEST').strip()}",
                "it does not compute what was searched: was it edited, or is this another torch? export it again",
            )
        raise EvoError(f"{path} does not stand alone: {last}", f"try `python -I {path}`")
    return done.stdout.strip().splitlines()[-1]
