"""`evo doctor`: what is installed here, what the machine has, and what would go wrong."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from typing import Any, Literal, NamedTuple

import click

from evo.cli.options import echo_json, json_option

PACKAGES = ("evo-search", "numpy", "torch", "ray", "pydantic", "click", "rich", "optuna", "deap", "moocore", "xxhash",
            "orjson", "plotly", "jinja2")  # fmt: skip
NAMES = ("evo", "kernels", "proxies", "search_spaces")
Verdict = Literal["ok", "note", "problem"]
MARKS = {
    "ok": click.style("ok", fg="green"),
    "note": click.style("note", fg="yellow"),
    "problem": click.style("problem", fg="red"),
}


_ASK_KERNELS = """
import json, kernels
found = kernels.backends()
print(json.dumps(found if isinstance(found, dict) else list(found), default=str))
"""


class Finding(NamedTuple):
    """One line: what was looked at, how it is, in words, and what to do about it."""

    what: str
    verdict: Verdict
    words: str
    hint: str = ""


@click.command("doctor")
@json_option
def command(as_json: bool) -> int:
    """Check this installation and machine; the exit code is 1 if something is wrong."""
    findings = examine()
    if as_json:
        echo_json([finding._asdict() for finding in findings])
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            hint = f"  ({finding.hint})" if finding.hint else ""
            pad = " " * (7 - len(finding.verdict))
            click.echo(f"{MARKS[finding.verdict]}{pad}  {finding.what:<{width}}  {finding.words}{hint}")
    return 1 if any(finding.verdict == "problem" for finding in findings) else 0


def examine() -> list[Finding]:
    """All findings."""
    return [
        _python(), *map(_package, PACKAGES), *_names(), _compiler(), *_gpu(), *_kernels(), *_spaces(),
        _cpu(), _memory(), _disk(), _shared_memory(),
    ]  # fmt: skip


def _python() -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} ({sys.executable})")


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        needed = f"pip install {name}" if name != "evo-search" else "pip install -e . in the project's folder"
        verdict: Verdict = "note" if name == "ray" else "problem"
        return Finding(name, verdict, "not installed", needed)


def _names() -> list[Finding]:
    """Our import names are common words: another distribution may own one of them."""
    owners = importlib.metadata.packages_distributions()
    findings = []
    for name in NAMES:
        others = sorted({owner for owner in owners.get(name, []) if owner != "evo-search"})
        spec = importlib.util.find_spec(name)
        where = (spec.origin or next(iter(spec.submodule_search_locations or ["?"]), "?")) if spec else "not importable"
        if others:
            hint = f"uninstall {', '.join(others)}, or use an environment of its own"
            findings.append(Finding(f"import {name}", "problem", f"{where}; also owned by {', '.join(others)}", hint))
        elif spec is None:
            findings.append(Finding(f"import {name}", "problem", where, "reinstall evo-search"))
    return findings or [Finding("import names", "ok", f"{', '.join(NAMES)} are ours alone")]


def _compiler() -> Finding:
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        found = shutil.which(name) if name else None
        if found:
            return Finding("C compiler", "ok", found)
    return Finding(
        "C compiler", "note", "none found", "compiled kernels fall back to slower ones; install gcc or clang"
    )


def _gpu() -> list[Finding]:
    if importlib.util.find_spec("torch") is None:
        return []
    torch: Any = importlib.import_module("torch")
    if not torch.cuda.is_available():
        return [Finding("GPU", "ok", "none: kernels run on the CPU")]
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return [Finding("GPU", "ok", f"{', '.join(names)} (CUDA {torch.version.cuda})")]


def _kernels() -> list[Finding]:
    """Asked in a process of its own: `evo` does not import `kernels`, and a broken library ends only that process."""
    try:
        done = subprocess.run([sys.executable, "-c", _ASK_KERNELS], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return [Finding("kernels", "problem", "no answer within 120 s", "try `python -c 'import kernels'`")]
    if done.returncode:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        return [Finding("kernels", "problem", last, "reinstall evo-search")]
    return backend_findings(json.loads(done.stdout.strip().splitlines()[-1]))


def backend_findings(backends: Any) -> list[Finding]:
    """One line a kernel backend: {"c": {"available": True, "why": ...}, ...}; a missing one is no problem."""
    if not isinstance(backends, dict):
        return [Finding("kernels", "ok", str(backends))]
    findings = [
        Finding(
            f"kernels: {name}",
            "ok" if entry["available"] else "note",
            str(entry.get("why", "")),
            str(entry.get("hint", "")),
        )
        for name, entry in backends.items()
        if isinstance(entry, dict) and "available" in entry
    ]
    default = backends.get("default")
    if isinstance(default, dict):
        findings.append(Finding("kernels used", "ok", ", ".join(f"{k}: {v}" for k, v in default.items())))
    return findings


def _spaces() -> list[Finding]:
    from evo.cli.spaces import installed_spaces

    rows = installed_spaces()
    broken = [Finding(f"space {row['name']}", "problem", row["problem"]) for row in rows if row["problem"]]
    working = [row["name"] for row in rows if not row["problem"]]
    return [Finding("spaces", "ok" if working else "note", ", ".join(working) or "none installed"), *broken]


def _cpu() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Finding("CPUs", "ok", f"{usable} usable of {os.cpu_count()}; {platform.machine()}")


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError):
        return Finding("memory", "note", "unknown")
    return Finding("memory", "ok" if total > 4 else "note", f"{total:.1f} GB", "" if total > 4 else "use fewer workers")


def _disk() -> Finding:
    free = shutil.disk_usage(".").free / 1e9
    return Finding(
        "disk here",
        "ok" if free > 2 else "problem",
        f"{free:.1f} GB free",
        "" if free > 2 else "runs stop when it is full",
    )


def _shared_memory() -> Finding:
    if not os.path.isdir("/dev/shm"):
        return Finding("shared memory", "note", "no /dev/shm", "Ray's object store will use the disk")
    free = shutil.disk_usage("/dev/shm").free / 1e9
    hint = "" if free > 0.5 else "start the container with a larger --shm-size"
    return Finding("shared memory", "ok" if free > 0.5 else "note", f"{free:.1f} GB free in /dev/shm", hint)
