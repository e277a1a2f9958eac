"""Where there is no GPU, Triton's interpreter: it is chosen when triton is first imported, hence here, this early."""

from __future__ import annotations

import importlib.util
import os

import pytest
import torch

HAS_TRITON = importlib.util.find_spec("triton") is not None
HAS_GPU = torch.cuda.is_available()

if HAS_TRITON and not HAS_GPU:
    before = os.environ.get("TRITON_INTERPRET")
    os.environ["TRITON_INTERPRET"] = "1"
    import kernels.programs.triton_path
    import kernels.ranks.triton_path  # noqa: F401

    if before is None:
        del os.environ["TRITON_INTERPRET"]


@pytest.fixture
def compiled():
    """Skips, saying why, where there is no compiler."""
    from kernels import dispatch

    found = dispatch._probe("c")
    assert not found.get("broken"), found["why"]
    if not found["available"]:
        pytest.skip(f"c: {found['why']}")


@pytest.fixture(params=["c", "numpy", "torch", "triton"])
def backend(request, monkeypatch):
    """Each backend in turn; one that is not there is skipped, and says so."""
    from kernels import dispatch

    if request.param == "triton" and not HAS_GPU:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        monkeypatch.delitem(dispatch._found, "triton", raising=False)
    found = dispatch._probe(request.param)
    assert not found.get("broken"), found["why"]
    if not found["available"]:
        pytest.skip(f"{request.param}: {found['why']}")
    yield request.param
    if request.param == "triton":
        dispatch._found.pop("triton", None)
