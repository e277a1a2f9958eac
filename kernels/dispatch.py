"""Which backend runs a kernel: found, named, pinned by a digest, and never changed in silence.

Backends: "c" (compiled by kernels/build.py), "numpy", "torch" (the reference, any device), "triton" (CUDA devices, or
the CPU under Triton's interpreter). A kernel is asked for with `backend=...`; without it the environment variable
`EVO_KERNEL_BACKEND` decides, and without that the device of the arrays: CPU arrays go to "c", or to "numpy" with a
`BackendFallbackWarning` where there is no compiler; CUDA tensors go to "triton", or to "torch" with the same warning.
Asking for a backend that is not there raises `BackendUnavailableError`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import platform
import warnings
from typing import Any

import numpy as np
import torch

from kernels.build import CLibrary, toolchain
from kernels.errors import BackendFallbackWarning, BackendUnavailableError, BuildError, KernelError

NAMES = ("c", "numpy", "torch", "triton")
C_LIBRARIES = ("kernels.programs.c_path", "kernels.mlp", "kernels.ranks.c_path")
"""Modules with a `LIBRARY`; the backend "c" is there when all of them load."""

_PREFERRED = {"cpu": ("c", "numpy"), "cuda": ("triton", "torch")}
_found: dict[str, dict[str, Any]] = {}
_warned: set[str] = set()


def backends() -> dict[str, Any]:
    """What is there.

    Returns:
        for each backend a mapping with `available`, `why` (a sentence) and what decides its numbers (versions, flags,
        instruction set); `default`: the backend for CPU and CUDA arrays, with the environment taken into account;
        `digest`: a string that is equal on two machines if their CPU kernels compute the same numbers.
    """
    found: dict[str, Any] = {name: dict(_probe(name)) for name in NAMES}
    default = {}
    for device in _PREFERRED:
        try:
            default[device] = _pick(None, device)[0]
        except BackendUnavailableError:
            default[device] = None
    found["default"] = default
    found["digest"] = digest()
    return found


def digest(backend: str | None = None) -> str:
    """Sixteen hexadecimal digits that pin the numbers of a backend (default: the one that CPU arrays get).

    Numpy is part of it whichever backend it is: the dense layers stand on it.
    """
    chosen = _pick(backend, "cpu")[0] if backend != "triton" else backend
    parts = {name: _probe(name) for name in {chosen, "numpy"}}
    return hashlib.sha256(json.dumps([chosen, parts], sort_keys=True).encode()).hexdigest()[:16]


def choose(backend: str | None, device: str = "cpu", supported: tuple[str, ...] = NAMES) -> str:
    """Name of the backend to use.

    Args:
        backend: what the caller asked for, or None.
        device: "cpu" or "cuda": where the arrays are.
        supported: backends that the kernel has.

    Raises:
        BackendUnavailableError: what was asked for is not there.
        KernelError: the name is unknown, or the backend does not run on that device.
    """
    name, missing = _pick(backend, device, supported)
    if missing and missing not in _warned:
        _warned.add(missing)
        warnings.warn(BackendFallbackWarning(f"kernels use {name!r}: {missing}"), stacklevel=3)
    return name


def _pick(backend: str | None, device: str, supported: tuple[str, ...] = NAMES) -> tuple[str, str]:
    asked = backend or os.environ.get("EVO_KERNEL_BACKEND") or None
    source = "backend" if backend else "EVO_KERNEL_BACKEND"
    if asked is not None:
        if asked not in NAMES:
            raise KernelError(f"{source}={asked!r} is no backend", f"say one of {', '.join(NAMES)}")
        if asked not in supported:
            raise KernelError(f"this kernel has no {asked!r} version", f"say one of {', '.join(supported)}")
        if device != "cpu" and asked in ("c", "numpy"):
            raise KernelError(f"{source}={asked!r} runs on CPU arrays, not on {device}", "say 'triton' or 'torch'")
        if device == "cpu" and asked == "triton" and not _interpreted():
            raise BackendUnavailableError(
                f"{source}='triton' runs on CUDA tensors",
                "move the arrays there, or set TRITON_INTERPRET=1 (slow) early",
            )
        probed = _probe(asked)
        if not probed["available"]:
            raise BackendUnavailableError(f"backend {asked!r} is not there: {probed['why']}", probed.get("hint", ""))
        return asked, ""
    missing = ""
    for name in _PREFERRED.get(device, ("torch",)):
        if name in supported:
            probed = _probe(name)
            if probed["available"]:
                return name, missing
            missing = missing or f"{name!r} is not there: {probed['why']}"
    raise BackendUnavailableError(f"no backend for arrays on {device}: {missing}", "see kernels.backends()")


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def _probe(name: str) -> dict[str, Any]:
    if name not in _found:
        _found[name] = {"c": _probe_c, "numpy": _probe_numpy, "torch": _probe_torch, "triton": _probe_triton}[name]()
    return _found[name]


def _probe_c() -> dict[str, Any]:
    try:
        tools = toolchain()
        libraries = {}
        for module in C_LIBRARIES:
            library: CLibrary = importlib.import_module(module).LIBRARY
            library.load()
            libraries[library.name] = library.digest()
    except KernelError as error:
        # A compiler that is there but fails is a defect, unlike one that is not there.
        return {"available": False, "why": error.message, "hint": error.hint, "broken": isinstance(error, BuildError)}
    return {
        "available": True,
        "why": f"compiled by {tools.version} for {tools.isa}",
        "compiler": tools.version,
        "isa": tools.isa,
        "flags": [*tools.flags, *tools.libraries],
        "libc": tools.libc,
        "libraries": libraries,
    }


def _probe_numpy() -> dict[str, Any]:
    features = np._core._multiarray_umath.__cpu_features__  # what its loops are chosen by at run time
    present = sorted(name for name, there in features.items() if there)
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return {
        "available": True,
        "why": f"numpy {np.__version__}",
        "version": np.__version__,
        "blas": f"{blas.get('name', '')} {blas.get('version', '')}".strip(),
        "machine": platform.machine(),
        "features": hashlib.sha256(" ".join(present).encode()).hexdigest()[:16],
    }


def _probe_torch() -> dict[str, Any]:
    devices = ["cpu", *(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))]
    return {
        "available": True,
        "why": f"torch {torch.__version__} on {', '.join(devices)}",
        "version": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "devices": devices,
    }


def _probe_triton() -> dict[str, Any]:
    if importlib.util.find_spec("triton") is None:
        return {"available": False, "why": "triton is not installed", "hint": "pip install 'evo-search[triton]'"}
    cuda = torch.cuda.is_available()
    if not cuda and not _interpreted():
        return {"available": False, "why": "no CUDA device", "hint": "TRITON_INTERPRET=1 runs it on the CPU, slowly"}
    import triton

    where = "Triton's interpreter (CPU)" if _interpreted() else torch.cuda.get_device_name(0)
    return {
        "available": True,
        "why": f"triton {triton.__version__} on {where}",
        "version": triton.__version__,
        "device": where,
    }
